"""Access logs of ztunnels, as text and as JSON (ztunnel, src/telemetry.rs and src/proxy/metrics.rs)."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from harness.kube.api import KubeApi
from harness.model.ztunnel import ZtunnelConnections
from harness.observe import ztunnel_log
from suites.selftest.support.ambient import ambient
from suites.selftest.support.ztunnel_source import ztunnel_source

SLEEP = "spiffe://cluster.local/ns/sample/sa/sleep"
INBOUND = (
    "2026-08-27T10:00:01.123456Z\tinfo\taccess\tconnection complete\t"
    f'src.addr=10.1.0.7:45678 src.workload="sleep-1" src.namespace="sample" src.identity="{SLEEP}" '
    "dst.addr=10.1.0.2:15008 dst.hbone_addr=10.1.0.2:5000 "
    'dst.service="helloworld.sample.svc.cluster.local" dst.workload="helloworld-v1-1" dst.namespace="sample" '
    'dst.identity="spiffe://cluster.local/ns/sample/sa/default" direction="inbound" '
    'bytes_sent=160 bytes_recv=84 duration="2ms"'
)
PLAIN = (
    "2026-08-27T10:00:02.123456Z\tinfo\taccess\tconnection complete\t"
    "src.addr=10.1.0.9:45679 dst.addr=10.1.0.2:5000 "
    'dst.service="helloworld.sample.svc.cluster.local" dst.workload="helloworld-v1-1" dst.namespace="sample" '
    'direction="inbound" bytes_sent=160 bytes_recv=84 duration="2ms"'
)
FAILED = (
    "2026-08-27T10:00:03.123456Z\terror\taccess\tconnection complete\t"
    f'src.addr=10.1.0.7:45680 src.workload="sleep-1" src.namespace="sample" src.identity="{SLEEP}" '
    "dst.addr=172.18.255.240:15008 dst.hbone_addr=helloworld.sample.svc.cluster.local:5000 "
    'dst.service="helloworld.sample.svc.cluster.local" direction="outbound" bytes_sent=0 bytes_recv=0 '
    'duration="10001ms" error="connection timed out, maybe a \\"NetworkPolicy\\" is blocking HBONE port 15008"'
)
NOISE = (
    '2026-08-27T10:00:00.000000Z\tinfo\txds::client:xds{id=1}\treceived response\ttype_url="x" size=3',
    '2026-08-27T10:00:00.000000Z\tinfo\taccess\tconnection complete\tsrc.namespace="a" dst.namespace="b" '
    'direction="inbound"',
    "",
)


def _rows(*lines: str) -> tuple[ZtunnelConnections, ...]:
    return tuple(ztunnel_log.connections("east", "ztunnel-1", "\n".join(lines), ("sample",)))


def test_a_connection_tells_both_ends() -> None:
    (row,) = _rows(*NOISE, INBOUND, INBOUND)
    assert (row.source, row.source_namespace, row.source_identity) == ("sleep-1", "sample", SLEEP)
    assert (row.destination, row.service) == ("helloworld-v1-1", "helloworld.sample.svc.cluster.local")
    assert (row.direction, row.address, row.hbone, row.error, row.count) == ("inbound", "10.1.0.2:15008", True, "", 2)


def test_plaintext_names_no_identity() -> None:
    (row,) = _rows(PLAIN)
    assert (row.source, row.source_namespace, row.source_identity, row.hbone) == ("10.1.0.9", "", "", False)


def test_one_that_failed_says_why() -> None:
    (row,) = _rows(FAILED)
    assert row.error.startswith("connection timed out")
    assert row.address == "172.18.255.240:15008"


def test_json_says_the_same() -> None:
    """With LOG_FORMAT=json (the chart's logAsJson) the names of the fields are its keys."""
    text = INBOUND.rpartition("\t")[2]
    fields = {key: value.strip('"') for key, value in ztunnel_log._FIELD.findall(text)}
    line = {"level": "info", "time": "t", "scope": "access", "message": "connection complete", **fields}
    assert _rows(json.dumps(line), '{"broken": "connection complete"') == _rows(INBOUND)


def test_the_callers_of_those_that_were_called() -> None:
    rows = _rows(INBOUND, INBOUND, PLAIN, FAILED)
    found = ztunnel_log.callers(rows, {"east": {"helloworld-v1-1"}})
    assert [(peer.principal, peer.mutual_tls, peer.requests) for peer in found] == [("", False, 1), (SLEEP, True, 2)]
    assert ztunnel_log.callers(rows, {"west": {"helloworld-v1-1"}}) == ()


@pytest.fixture
def collect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., object]]:
    monkeypatch.setattr(ztunnel_log, "PAUSE", 0.0)
    yield lambda *sources: ztunnel_log.collect(sources, lambda: 1.0, ("sample",), {"helloworld-v1-1"})


def test_what_is_logged_a_moment_later_is_waited_for(collect: Callable[..., object]) -> None:
    assert collect(ztunnel_source("", INBOUND)) == (_rows(INBOUND), "")


@pytest.mark.parametrize(
    ("texts", "why"),
    [((None,), "could not be read"), (("\n" * 20000,), "too long"), (("started",), "may be off")],
)
def test_without_evidence_it_is_said_why(texts: tuple[str | None], why: str, collect: Callable[..., object]) -> None:
    found = collect(ztunnel_source(*texts))
    assert isinstance(found, tuple)
    assert found[0] is None
    assert why in found[1]


def test_without_a_ztunnel_there_is_none(collect: Callable[..., object]) -> None:
    assert collect() == (None, "no ztunnel runs whose access log could be read")


def test_the_whole_evidence_of_a_mesh() -> None:
    """Who called each helloworld, with the connections that show it."""
    observation = ambient()
    seen = {observed.name: observed for observed in observation.clusters}
    line = INBOUND.replace("helloworld-v1-1", observation["east"].pods_with("sample", app="helloworld")[0].name)
    kubes = {name: cast(KubeApi, SimpleNamespace(logs=lambda *_, **__: line)) for name in seen}
    found = ztunnel_log.evidence(seen, kubes, observation.asked, lambda: 1.0, set())
    assert found.peers
    assert {(peer.destination, peer.principal) for peer in found.peers} == {("east", SLEEP)}
    assert found.connections
    assert {row.cluster for row in found.connections} == {"east", "west"}
