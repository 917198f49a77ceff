"""What objects and proxies say, distilled from a recording of a real run."""

import copy
import json
import socket
import ssl
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kubernetes.client import ApiException

from harness.kube.api import ExecResult, KubeApi
from harness.mesh.injection import is_injected, probe_pod
from harness.model.proxy import ProxySync
from harness.observe import api_objects, control_plane, envoy, istio_objects, peers, proxies, secrets
from harness.observe.cluster import resolved
from suites.selftest.support.certificates import key, pki

RAW: dict[str, Any] = json.loads((Path(__file__).parents[1] / "recorded" / "observe.json").read_text())


def test_a_pod_with_a_native_sidecar() -> None:
    pod = api_objects.pod(RAW["pod"])
    assert pod.ready
    proxy, sleep = pod.container("istio-proxy"), pod.container("sleep")
    assert proxy is not None
    assert sleep is not None
    assert (proxy.init, proxy.sidecar, proxy.ready, proxy.state) == (True, True, True, "running")
    assert (sleep.init, sleep.env) == (False, {})
    assert proxy.env["ISTIO_META_CLUSTER_ID"] == "cluster1"
    # A name alone is no literal value; other variables are nobody's business here.
    assert "POD_NAME" not in proxy.env
    assert "PROXY_CONFIG" not in proxy.env
    assert "sidecar.istio.io/status" in pod.annotations


