"""Acts on a mesh of ztunnels put back exactly what they touch; what ztunnels know is waited for."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

import pytest

from harness.mesh import manifests
from harness.model.data_plane import DataPlane
from harness.model.topology import Cluster
from harness.proof.faults.acts import ambient as acts
from harness.proof.faults.mutations import faults
from harness.proof.live import updates, waits, ztunnel_waits
from harness.proof.live.changes import Reference
from harness.proof.live.live_mesh import Act, LiveMesh
from suites.selftest.support.ambient import ambient
from suites.selftest.support.fake_kube import FakeKube
from suites.selftest.support.live_mesh import SAMPLE, SYSTEM, live_mesh, made_object, spec, state

OWN = frozenset({DataPlane.AMBIENT})
LIVE = [fault.id for fault in faults().values() if fault.act and fault.planes == OWN]


class BoomError(Exception):
    """What happens while a fault is in force."""


def _live() -> tuple[LiveMesh, Mapping[str, FakeKube]]:
    live, kubes = live_mesh(ambient())
    for cluster in live.mesh.topology.clusters:
        kube = kubes[cluster.name]
        kube.apply(made_object("apps/v1", "DaemonSet", "ztunnel", SYSTEM, spec={"template": {"spec": {}}}))
        for each in manifests.render("east-west-gateway-ambient", namespace=SYSTEM, network=cluster.network):
            kube.apply(each)
        kube.merge("v1", "Namespace", SAMPLE, {"metadata": {"labels": {"istio.io/dataplane-mode": "ambient"}}})
        label = {"metadata": {"labels": {"istio.io/global": "true"}}}
        kube.merge("v1", "Service", "helloworld", label, SAMPLE)
    settings = replace(live.mesh.settings, data_plane=DataPlane.AMBIENT)
    return replace(live, mesh=replace(live.mesh, settings=settings)), kubes


@pytest.mark.parametrize("fault", LIVE)
def test_what_an_act_touches_is_put_back(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when something fails while the fault is in force."""
    for module in (acts, waits):
        monkeypatch.setattr(module, "await_true", lambda *_: None)
    monkeypatch.setattr(ztunnel_waits, "known", lambda *_: frozenset())
    monkeypatch.setattr(acts, "await_address", lambda *_: None)
    live, kubes = _live()
    act, before = cast(Act, faults()[fault].act), state(kubes)
    with pytest.raises(BoomError), act(live):
        broken = state(kubes)
        raise BoomError
    assert spec(broken["west"]) != spec(before["west"])
    assert spec(broken["east"]) == spec(before["east"])
    after = state(kubes)
    assert {name: spec(after[name]) for name in kubes} == {name: spec(before[name]) for name in kubes}


@pytest.mark.parametrize(
    ("status", "pending"),
    [
        ({"observedGeneration": 2, "desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2}, ""),
        ({"observedGeneration": 2, "desiredNumberScheduled": 2, "numberReady": 1}, "1 of 2 are ready"),
        ({"observedGeneration": 1}, "its change was not seen yet"),
        ({"observedGeneration": 2}, "0 of 0 are ready"),
    ],
)
def test_a_ztunnel_on_every_node_is_waited_for(status: dict[str, int], pending: str) -> None:
    live, kubes = _live()
    kubes["west"].merge("apps/v1", "DaemonSet", "ztunnel", {"metadata": {"generation": 2}, "status": status}, SYSTEM)
    assert acts._unready(live, Reference("apps/v1", "DaemonSet", "ztunnel", SYSTEM)) == pending


def test_what_ztunnels_know_is_read_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    live, kubes = _live()
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    raw: Any = made_object("v1", "Pod", "ztunnel-0", SYSTEM, spec={"containers": []}, status=ready)
    raw["metadata"]["labels"] = {"app": "ztunnel"}
    kubes["east"].apply(raw)
    (told,) = ambient()["east"].ztunnels
    monkeypatch.setattr(ztunnel_waits, "read_ztunnel", lambda *_: told)
    rows = ztunnel_waits.known(live, live.east)
    assert {(network, bool(gateway)) for _, network, gateway, _ in rows} == {
        (live.east.network, False),
        (live.west.network, True),
    }


def test_a_change_is_felt_by_ztunnels(monkeypatch: pytest.MonkeyPatch) -> None:
    """First they know otherwise, then as before."""
    live, _ = _live()
    row = ("ztunnel-0", "network2", "172.18.255.240", 1)
    told = iter([{row}, {row}, set(), set(), {row}])
    asked: list[frozenset[Any]] = []

    def known(_: LiveMesh, __: Cluster) -> frozenset[Any]:
        asked.append(frozenset(next(told)))
        return asked[-1]

    monkeypatch.setattr(ztunnel_waits, "known", known)
    monkeypatch.setattr(waits, "_PAUSE", 0.01)
    with ztunnel_waits.felt_by_ztunnels(live, (live.east,), nullcontext()):
        assert len(asked) == 3
    assert len(asked) == 5


def test_quiet_is_when_ztunnels_know_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """They count no updates, and an update without effect is not waited for: there is no Envoy to be asked."""
    live, _ = _live()
    one, other = frozenset({("ztunnel-0", "network2", "172.18.255.240", 1)}), frozenset[Any]()
    told, asked = {"east": [one, other, one], "west": [one]}, list[str]()

    def known(_: LiveMesh, cluster: Cluster) -> frozenset[Any]:
        asked.append(cluster.name)
        left = told[cluster.name]
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(updates, "known", known)
    monkeypatch.setattr(updates, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(waits, "_PAUSE", 0.01)
    updates.await_drained(live)
    assert asked.count("east") > 3
    with updates.pushed(live, nullcontext()):
        pass
