"""Who called helloworld: access logs and metrics."""

import json
from collections import Counter
from typing import cast

import pytest
from kubernetes.client import ApiException

from harness.kube.api import KubeApi
from harness.observe import api_objects, peers
from suites.selftest.observe.test_api_objects import RAW


def test_callers_of_an_access_log() -> None:
    lines = RAW["access_log"]
    plain = json.loads(lines[0]) | {"downstream_peer_uri_san": None}
    probe = plain | {"authority": "10.128.0.34:5000"}
    found = peers.access_log_callers(
        "\n".join([*lines, json.dumps(plain), json.dumps(probe), "noise", "{"]), "ew-1", shared=False
    )
    assert found == {("spiffe://cluster.local/ns/sample/sa/sleep", True): 2, ("", False): 1}
    assert peers.access_log_callers("[2026-11-23] GET /hello 200", "ew-1", shared=False) is None


def test_only_the_suites_own_lines_of_an_access_log_count() -> None:
    """They are told by the request's id; where others call, too, a line without it tells nothing."""
    lines = [json.loads(line) for line in RAW["access_log"]]
    own = json.dumps(lines[0] | {"request_id": "ew-0123456789"})
    others = [json.dumps(lines[1] | {"downstream_peer_uri_san": None}), *RAW["access_log"]]
    for shared in (True, False):
        found = peers.access_log_callers("\n".join([*others, own]), "ew-0123456789", shared=shared)
        assert found == {("spiffe://cluster.local/ns/sample/sa/sleep", True): 1}
    assert peers.access_log_callers("\n".join(others), "ew-0123456789", shared=True) is None


def test_each_destination_of_a_shared_mesh_has_its_own_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """One primary's mesh logs, the other one's counts; a proxy that does neither has no row."""
    monkeypatch.setattr(peers, "_FLUSH_SECONDS", 0.0)
    log = json.dumps(json.loads(RAW["access_log"][0]) | {"request_id": "ew-1"})
    callers = Counter({("spiffe://a/ns/b/sa/c", True): 3})
    monkeypatch.setattr(peers, "metrics", lambda left, _: {d.pod.name: callers for d in left if d.pod.name == "counts"})
    destinations = tuple(
        peers.Destination(
            name, cast(KubeApi, _Logs(text)), api_objects.pod({"metadata": {"name": name, "namespace": "sample"}})
        )
        for name, text in {"logs": log, "counts": "text", "neither": "text"}.items()
    )
    found = peers.peers(destinations, {"logs", "counts"}, {}, lambda: 1.0, 1.0, request_id="ew-1", shared=True)
    assert [(row.destination, row.evidence, row.requests) for row in found.peers or ()] == [
        ("logs", "access log", 1),
        ("counts", "metrics", 3),
    ]


class _Logs:
    """A cluster whose helloworld has written this to its proxy's log; None: it can't be read."""

    def __init__(self, *texts: str | None) -> None:
        self._texts = list(texts)

    def logs(self, *_: object, **__: object) -> str:
        text = self._texts.pop(0) if len(self._texts) > 1 else self._texts[0]
        if text is None:
            raise ApiException(status=403)
        return text


def test_a_proxy_that_recorded_nobody_is_told_from_one_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Envoy writes its log once a second: one that tells nothing yet is read again before that is said of it."""
    monkeypatch.setattr(peers, "_FLUSH_SECONDS", 0.0)
    log = "\n".join(RAW["access_log"])
    clusters = {"told": (log,), "late": ("", log), "nobody": ("started",), "unreadable": (None,)}
    destinations = tuple(
        peers.Destination(
            name, cast(KubeApi, _Logs(*texts)), api_objects.pod({"metadata": {"name": name, "namespace": "sample"}})
        )
        for name, texts in clusters.items()
    )
    found = peers.peers(destinations, set(clusters), {}, lambda: 1.0, 1.0, request_id="ew-1", shared=False)
    assert [(row.destination, row.requests) for row in found.peers or ()] == [("told", 2), ("late", 2), ("nobody", 0)]
    assert not found.missing


def test_callers_of_metrics() -> None:
    labels = 'connection_security_policy="{0}",source_principal="{1}",destination_app="helloworld"'
    text = "\n".join(
        (
            "# TYPE istio_requests_total counter",
            f'istio_requests_total{{reporter="destination",{labels.format("mutual_tls", "spiffe://a/ns/b/sa/c")}}} 7',
            f'istio_requests_total{{reporter="destination",{labels.format("none", "unknown")}}} 2',
            f'istio_requests_total{{reporter="source",{labels.format("unknown", "unknown")}}} 9',
        )
    )
    assert peers.metric_callers(text) == {("spiffe://a/ns/b/sa/c", True): 7, ("", False): 2}


def test_metrics_without_the_labels_tell_nothing() -> None:
    """A Telemetry may take them away; Istio itself writes `unknown` for a caller without an identity."""
    text = 'istio_requests_total{reporter="destination",connection_security_policy="mutual_tls"} 7\n'
    assert not peers.metric_callers(text)
