"""What istiod says, and what it presents."""

import copy
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from harness.kube.api import ExecResult, KubeApi
from harness.observe import control_plane, envoy
from suites.selftest.observe.test_api_objects import RAW
from suites.selftest.support.certificates import key, pki
from suites.selftest.support.valid_kinds import PRIMARIES


def test_no_answer_of_istiod_is_no_failure() -> None:
    assert envoy.remote_clusters(None) == ()
    assert envoy.proxy_syncs(None) == ()
    assert envoy.network_gateways(None) == ()


def test_what_istiod_knows() -> None:
    assert envoy.istiod_version(RAW["version"]) == "1.31-alpha.eed52ebb66ad"
    assert envoy.istiod_version("1.30.3-abc-Clean\n") == "1.30.3"
    clusters = {row.id: (row.secret_name, row.sync_status) for row in envoy.remote_clusters(RAW["clusterz"])}
    assert clusters == {
        "cluster1": ("", "synced"),
        "cluster2": ("istio-system/istio-remote-secret-cluster2", "synced"),
    }
    gateways = {(row.network, row.cluster, row.port) for row in envoy.network_gateways(RAW["networkz"])}
    assert gateways == {("network1", "cluster1", 15443), ("network2", "cluster2", 15443)}


def test_how_far_proxies_are_synchronised() -> None:
    rows = copy.deepcopy(RAW["syncz"])
    rows[0]["endpoint_acked"] = "older"
    rows[0]["resources"]["type.googleapis.com/envoy.config.listener.v3.Listener"]["lastError"] = "no such filter"
    del rows[0]["route_sent"]
    changed, good = envoy.proxy_syncs(rows)
    assert changed.types == {"CDS": "SYNCED", "LDS": "REJECTED", "EDS": "STALE", "RDS": "NOT SENT"}
    assert set(good.types.values()) == {"SYNCED", "NOT SENT"}
    assert good.cluster_id == "cluster1"


def test_the_presented_chain_is_read_by_a_handshake(tmp_path: Path) -> None:
    authority = pki()
    chain = authority.intermediates["east"].pem + authority.root.pem
    (tmp_path / "chain.pem").write_text(chain)
    private = key(4096, "east").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with suppress(OSError), context.wrap_socket(theirs, server_side=True) as served:
            served.recv(1)

    server = threading.Thread(target=serve)
    server.start()
    with ours:
        found = control_plane.presented_chain(ours, "istiod.istio-system.svc")
    server.join(5)
    assert "".join(cert.pem for cert in found) == chain


def test_a_peer_that_hangs_up_is_an_os_error() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(OSError, match=r"closed|reset|pipe"):
        control_plane.presented_chain(ours, "istiod.istio-system.svc")


@pytest.mark.parametrize(("answer", "off"), [("404 page not found\n\n", True), ("[]", False)])
def test_an_istiod_without_debug_interface_says_so(answer: str, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its program for requests ends with 0 in spite of the 404."""
    monkeypatch.setattr(control_plane, "serving_chain", lambda *_: ())
    kube = SimpleNamespace(
        exec=lambda *asked, timeout: ExecResult(0, "1.30.3" if asked[3][-1] == "/version" else answer, ""),  # noqa: ARG005
        logs=lambda *_, lines: "",  # noqa: ARG005
    )
    pod = next(each for each in PRIMARIES.observation().clusters[0].pods if each.labels.get("app") == "istiod")
    plane = control_plane.read_control_plane(cast(KubeApi, kube), pod, 1)
    assert (plane.version, plane.debug_off) == ("1.30.3", off)
