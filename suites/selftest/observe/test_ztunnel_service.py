"""Where a client of somebody's own service was led to, as its node's ztunnel logged it."""

from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from harness.kube.api import ExecResult, KubeApi
from harness.model.service import OwnService, ServiceProtocol, ServiceRequest
from harness.observe import service_traffic, ztunnel_service
from suites.selftest.support.ambient import ambient
from suites.selftest.support.ztunnel_source import ztunnel_source

SERVICE = OwnService(name="helloworld", namespace="sample", port=5000)
EAST = ambient()["east"]
CLIENT = EAST.pods_with("sample", app="sleep")[0]
ANSWERED, LOST = ServiceRequest(status=200), ServiceRequest(error="Recv failure")


def _line(address: str, *, source: str = CLIENT.name, service: str = "helloworld", error: str = "") -> str:
    failed = f' error="{error}"' if error else ""
    return (
        "2026-08-27T10:00:01.000000Z\tinfo\taccess\tconnection complete\t"
        f'src.addr=10.1.0.7:45678 src.workload="{source}" src.namespace="sample" dst.addr={address} '
        f'dst.hbone_addr=10.1.0.2:5000 dst.service="{service}.sample.svc.cluster.local" direction="outbound" '
        f'bytes_sent=84 bytes_recv=160 duration="2ms"{failed}'
    )


NEAR, FAR = _line("10.1.0.2:15008"), _line("172.18.255.240:15008")
OTHERS = (_line("10.1.0.2:15008", source="web-1"), _line("10.1.0.2:15008", service="helloworld-other"))


def _hosts(*texts: str | None, requests: Sequence[ServiceRequest]) -> ztunnel_service.Hosts | None:
    return ztunnel_service.hosts(ztunnel_source(*texts), CLIENT, SERVICE, requests, lambda: 1.0)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ztunnel_service, "PAUSE", 0.0)


def test_the_clients_own_connections_are_counted_where_they_went() -> None:
    text = "\n".join((NEAR, FAR, FAR, *OTHERS, _line("172.18.255.240:15008", error="connection closed")))
    found = _hosts(text, requests=(ANSWERED,) * 4) or ()
    assert [(h.address, h.port, h.requests, h.connect_failures) for h in found] == [
        ("10.1.0.2", 15008, 1, 0),
        ("172.18.255.240", 15008, 3, 1),
    ]


def test_what_is_logged_a_moment_later_is_waited_for() -> None:
    found = _hosts(NEAR, f"{NEAR}\n{FAR}", requests=(ANSWERED,) * 2) or ()
    assert [host.requests for host in found] == [1, 1]


def test_a_log_that_is_off_tells_nothing() -> None:
    """Where nothing was answered an empty log says that nothing was led anywhere."""
    assert _hosts("", requests=(ANSWERED,)) is None
    assert _hosts(None, requests=(ANSWERED,)) is None
    assert _hosts("", requests=(LOST,)) == ()


def test_the_ztunnel_of_the_clients_node_is_asked() -> None:
    kube = cast(KubeApi, None)
    found = ztunnel_service.source("east", kube, EAST, CLIENT)
    assert found
    assert found.pod.labels["app"] == "ztunnel"
    assert ztunnel_service.source("east", kube, EAST, CLIENT.model_copy(update={"node": "elsewhere"})) is None


def test_a_client_outside_of_the_mesh_sends_nothing() -> None:
    """Its requests would show the ways of the mesh no more than those of anybody else."""
    topology, asked = ambient().topology, ambient().asked.model_copy(update={"service": SERVICE})
    pods = tuple(pod.model_copy(update={"annotations": {}}) for pod in EAST.pods)
    observed = {c.name: EAST.model_copy(update={"pods": pods}) for c in topology.clusters}
    kubes = {c.name: cast(KubeApi, None) for c in topology.clusters}
    plan = service_traffic.plan_requests(topology, asked, observed)
    sent = service_traffic.send(topology, asked, observed, kubes, plan=plan, timeout_scale=1)
    assert {each.prevented for each in sent.sequences} == {"no ztunnel carries the traffic of the client's pod"}


class _Kube:
    """A cluster whose client has curl, and whose ztunnel logs what that was led to."""

    def __init__(self, text: str) -> None:
        self.commands: list[Sequence[str]] = []
        self.text = text

    def exec(self, _namespace: str, _pod: str, _container: str, command: Sequence[str], **_: object) -> ExecResult:
        self.commands.append(command)
        return ExecResult(0, "" if command[-1] == "--help" else "HTTP/1.1 200 OK\n\nhi\n@@eastwest 200 0 \n" * 2, "")

    def logs(self, namespace: str, pod: str, *_: object, **__: object) -> str:
        assert (namespace, pod[:8]) == ("istio-system", "ztunnel-")
        return self.text


def test_each_request_has_a_connection_of_its_own() -> None:
    """A ztunnel chooses an endpoint for a connection, whatever is sent over it."""
    topology, asked = ambient().topology, ambient().asked.model_copy(update={"service": SERVICE})
    kubes = {cluster.name: _Kube(f"{NEAR}\n{FAR}") for cluster in topology.clusters}
    observed = {seen.name: seen for seen in ambient().clusters}
    plan = (ServiceProtocol.HTTP, 2)
    sent = service_traffic.send(
        topology, asked, observed, cast(Mapping[str, KubeApi], kubes), plan=plan, timeout_scale=1
    )
    east = next(each for each in sent.sequences if each.client == "east")
    assert east.hosts_read
    assert [(host.address, host.requests) for host in east.hosts] == [("10.1.0.2", 1), ("172.18.255.240", 1)]
    assert "Connection: close" in kubes["east"].commands[-1]
    assert not any("localhost:15000" in " ".join(command) for command in kubes["east"].commands)
