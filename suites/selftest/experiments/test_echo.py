"""Calls to the echo servers without clusters: when they are known, how many are sent, and which are judged."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.experiments import echo
from harness.experiments import testbed as testbed_module
from harness.experiments.exchange import Sender
from harness.experiments.testbed import Testbed, unknown_services
from harness.mesh.context import Mesh
from harness.mesh.settings import MeshSettings
from harness.model.experiment import Exchange
from harness.model.observation import Observation
from harness.model.step_log import StepLog
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.model.traffic import ProbeResult
from suites.selftest.support.fake_kube import FakeKube

THREE_CLUSTERS = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI, 3)


def test_calls_grow_with_clusters() -> None:
    """Enough calls that none of k clusters is missed, though each may get no more than one of k² calls."""
    assert [echo.calls(clusters) for clusters in (2, 3, 4)] == [51, 127, 236]


def _listed(port: int, service: str, *addresses: str) -> dict[str, Any]:
    hosts = [{"address": {"socket_address": {"address": each, "port_value": port}}} for each in addresses]
    return {"name": f"outbound|{port}||{service}.sample.svc.cluster.local", "host_statuses": hosts}


def test_unknown_services() -> None:
    """The Service of a version is known when both of its ports have an endpoint."""
    of_v2 = [_listed(port, "echo-v2", "10.0.0.1") for port in (9090, 8080)]
    assert not unknown_services({"cluster_statuses": of_v2}, "sample", ["v2"])
    assert unknown_services({"cluster_statuses": [of_v2[0], _listed(8080, "echo-v2")]}, "sample", ["v2"]) == ["echo-v2"]
    assert unknown_services(None, "sample", ["v1", "v2"]) == ["echo-v1", "echo-v2"]


@pytest.mark.parametrize("missed", [0, 1, 10_000])
def test_grpc_is_judged_once_calls_reach_every_cluster(missed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent before is no part of what is judged; a mesh in which calls never get everywhere fails."""
    sent: Counter[str] = Counter()

    def send(_testbed: Testbed, sender: Sender, _target: None, url: str, count: int) -> Exchange:
        sent[sender.cluster.name] += 1
        answers = {"v1": count} if sent[sender.cluster.name] <= missed else {"v1": 1, "v2": 1, "v3": count - 2}
        result = ProbeResult.ANSWERED
        return Exchange(
            source=sender.cluster.name, pod="echo-1", account="echo", target="", url=url, sent=count, result=result,
            answers=answers, seconds=0.1,
        )  # fmt: skip

    monkeypatch.setattr(echo, "send_with_client", send)
    monkeypatch.setattr(testbed_module, "PROPAGATION_SECONDS", 0.4)
    kubes = {cluster.name: FakeKube(cluster.name) for cluster in THREE_CLUSTERS.clusters}
    settings = MeshSettings(istio_version="1.31.0", istioctl=Path("istioctl"), run_id="run1")
    mesh = Mesh(THREE_CLUSTERS, kubes, settings, StepLog())
    testbed = Testbed(mesh, cast(Observation, SimpleNamespace()), {})
    never = missed > 1
    exchanges = echo.grpc(testbed)
    waited = testbed.mesh.log.steps[0]
    assert waited.title == "Time until gRPC calls reach every cluster"
    assert waited.detail.count(": no answer of ") == (3 if never else 0)
    assert [len(each.answers) for each in exchanges] == [1 if never else 3] * 3
    assert never or set(sent.values()) == {missed + 2}
