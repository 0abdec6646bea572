"""The exported page in the system's browser: a picture or a recording is dropped, the class and the bits are right."""

import base64
import io
import struct
import wave
import zlib

import numpy as np
import pytest
import torch
from browser import WAIT_MS, overflow, shoot

from edgeq import data, hub
from edgeq.compile import host
from edgeq.datasets import features

DROP = """([name, type, content]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name, { type }));
  document.getElementById('drop').dispatchEvent(new DragEvent('drop', { dataTransfer: transfer }));
}"""


@pytest.fixture
def opened(chromium):
    """Open a model's page from the disk; whatever its scripts raise, and any request to elsewhere, is an error here."""
    contexts, wrong = [], []

    def open_page(model, *, width=1000, theme="light"):
        contexts.append(chromium.new_context(viewport={"width": width, "height": 760}, color_scheme=theme))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith(("file:", "data:", "blob:")) or wrong.append(asked.url))
        page.goto((model.folder / "index.html").as_uri())
        page.wait_for_function("document.body.dataset.ready || document.getElementById('error').textContent")
        assert page.inner_text("#error") == ""
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def png(gray):
    """A picture file of (h, w) bytes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = gray.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in gray)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def drop(page, name, kind, content):
    page.evaluate("document.getElementById('answer').textContent = ''")
    page.evaluate(DROP, [name, kind, base64.b64encode(content).decode()])
    page.wait_for_function(
        "document.getElementById('answer').textContent || document.getElementById('error').textContent"
    )


def logits(page, labels):
    items = "[...document.querySelectorAll('#classes li')].map(({ dataset }) => [dataset.label, +dataset.logit])"
    told = dict(page.evaluate(items))
    return np.array([told[label] for label in labels], np.float32)


def test_a_dropped_picture_gets_its_class_with_the_bits_of_executorch(web_model, opened):
    model = web_model("pokebnn-fashion")
    page = opened(model)
    for i in range(3):
        drop(page, f"{i}.png", "image/png", png(model.x[i].reshape(28, 28)))
        assert page.inner_text("#answer") == model.labels[model.outputs[i].argmax()]
        assert logits(page, model.labels).tobytes() == model.outputs[i].tobytes()
    assert "ms" in page.inner_text("#latency")
    assert page.inner_text("#size") == f"{model.program.stat().st_size / 1000:.0f} kB"
    shoot(page, "web-picture")
    drop(page, "words.png", "image/png", b"no picture")
    assert page.inner_text("#error").startswith("words.png: ")


def test_a_drawing_is_classified_on_a_phone_too(web_model, opened):
    page = opened(web_model("pokebnn-fashion"), width=390, theme="dark")
    assert overflow(page) <= 0
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    for x, y in ((200, 60), (200, 220), (60, 220), (60, 60), (130, 140)):
        page.mouse.move(box["x"] + x, box["y"] + y, steps=8)
    page.mouse.up()
    page.wait_for_selector("#classes li")
    assert page.inner_text("#answer") in web_model("pokebnn-fashion").labels
    shoot(page, "web-drawing")
    page.get_by_role("button", name="Clear").click()
    assert page.inner_text("#answer") == ""


def test_a_dropped_recording_gets_the_answer_of_executorch(web_model, opened):
    model = web_model("denseshift-kws")
    t = np.arange(6500) / features.RATE_HZ
    sound = np.rint(9000 * np.sin(2 * np.pi * (150 + 700 * t) * t) * np.exp(-2 * t)).astype(np.int16)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, features.RATE_HZ, 0, "NONE", ""))
        out.writeframes(sound.tobytes())
    config = hub.pull("denseshift-kws").config()
    decoded = (sound / np.where(sound > 0, 32767, 32768)).astype(np.float32)  # Chromium's way to floats
    codes = data.as_bytes(features.log_mel(features.window(decoded)[None]), config)
    expected = host.run(model.program.read_bytes(), (torch.from_numpy(data.preprocess(codes, config)),))[0].numpy()[0]
    page = opened(model)
    drop(page, "word.wav", "audio/wav", file.getvalue())
    assert page.inner_text("#error") == ""
    assert page.inner_text("#answer") == model.labels[expected.argmax()]
    assert logits(page, model.labels).tobytes() == expected.tobytes()
    shoot(page, "web-recording")
