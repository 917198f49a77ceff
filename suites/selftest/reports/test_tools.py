"""What JUnit, Allure and a README show."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import allure_commons
import pytest

from harness.model.observation import Observation
from reports import allure, badge, conformance, junit
from reports.result import TopologyResult
from suites.catalogue import catalogue
from suites.selftest.support.results import judged, run_info, without_address

NAME = "multi-primary-multi-network"


@pytest.fixture(scope="module")
def broken(good_observations: Mapping[str, Observation]) -> TopologyResult:
    """A mesh whose last gateway has no address, judged."""
    return judged(without_address(good_observations[NAME]))


class _Heard:
    """Hears what is said to Allure."""

    def __init__(self) -> None:
        self.labels: dict[str, tuple[str, ...]] = {}
        self.attached: dict[str, str] = {}
        self.title = self.description = ""

    @allure_commons.hookimpl
    def add_title(self, test_title: str) -> None:
        self.title = test_title

    @allure_commons.hookimpl
    def add_description(self, test_description: str) -> None:
        self.description = test_description

    @allure_commons.hookimpl
    def add_label(self, label_type: str, labels: tuple[str, ...]) -> None:
        self.labels[str(label_type)] = labels

    @allure_commons.hookimpl
    def attach_data(self, body: str, name: str) -> None:
        self.attached[name] = body


@pytest.fixture
def heard() -> Iterator[_Heard]:
    listener = _Heard()
    allure_commons.plugin_manager.register(listener)
    yield listener
    allure_commons.plugin_manager.unregister(listener)


def test_badge_is_well_formed(broken: TopologyResult) -> None:
    """Valid XML with the result."""
    text = badge.render(conformance.build([broken], run_info()))
    title = ET.fromstring(text).find("{http://www.w3.org/2000/svg}title")  # noqa: S314 - our own text
    assert title is not None
    assert (title.text or "").startswith("multi-cluster mesh: not conformant")


def test_junit_properties(broken: TopologyResult) -> None:
    """Requirement, level, area, topology, verdict and causes."""
    judgement = next(each for each in broken.judgements if each.id == "GW-ADDRESS")
    assert junit.properties(judgement, NAME, broken.causes) == [
        ("requirement", "GW-ADDRESS"),
        ("level", "MUST"),
        ("area", "gateways"),
        ("topology", NAME),
        ("verdict", "fail"),
        ("cause", "gateway-no-address"),
    ]


def test_allure_is_told_of_a_requirement(broken: TopologyResult, heard: _Heard) -> None:
    """Labels, severity, text, evidence and causes."""
    judgement = next(each for each in broken.judgements if each.id == "GW-ADDRESS")
    allure.describe(catalogue()["GW-ADDRESS"], NAME)
    allure.attach(judgement, broken.causes)
    assert heard.title.startswith("GW-ADDRESS: ")
    assert "docs/requirements.md#gw-address" in heard.description
    assert heard.labels["epic"] == (NAME,)
    assert heard.labels["feature"] == ("gateways",)
    assert heard.labels["severity"] == ("blocker",)
    assert set(heard.attached) == {"Findings", "Evidence", f"Cause: {broken.causes[0].title}"}


def test_allure_has_the_procedure(broken: TopologyResult, tmp_path: Path) -> None:
    """A result with every step under its phase, what went wrong, and the observation."""
    allure.write_procedure(broken.observation, NAME, tmp_path)
    (written,) = tmp_path.glob("*-result.json")
    result: dict[str, Any] = json.loads(written.read_text())
    assert result["status"] == "failed"
    assert result["statusDetails"]["message"] == "west: Wait for the gateway's address: no available IPs"
    clusters, mesh = result["steps"]
    assert [step["name"] for step in clusters["steps"]] == ["east: Create the cluster", "west: Create the cluster"]
    assert (clusters["name"], clusters["status"], mesh["name"], mesh["status"]) == (
        "clusters",
        "passed",
        "mesh",
        "failed",
    )
    assert clusters["stop"] - clusters["start"] == 17_500
    (waited,) = mesh["steps"]
    assert waited["name"] == "west: Wait for the gateway's address"
    assert waited["stop"] - waited["start"] == 20_000
    attached = tmp_path / result["attachments"][0]["source"]
    assert Observation.model_validate_json(attached.read_text()) == broken.observation


def test_allure_environment(broken: TopologyResult, tmp_path: Path) -> None:
    """What Allure shows of the environment."""
    allure.write_environment(conformance.build([broken], run_info()), tmp_path)
    lines = (tmp_path / "environment.properties").read_text().splitlines()
    assert f"{NAME}.installer=istioctl" in lines
