"""Causes: named on broken observations, silent on good ones, documented, and found along the graph."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.judge.diagnose import STEP_FAILED, UNEXPLAINED, candidates, diagnose
from harness.judge.diagnose.documentation import page
from harness.judge.diagnose.graph import Layer, LayerNode, judged_at, upstream
from harness.judge.diagnose.registry import detectors
from harness.judge.judgement import Verdict
from harness.model.cluster import ClusterObservation
from harness.model.observation import Observation
from harness.model.step import Outcome
from harness.model.topology import ControlPlaneModel, NetworkModel, Topology, preset
from harness.proof.faults.edit import east, edit, on
from harness.proof.faults.mutations import faults
from suites.catalogue import catalogue
from suites.selftest.support.good import TOPOLOGIES, good
from suites.selftest.support.good_experiments import good_experiments
from suites.selftest.support.judgements import failed, judged

PAGE = Path(__file__).parents[3] / "docs" / "causes.md"
REMOTE = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI)
KEPT = {"name", "context", "api_server", "kubernetes_version", "readings"}
PRIMARIES = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)


@pytest.mark.parametrize("installer", ["istioctl", "sail"])
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_good_mesh_has_no_cause(name: str, installer: str) -> None:
    """No detector finds anything in a good observation."""
    observation = good(TOPOLOGIES[name], installer)
    seen = good_experiments(observation)
    assert candidates(observation.model_copy(update={"experiments": seen})) == ()


@pytest.mark.parametrize("field", [name for name in ClusterObservation.model_fields if name not in KEPT])
@pytest.mark.parametrize("topology", [REMOTE, PRIMARIES], ids=lambda topology: topology.name)
def test_whatever_is_missing_is_survived(
    topology: Topology, field: str, good_observations: Mapping[str, Observation]
) -> None:
    """Broken meshes lack things: no detector may stumble over that, and something is said of it."""
    observation = good_observations[topology.name]
    for cluster in topology.clusters:
        default = ClusterObservation.model_fields[field].get_default()
        broken = on(observation, cluster, **{field: default})
        judgements = judged(broken)
        failed = {judgement.id for judgement in judgements if judgement.verdict is Verdict.FAIL}
        assert failed <= {row for cause in diagnose(broken, judgements) for row in cause.explains}


def test_nothing_broken_gives_no_cause(good_observations: Mapping[str, Observation]) -> None:
    """A setting that hurts nobody is no fault."""
    broken = faults()["all-local"].mutated(good_observations[PRIMARIES.name])
    assert diagnose(broken, ()) == ()


def test_failures_without_a_known_cause_get_their_own(good_observations: Mapping[str, Observation]) -> None:
    """Nothing that failed is without a cause."""
    (cause,) = diagnose(good_observations[REMOTE.name], failed("TR-REACH"))
    assert (cause.id, cause.object, cause.found, cause.explains) == (UNEXPLAINED, "thing", "other", ("TR-REACH",))
    assert cause.evidence


def test_a_step_that_failed_explains_what_nothing_else_does(good_observations: Mapping[str, Observation]) -> None:
    """The step's own last words are the cause."""
    observation = good_observations[REMOTE.name]
    steps = edit(observation.steps, lambda s: s.cluster == "west", outcome=Outcome.FAILED, detail="gave up after 180 s")
    (cause,) = diagnose(observation.model_copy(update={"steps": steps}), failed("CP-READY", "TR-REACH"))
    assert (cause.id, cause.cluster, cause.found) == (STEP_FAILED, "west", "gave up after 180 s")
    assert cause.explains == ("CP-READY", "TR-REACH")


def test_an_effect_is_not_named_beside_its_cause(good_observations: Mapping[str, Observation]) -> None:
    """A silent port behind a gateway that is down, or an istiod that its expired CA keeps from starting."""
    down = faults()["gateway-down"].mutated(good_observations[PRIMARIES.name])
    assert "gateway-filtered" not in {candidate.detector.id for candidate in candidates(down)}
    both = faults()["control-plane-down"].mutated(faults()["key-mismatch"].mutated(good_observations[PRIMARIES.name]))
    assert [cause.id for cause in diagnose(both, judged(both))] == ["key-mismatch"]


def test_the_graph_leads_from_a_remote_to_its_primary() -> None:
    """A remote's webhook needs its primary's gateway and remote secret; a primary needs nobody's."""
    needed = upstream(REMOTE, LayerNode(Layer.CONTROL_PLANE, "west"))
    assert {
        LayerNode(Layer.GATEWAYS, "east"),
        LayerNode(Layer.REMOTE_SECRETS, "east"),
        LayerNode(Layer.CERTIFICATES, "east"),
    } <= needed
    assert LayerNode(Layer.CERTIFICATES, "west") not in needed
    assert {node.cluster for node in upstream(PRIMARIES, LayerNode(Layer.CONTROL_PLANE, "west"))} == {"west"}


@pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=lambda topology: topology.name)
def test_the_graph_has_no_cycle(topology: Topology) -> None:
    """No node needs another that needs it."""
    nodes = [LayerNode(layer, cluster.name) for layer in Layer for cluster in topology.clusters]
    for node in nodes:
        for other in upstream(topology, node) - {node}:
            assert node not in upstream(topology, other), (node, other)


def test_every_requirement_has_its_place_in_the_graph() -> None:
    """Else what follows from a cause could not be told."""
    assert [row for row in catalogue() if judged_at(row) is None] == []


def test_what_causes_prove_is_in_the_catalogue() -> None:
    """A requirement that was renamed must be renamed here too."""
    assert {row for detector in detectors() for row in detector.proves} <= catalogue().keys()


def test_causes_are_documented() -> None:
    """docs/causes.md is what `python -m harness.judge.diagnose` makes, with an anchor for every id."""
    text = PAGE.read_text()
    assert text == page(), "run: python -m harness.judge.diagnose > docs/causes.md"
    for detector in detectors():
        assert f'<a id="{detector.id}"></a>' in text
        assert detector.title and detector.explanation.strip(), detector.id


def test_a_cause_of_the_other_cluster_leaves_an_effect_alone(good_observations: Mapping[str, Observation]) -> None:
    """West's istiod does not need East's certificates."""
    observation = faults()["control-plane-down"].mutated(good_observations[PRIMARIES.name])
    secret = observation[east(observation)].ca_secret
    assert secret
    broken = on(observation, east(observation), ca_secret=secret.model_copy(update={"key_matches": False}))
    assert {cause.id for cause in diagnose(broken, judged(broken))} == {"key-mismatch", "control-plane-down"}


def test_a_detector_is_plain_data() -> None:
    """It can be compared and copied."""
    first = detectors()[0]
    assert replace(first) == first
