"""The pages in a real browser: drawn, readable on a desk and on a phone, and a deploy driven from them."""

import pytest
from browser import WAIT_MS, overflow, shoot
from sample_runs import MIXED, RUN, another

from edgeq import _paths, deltas
from edgeq._errors import UnsupportedError
from edgeq.dashboard import server
from edgeq.results import Series, Store

WIDTHS = {"desk": 1280, "phone": 390}
PAGES = ("overview", "compare", "run", "live", "finetune", "zoo")
DEPLOY_MS = 600_000
DRAWN = "[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg"


@pytest.fixture
def open_page(chromium):
    """Open a page of the dashboard at a width and a theme; whatever the page's scripts raise is an error here."""
    contexts = []

    def open_at(address, *, width=1280, theme="light"):
        contexts.append(
            chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, device_scale_factor=1)
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(address, wait_until="domcontentloaded")
        return page

    yield open_at
    for context in contexts:
        context.close()


def settle(page):
    """Until the page's last line is there, nothing runs, and every chart has its picture."""
    page.wait_for_selector("text=Results store:")
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')")
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
    page.wait_for_function(
        "[...document.querySelectorAll('[data-testid=stVegaLiteChart]')].every(c => c.querySelector('canvas, svg'))"
    )


def test_every_page_on_a_desk_and_a_phone(fill, testing, open_page):
    warm = Series("temperature", "degC", "s", "measured", [(i / 2, 40 + i / 10) for i in range(11)])
    fill(*MIXED, another(series=(warm,)))
    with server.serve(0) as served:
        for kind, width in WIDTHS.items():
            for name in PAGES:
                theme = "dark" if name in ("run", "overview") and kind == "desk" else "light"
                page = open_page(f"{served.address}/{'' if name == 'overview' else name}", width=width, theme=theme)
                settle(page)
                if name in ("compare", "run"):
                    page.wait_for_selector(DRAWN)
                assert not page.query_selector("[data-testid=stException]"), name
                assert overflow(page) <= 0, (name, width)
                shoot(page, f"{name}-{width}-{theme}")
                page.context.close()


@pytest.mark.long
def test_a_deploy_from_the_browser_ends_with_its_run_in_the_table(path, testing, open_page):
    try:
        _paths.native("edgeq-agent", "EDGEQ_AGENT")
    except UnsupportedError as error:
        pytest.skip(str(error))
    with server.serve(0) as served:
        page = open_page(f"{served.address}/live")
        settle(page)
        choose(page, "Model", "pokebnn-fashion")
        page.get_by_label("Items to evaluate").fill("20")
        page.get_by_label("Items to evaluate").press("Enter")
        settle(page)
        page.get_by_role("button", name="Start").click()
        page.wait_for_selector("text=edgeq deploy pokebnn-fashion")
        shoot(page, "live-running")
        page.wait_for_selector("text=Done:", timeout=DEPLOY_MS)
        settle(page)
        shoot(page, "live-done")
        page.get_by_role("link", name="run 1").click()
        page.wait_for_selector("text=pokebnn-fashion")
    with Store.open(path, readonly=True) as store:
        run = store.run(1)
    assert (run["verb"], run["model"], run["device"]) == ("deploy", "pokebnn-fashion", "local")
    assert run["items"] == 20 and run["series"] is not None


@pytest.mark.long
def test_a_fine_tuning_from_the_browser_is_kept_and_rolled_back(testing, open_page, recordings):
    try:
        _paths.native("edgeq-agent", "EDGEQ_AGENT")
    except UnsupportedError as error:
        pytest.skip(str(error))
    with server.serve(0) as served:
        page = open_page(f"{served.address}/finetune")
        settle(page)
        choose(page, "Model", "denseshift-kws")
        page.get_by_label("Labelled samples").fill(str(recordings))
        page.get_by_label("Labelled samples").press("Enter")
        settle(page)
        page.get_by_role("button", name="Start").click()
        page.wait_for_selector("text=edgeq finetune denseshift-kws")
        page.wait_for_selector("text=Memory, planned", timeout=DEPLOY_MS)
        shoot(page, "finetune-running")
        page.wait_for_selector("text=Done:", timeout=DEPLOY_MS)
        page.wait_for_selector("text=kept: the held-out data agreed")
        settle(page)
        assert deltas.in_use("denseshift-kws") is not None
        shoot(page, "finetune-done")
        page.get_by_role("button", name="Roll back").click()
        page.wait_for_selector("text=is not in use: the base is.")
        settle(page)
        shoot(page, "finetune-undone")
        assert deltas.in_use("denseshift-kws") is None and overflow(page) <= 0


def choose(page, label, text):
    """Pick an option of a select box."""
    box = page.get_by_label(label, exact=True)
    box.click()
    box.fill(text)
    box.press("Enter")
    settle(page)


@pytest.mark.parametrize("kind", WIDTHS)
def test_a_run_is_drawn_and_fits(fill, testing, open_page, kind):
    fill(RUN)
    with server.serve(0) as served:
        page = open_page(f"{served.address}/run?run=1", width=WIDTHS[kind])
        settle(page)
        page.wait_for_selector(DRAWN)
        assert "1.5 ms" in page.inner_text("[data-testid=stMetric]")
        assert "net-a" in page.inner_text("[data-testid=stMain]")
        assert overflow(page) <= 0
