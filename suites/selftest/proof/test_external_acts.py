"""Acts on the gateway of a control plane outside of the mesh."""

from collections.abc import Mapping
from typing import cast

import pytest

from harness.model.observation import Observation
from harness.proof.faults.acts import gateways, remotes
from harness.proof.faults.mutations import faults
from harness.proof.live import restarts, waits
from harness.proof.live.live_mesh import Act
from suites.selftest.support.live_mesh import SYSTEM, live_mesh


@pytest.mark.parametrize("fault", ["gateway-down", "gateway-no-address", "discovery-address-stale"])
def test_the_gateway_of_an_external_control_plane_stands_in_its_own_namespace(
    fault: str, made_observations: Mapping[str, Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a single network the mesh has no other gateway."""
    restarted: list[str] = []
    live, kubes = live_mesh(made_observations["external-single-network"])
    for module in (gateways, remotes):
        monkeypatch.setattr(module, "restart_gateways", lambda _, clusters: restarted.extend(c.name for c in clusters))
    for name in ("await_rollout", "await_addresses", "restart_istiod"):
        monkeypatch.setattr(gateways, name, lambda *_: None)
    monkeypatch.setattr(waits, "connected", lambda *_: frozenset())
    for name in ("await_true", "await_connected", "_require_address"):
        monkeypatch.setattr(remotes, name, lambda *_: None)
    with cast(Act, faults()[fault].act)(live):
        pass
    written = {write.partition(" ")[2] for kube in kubes.values() for write in kube.writes}
    assert written
    assert all(key.split("/")[1] == "external-istiod-gateway" for key in written), written
    assert not kubes["east"].writes and not kubes["west"].writes
    assert set(restarted) <= {"control"}


@pytest.mark.parametrize(
    ("topology", "namespaces"),
    [
        ("external-multi-network", {"control": "external-istiod-gateway", "east": SYSTEM, "west": SYSTEM}),
        ("primary-remote-single-network", {"east": SYSTEM}),
    ],
)
def test_gateways_are_restarted_where_they_stand(
    topology: str,
    namespaces: dict[str, str],
    made_observations: Mapping[str, Observation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live, _ = live_mesh(made_observations[topology])
    found: dict[str, str] = {}
    monkeypatch.setattr(restarts, "restart", lambda _, cluster, where, *__: found.update({cluster.name: where}))
    restarts.restart_gateways(live, live.mesh.topology.every)
    assert found == namespaces
