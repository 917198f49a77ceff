"""A real browser: takes the picture of a report for the README, and tests the page (`make test-browser`)."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from harness.base.errors import UserError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WIDTH = 1180
PATIENCE = 120_000.0
"""Milliseconds; a machine that builds a cluster beside it is slow."""


def program() -> str:
    """The path of the browser; empty where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), "")


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window, closed in the end.

    Raises:
        UserError: there is none.
    """
    if not program():
        raise UserError(
            "The report can't be shown in a browser.",
            f"none of {', '.join(PROGRAMS)} is on PATH",
            "install one (Debian: apt-get install chromium), or let `make test-browser` do it as root",
        )
    # Chromium's sandbox does not work for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program(), args=arguments, timeout=PATIENCE)
        try:
            yield opened
        finally:
            opened.close()


def take(page: Path, picture: Path) -> None:
    """Take the picture of a report: from its top to the end of the drawing of the first topology.

    Raises:
        UserError: there is no browser.
    """
    with browser() as opened:
        seen = opened.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        seen.set_default_timeout(PATIENCE)
        seen.goto(page.resolve().as_uri())
        box = seen.locator(".drawing").first.bounding_box()
        height = box["y"] + box["height"] + 24 if box else 900
        seen.screenshot(path=picture, full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
