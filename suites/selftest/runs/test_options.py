"""Every option is declared once: what pytest, the parser and the documentation know of it follows from that."""

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.mesh.settings import Images
from harness.model.data_plane import DataPlane
from harness.runs.environment import needs
from harness.runs.options import OPTIONS, Options, parse
from harness.runs.options.page import OTHERS, page
from suites.catalogue import catalogue

ROOT = Path(__file__).parents[3]
AMBIENT = {"data-plane": "ambient", "topology": "multi-primary"}
BY_NAME = {option.name: option for option in OPTIONS}


def _parsed(**given: Any) -> Options:
    values = {name: option.not_given for name, option in BY_NAME.items()}
    return parse(lambda name: (values | given)[name], {})


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "options.md").read_text() == page(), "run: python -m harness.runs.options > docs/options.md"
    assert "docs/options.md" in (ROOT / "README.md").read_text()


def test_names_are_declared_once() -> None:
    assert len(BY_NAME) == len({option.field for option in OPTIONS}) == len(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_page_that_an_option_names_is_there(option: Any) -> None:
    assert not option.page or (ROOT / "docs" / option.page).exists()


def test_variables_that_are_set_somewhere_exist() -> None:
    """In the image, in the workflows and in the Makefile."""
    files = [ROOT / "Containerfile", ROOT / "Makefile", *(ROOT / ".github").rglob("*.yml"), ROOT / ".ci" / "run"]
    named = {name for file in files for name in re.findall(r"\bEASTWEST_[A-Z_]+\b", file.read_text())}
    assert "EASTWEST_OUTPUT" in named
    assert named <= {option.variable for option in OPTIONS} | set(re.findall(r"EASTWEST_[A-Z_]+", OTHERS))


def test_the_command_line_gives_what_the_variable_gives() -> None:
    parser = argparse.ArgumentParser()
    for option in OPTIONS:
        parser.add_argument(f"--{option.name}", **option.arguments)  # type: ignore[arg-type]
    for option in OPTIONS:
        value = option.default or "1"
        argument = f"--{option.name}" if option.flag else f"--{option.name}={value}"
        found = getattr(parser.parse_args([argument]), option.destination)
        assert option.read(found, None) == option.read(None, value)
        assert getattr(parser.parse_args([]), option.destination) is None
    assert parser.parse_args(["--plan"]).eastwest_plan == "text"


def test_without_anything_all_defaults_hold() -> None:
    found = _parsed()
    assert [topology.name for topology in found.topologies] == [
        "multi-primary-multi-network",
        "primary-remote-multi-network",
    ]
    assert (found.images.source, found.output, found.timeout_scale) == ("auto", Path("output"), 1.0)
    assert (found.plan, found.pki, found.distribution.name) == ("", None, "istio")


def test_sidecars_are_the_default() -> None:
    assert _parsed().data_plane is DataPlane.SIDECAR
    assert _parsed(**AMBIENT).data_plane is DataPlane.AMBIENT


def test_a_mesh_that_is_there_shows_what_carries_its_traffic() -> None:
    """Whatever topology it has, and of whatever version: the option only says it beforehand."""
    found = {"verify-only": True, "contexts": "a,b", "istio-version": "1.27.9"}
    assert _parsed(**found).given_data_plane is None
    assert _parsed(**found, **{"data-plane": "ambient"}).given_data_plane is DataPlane.AMBIENT


def test_calls_of_one_connection_are_not_made_without_sidecars() -> None:
    """Nothing balances them there; every other experiment is made."""
    made = replace(_parsed(**AMBIENT), catalogue=catalogue()).experiments
    assert made == replace(_parsed(), catalogue=catalogue()).experiments - {"TR-GRPC"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"topology": ""}, "--topology is empty"),
        ({"network": "both"}, "--network=both is not known"),
        ({"clusters": "1"}, "--clusters=1 can't be used"),
        ({"timeout-scale": "inf"}, "--timeout-scale=inf can't be used"),
        ({"load-balancer": ""}, "--load-balancer= is not known"),
        ({"contexts": "a,a"}, "--contexts names a twice"),
        ({"peer-server": ["a"]}, "--peer-server=a can't be read"),
        ({"registry-mirror": "mirror"}, "--registry-mirror=mirror is no URL"),
        ({"requirement": "NO-SUCH"}, "--requirement=NO-SUCH is not known"),
        ({"skip-requirement": ["NO-SUCH:why"]}, "--skip-requirement=NO-SUCH is not known"),
        ({"scenario": "root-rotation"}, "--scenario needs --resilience"),
        ({"topology": "external", "resilience": True}, "--resilience can't be used with external-multi-network"),
        ({"verify-only": True}, "--verify-only needs --contexts"),
        ({"verify-only": True, "contexts": "a,b", "keep": True}, "--verify-only and --keep exclude each other"),
        ({"nodes": "2", "contexts": "a,b"}, "--nodes and --contexts exclude each other"),
        ({"images": "local", "node-image": "x"}, "--node-image can't be used with --images=local"),
        ({"images": "archive:f", "contexts": "a,b"}, "--images=archive and --contexts exclude"),
        ({"installer": "sail"}, "--installer=sail can't be used"),
        ({"data-plane": "waypoint"}, "--data-plane=waypoint is not known"),
        (AMBIENT | {"resilience": True}, "--data-plane=ambient and --resilience exclude each other"),
        ({"data-plane": "ambient"}, "--data-plane=ambient can't be used with primary-remote-multi-network"),
        (AMBIENT | {"network": "single"}, "--data-plane=ambient can't be used with multi-primary-single-network"),
        (AMBIENT | {"topology": "external"}, "--data-plane=ambient can't be used with external-multi-network"),
        (AMBIENT | {"istio-version": "1.27.9"}, "--data-plane=ambient can't be used with Istio 1.27.9"),
    ],
)
def test_what_can_not_be_used_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        _parsed(**given)


@pytest.mark.parametrize(
    ("source", "distribution", "programs"),
    [
        ("registry", "istio", ("istioctl", "kind")),
        ("registry", "sail", ("istioctl", "kind", "helm")),
        ("local", "sail", ()),
        ("archive", "istio", ()),
        ("archive", "sail", ("helm",)),
    ],
)
def test_programs_that_do_not_come_with_the_images_must_be_on_path(
    source: Images, distribution: str, programs: tuple[str, ...]
) -> None:
    """Helm is built only for a chart, and in no archive."""
    assert needs(_parsed(distribution=distribution), source).tools == programs
