"""What proxies say of themselves, from a recording of a real run."""

import copy
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.kube.api import ExecResult, KubeApi
from harness.model.proxy import ProxySync
from harness.observe import api_objects, control_plane, envoy, proxies
from suites.selftest.observe.test_api_objects import RAW


def test_a_proxy_says_who_it_is_and_what_it_knows() -> None:
    answers = {
        proxies.SERVER_INFO: RAW["server_info"],
        proxies.clusters(".sample.svc."): RAW["clusters"],
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


def test_the_admin_interface_is_asked_by_name() -> None:
    """It listens on 127.0.0.1 or on ::1, by the addresses that the pod has."""
    asked: list[str] = []

    def run(_namespace: str, _pod: str, _container: str, command: tuple[str, ...], *, timeout: float) -> ExecResult:
        assert timeout
        asked.append(command[-1])
        return ExecResult(0, "", "")

    proxies.admin_texts(
        cast(KubeApi, SimpleNamespace(exec=run)), "sample", "sleep-1", (proxies.clusters(".sample.svc."),), 1
    )
    assert "http://localhost:15000/" in asked[0]


def test_a_proxy_that_knows_very_many_clusters_is_asked_for_those_that_matter() -> None:
    """The filter takes them in; none that fit is an answer, too."""
    asked: list[str] = []
    wanted = re.compile(proxies.clusters(".sample.svc.").partition("filter=")[2])
    names = {found["name"] for found in RAW["clusters"]["cluster_statuses"] if wanted.fullmatch(found["name"])}
    assert {found.cluster for found in envoy.endpoint_sets(RAW["clusters"], "sample")} <= names
    assert not wanted.fullmatch("outbound|443||host.example.com")

    def run(_namespace: str, _pod: str, _container: str, command: tuple[str, ...], *, timeout: float) -> ExecResult:
        asked.append(command[-1])
        return ExecResult(0, f"@@eastwest@@ {proxies.clusters('helloworld.sample.svc.')}\n{{}}", "")

    kube = cast(KubeApi, SimpleNamespace(exec=run))
    found = proxies.host_counters(kube, "sample", "sleep-1", port=5000, service="helloworld.sample.svc.", timeout=1)
    assert found == {}
    assert "clusters?format=json&filter=.*helloworld.sample.svc..*'" in asked[0]


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


def test_the_answers_of_several_paths_are_told_apart() -> None:
    output = '\n@@eastwest@@ server_info\n{"state": "LIVE"}\n@@eastwest@@ clusters?format=json\n'
    assert proxies.split(output) == {"server_info": '{"state": "LIVE"}\n', "clusters?format=json": ""}
