"""Mixed topologies from a file: what they come to, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.base.errors import UserError
from harness.model.topology import ControlPlaneModel, Feature, NetworkModel, Role, preset
from harness.runs.options import OPTIONS, Options, parse
from harness.runs.topology_file import load
from harness.runs.topology_file import parse as parse_file

MIXED = """
clusters:
  - {name: east, network: network1}
  - {name: west, network: network2}
  - {name: north, network: network1, primary: east}
"""


def _write(path: Path, text: str = MIXED) -> Path:
    path.write_text(text)
    return path


def _options(**given: Any) -> Options:
    defaults: dict[str, Any] = {option.name: [] if option.repeatable else option.default for option in OPTIONS}
    values = {**defaults, **{name.replace("_", "-"): value for name, value in given.items()}}
    return parse(lambda name: values[name], {})


def test_two_primaries_and_a_remote(tmp_path: Path) -> None:
    """Three clusters on two networks: every feature at once, a gateway everywhere, remote secrets between all."""
    topology = load(_write(tmp_path / "mixed.yaml"))
    assert topology.name == "mixed"
    assert [cluster.role for cluster in topology.clusters] == [Role.PRIMARY, Role.PRIMARY, Role.REMOTE]
    assert [cluster.cluster_name for cluster in topology.clusters] == ["cluster1", "cluster2", "cluster3"]
    assert [cluster.version for cluster in topology.clusters] == ["v1", "v2", "v3"]
    assert topology.features == frozenset(Feature)
    assert all(topology.has_gateway(cluster) for cluster in topology.clusters)
    assert {watched.name for watched in topology.watched_by(topology["west"])} == {"east", "north"}


OUTSIDE: dict[str, Any] = {"name": "control", "role": "external"}


def _served(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "network": "network1", "primary": "control"} for name in names]


def test_a_control_plane_outside_of_the_mesh() -> None:
    """The first that it serves is where its configuration is, the others are remotes; it is no part of the mesh."""
    topology = parse_file({"clusters": [OUTSIDE, *_served("east", "west")]}, "external.yaml", "external")
    assert [cluster.name for cluster in topology.every] == ["control", "east", "west"]
    assert [(c.role, c.primary, c.host, c.version) for c in topology.clusters] == [
        (Role.PRIMARY, "east", "control", "v1"),
        (Role.REMOTE, "east", "", "v2"),
    ]
    east, west = topology.clusters
    assert [topology.has_gateway(cluster) for cluster in topology.every] == [True, False, False]
    assert topology.dependents(topology["control"]) == (east, west)
    assert topology.dependents(east) == ()
    built_in = preset(ControlPlaneModel.EXTERNAL, NetworkModel.SINGLE)
    assert (built_in.clusters, built_in.hosts) == (topology.clusters, topology.hosts)


def test_contexts_of_an_external_control_plane() -> None:
    """One of the contexts is that of its own cluster; `all` are the chapter's models."""
    (topology,) = _options(topology="external", contexts="control,east,west").topologies
    assert (len(topology.clusters), len(topology.hosts)) == (2, 1)
    assert not any(topology.hosts for topology in _options(topology="all").topologies)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"clusters": [*_served("east", "west"), OUTSIDE]}, "come before"),
        ({"clusters": [OUTSIDE | {"network": "n"}, *_served("east", "west")]}, "outside of the mesh"),
        ({"clusters": [OUTSIDE, OUTSIDE | {"name": "idle"}, *_served("east", "west")]}, "of one primary"),
        ({"clusters": [{"name": "east"}, {"name": "west"}]}, "names no network"),
        ({"cluster": []}, "did you mean clusters"),
        ({"clusters": [{"name": "east", "netwrok": "network1"}]}, "did you mean network"),
        ({"clusters": [{"name": "east", "network": "network1"}]}, "at least two clusters"),
        ({"clusters": [{"name": "East!", "network": "network1"}]}, "clusters.0.name"),
        ({"clusters": [{"name": name, "network": "n", "primary": "south"} for name in ("a", "b")]}, "south"),
        ({"clusters": [{"name": "a", "network": "n"}] * 2}, "two clusters have the same name"),
        ({}, "clusters"),
    ],
)
def test_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        parse_file(change, "mixed.yaml", "mixed")


@pytest.mark.parametrize("text", ["- a\n", "{", ""])
def test_no_mapping(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError):
        load(_write(tmp_path / "mixed.yaml", text))


def test_option_is_repeatable(tmp_path: Path) -> None:
    files = [str(_write(tmp_path / f"{name}.yaml")) for name in ("one", "two")]
    assert [topology.name for topology in _options(topology_file=files).topologies] == ["one", "two"]
    with pytest.raises(UserError, match="Two topology files"):
        _options(topology_file=[files[0]] * 2)


@pytest.mark.parametrize("other", [{"topology": "multi-primary"}, {"network": "single"}, {"clusters": "3"}])
def test_option_excludes_others(tmp_path: Path, other: dict[str, str]) -> None:
    with pytest.raises(UserError, match="exclude each other"):
        _options(topology_file=[str(_write(tmp_path / "mixed.yaml"))], **other)


def test_contexts_are_those_of_the_file(tmp_path: Path) -> None:
    mixed = str(_write(tmp_path / "mixed.yaml"))
    assert _options(topology_file=[mixed], contexts="a,b,c").contexts == ("a", "b", "c")
    with pytest.raises(UserError, match="3 clusters"):
        _options(topology_file=[mixed], contexts="a,b")
    data = yaml.safe_load(MIXED)
    data["clusters"][1]["name"] = "other"
    renamed = str(_write(tmp_path / "renamed.yaml", yaml.safe_dump(data)))
    with pytest.raises(UserError, match="give their clusters different names"):
        _options(topology_file=[mixed, renamed], contexts="a,b,c")


def test_the_documented_file_is_the_one_that_is_run() -> None:
    docs = Path(__file__).parents[3] / "docs"
    run = (docs / "mixed-topology.yaml").read_text()
    assert f"```yaml\n{run}```" in (docs / "topology-files.md").read_text()
    assert yaml.safe_load(run)["clusters"] == yaml.safe_load(MIXED)["clusters"]
