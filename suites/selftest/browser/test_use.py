"""The HTML page in a real browser as people use it: by mouse, by keyboard, by links, without scripts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from reports.picture import PATIENCE


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
