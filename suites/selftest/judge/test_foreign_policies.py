"""Meshes of others: common settings are no fault, and are not blamed for a fault that stands beside them."""

from collections.abc import Callable
from typing import Any

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Verdict
from harness.judge.requirement import judge
from harness.model import clients, gateways
from harness.model.istio import ConfigObject
from harness.model.observation import Observation
from harness.model.proxy import EndpointSet
from harness.model.topology import Cluster
from harness.proof.faults.edit import with_config, with_mesh
from suites.catalogue import catalogue
from suites.selftest.support.breakage import edit, on
from suites.selftest.support.valid_kinds import PRIMARIES, east, everywhere, gateway, west

NETWORKING, SECURITY = "networking.istio.io/v1", "security.istio.io/v1"


def _with(observation: Observation, *items: ConfigObject) -> Observation:
    """These objects on every primary."""
    return everywhere(observation, lambda seen, cluster: on(seen, cluster, config=(*seen[cluster].config, *items)))


def _object(kind: str, namespace: str, name: str, spec: dict[str, Any]) -> ConfigObject:
    version = SECURITY if kind in {"PeerAuthentication", "AuthorizationPolicy"} else NETWORKING
    return ConfigObject(api_version=version, kind=kind, namespace=namespace, name=name, spec=spec)


def _without_west(observation: Observation) -> Observation:
    """East's client has lost west's endpoints, and its requests are all answered by east."""
    names = {proxy.pod for proxy in clients.client_proxies(observation, east(observation))}
    front = gateway(observation, west(observation))

    def left(found: EndpointSet) -> EndpointSet:
        addresses = set(gateways.addresses(front))
        return found.model_copy(update={"endpoints": tuple(e for e in found.endpoints if e.address not in addresses)})

    observed = observation[east(observation)]
    proxies = tuple(
        proxy.model_copy(update={"endpoints": tuple(map(left, proxy.endpoints))}) if proxy.pod in names else proxy
        for proxy in observed.proxies
    )
    assert proxies != observed.proxies
    return on(observation, east(observation), proxies=proxies)


FAILOVER = _object(
    "DestinationRule", "istio-system", "failover", {"host": "*.local", "trafficPolicy": {"outlierDetection": {}}}
)
METRICS = _object(
    "PeerAuthentication",
    "sample",
    "metrics",
    {"selector": {"matchLabels": {"app": "helloworld"}}, "portLevelMtls": {"9090": {"mode": "DISABLE"}}},
)
OTHER_PORT = _object(
    "DestinationRule",
    "sample",
    "other-port",
    {
        "host": "helloworld",
        "trafficPolicy": {"portLevelSettings": [{"port": {"number": 9090}, "tls": {"mode": "DISABLE"}}]},
    },
)


@pytest.mark.parametrize("beside", [FAILOVER, METRICS, OTHER_PORT], ids=lambda item: item.name)
def test_a_common_setting_is_not_blamed(beside: ConfigObject) -> None:
    broken = _with(_without_west(PRIMARIES.observation()), beside)
    judgements = tuple(judge(catalogue()[name], broken) for name in ("EP-COMPLETE", "CONFIG-CONSISTENT"))
    assert [each.verdict for each in judgements] == [Verdict.FAIL, Verdict.PASS]
    assert beside.name not in str(diagnose(broken, judgements))


@pytest.mark.parametrize(
    "spec",
    [
        {"trafficPolicy": {"tls": {"mode": "DISABLE"}}},
        {"trafficPolicy": {"portLevelSettings": [{"port": {"number": 5000}, "tls": {"mode": "SIMPLE"}}]}},
        {"subsets": [{"name": "v1", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}]},
    ],
    ids=["whole", "port", "subset"],
)
def test_tls_that_a_rule_takes_away_is_named(spec: dict[str, Any]) -> None:
    rule = _object("DestinationRule", "sample", "plain", {"host": "helloworld", **spec})
    broken = _with(_without_west(PRIMARIES.observation()), rule)
    first = diagnose(broken, (judge(catalogue()["EP-COMPLETE"], broken),))[0]
    assert (first.id, first.object) == ("mtls-disabled", "DestinationRule sample/plain")


def _gateway_policy(observation: Observation) -> Observation:
    """East's gateway admits the addresses of its peer only."""
    spec = {
        "selector": {"matchLabels": {"istio": "eastwestgateway"}},
        "rules": [{"from": [{"source": {"remoteIpBlocks": ["192.0.2.0/24"]}}]}],
    }
    item = _object("AuthorizationPolicy", "istio-system", "eastwest", spec)
    return on(observation, east(observation), config=(*observation[east(observation)].config, item))


