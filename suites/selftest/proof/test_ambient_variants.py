"""Variants in a mesh of ztunnels: what they touch is put back, and what they configure is no fault."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Verdict
from harness.kube.api import Object
from harness.model import expectations
from harness.model.cluster import ConfigObject
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation
from harness.proof.faults.acts import policies
from harness.proof.faults.edit import edit, on, with_config, with_mesh
from harness.proof.live import updates
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.variants.registry import select, variants
from suites.selftest.support.ambient import ambient
from suites.selftest.support.fake_kube import FakeKube
from suites.selftest.support.foreign import foreign
from suites.selftest.support.judgements import judged
from suites.selftest.support.live_mesh import live_mesh, spec, state

VARIANTS = {each.id: each for each in select(variants(), ambient().topology, plane=DataPlane.AMBIENT)}
FOUND = foreign(ambient().model_copy(update={"experiments": None, "cleanup": None, "steps": ()}))


class BoomError(Exception):
    """What happens while a variant is in force."""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "await_quiet", lambda *_: None)
    monkeypatch.setattr(policies, "await_true", lambda *_: None)
    monkeypatch.setattr(policies, "_in_use", lambda *_: {})


def _live() -> tuple[LiveMesh, Mapping[str, FakeKube]]:
    live, kubes = live_mesh(ambient())
    for kube in kubes.values():
        kube.merge("v1", "Service", "helloworld", {"metadata": {"labels": {"istio.io/global": "true"}}}, "sample")
    settings = replace(live.mesh.settings, data_plane=DataPlane.AMBIENT)
    return replace(live, mesh=replace(live.mesh, settings=settings)), kubes


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_variant_touches_is_put_back(variant: str) -> None:
    """Also when something fails while it is in force."""
    live, kubes = _live()
    before = state(kubes)
    with pytest.raises(BoomError), VARIANTS[variant].act(live):
        changed = state(kubes)
        raise BoomError
    assert any(spec(changed[name]) != spec(before[name]) for name in kubes)
    after = state(kubes)
    assert {name: spec(after[name]) for name in kubes} == {name: spec(before[name]) for name in kubes}


def _configured(variant: str) -> Observation:
    """The recorded mesh with the policies of a variant."""
    live, kubes = _live()
    seen = FOUND
    with VARIANTS[variant].act(live):
        for cluster in seen.topology.clusters:
            found = [raw for raw in kubes[cluster.name].objects.values() if "security.istio.io" in raw["apiVersion"]]
            seen = with_config(seen, (cluster,), *map(_config_object, found))
    return seen


def _config_object(raw: Object) -> ConfigObject:
    place = raw["metadata"]
    return ConfigObject(
        api_version=raw["apiVersion"],
        kind=raw["kind"],
        namespace=place["namespace"],
        name=place["name"],
        spec=raw["spec"],
    )


def _alarms(seen: Observation) -> set[str]:
    fine = {Verdict.PASS, Verdict.SKIPPED, Verdict.NOT_APPLICABLE}
    judgements = judged(seen)
    return {each.id for each in judgements if each.verdict not in fine} | {c.id for c in diagnose(seen, judgements)}


@pytest.mark.parametrize("variant", ["strict-sample", "permissive", "allow-sample", "deny-elsewhere"])
def test_its_policies_are_no_fault(variant: str) -> None:
    seen = _configured(variant)
    assert len(seen["east"].config) > len(FOUND["east"].config)
    assert _alarms(seen) == set()


def test_a_service_may_be_global_by_its_namespace() -> None:
    """Without the label that the profile looks for; with neither it is local."""
    name = {"kubernetes.io/metadata.name": "sample"}
    by_namespace = {"serviceScopeConfigs": [{"namespaceSelector": {"matchLabels": name}, "scope": "GLOBAL"}]}
    unlabelled = FOUND
    for cluster in FOUND.topology.clusters:
        services = edit(FOUND[cluster].services, lambda each: each.name == expectations.HELLOWORLD, labels={})
        unlabelled = on(unlabelled, cluster, services=services)
    assert _alarms(with_mesh(unlabelled, unlabelled.topology.primaries, **by_namespace)) == set()
    assert "AMB-SCOPE" in _alarms(unlabelled)
