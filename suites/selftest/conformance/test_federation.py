"""Control planes with trust domains of their own, as in Istio's sample spire-trust-domain-federation."""

import base64
from collections.abc import Mapping

import pytest

from harness.judge.judgement import Verdict
from harness.model.cluster import Container, Pod
from harness.model.istio import MeshConfig
from harness.model.observation import Observation
from harness.observe import envoy
from suites.selftest.conformance.test_ca_forms import NAMES, causes, domains, failed, mesh, plugged
from suites.selftest.support.breakage import judged, on
from suites.selftest.support.certificates import pki


def _federated(good: Observation, on_east: tuple[str, ...], on_west: tuple[str, ...]) -> Observation:
    """Each has the roots of the other's trust domain, in place of an alias."""
    changed = domains(mesh(good, plugged), (), ())
    for cluster, names in zip(changed.topology.clusters, (on_east, on_west), strict=True):
        more = {"caCertificates": [{"spiffeBundleUrl": "https://spire:8443", "trustDomains": list(names)}]}
        config = tuple(_with(each, mesh=more) for each in changed[cluster].mesh_config)
        changed = on(changed, cluster, mesh_config=config)
    return changed


def _with(config: MeshConfig, **update: Mapping[str, object]) -> MeshConfig:
    return config.model_copy(update={name: {**getattr(config, name), **more} for name, more in update.items()})


def _mesh_id(observation: Observation, value: str, *, pods: bool = True) -> Observation:
    """West has a mesh id of its own; its pods only where they were injected since."""
    west = observation.topology.clusters[1]
    observed = observation[west]

    def renamed(container: Container) -> Container:
        env = {key: value if key == "ISTIO_META_MESH_ID" else old for key, old in container.env.items()}
        return container.model_copy(update={"env": env})

    def injected(pod: Pod) -> Pod:
        return pod.model_copy(update={"containers": tuple(map(renamed, pod.containers))}) if pods else pod

    config = tuple(
        _with(each, values={"global": {**each.values["global"], "meshID": value}}) for each in observed.mesh_config
    )
    return on(observation, west, mesh_config=config, pods=tuple(map(injected, observed.pods)))


def test_trust_domains_may_differ_where_each_has_the_others_roots(
    good_observations: Mapping[str, Observation],
) -> None:
    good = good_observations[NAMES[0]]
    assert failed(_federated(good, ("west.local",), ("cluster.local",))) == {}
    one_way = _federated(good, ("west.local",), ())
    assert "CP-IDENTITY" in failed(one_way)
    assert any(each.startswith("trust-domains-differ") for each in causes(one_way))


@pytest.mark.parametrize(
    ("known", "pods", "verdict"),
    [
        (("cluster.local",), True, Verdict.PASS),
        # Its pods have another mesh id than its control plane gives now.
        (("cluster.local",), False, Verdict.FAIL),
        # West does not accept east's domain: this is no federation.
        ((), True, Verdict.FAIL),
    ],
    ids=["federated", "stale pods", "one way"],
)
def test_mesh_ids_may_differ_with_the_trust_domains(
    known: tuple[str, ...], pods: bool, verdict: Verdict, good_observations: Mapping[str, Observation]
) -> None:
    seen = _mesh_id(_federated(good_observations[NAMES[0]], ("west.local",), known), "west-mesh", pods=pods)
    identity = judged("CP-IDENTITY", seen)
    assert identity.verdict is verdict, identity.explanation
    assert any("mesh-ids-differ" in each for each in causes(seen)) is (known == ())


def test_mesh_ids_must_agree_in_one_trust_domain(good_observations: Mapping[str, Observation]) -> None:
    seen = _mesh_id(mesh(good_observations[NAMES[0]], plugged), "west-mesh")
    assert judged("CP-IDENTITY", seen).verdict is Verdict.FAIL


def test_roots_that_spire_gives_by_trust_domain_are_read() -> None:
    """In place of `trusted_ca`."""
    root = pki().root
    bundle = {"inline_bytes": base64.b64encode(root.pem.encode()).decode()}
    places = [{"name": "cluster.local", "trust_bundle": bundle}, {"name": "empty.local"}]
    context = {"custom_validator_config": {"name": "spiffe", "typed_config": {"trust_domains": places}}}
    dump = {"configs": [{"name": "ROOTCA", "secret": {"validation_context": context}}]}
    _, roots = envoy.secret_certificates(dump)
    assert [each.sha256 for each in roots] == [root.sha256]