def _settings(observation: Observation, **mesh: object) -> Observation:
    """East's mesh configuration says this, too."""
    return with_mesh(observation, [east(observation)], **mesh)


def _permissive(observation: Observation, **spec: object) -> Observation:
    """East has a PeerAuthentication for the whole mesh."""
    item = _object("PeerAuthentication", "istio-system", "default", {"mtls": {"mode": "PERMISSIVE"}, **spec})
    return with_config(observation, [east(observation)], item)


def _selecting(observation: Observation, *left_out: str) -> Observation:
    """East's control plane looks only at namespaces with a label, which those left out lack on west."""

    def labelled(seen: Observation, cluster: Cluster) -> Observation:
        namespaces = tuple(
            each.model_copy(update={"labels": {**each.labels, "mesh": "one"}})
            if cluster != west(seen) or each.name not in left_out
            else each
            for each in seen[cluster].namespaces
        )
        return on(seen, cluster, namespaces=namespaces)

    return _settings(everywhere(observation, labelled), discoverySelectors=[{"matchLabels": {"mesh": "one"}}])


DEFAULTS: dict[str, object] = {
    "enableAutoMtls": True,
    "localityLbSetting": {"enabled": True},
    "meshMTLS": {"minProtocolVersion": "TLSV1_2"},
    "h2UpgradePolicy": "DO_NOT_UPGRADE",
    "protocolDetectionTimeout": "0s",
    "defaultServiceExportTo": ["*"],
}
AMBIENT: dict[str, object] = {"serviceScopeConfigs": [{"servicesSelector": {}, "scope": "GLOBAL"}]}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (_gateway_policy, Verdict.PASS),
        (lambda seen: _settings(seen, **DEFAULTS), Verdict.PASS),
        (lambda seen: _settings(seen, **AMBIENT), Verdict.PASS),
        (_permissive, Verdict.PASS),
        (_selecting, Verdict.PASS),
        (lambda seen: _settings(seen, meshMTLS={"minProtocolVersion": "TLSV1_3"}), Verdict.FAIL),
        (lambda seen: _settings(seen, defaultServiceExportTo=["."]), Verdict.FAIL),
        (lambda seen: _permissive(seen, mtls={"mode": "STRICT"}), Verdict.FAIL),
        (lambda seen: _permissive(seen, portLevelMtls={"5000": {"mode": "DISABLE"}}), Verdict.FAIL),
        (lambda seen: _selecting(seen, "sample"), Verdict.FAIL),
        (lambda seen: _selecting(seen, "istio-system"), Verdict.FAIL),
    ],
    ids=[
        "gateway's policy",
        "defaults",
        "ambient",
        "permissive",
        "selecting all",
        "TLS 1.3",
        "not exported",
        "strict",
        "port of a workload",
        "sample left out",
        "system left out",
    ],
)
def test_what_may_differ_between_primaries(change: Callable[[Observation], Observation], verdict: Verdict) -> None:
    seen = change(PRIMARIES.observation())
    judgements = (judge(catalogue()["CONFIG-CONSISTENT"], seen),)
    assert judgements[0].verdict is verdict, judgements[0].explanation
    assert bool(diagnose(seen, judgements)) is (verdict is Verdict.FAIL)


def test_a_server_that_knows_no_other_service() -> None:
    """A Sidecar with no egress host leaves its proxy without endpoints and routes; the client's must have them."""
    observation = PRIMARIES.observation()

    def sync(seen: Observation, app: str) -> Observation:
        unsent = {"EDS": "NOT SENT", "RDS": "NOT SENT"}
        planes = tuple(
            plane.model_copy(
                update={
                    "proxies": tuple(
                        row.model_copy(update={"types": {**row.types, **unsent}}) if row.proxy.startswith(app) else row
                        for row in plane.proxies
                    )
                }
            )
            for plane in seen[west(seen)].control_planes
        )
        return on(seen, west(seen), control_planes=planes)

    row = catalogue()["XDS-SYNCED"]
    client = clients.client_pods(observation[west(observation)], observation.asked)[0].name
    assert judge(row, sync(observation, "helloworld")).verdict is Verdict.PASS
    assert judge(row, sync(observation, client)).verdict is Verdict.FAIL


