"""The HTML page in a real browser, as people use it: wide, narrow, dark, printed, by keyboard, broken and healthy."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from harness.model.observation import Observation
from harness.proof.faults.mutations import faults
from reports import conformance, html
from reports.picture import PATIENCE, browser, program
from reports.result import TopologyResult
from suites.selftest.support.good import TOPOLOGIES, good
from suites.selftest.support.results import judged, run_info

pytestmark = [
    pytest.mark.skipif(not program(), reason="no Chromium on PATH: `make test-browser` installs it"),
]
READABLE = 4.5
"""WCAG 2.2, 1.4.3: contrast of text."""
SHAPE = 3.0
"""WCAG 2.2, 1.4.11: contrast of what is drawn."""

CONTRASTS = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const found = rgba(getComputedStyle(each).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255, 255];
  };
  const under = (text) => {
    const box = text.getBBox();
    const x = box.x + box.width / 2, y = box.y + box.height / 2;
    const rects = [...text.ownerSVGElement.querySelectorAll("rect")].filter((rect) => {
      const r = rect.getBBox();
      return r.x <= x && x <= r.x + r.width && r.y <= y && y <= r.y + r.height;
    });
    return rects.length ? rgba(getComputedStyle(rects.at(-1)).fill) : ground(text.ownerSVGElement);
  };
  const worst = {};
  const note = (name, value) => { if (!(name in worst) || value < worst[name]) worst[name] = value; };
  const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const name = (element) => element.tagName.toLowerCase() + "." + (element.getAttribute("class") || "");
  for (const element of document.querySelectorAll("main *, header *, footer *")) {
    if (!own(element) || !element.checkVisibility()) continue;
    const svg = element instanceof SVGElement;
    if (svg && element.tagName !== "text") continue;
    const style = getComputedStyle(element);
    note(name(element), svg ? ratio(rgba(style.fill), under(element)) : ratio(rgba(style.color), ground(element)));
  }
  return worst;
}"""
"""The worst contrast of visible text, by element and class; colours are read as the browser paints them."""