def test_a_container_that_waits_says_why() -> None:
    raw = copy.deepcopy(RAW["pod"])
    raw["status"]["containerStatuses"][0]["state"] = {
        "waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    }
    container = api_objects.pod(raw).containers[-1]
    assert (container.state, container.reason, container.message) == (
        "waiting",
        "ImagePullBackOff",
        "Back-off pulling image",
    )


def test_workloads_count_ready_pods_of_the_present_template_only() -> None:
    deployment = api_objects.workload(RAW["deployment"], "Deployment")
    assert (deployment.desired, deployment.ready, deployment.available) == (1, 1, True)
    daemon_set = api_objects.workload(RAW["daemonset"], "DaemonSet")
    assert (daemon_set.desired, daemon_set.ready, daemon_set.available) == (1, 1, True)
    changed = copy.deepcopy(RAW["deployment"])
    changed["metadata"]["generation"] += 1
    assert api_objects.workload(changed, "Deployment").ready == 0
    empty = copy.deepcopy(RAW["deployment"])
    empty["spec"]["replicas"] = 0
    assert not api_objects.workload(empty, "Deployment").available


def test_a_node() -> None:
    node = api_objects.node(RAW["node"])
    assert (node.ready, node.schedulable, node.addresses, node.kubelet_version) == (
        True,
        True,
        ("172.18.0.5",),
        "v1.36.1",
    )
    tainted = copy.deepcopy(RAW["node"])
    tainted["spec"]["taints"] = [{"key": "a", "effect": "NoSchedule"}]
    assert not api_objects.node(tainted).schedulable


def test_a_gateways_service_with_its_address_and_endpoints() -> None:
    service = api_objects.service(RAW["service"], api_objects.ready_endpoints(RAW["slices"]))
    assert service.ingress == ("172.18.255.240",)
    assert len(service.ready_endpoints) == 1
    assert {15021, 15443} <= {port.port for port in service.ports}
    unready = copy.deepcopy(RAW["slices"])
    unready[0]["endpoints"][0]["conditions"]["ready"] = False
    assert api_objects.service(RAW["service"], api_objects.ready_endpoints(unready)).ready_endpoints == ()


def test_addresses_are_resolved_and_unknown_names_left_out() -> None:
    assert resolved(("10.0.0.1", "fd00::1", "no-such-host.invalid")) == ("10.0.0.1", "fd00::1")
    assert "127.0.0.1" in resolved(("localhost",))


def test_an_event() -> None:
    event = api_objects.event(RAW["event"])
    assert event.reason
    assert "/" in event.object
    assert event.last_seen is not None


def test_an_injection_webhook_with_its_revision_and_its_ca() -> None:
    assert istio_objects.is_injection_webhook(RAW["webhook"])
    webhook = istio_objects.injection_webhook(RAW["webhook"])
    assert webhook.revision == "default"
    (rule,) = webhook.webhooks
    assert (rule.service, rule.path) == ("istio-system/istiod:443", "/inject")
    assert rule.ca_bundle[0].basic_constraints is not None
    assert rule.ca_bundle[0].basic_constraints.ca


def test_mesh_configuration_by_revision() -> None:
    (config,) = istio_objects.mesh_configs(RAW["config_maps"])
    assert config.revision == "default"
    assert config.mesh["trustDomain"] == "cluster.local"
    assert set(config.values) == {"global", "revision"}
    renamed = copy.deepcopy(RAW["config_maps"])
    for config_map, suffix in zip(renamed, ("-canary", "-canary", ""), strict=True):
        config_map["metadata"]["name"] += suffix
        config_map["metadata"]["labels"] = {}
    assert istio_objects.mesh_configs(renamed)[0].revision == "canary"


def test_a_configuration_object() -> None:
    gateway = istio_objects.config_object(RAW["gateway"], "networking.istio.io/v1", "Gateway")
    assert gateway.spec["servers"]
    assert (gateway.kind, gateway.namespace) == ("Gateway", "istio-system")


def test_a_dry_run_pod_is_injected_by_container_or_by_native_sidecar() -> None:
    assert not is_injected(probe_pod("sample"))
    assert is_injected(RAW["pod"])
    assert is_injected({"spec": {"containers": [{"name": "none"}, {"name": "istio-proxy"}]}})


def test_a_proxy_says_who_it_is_and_what_it_knows() -> None:
    answers = {
        proxies.SERVER_INFO: RAW["server_info"],
        proxies.CLUSTERS: RAW["clusters"],
        proxies.SECRETS: RAW["secrets"],
        proxies.LISTENERS: RAW["listeners"],
    }
    proxy = proxies.proxy(api_objects.pod(RAW["pod"]), answers, "sample")
    assert (proxy.role, proxy.cluster_id, proxy.network) == ("sleep", "cluster1", "network1")
    assert proxy.version.startswith("1.31")
    assert (proxy.envoy_version, proxy.connected_to) == ("1.39.1", "istiod.istio-system.svc:15012")
    (endpoints,) = proxy.endpoints
    assert endpoints.cluster == "outbound|5000||helloworld.sample.svc.cluster.local"
    assert [(e.port, e.weight, e.healthy) for e in endpoints.endpoints] == [(5000, 1, True), (15443, 1, True)]
    assert proxy.chain[0].uris == ("spiffe://cluster.local/ns/sample/sa/sleep",)
    assert proxy.roots
    assert proxy.rejected == ()
    (listener,) = proxy.listeners
    assert listener.port == 15443
    (chain,) = listener.chains
    assert chain.server_names == chain.clusters == ("outbound_.5000_._.helloworld.sample.svc.cluster.local",)
    assert not chain.tls


def test_an_unhealthy_endpoint_says_why() -> None:
    raw = copy.deepcopy(RAW["clusters"])
    cluster = next(found for found in raw["cluster_statuses"] if "helloworld" in found["name"])
    cluster["host_statuses"][0]["health_status"] = {"eds_health_status": "HEALTHY", "failed_outlier_check": True}
    cluster["host_statuses"][1]["health_status"] = {"eds_health_status": "UNHEALTHY"}
    (endpoints,) = envoy.endpoint_sets(raw, "sample")
    assert [(e.healthy, e.flags) for e in endpoints.endpoints] == [
        (False, ("failed_outlier_check",)),
        (False, ("unhealthy",)),
    ]


def test_counters_are_compared_over_a_sequence() -> None:
    before = {("10.0.0.1", 5000): {"rq_total": 10, "cx_connect_fail": 1}}
    after = {
        ("10.0.0.1", 5000): {"rq_total": 15, "cx_connect_fail": 2},
        ("10.0.0.2", 5000): {"rq_total": 3, "rq_error": 1},
    }
    stats = envoy.host_stats(before, after)
    assert [(s.requests, s.errors, s.connect_failures) for s in stats] == [(5, 0, 1), (3, 1, 0)]
    recorded = envoy.host_counters(RAW["clusters"], 5000, "helloworld.sample.svc.")
    assert sum(found["rq_total"] for found in recorded.values()) == 412
    # A host that was replaced begins at zero.
    assert envoy.host_stats(after, before)[0].requests == 10


def test_what_is_sent_to_subsets_counts() -> None:
    host = {
        "address": {"socket_address": {"address": "10.0.0.1", "port_value": 5000}},
        "stats": [{"name": "rq_total", "value": "3"}],
    }
    names = [f"outbound|5000|{subset}|helloworld.sample.svc.cluster.local" for subset in ("", "v1")]
    others = ["outbound|5000||other.sample.svc.cluster.local", "inbound|5000||", "agent"]
    answer = {"cluster_statuses": [{"name": name, "host_statuses": [host]} for name in names + others]}
    assert envoy.host_counters(answer, 5000, "helloworld.sample.svc.") == {("10.0.0.1", 5000): {"rq_total": 6}}


def test_priority_and_health_of_an_endpoint_are_kept_with_its_counters() -> None:
    host = {
        "address": {"socket_address": {"address": "10.0.0.1", "port_value": 5000}},
        "stats": [{"name": "rq_total", "value": "3"}],
        "priority": 1,
        "health_status": {"failed_outlier_check": True, "eds_health_status": "HEALTHY"},
    }
    name = "outbound|5000||helloworld.sample.svc.cluster.local"
    after = envoy.host_counters({"cluster_statuses": [{"name": name, "host_statuses": [host]}]}, 5000, "helloworld.")
    (stats,) = envoy.host_stats({}, after)
    assert (stats.requests, stats.priority, stats.healthy) == (3, 1, False)
    (plain,) = envoy.host_stats({}, {("10.0.0.1", 5000): {"rq_total": 3}})
    assert (plain.priority, plain.healthy) == (0, True)


def test_refused_configuration_and_terminating_gateways() -> None:
    dump = {
        "configs": [
            {"name": "0.0.0.0_80", "error_state": {"details": "no such filter"}},
            {
                "name": "tls",
                "active_state": {
                    "listener": {
                        "address": {"socket_address": {"port_value": 15443}},
                        "filter_chains": [
                            {
                                "transport_socket": {"typed_config": {"require_client_certificate": True}},
                                "filters": [{"name": "envoy.filters.network.sni_cluster"}],
                            }
                        ],
                    }
                },
            },
        ]
    }
    assert envoy.rejected(dump) == ("0.0.0.0_80: no such filter",)
    (chain,) = envoy.listeners(dump)[0].chains
    assert (chain.tls, chain.requires_client_certificate, chain.clusters) == (True, True, ("sni",))


@pytest.mark.parametrize("nothing", [None, {}, {"configs": None}, {"cluster_statuses": None}])
def test_nothing_is_no_failure(nothing: Any) -> None:
    assert envoy.endpoint_sets(nothing, "sample") == ()
    assert envoy.host_counters(nothing, 5000, "helloworld") == {}
    assert envoy.secret_certificates(nothing) == ((), ())
    assert envoy.listeners(nothing) == ()
    assert envoy.rejected(nothing) == ()


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
    found, _ = peers.peers(destinations, {"logs", "counts"}, {}, lambda: 1.0, 1.0, request_id="ew-1", shared=True)
    assert [(row.destination, row.evidence, row.requests) for row in found or ()] == [
        ("logs", "access log", 1),
        ("counts", "metrics", 3),
    ]


@pytest.mark.parametrize("acknowledges", [True, False])
def test_a_proxy_has_a_moment_to_acknowledge(acknowledges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way is not stale; what is never acknowledged is."""
    monkeypatch.setattr(control_plane, "_PAUSE", 0.001)
    monkeypatch.setattr(control_plane, "ACKNOWLEDGED_SECONDS", 5.0 if acknowledges else 0.02)

    def sync(status: str) -> ProxySync:
        return ProxySync(proxy="sleep.sample", cluster_id="cluster1", version="1.31", types={"EDS": status})

    late, told = (sync("STALE"),), (sync("SYNCED" if acknowledges else "STALE"),)
    answers = iter([late, late])
    monkeypatch.setattr(control_plane, "_request", lambda *_: ExecResult(0, "[]", ""))
    monkeypatch.setattr(envoy, "proxy_syncs", lambda _: next(answers, told))
    pod = api_objects.pod({"metadata": {"name": "istiod-x", "namespace": "istio-system"}})
    assert control_plane._acknowledged(cast(KubeApi, None), pod, late, 1.0) == told


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
    found, reason = peers.peers(destinations, set(clusters), {}, lambda: 1.0, 1.0, request_id="ew-1", shared=False)
    assert [(row.destination, row.requests) for row in found or ()] == [("told", 2), ("late", 2), ("nobody", 0)]
    assert not reason


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


def test_the_answers_of_several_paths_are_told_apart() -> None:
    output = '\n@@eastwest@@ server_info\n{"state": "LIVE"}\n@@eastwest@@ clusters?format=json\n'
    assert proxies.split(output) == {"server_info": '{"state": "LIVE"}\n', "clusters?format=json": ""}


def test_where_each_kind_of_object_is_declared() -> None:
    """Only what declares it is kept of annotations, owner references and managed fields."""
    helm = {"meta.helm.sh/release-name": "mesh", "meta.helm.sh/release-namespace": "istio-system", "secret": "hunter2"}
    raw: dict[str, Any] = {"metadata": {"name": "istio", "namespace": "istio-system", "annotations": helm}}
    config_map = {**raw, "data": {"mesh": "trustDomain: cluster.local"}}
    found: tuple[Any, ...] = (
        api_objects.workload(raw, "Deployment"),
        api_objects.service(raw, {}),
        istio_objects.sail_resource(raw, "sailoperator.io/v1", "Istio"),
        istio_objects.config_object(raw, "networking.istio.io/v1", "Gateway"),
        istio_objects.injection_webhook(raw),
        *istio_objects.mesh_configs([config_map]),
        secrets.ca_secret(raw),
        secrets.remote_secret(raw),
    )
    for each in (*found, api_objects.namespace(raw)):
        assert str(each.origin) == "Helm release istio-system/mesh", type(each)
    assert not any("hunter2" in each.model_dump_json() for each in found)
