"""What ztunnels say, in the form in which they write it: src/admin.rs and src/state/*.rs of ztunnel, with serde."""

import base64
import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.kube.api import ExecResult, KubeApi, TransportError
from harness.model.cluster import Container, Pod, Ztunnel
from harness.observe import ztunnels
from suites.selftest.observe.test_api_objects import RAW
from suites.selftest.support.ambient import ambient
from suites.selftest.support.certificates import pki

HOST = "helloworld.sample.svc.cluster.local"
BEHIND = f"network2/SplitHorizonWorkload/istio-system/istio-eastwestgateway/172.18.255.240/sample/{HOST}"
LOCAL = "cluster1//Pod/sample/helloworld-v1-1"
IDENTITY = "spiffe://cluster.local/ns/sample/sa/sleep"


def _cert(pem: str) -> dict[str, str]:
    return {
        "pem": base64.b64encode(pem.encode()).decode(),
        "serialNumber": "305554775863395697262503895661564044819",
        "validFrom": "2026-08-27T10:00:00Z",
        "expirationTime": "2026-08-28T10:00:00Z",
    }


WORKLOADS: list[dict[str, Any]] = [
    {
        "workloadIps": ["10.1.0.2"],
        "networkGateway": {"destination": "network1/172.18.255.230", "hboneMtlsPort": 15008},
        "protocol": "HBONE",
        "networkMode": "Standard",
        "uid": LOCAL,
        "name": "helloworld-v1-1",
        "namespace": "sample",
        "trustDomain": "cluster.local",
        "serviceAccount": "default",
        "network": "network1",
        "workloadName": "helloworld-v1",
        "workloadType": "pod",
        "canonicalName": "helloworld",
        "canonicalRevision": "v1",
        "node": "node1",
        "status": "Unhealthy",
        "clusterId": "cluster1",
        "services": [f"sample/{HOST}"],
        "capacity": 1,
    },
    {
        "workloadIps": [],
        "networkGateway": {"destination": "network2/172.18.255.240", "hboneMtlsPort": 15008},
        "protocol": "HBONE",
        "networkMode": "Standard",
        "uid": BEHIND,
        "name": BEHIND,
        "namespace": "sample",
        "trustDomain": "cluster.local",
        "serviceAccount": "default",
        "network": "network2",
        "workloadType": "pod",
        "status": "Healthy",
        "clusterId": "cluster2",
        "services": [f"sample/{HOST}"],
        "capacity": 3,
    },
    {"workloadIps": ["10.1.0.9"], "protocol": "TCP", "uid": "x", "name": "other", "namespace": "elsewhere"},
]
SERVICES: list[dict[str, Any]] = [
    {
        "name": "helloworld",
        "namespace": "sample",
        "hostname": HOST,
        "vips": ["network1/10.96.0.10", "network2/10.97.0.10"],
        "ports": {"5000": 0},
        "endpoints": {
            LOCAL: {"workloadUid": LOCAL, "port": {"5000": 5000}, "status": "Unhealthy"},
            BEHIND: {"workloadUid": BEHIND, "port": {"5000": 5000}, "status": "Healthy"},
        },
        "subjectAltNames": ["spiffe://cluster.local/ns/sample/sa/default"],
        "ipFamilies": "IPv4",
        "canonical": True,
        "visibility": "Public",
    },
    {"name": "other", "namespace": "elsewhere", "hostname": "other", "vips": [], "ports": {}, "endpoints": {}},
]


def _dump() -> dict[str, Any]:
    istiod = "https://istiod.istio-system.svc:15012"
    return {
        "workloads": copy.deepcopy(WORKLOADS),
        "services": copy.deepcopy(SERVICES),
        "policies": [{"name": "allow", "namespace": "sample", "scope": "WorkloadSelector", "action": "Allow"}],
        "stagedServices": {},
        "staticConfig": {"workloads": [], "policies": [], "services": []},
        "version": {"version": "abc", "gitRevision": "abc", "istioVersion": "1.31.0", "cryptoProvider": "tls-ring"},
        "config": {
            "proxy": True,
            "network": "network1",
            "localNode": "node1",
            "clusterId": "cluster1",
            "caAddress": istiod,
            "xdsAddress": istiod,
        },
        "certificates": _certificates(),
        "workloadState": {},
    }


def _certificates() -> list[dict[str, Any]]:
    authority = pki()
    chain = (authority.workload("east", IDENTITY), authority.intermediates["east"])
    return [
        {
            "identity": IDENTITY,
            "state": "Available",
            "certChain": [_cert(each.pem) for each in chain],
            "rootCerts": [_cert(authority.root.pem)],
        },
        {
            "identity": "spiffe://cluster.local/ns/sample/sa/default",
            "state": "Unavailable: certificate: signing gRPC error",
            "certChain": [],
            "rootCerts": [],
        },
        {"identity": "spiffe://cluster.local/ns/elsewhere/sa/x", "state": "Initializing"},
    ]


def _pod(**update: object) -> Pod:
    return ambient()["east"].pods_with("istio-system", app="ztunnel")[0].model_copy(update=update)


def _told(dump: dict[str, Any]) -> Ztunnel:
    return ztunnels.ztunnel(_pod(), dump, ("sample",))


