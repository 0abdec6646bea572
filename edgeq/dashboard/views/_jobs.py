"""What Live, Fine-tune and Zoo share: starting a verb, watching it, stopping it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from edgeq import device, hub
from edgeq._errors import EdgeQError
from edgeq.dashboard import charts, labels
from edgeq.dashboard.jobs import Job, Jobs

EVERY_S = 1.0
KEPT_S = 15
OTHER = "another one"
MOST = 60  # characters about a device


def _find() -> list[tuple[str, str]]:
    """URL and a word about it, of every place where a device is or could be."""
    return [(found.url, f"{found.state}: {found.detail}"[:MOST]) for found in device.discover()]


jobs: Callable[[], Jobs] = st.cache_resource(show_spinner=False)(Jobs)  # of this server, not of one browser
_places: Callable[[], list[tuple[str, str]]] = st.cache_data(ttl=KEPT_S, show_spinner="Looking for devices")(_find)


def choose_device(page: str) -> str:
    """A device within reach, or the URL of another one."""
    places = dict(_places())
    chosen: str = st.selectbox(
        "Device",
        [*places, OTHER],
        format_func=lambda url: url if url == OTHER else f"{url} ({places[url]})",
        key=f"{page}-device",
    )
    if chosen != OTHER:
        return chosen
    return str(st.text_input("Its URL", placeholder="ssh://pi@host, serial:///dev/ttyACM0", key=f"{page}-url"))


def choose_model(page: str) -> str:
    """A bundled model, or whatever `edgeq deploy` takes."""
    names = [entry.name for entry in hub.list_zoo()]
    chosen: str = st.selectbox("Model", [*names, OTHER], key=f"{page}-model")
    if chosen != OTHER:
        return chosen
    return str(st.text_input("Name, OWNER/NAME or folder", key=f"{page}-name"))


def start(page: str, words: Sequence[str], typed: Sequence[str] = ()) -> None:
    """Start a verb and draw the page anew; what stands in the way is said in one line.

    typed  those of the words that came from the page
    """
    if any(not word or word.startswith("-") for word in typed):
        st.error("Something above is still empty, or begins with a minus.")
        return
    try:
        jobs().start(page, words)
    except EdgeQError as error:
        st.error(labels.literal(error))
        return
    st.rerun()


def watch(page: str, draw: Callable[[Job], None]) -> None:
    """The newest job of a page while it runs, again every second, and how it ended."""
    job = jobs().newest(page)
    if job is None:
        return
    st.fragment(lambda: _watched(page, job, draw), run_every=EVERY_S if job.running else None)()


def _watched(page: str, job: Job, draw: Callable[[Job], None]) -> None:
    running = job.running
    st.code(f"edgeq {' '.join(job.words)}", language="sh")
    if running:
        share = min(1.0, job.done / job.total) if job.total else 0.0
        count = f", {job.done:,} of {job.total:,}" if job.total else ""
        st.progress(share, text=labels.literal(f"{job.stage}{count}"))
        if st.button("Stop", key=f"{page}-stop"):
            job.stop()
            st.rerun()
    draw(job)
    if running:
        st.session_state[f"{page}-watching"] = True
        return
    if job.stopped and job.run_id is None:
        st.warning("Stopped; nothing was stored.")
    elif job.stopped:
        st.warning(f"Stopped: [run {job.run_id}](./run?run={job.run_id}) says how far it came.")
    elif job.code:
        st.error(labels.literal(job.said or f"ended with code {job.code}"))
    elif job.run_id is not None:
        st.success(f"Done: [run {job.run_id}](./run?run={job.run_id})")
    else:
        st.success(labels.literal(job.said or "Done"))
    if st.session_state.pop(f"{page}-watching", False):
        st.rerun()  # the rest of the page too: a new run is in the store


def samples(job: Job) -> None:
    """The timings that have arrived, newest last."""
    if not job.ticks:
        return
    counted = any(word.startswith("sim:") for word in job.words)
    scale, unit = (1.0, "instructions") if counted else (1e6, "ms")
    ticks = list(job.ticks)
    first = job.count - len(ticks)
    points = [(float(first + i), tick / scale) for i, tick in enumerate(ticks)]
    st.caption(f"{job.count:,} samples so far; the newest {len(ticks):,} are drawn")
    st.vega_lite_chart(charts.line(points, "sample", unit, "sample, in order"))


def curves(job: Job) -> None:
    """The curves that have arrived, two in a row."""
    drawn = [(name, curve) for name, curve in job.curves.items() if curve.points]
    cells = st.columns(2) if drawn else []
    for i, (name, curve) in enumerate(drawn):
        with cells[i % 2]:
            st.metric(labels.metric(name), labels.quantity(curve.points[-1][1], curve.unit))
            if len(curve.points) > 1:
                st.vega_lite_chart(charts.line(list(curve.points), name, curve.unit, curve.x_unit))
