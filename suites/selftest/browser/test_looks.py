"""How the HTML page looks in a real browser: wide, narrow, light, dark, printed, broken and healthy."""

from pathlib import Path
from typing import Any

import pytest

READABLE = 4.5
"""WCAG 2.2, 1.4.3: contrast of text."""
CONTRASTS = Path(__file__).with_name("contrasts.js").read_text()


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
