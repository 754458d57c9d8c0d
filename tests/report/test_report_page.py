"""The report in a real browser: headless Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from rlpt.manifest import load_manifest
from rlpt.pipeline.jobs import curves
from rlpt.report.report import write_report
from tests.conftest import REPOSITORY, write_finished_run

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
OPTIONS += [f"--disable-{what}" for what in ("background-networking", "component-update", "sync")]
pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium: apt-get install chromium")
FIGURE = "#fig08_ik"
CHART = f"{FIGURE} .chart >> nth=1"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with the authors' logs, and made-up runs of Figure 8 at both sizes."""
    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(0)
    manifests = {}
    for profile, episodes in (("paper", 320), ("lite", 100)):
        names = ("fig08_ik", "fig10_ik_distracted")
        manifests[profile] = [load_manifest(REPOSITORY / "experiments" / f"{name}.toml", profile) for name in names]
        for curve in curves(manifests[profile][0]):
            returns = np.linspace(0, 500, episodes) + random.normal(0, 60, episodes)
            write_finished_run(curve.job, folder / "runs", returns.clip(0).tolist())
    return write_report(manifests, [folder / "runs"], folder / "out")[0]


class Watched:
    """A page of the report, and what its browser complained about or asked the network for."""

    def __init__(self, page: Page, index: Path) -> None:
        self.page, self.complaints, self.requests = page, list[str](), list[str]()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(index.as_uri())


@pytest.fixture
def watched(browser: Browser, index: Path) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    watched = Watched(page, index)
    yield watched
    page.close()
    assert watched.complaints == []


def test_nothing_is_fetched_and_nothing_goes_wrong(watched: Watched, index: Path) -> None:
    watched.page.hover(CHART + " >> svg")
    assert [url for url in watched.requests if not url.startswith("data:")] == [index.as_uri()]


def test_curves_are_toggled_by_mouse(watched: Watched) -> None:
    page = watched.page
    raw, smoothed = (page.locator(f"{CHART} >> g.{kind} >> nth=0") for kind in ("raw", "smoothed"))
    assert (raw.is_visible(), smoothed.is_visible()) == (False, True)
    page.click(f"{FIGURE} label:has-text('raw')")
    assert (raw.is_visible(), smoothed.is_visible()) == (True, False)
    assert page.locator("#fig10_ik_distracted .smoothed >> nth=0").is_visible()  # another figure is left alone
    page.click(f"{FIGURE} label:has-text('smoothed')")
    assert (raw.is_visible(), smoothed.is_visible()) == (False, True)


def test_curves_are_toggled_by_keyboard(watched: Watched) -> None:
    page = watched.page
    page.focus(f"{FIGURE} input[value=smoothed]")
    page.keyboard.press("ArrowRight")
    assert page.locator(f"{FIGURE} input[value=raw]").is_checked()
    assert page.locator(f"{CHART} >> g.raw >> nth=0").is_visible()
    page.keyboard.press("ArrowLeft")
    assert page.locator(f"{CHART} >> g.smoothed >> nth=0").is_visible()


def test_hovering_shows_values_with_their_interval(watched: Watched) -> None:
    page = watched.page
    readout = page.locator(f"{CHART} >> .readout")
    assert not readout.is_visible()
    page.locator(f"{CHART} >> svg").scroll_into_view_if_needed()
    box = page.locator(f"{CHART} >> svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"])
    text = readout.inner_text()
    assert "agent steps: 7" in text
    for label in ("Baseline", "IK cheetah", "IK reacher", "IK walker"):
        assert label in text
    assert text.count("[") == 4
    page.mouse.move(2, 2)
    assert not readout.is_visible()


def test_values_are_read_by_keyboard_and_spoken(watched: Watched) -> None:
    page = watched.page
    reader = page.locator(f"{CHART} >> .reader")
    page.focus(f"{FIGURE} input[value=smoothed]")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert reader.evaluate("each => each === document.activeElement")
    last = reader.get_attribute("aria-valuetext") or ""
    assert "77,500" in last
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Home")
    first = reader.get_attribute("aria-valuetext") or ""
    assert first.startswith("agent steps: 2,500. Baseline ")
    assert reader.get_attribute("aria-valuenow") == "2500"
    page.keyboard.press("Escape")
    assert not page.locator(f"{CHART} >> .readout").is_visible()


def test_whoever_does_not_see_it_is_told(watched: Watched) -> None:
    page = watched.page
    pictures = page.locator("svg:not([aria-hidden=true])")
    for label in pictures.evaluate_all("all => all.map(each => [each.getAttribute('role'), each.ariaLabel])"):
        assert label[0] == "img"
        assert len(label[1]) > 20
    told = page.locator(f"{CHART} >> svg").get_attribute("aria-label") or ""
    assert "IK reacher: final score 955 [937, 970]" in told
    tables = page.locator("table")
    assert tables.count() > 20
    assert tables.evaluate_all("all => all.every(each => each.caption && each.querySelector('thead th[scope=col]'))")
    assert page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])"
                         ".every((level, at, all) => !at || level <= all[at - 1] + 1)")  # fmt: skip
    assert page.locator("html").get_attribute("lang") == "en"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the verdicts"


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_page_is_wider_than_its_screen(watched: Watched, width: int) -> None:
    watched.page.set_viewport_size({"width": width, "height": 844})
    watched.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width


# The contrast of WCAG 2: 4.5 for text.
CONTRAST = """
() => {
  const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const background = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const found = parse(getComputedStyle(each).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const each of document.querySelectorAll("p, li, td, th, a, .badge, .way, summary, text, dt, dd, h1, h2, h3")) {
    const style = getComputedStyle(each);
    const pair = [each.tagName === "text" ? style.fill : style.color].map(parse).concat([background(each)]);
    const [light, dark] = pair.map(luminance).sort((a, b) => b - a);
    if ((light + 0.05) / (dark + 0.05) < 4.5) low.push(`${each.tagName}.${each.className} ${pair}`);
  }
  return low;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(browser: Browser, index: Path, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(index.as_uri())
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.evaluate(CONTRAST) == []
    lines = page.locator(f"{CHART} >> path.line").evaluate_all("all => all.map(each => getComputedStyle(each).stroke)")
    assert len(set(lines)) == 4
    page.close()


def test_on_paper_it_is_light_and_whole(browser: Browser, index: Path) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(index.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert not page.locator(f"{FIGURE} fieldset").is_visible()
    assert page.locator("details:not([open])").count() > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    page.close()


def test_without_scripts_everything_but_reading_off_works(browser: Browser, index: Path) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(index.as_uri())
    page.click(f"{FIGURE} label:has-text('raw')")
    assert page.locator(f"{CHART} >> g.raw >> nth=0").is_visible()
    page.close()