def test_pods_from_before_the_cni_plugin() -> None:
    """The plugin leaves pods alone that have istio-init; in a mesh that the run installed there may be none."""
    found = PRIMARIES.observation()

    def older(seen: Observation) -> Observation:
        observed = seen[west(seen)]
        server = next(pod for pod in observed.pods if pod.name.startswith("helloworld"))
        init = server.containers[0].model_copy(update={"name": "istio-init", "init": True, "state": "terminated"})
        pods = edit(observed.pods, lambda pod: pod == server, containers=(*server.containers, init))
        return on(seen, west(seen), pods=pods)

    row = catalogue()["WL-INJECTED"]
    assert judge(row, older(found)).verdict is Verdict.PASS
    installed = found.model_copy(update={"asked": found.asked.model_copy(update={"mode": "install"})})
    assert judge(row, older(installed)).verdict is Verdict.FAIL


def test_a_secret_of_a_cluster_that_was_not_named_is_left_alone() -> None:
    """East lost the secret for west, and watches a third cluster that no context leads to."""
    observation = PRIMARIES.observation()
    observed = observation[east(observation)]
    third = tuple(
        each.model_copy(
            update={
                "name": "istio-remote-secret-cluster3",
                "clusters": ("cluster3",),
                "servers": ("https://192.0.2.3:6443",),
            }
        )
        for each in observed.remote_secrets
    )
    west_name = west(observation).cluster_name
    planes = tuple(
        plane.model_copy(update={"clusters": tuple(row for row in plane.clusters if row.id != west_name)})
        for plane in observed.control_planes
    )
    broken = on(observation, east(observation), remote_secrets=third, control_planes=planes)
    judgements = (judge(catalogue()["RS-PRESENT"], broken),)
    assert judgements[0].verdict is Verdict.FAIL
    found = diagnose(broken, judgements)
    assert [cause.id for cause in found] == ["secret-missing"]
    assert "cluster3 to" not in str(found)


@pytest.mark.parametrize(("version", "verdict"), [("v3", Verdict.PASS), ("v2", Verdict.FAIL)])
def test_a_canary_beside_the_sample(version: str, verdict: Verdict) -> None:
    """A version of its own tells the cluster as well; one of another cluster does not."""
    observation = PRIMARIES.observation()
    cluster, observed = east(observation), observation[east(observation)]
    labels = {"app": "helloworld", "version": version}
    pod = next(each for each in observed.pods if each.labels.get("app") == "helloworld")
    workload = next(each for each in observed.workloads if each.labels.get("app") == "helloworld")
    canary = workload.model_copy(update={"name": f"helloworld-{version}", "labels": labels, "pod_labels": labels})
    beside = pod.model_copy(update={"name": f"helloworld-{version}-1", "labels": {**pod.labels, **labels}})
    changed = on(observation, cluster, pods=(*observed.pods, beside), workloads=(*observed.workloads, canary))
    assert judge(catalogue()["WL-PLACED"], changed).verdict is verdict
    traffic = observation.traffic
    assert traffic
    sequences = tuple(
        sequence.model_copy(
            update={
                "requests": tuple(
                    request.model_copy(update={"version": version if number % 2 else "v1"})
                    if request.version == "v1"
                    else request
                    for number, request in enumerate(sequence.requests)
                )
            }
        )
        for sequence in traffic.distribution
    )
    answered = changed.model_copy(update={"traffic": traffic.model_copy(update={"distribution": sequences})})
    assert judge(catalogue()["TR-DISTRIBUTION"], answered).verdict is verdict


@pytest.mark.parametrize(("domain", "verdict"), [("west.local", Verdict.PASS), ("other.local", Verdict.FAIL)])
def test_callers_of_another_trust_domain(domain: str, verdict: Verdict) -> None:
    """Two domains with mutual aliases: each client is known by that of its own control plane."""
    observation = PRIMARIES.observation()
    cluster, observed, traffic = west(observation), observation[west(observation)], observation.traffic
    config = tuple(
        each.model_copy(update={"mesh": {**each.mesh, "trustDomain": "west.local"}}) for each in observed.mesh_config
    )
    assert traffic
    # West's client calls east.
    peers = tuple(
        each.model_copy(update={"principal": each.principal.replace("cluster.local", domain)})
        if each.destination == east(observation).name
        else each
        for each in traffic.peers or ()
    )
    assert peers != traffic.peers
    changed = on(observation, cluster, mesh_config=config)
    called = changed.model_copy(update={"traffic": traffic.model_copy(update={"peers": peers})})
    assert judge(catalogue()["MTLS-PEER"], called).verdict is verdict
