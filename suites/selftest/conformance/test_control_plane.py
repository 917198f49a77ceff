"""Every requirement on control planes, proxies and remotes notices what it is there for."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from harness.judge.judgement import Verdict
from harness.model import clients, expectations
from harness.model.cluster import ConfigObject, DryRun, InjectionWebhook, Node, SailResource
from harness.model.observation import Observation
from harness.model.step import Outcome
from harness.model.topology import Cluster, Topology
from suites.selftest.support.breakage import (
    Breakage,
    check,
    edit,
    first,
    gateway_of_istiod,
    last,
    last_is_remote,
    on,
    verdicts,
    with_sleep_proxy,
)
from suites.selftest.support.good import TOPOLOGIES, good

STALE_ADDRESS = "172.18.200.99"


def _unavailable(observation: Observation) -> Observation:
    cluster = first(observation.topology)
    istiod = expectations.istiod_workloads(observation[cluster])[0]
    workloads = edit(observation[cluster].workloads, lambda item: item == istiod, conditions=(), ready=0)
    return on(observation, cluster, workloads=workloads)


def _not_injecting(observation: Observation, cluster: Cluster) -> Observation:
    return on(observation, cluster, dry_run=DryRun(injected=False, error="no endpoints available"))


def _waited(observation: Observation, **update: object) -> Observation:
    name = last(observation.topology).name
    return observation.model_copy(update={"steps": edit(observation.steps, lambda s: s.cluster == name, **update)})


def _bare_node(observation: Observation) -> Observation:
    cluster = last(observation.topology)
    nodes = observation[cluster].nodes
    bare: Node = nodes[0].model_copy(update={"name": "uncovered"})
    return on(observation, cluster, nodes=(*nodes, bare))


def _config(observation: Observation, cluster: Cluster, part: str, **update: object) -> Observation:
    config = observation[cluster].mesh_config[0]
    values = getattr(config, part)
    changed = values | update if part == "mesh" else {**values, "global": values["global"] | update}
    return on(observation, cluster, mesh_config=(config.model_copy(update={part: changed}),))


def _last_primary(topology: Topology) -> Cluster:
    return topology.primaries[-1]


def _not_external(observation: Observation) -> Observation:
    cluster = gateway_of_istiod(observation.topology)
    pods = tuple(
        pod.model_copy(update={"containers": tuple(c.model_copy(update={"env": {}}) for c in pod.containers)})
        if pod in expectations.istiod_pods(observation[cluster])
        else pod
        for pod in observation[cluster].pods
    )
    return _config(on(observation, cluster, pods=pods), cluster, "values", externalIstiod=False)


def _istiod_on_remote(observation: Observation) -> Observation:
    own = observation[first(observation.topology)]
    remote = observation[last(observation.topology)]
    workloads = remote.workloads + expectations.istiod_workloads(own)
    return on(observation, last(observation.topology), workloads=workloads)


def _webhooks(observation: Observation, cluster: Cluster, **update: object) -> Observation:
    def changed(webhook: InjectionWebhook) -> InjectionWebhook:
        return webhook.model_copy(update={"webhooks": edit(webhook.webhooks, lambda _: True, **update)})

    return on(observation, cluster, webhooks=tuple(changed(webhook) for webhook in observation[cluster].webhooks))


def _stale_endpoints(observation: Observation) -> Observation:
    cluster = last(observation.topology)
    services = edit(observation[cluster].services, lambda s: s.name == "istiod", ready_endpoints=(STALE_ADDRESS,))
    return on(observation, cluster, services=services)


def _not_annotated(observation: Observation) -> Observation:
    cluster, system = last(observation.topology), observation.asked.system_namespace
    namespaces = edit(observation[cluster].namespaces, lambda item: item.name == system, annotations={})
    return on(observation, cluster, namespaces=namespaces)


def _sync(observation: Observation, change: Callable[[dict[str, str]], dict[str, str]]) -> Observation:
    """Change what the control plane of the last cluster says of its sleep."""
    topology = observation.topology
    primary = topology[last(topology).primary]
    planes = observation[primary].control_planes
    sleep = clients.client_proxies(observation, last(topology))[0]
    rows = tuple(
        row.model_copy(update={"types": change(row.types)})
        if (row.proxy, row.cluster_id) == (f"{sleep.pod}.{sleep.namespace}", last(topology).cluster_name)
        else row
        for row in planes[0].proxies
    )
    return on(observation, primary, control_planes=edit(planes, lambda _: True, proxies=rows))


def _not_connected(observation: Observation) -> Observation:
    primary = first(observation.topology)
    planes = observation[primary].control_planes
    return on(observation, primary, control_planes=edit(planes, lambda _: True, proxies=planes[0].proxies[1:]))


def _policy(observation: Observation) -> Observation:
    cluster = first(observation.topology)
    rule = ConfigObject(
        api_version="networking.istio.io/v1",
        kind="DestinationRule",
        namespace=observation.asked.sample_namespace,
        name="only-v1",
        spec={"host": "helloworld"},
    )
    return on(observation, cluster, config=(*observation[cluster].config, rule))


BREAKAGES = (
    Breakage("CP-READY", "istiod-unavailable", _unavailable),
    Breakage(
        "CP-READY",
        "remote-not-injecting",
        lambda o: _not_injecting(o, last(o.topology)),
        when=last_is_remote,
        also_fail=lambda _: ("CP-INJECTION-WEBHOOK",),
    ),
    Breakage("CP-READY", "late", lambda o: _waited(o, seconds=181)),
    Breakage("CP-READY", "gave-up", lambda o: _waited(o, outcome=Outcome.FAILED, detail="RemoteIstiodNotReady")),
    Breakage("CP-CNI-READY", "uncovered-node", _bare_node),
    Breakage(
        "CP-SKEW",
        "two-versions-behind",
        lambda o: with_sleep_proxy(o, last(o.topology), version="1.29.3"),
        also_fail=lambda _: ("CP-VERSION",),
    ),
    Breakage("CP-VERSION", "old-proxy", lambda o: with_sleep_proxy(o, last(o.topology), version="1.30.3")),
    Breakage("CP-IDENTITY", "mesh-id", lambda o: _config(o, _last_primary(o.topology), "values", meshID="mesh2")),
    Breakage(
        "CP-IDENTITY", "trust-domain", lambda o: _config(o, _last_primary(o.topology), "mesh", trustDomain="west")
    ),
    Breakage(
        "CP-IDENTITY",
        "cluster-name",
        lambda o: _config(o, _last_primary(o.topology), "values", multiCluster={"clusterName": "cluster9"}),
    ),
    Breakage("CP-EXTERNAL", "off", _not_external),
    Breakage("CP-REMOTE-NO-ISTIOD", "istiod", _istiod_on_remote),
    Breakage(
        "CP-REMOTE-PROFILE",
        "other-cluster",
        lambda o: _webhooks(o, last(o.topology), path="/inject/cluster/cluster9/net/network9"),
    ),
    Breakage("CP-REMOTE-PROFILE", "stale-address", _stale_endpoints),
    Breakage(
        "CP-REMOTE-PROFILE",
        "stale-url",
        lambda o: _webhooks(o, last(o.topology), url=f"https://{STALE_ADDRESS}:15017/inject"),
    ),
    Breakage("CP-CONTROL-PLANE-CLUSTERS", "not-annotated", _not_annotated),
    Breakage("CP-INJECTION-WEBHOOK", "not-injecting", lambda o: _not_injecting(o, first(o.topology))),
    Breakage("CP-INJECTION-WEBHOOK", "no-ca-bundle", lambda o: _webhooks(o, last(o.topology), ca_bundle=())),
    Breakage(
        "CP-INJECTION-WEBHOOK",
        "no-webhook",
        lambda o: on(o, first(o.topology), webhooks=()),
        blocked=lambda topology: {"CP-REMOTE-PROFILE"} if topology.hosts else set(),
    ),
    Breakage("XDS-SYNCED", "stale", lambda o: _sync(o, lambda types: types | {"EDS": "STALE"})),
    Breakage("XDS-SYNCED", "no-routes", lambda o: _sync(o, lambda types: types | {"RDS": "NOT SENT"})),
    Breakage("XDS-SYNCED", "not-connected", _not_connected),
    Breakage("XDS-SYNCED", "rejected", lambda o: with_sleep_proxy(o, last(o.topology), rejected=("bad filter",))),
    Breakage("CONFIG-CONSISTENT", "policy", _policy),
    Breakage("CONFIG-CONSISTENT", "mesh-config", lambda o: _config(o, first(o.topology), "mesh", enableTracing=True)),
)


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_notices(breakage: Breakage, made_observations: Mapping[str, Observation]) -> None:
    """The requirement fails, and nothing else but what is declared."""
    check(breakage, made_observations.values())


def _resource(observation: Observation, kind: str, cluster: Cluster, **update: Any) -> Observation:
    def mine(resource: SailResource) -> bool:
        return resource.kind == kind

    return on(observation, cluster, sail=edit(observation[cluster].sail, mine, **update))


@pytest.mark.parametrize(
    ("requirement", "change"),
    [
        ("CP-READY", lambda o: _resource(o, "Istio", last(o.topology), conditions=())),
        ("CP-CNI-READY", lambda o: _resource(o, "IstioCNI", last(o.topology), conditions=())),
        ("CP-REMOTE-PROFILE", lambda o: _resource(o, "Istio", last(o.topology), spec={"profile": "default"})),
    ],
)
def test_operator(requirement: str, change: Callable[[Observation], Observation]) -> None:
    """With an operator its resources are judged."""
    observation = good(TOPOLOGIES["primary-remote-multi-network"], "sail")
    assert set(verdicts(observation).values()) == {Verdict.PASS}
    found = verdicts(change(observation))
    assert {row for row, verdict in found.items() if verdict is not Verdict.PASS} == {requirement}