def test_a_ztunnel_says_who_it_is_and_what_it_holds() -> None:
    found = _told(_dump())
    assert (found.cluster_id, found.network, found.version) == ("cluster1", "network1", "1.31.0")
    assert found.connected_to == "https://istiod.istio-system.svc:15012"
    held, missing = found.certificates
    assert (held.state, held.chain[0].uris, len(held.chain), len(held.roots)) == ("Available", (IDENTITY,), 2, 1)
    assert missing.state.startswith("Unavailable: ")
    assert missing.chain == ()


def test_its_view_of_the_sample_is_kept() -> None:
    found = _told(_dump())
    (service,) = found.services
    assert service.vips == ("network1/10.96.0.10", "network2/10.97.0.10")
    assert [(each.uid, each.ports, each.healthy) for each in service.endpoints] == [
        (LOCAL.replace("/", ":"), {5000: 5000}, False),
        (BEHIND.replace("/", ":"), {5000: 5000}, True),
    ]
    near, far = found.workloads
    assert (near.addresses, near.healthy, near.protocol) == (("10.1.0.2",), False, "HBONE")
    assert (far.gateway, far.gateway_port, far.capacity, far.network) == ("172.18.255.240", 15008, 3, "network2")


def test_workloads_of_long_names_are_told_apart() -> None:
    """A long uid looks like key material, which no observation keeps."""
    dump = _dump()
    for index, raw in enumerate(dump["workloads"][:2]):
        raw["uid"] = f"cluster1//Pod/{'a-namespace-of-some-length' * 3}/pod-{index}"
    near, far = _told(dump).workloads
    assert near.uid != far.uid
    assert "redacted" not in near.uid


def test_a_policy_counts_once_the_ztunnel_has_it() -> None:
    """References and policies come apart; one whose policy has not come yet is passed over."""
    dump = _dump()
    dump["workloads"][0]["authorizationPolicies"] = ["sample/allow", "istio-system/istio_converted_static_strict"]
    near, far = _told(dump).workloads
    assert (near.policies, far.policies) == (("sample:allow",), ())


def test_a_gateway_of_ipv6_or_by_name_is_read() -> None:
    dump = _dump()
    far = dump["workloads"][1]["networkGateway"]
    for destination, address in (
        ("network2/fd00::240", "fd00::240"),
        ("istio-system/lb.example.com", "lb.example.com"),
    ):
        far["destination"] = destination
        assert _told(dump).workloads[1].gateway == address


def test_one_built_by_hand_says_no_version() -> None:
    dump = _dump()
    dump["version"]["istioVersion"] = "unknown"
    assert _told(dump).version == ""


def test_no_key_is_kept() -> None:
    assert "PRIVATE KEY" not in _told(_dump()).model_dump_json()


class _Pod:
    """A ztunnel that answers curl, or has none, and then answers at its port."""

    def __init__(self, answer: ExecResult | TransportError, received: bytes = b"") -> None:
        self._answer, self._received, self.sent = answer, [received[:7], received[7:], b""], b""

    def exec(self, *_: object, **__: object) -> ExecResult:
        if isinstance(self._answer, TransportError):
            raise self._answer
        return self._answer

    @contextmanager
    def forward(self, _namespace: str, _pod: str, port: int) -> Iterator[object]:
        assert port == 15000
        yield SimpleNamespace(settimeout=lambda _: None, sendall=self._send, recv=lambda _: self._received.pop(0))

    def _send(self, data: bytes) -> None:
        self.sent += data


def _read(pod: _Pod) -> Ztunnel | None:
    return ztunnels.read_ztunnel(cast(KubeApi, pod), _pod(), ("sample",), 1)


def test_it_is_asked_by_curl() -> None:
    found = _read(_Pod(ExecResult(0, json.dumps(_dump()), "")))
    assert found == _told(_dump())


@pytest.mark.parametrize(
    "without", [ExecResult(127, "", ""), TransportError('exec: "sh": executable file not found in $PATH')]
)
def test_without_a_shell_or_curl_its_port_is_forwarded(without: ExecResult | TransportError) -> None:
    pod = _Pod(without, b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + json.dumps(_dump()).encode())
    assert _read(pod) == _told(_dump())
    assert pod.sent.startswith(b"GET /config_dump HTTP/1.0\r\n")


def test_what_was_lost_on_the_way_is_no_answer() -> None:
    assert _read(_Pod(ExecResult(0, "", ""))) is None
    with pytest.raises(TransportError, match="cut short"):
        _read(_Pod(ExecResult(0, json.dumps(_dump())[:-9], "")))
    with pytest.raises(TransportError, match="reset"):
        _read(_Pod(TransportError("connection reset")))


def test_only_those_that_run_are_asked() -> None:
    east = ambient()["east"]
    (pod,) = ztunnels.ztunnel_pods(east)
    waiting = Container(name="istio-proxy", image="ztunnel", state="waiting")
    stopped = tuple(
        each.model_copy(update={"containers": (waiting,)}) if each.name == pod.name else each for each in east.pods
    )
    assert ztunnels.ztunnel_pods(east.model_copy(update={"pods": stopped})) == ()
    assert RAW["pod"]["metadata"]["name"] != pod.name
