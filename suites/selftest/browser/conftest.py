"""A browser, and pages of the report in it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from harness.model.observation import Observation
from harness.proof.faults.mutations import faults
from reports import conformance, html
from reports.picture import PATIENCE, browser, program
from reports.result import TopologyResult
from suites.selftest.browser.opened import Opened
from suites.selftest.support.good import TOPOLOGIES, good
from suites.selftest.support.results import judged, run_info


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if not program():
        pytest.skip("no Chromium on PATH: `make test-browser` installs it")
    with browser() as opened:
        yield opened


@pytest.fixture(scope="package")
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
