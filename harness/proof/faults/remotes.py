"""Faults of what ties remotes to their primary."""

from urllib.parse import urlsplit

from harness.model import expectations
from harness.model.cluster import InjectionWebhook, Pod, SailResource
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import ProbeResult
from harness.proof.faults import effects, requests
from harness.proof.faults.acts import namespaces
from harness.proof.faults.acts import remotes as acts
from harness.proof.faults.certificates import NO_SHARES, REMOTE_READY, SHARES
from harness.proof.faults.edit import (
    each,
    east,
    edit,
    gateway_service,
    is_istiod,
    on,
    pods,
    probes,
    server,
    services,
    signer,
    west,
    with_env,
    with_global,
    with_namespace,
    with_webhooks,
)
from harness.proof.faults.fault import MN, PR, Consequence, Fault, both, inside

ANNOTATION = "topology.istio.io/controlPlaneClusters"


def _external_off(observation: Observation) -> Observation:
    changed = observation
    for cluster in (signer(observation), server(observation)):
        changed = with_env(changed, cluster, "discovery", EXTERNAL_ISTIOD="false")
        changed = with_global(changed, cluster, externalIstiod=False)
    return changed


def _istiod_on_remote(observation: Observation) -> Observation:
    primary, cluster = signer(observation), west(observation)
    pod = next(pod for pod in observation[primary].pods if is_istiod(pod))
    deployment = next(iter(expectations.istiod_workloads(observation[primary])))
    observed = observation[cluster]
    return on(observation, cluster, pods=(*observed.pods, pod), workloads=(*observed.workloads, deployment))


def injection_path(observation: Observation) -> Observation:
    """The remote is injected for another cluster, and its workloads were created again."""
    cluster, first = west(observation), east(observation)
    path = f"/inject/cluster/{first.cluster_name}/net/{cluster.network}"

    def change(webhook: InjectionWebhook) -> InjectionWebhook:
        rules = each(
            webhook.webhooks,
            lambda rule: rule.model_copy(
                update={"path": path if rule.path else "", "url": _with_path(rule.url, path) if rule.url else ""}
            ),
        )
        return webhook.model_copy(update={"webhooks": rules})

    def resource(found: SailResource) -> SailResource:
        values = found.spec.get("values") or {}
        remote = {**(values.get("istiodRemote") or {}), "injectionPath": path}
        spec = {**found.spec, "values": {**values, "istiodRemote": remote}}
        return found.model_copy(update={"spec": spec}) if found.kind == "Istio" else found

    changed = with_webhooks(observation, cluster, change)
    changed = on(changed, cluster, sail=each(changed[cluster].sail, resource))
    changed = _sample_named(changed, cluster, first.cluster_name)
    why = "workload certificate request failed: could not authenticate: token is not of cluster cluster1"
    changed = effects.sidecars_fail(changed, cluster, why)
    for client in observation.topology.clusters:
        if client != cluster:
            changed = effects.lose_endpoints(changed, client, cluster)
            changed = requests.only_from(changed, client, client)
    return effects.gateway_probes(
        changed, cluster, ProbeResult.REFUSED, ports=(expectations.MESH_PORT,), detail="connection reset", connects=True
    )


def _sample_named(observation: Observation, cluster: Cluster, cluster_name: str) -> Observation:
    """The sample's proxies on a cluster were told another cluster name."""
    sample = observation.asked.sample_namespace

    def renamed(pod: Pod) -> Pod:
        container = pod.container(expectations.PROXY)
        if container is None or pod.namespace != sample:
            return pod
        env = {**container.env, "ISTIO_META_CLUSTER_ID": cluster_name}
        return pod.model_copy(
            update={"containers": edit(pod.containers, lambda c: c.name == expectations.PROXY, env=env)}
        )

    changed = pods(observation, cluster, renamed)
    named = edit(changed[cluster].proxies, lambda p: p.namespace == sample, cluster_id=cluster_name)
    return on(changed, cluster, proxies=named)


def _with_path(url: str, path: str) -> str:
    return urlsplit(url)._replace(path=path).geturl()


def remote_address(observation: Observation, cluster: Cluster, address: str) -> Observation:
    """A cluster calls its control plane at this address."""

    def change(webhook: InjectionWebhook) -> InjectionWebhook:
        rules = each(
            webhook.webhooks,
            lambda rule: rule.model_copy(
                update={"url": urlsplit(rule.url)._replace(netloc=f"{address}:15017").geturl() if rule.url else ""}
            ),
        )
        return webhook.model_copy(update={"webhooks": rules})

    def resource(found: SailResource) -> SailResource:
        values = found.spec.get("values") or {}
        settings = {**(values.get("global") or {}), "remotePilotAddress": address}
        spec = {**found.spec, "values": {**values, "global": settings}}
        return found.model_copy(update={"spec": spec}) if found.kind == "Istio" else found

    changed = with_webhooks(observation, cluster, change)
    changed = on(changed, cluster, sail=each(changed[cluster].sail, resource))
    return services(changed, cluster, "istiod", ready_endpoints=(address,))