class Opened:
    """A page in the browser, with everything it asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def style(self, selector: str, name: str) -> list[str]:
        """A property, as computed, of everything that a selector finds."""
        script = f"found => found.map(each => getComputedStyle(each).getPropertyValue('{name}'))"
        return list(self.page.eval_on_selector_all(selector, script))

    def colour(self, variable: str) -> str:
        """A colour of the page's palette, as the browser says it."""
        script = """name => { const probe = document.body.appendChild(document.createElement("i"));
          probe.style.color = `var(${name})`;
          const said = getComputedStyle(probe).color;
          probe.remove();
          return said; }"""
        return str(self.page.evaluate(script, variable))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(good_observations: Mapping[str, Observation], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The files of a healthy report of all topologies, of a broken one of two, and of one of three clusters."""
    directory = tmp_path_factory.mktemp("pages")
    broken = [
        faults()["gateway-no-address"].apply(good_observations["primary-remote-multi-network"]),
        faults()["secret-missing"].apply(good_observations["multi-primary-multi-network"]),
    ]
    three = [good(topology) for name, topology in TOPOLOGIES.items() if name.endswith("-clusters")]
    observations = {"healthy": [*good_observations.values()], "broken": broken, "three": three}
    return {name: _written(directory / f"{name}.html", [*map(judged, each)]) for name, each in observations.items()}


def _written(path: Path, results: list[TopologyResult]) -> Path:
    path.write_text(html.render(conformance.build(results, run_info()), results, run_info()))
    return path


@pytest.fixture
def show(chromium: Browser, pages: Mapping[str, Path]) -> Iterator[Any]:
    """Opens a page; in the end it must have asked for nothing but itself and complained of nothing."""
    contexts, seen = [], []

    def open_page(name: str, width: int = 1280, colours: Any = "light", part: str = "") -> Opened:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=colours)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        opened = Opened(context.new_page())
        address = pages[name].as_uri()
        opened.page.goto(address + part)
        seen.append((opened, address))
        return opened

    yield open_page
    for opened, address in seen:
        assert [url for url in opened.requests if url.partition("#")[0] != address] == []
        assert opened.complaints == []
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", ["healthy", "broken", "three"])
@pytest.mark.parametrize("width", [360, 760, 1280])
def test_nothing_overflows(show: Any, name: str, width: int) -> None:
    """Whatever is wider than the page scrolls in its own frame; nothing is cut off at either side."""
    page = show(name, width).page
    page.evaluate("document.querySelectorAll('.topology').forEach(each => { each.hidden = false; })")
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """width => [...document.querySelectorAll("main *")].filter(each => {
          const box = each.getBoundingClientRect();
          return box.width && !each.closest(".scroll") && (box.left < -0.5 || box.right > width + 0.5);
        }).map(each => each.outerHTML.slice(0, 120))""",
        width,
    )
    assert outside == []


@pytest.mark.parametrize("name", ["healthy", "broken"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_text_is_readable(show: Any, name: str, colours: str) -> None:
    opened = show(name, colours=colours)
    opened.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    worst = opened.page.evaluate(CONTRASTS)
    assert len(worst) > 40, "hardly any text was measured"
    assert {element: round(ratio, 2) for element, ratio in worst.items() if ratio < READABLE} == {}


@pytest.mark.parametrize(("colours", "dark"), [("light", False), ("dark", True)])
def test_colours_follow_the_system_until_somebody_chooses(show: Any, colours: str, dark: bool) -> None:
    opened = show("healthy", colours=colours)
    before = opened.style("body", "background-color")
    assert (sum(map(int, before[0].strip("rgb()").split(","))) < 3 * 128) is dark
    opened.page.get_by_role("button", name="Switch to").click()
    after = opened.style("body", "background-color")
    assert (sum(map(int, after[0].strip("rgb()").split(","))) < 3 * 128) is not dark
    opened.page.reload()
    assert opened.style("body", "background-color") == after


def test_causes_stand_first_where_something_failed(show: Any) -> None:
    """Named under the verdict, within the first screen; then in full before the drawing and the requirements."""
    page = show("broken").page
    assert page.locator("h1").inner_text() == "Not conformant"
    assert page.locator(".because li").count() >= 2
    assert page.locator(".because").bounding_box()["y"] < 400
    order = [page.locator(f"#t1 {part}").first.bounding_box()["y"] for part in (".cause", ".drawing", ".requirement")]
    assert order == sorted(order)
    cause = page.locator("#t1-cause-1")
    for word in ("Where", "Expected", "Found", "Repair", "Explains"):
        assert cause.get_by_text(word, exact=True).is_visible()
    page.locator(".because a").nth(1).click()
    assert page.locator("#t2-cause-1 dl").is_visible(), "a cause of another topology shows that topology"


def test_a_healthy_report_has_no_causes_and_no_red(show: Any) -> None:
    opened = show("healthy")
    page, red = opened.page, opened.colour("--bad")
    assert page.locator("h1").inner_text() == "Conformant"
    assert page.locator(".because, .cause, .cross").count() == 0
    drawn = ".drawing svg :not(defs, defs *)"
    assert red not in opened.style(drawn, "stroke") + opened.style(drawn, "fill")


def test_what_is_broken_is_drawn_in_red(show: Any) -> None:
    """The gateway at fault and the requests that don't get through; in the other topology the remote secret."""
    opened = show("broken")
    page, red = opened.page, opened.colour("--bad")
    assert opened.style("#t1 .row.s-cause > rect", "stroke") == [red]
    assert page.locator("#t1 .row.s-cause .label").text_content() == "east-west gateway"
    assert opened.style("#t1 .arrow.traffic.s-broken > path", "stroke") == [red]
    assert opened.style("#t1 .arrow.traffic.s-broken > text", "fill") == [red]
    assert red not in opened.style("#t1 .s-good > *", "stroke")
    assert red in opened.style("#t2 .arrow.secret > path", "stroke")


@pytest.mark.parametrize("name", ["healthy", "three"])
def test_words_of_the_drawing_don_t_cover_each_other(show: Any, name: str) -> None:
    """In every topology, for two and for three clusters."""
    page = show(name).page
    page.evaluate("document.querySelectorAll('.topology').forEach(each => { each.hidden = false; })")
    covered = page.evaluate(
        """() => [...document.querySelectorAll(".drawing svg[role]")].flatMap(svg => {
          const words = [...svg.querySelectorAll("text")].map(each => [each, each.getBBox()]);
          return words.flatMap(([a, p], n) => words.slice(n + 1).filter(([, q]) =>
            p.x < q.x + q.width && q.x < p.x + p.width && p.y < q.y + q.height - 3 && q.y < p.y + p.height - 3
          ).map(([b]) => `${a.textContent} | ${b.textContent}`));
        })"""
    )
    assert covered == []
    assert page.locator(".drawing svg[role]").count() >= 2


def test_evidence_unfolds_by_click_and_by_keyboard(show: Any) -> None:
    page = show("healthy").page
    row = page.locator("#t1-CERT-SECRET")
    assert not row.locator(".body").is_visible()
    row.locator("summary").click()
    assert row.locator(".body").is_visible()
    assert row.locator("h5", has_text="Evidence").is_visible()
    for key in ("Enter", "Space"):
        other = page.locator(f"#t1-{'CERT-CHAIN' if key == 'Enter' else 'CERT-KEY-MATCH'}")
        other.locator("summary").focus()
        page.keyboard.press(key)
        assert other.locator(".body").is_visible(), key
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", "the focus is seen"


def test_topologies_are_chosen_by_keyboard(show: Any) -> None:
    page = show("broken").page
    tabs = page.get_by_role("tab")
    tabs.first.focus()
    page.keyboard.press("ArrowRight")
    assert [tab.get_attribute("aria-selected") for tab in tabs.all()] == ["false", "true"]
    assert not page.locator("#t1").is_visible()
    assert page.locator("#t2").is_visible()


def test_filters_show_what_was_asked_for(show: Any) -> None:
    page = show("broken").page
    section = page.locator("#t1 .requirements")
    section.get_by_role("button", name="passed").click()
    shown = section.locator(".requirement:visible")
    assert shown.count() > 20, "areas that were folded unfold"
    assert {each.get_attribute("data-verdict") for each in shown.all()} == {"pass"}
    section.get_by_role("button", name="failed").click()
    assert {each.get_attribute("data-verdict") for each in section.locator(".requirement:visible").all()} == {"fail"}


def test_a_link_to_a_requirement_unfolds_it_and_all_around_it(show: Any) -> None:
    page = show("broken", part="#t2-CERT-SECRET").page
    assert page.locator("#t2-CERT-SECRET .body").is_visible()
    assert not page.locator("#t1").is_visible()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_printed_form_shows_everything(show: Any, colours: str) -> None:
    """All topologies, all evidence, on white; the controls stay away."""
    opened = show("broken", colours=colours)
    page = opened.page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    for selector in (".topology", ".area", ".requirement .body", ".cause dl", ".card", ".images table", ".gantt"):
        found = page.locator(selector).all()
        assert found
        assert all(each.is_visible() for each in found), selector
    for selector in (".theme", ".filters", ".tabs", ".copy"):
        assert not any(each.is_visible() for each in page.locator(selector).all()), selector
    assert opened.style("body", "background-color") == ["rgb(255, 255, 255)"]
    assert len(page.pdf(format="A4")) > 50_000
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert not page.locator("#t1-CERT-SECRET .body").is_visible(), "folded again"


def test_without_scripts_everything_is_still_there(chromium: Browser, pages: Mapping[str, Path]) -> None:
    context = chromium.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(pages["broken"].as_uri())
    assert page.locator("#t1").is_visible()
    assert page.locator("#t2").is_visible()
    page.locator("#t1-GW-REACHABLE summary").click()
    assert page.locator("#t1-GW-REACHABLE .body").is_visible()
    context.close()