def _discovery_address(observation: Observation) -> Observation:
    changed = remote_address(observation, west(observation), "192.0.2.1")
    changed = effects.injection_fails(changed, west(observation), why="context deadline exceeded")
    return effects.disconnected(changed, west(observation))


def _discovery_address_stale(observation: Observation) -> Observation:
    target, new = server(observation), "172.18.200.99"
    service = expectations.gateway_service(observation[target])
    old = service.ingress if service else ()
    changed = gateway_service(observation, target, ingress=(new,), resolved=(new,))
    changed = probes(
        changed,
        lambda p: p.model_copy(update={"address": new}) if p.address in old and p.target == target.name else p,
    )
    dependents, lost = observation.topology.dependents(target), west(observation)
    changed = effects.injection_fails(changed, *dependents, why="context deadline exceeded")
    changed = effects.disconnected(changed, *dependents)
    if lost.network != target.network and not observation.topology.hosts:
        changed = requests.only_from(changed, lost, lost, vain="timeout")
    return changed


def _unannotated(observation: Observation) -> Observation:
    system = observation.asked.system_namespace
    return with_namespace(observation, west(observation), system, "annotations", **{ANNOTATION: None})


CUT_OFF = "proxies find no control plane at the address, and connect again when their connection ends"
NOT_STARTED = "istiod checks a proxy's token at the API server of the cluster it names, and refuses it there"
UNSEEN = "endpoints of pods that are not ready are not handed out"
WORKLOADS_DOWN = (
    Consequence(("WL-PLACED",), "pods whose sidecar does not start are not ready"),
    Consequence(("XDS-SYNCED",), NOT_STARTED),
    Consequence(("CERT-WORKLOAD",), "whose token is refused gets no certificate"),
    Consequence(("EP-COMPLETE", "EP-WEIGHTS", "TR-REACH"), UNSEEN),
    Consequence(SHARES, NO_SHARES),
    Consequence(("TR-NO-ERRORS", "TR-NO-RETRIES"), "there is no client on the remote to send requests from"),
    Consequence(("MTLS-PEER",), "no request reaches the remote's helloworld"),
    Consequence(("GW-DATAPATH", "GW-HARDENED"), "no helloworld is ready behind the remote's gateway", MN),
    Consequence(("NET-ROUTES",), "there is no ready pod on the remote to reach"),
)
FAULTS: tuple[Fault, ...] = (
    Fault(
        "external-off",
        "the primary does not serve remotes",
        _external_off,
        "external-off",
        frozenset({"CP-EXTERNAL"}),
        where=PR,
        live=True,
        act=acts.external_off,
    ),
    Fault(
        "istiod-on-remote",
        "a control plane of its own on the remote",
        _istiod_on_remote,
        "istiod-on-remote",
        frozenset({"CP-REMOTE-NO-ISTIOD"}),
        where=PR,
        live=True,
        act=acts.istiod_on_remote,
    ),
    Fault(
        "injection-path",
        "the remote's injection path names East, workloads restarted",
        injection_path,
        "injection-path",
        frozenset({"CP-REMOTE-PROFILE", "WL-INJECTED"}),
        consequences=(
            Consequence(("CP-IDENTITY",), "the path tells the sidecars their cluster's name"),
            *WORKLOADS_DOWN,
        ),
        where=PR,
        live=True,
        act=acts.injection_path,
    ),
    Fault(
        "discovery-address",
        "remotePilotAddress is wrong, proxies restarted or reconnecting",
        _discovery_address,
        "discovery-address",
        frozenset({"CP-REMOTE-PROFILE"}),
        consequences=(
            Consequence(("CP-INJECTION-WEBHOOK",), "the webhook calls the same address"),
            Consequence(("CP-READY",), REMOTE_READY),
            Consequence(("XDS-SYNCED",), CUT_OFF),
        ),
        where=PR,
        live=True,
        act=acts.discovery_address,
    ),
    Fault(
        "discovery-address-stale",
        "the primary's gateway Service was created again, with another address",
        _discovery_address_stale,
        "discovery-address",
        frozenset({"CP-REMOTE-PROFILE"}),
        consequences=(
            Consequence(("CP-INJECTION-WEBHOOK",), "the webhook calls the former address"),
            Consequence(("CP-READY",), REMOTE_READY),
            Consequence(("XDS-SYNCED",), CUT_OFF),
            Consequence(
                ("EP-COMPLETE", "EP-WEIGHTS"),
                "proxies without control plane do not learn of the change",
                both(MN, inside),
            ),
            Consequence(
                ("TR-REACH", "TR-NO-ERRORS", "TR-NO-RETRIES"),
                "nobody answers at what they know instead",
                both(MN, inside),
            ),
            Consequence(SHARES, NO_SHARES, both(MN, inside)),
        ),
        where=PR,
        live=True,
        act=acts.discovery_address_stale,
    ),
    Fault(
        "control-plane-clusters",
        "the annotation of the remote's system namespace is missing",
        _unannotated,
        "control-plane-clusters",
        frozenset({"CP-CONTROL-PLANE-CLUSTERS"}),
        where=PR,
        live=True,
        act=namespaces.unannotated,
    ),
)
