"""Faults of control planes, their identity, and what ties remotes to them."""

from urllib.parse import urlsplit

from harness import expected
from harness.faults import effects
from harness.faults.certificates import NO_SHARES, REFUSED, REMOTE_READY, SHARES
from harness.faults.edit import (
    each,
    east,
    edit,
    gateway_service,
    is_istiod,
    on,
    pods,
    probes,
    services,
    signer,
    west,
    with_config,
    with_env,
    with_global,
    with_mesh,
    with_namespace,
    with_webhooks,
    workloads,
)
from harness.faults.fault import MN, MP, PR, Consequence, Fault, both
from harness.faults.reissue import Shape, reissue
from harness.model.cluster import Condition, ConfigObject, InjectionWebhook, Pod, SailResource
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane, Proxy, ProxySync
from harness.model.traffic import ProbeKind, ProbeResult

UNAVAILABLE = Condition(
    type="Available", status="False", reason="MinimumReplicasUnavailable", message="Deployment does not have minimum"
)
ANNOTATION = "topology.istio.io/controlPlaneClusters"


def _down(observation: Observation) -> Observation:
    primary = signer(observation)
    message = 'Back-off pulling image "registry.example/pilot:none"'

    def waiting(pod: Pod) -> Pod:
        if not is_istiod(pod):
            return pod
        state = {"ready": False, "state": "waiting", "reason": "ImagePullBackOff", "message": message}
        containers = edit(pod.containers, lambda c: c.name == "discovery", **state)
        return pod.model_copy(update={"ready": False, "phase": "Pending", "containers": containers})

    changed = pods(observation, primary, waiting)
    changed = workloads(changed, primary, lambda w: w.name.startswith("istiod"), ready=0, conditions=(UNAVAILABLE,))
    changed = services(on(changed, primary, control_planes=()), primary, "istiod", ready_endpoints=())
    not_ready = Condition(type="Ready", status="False", reason="IstiodNotReady", message="istiod is not ready")

    def resource(found: SailResource) -> SailResource:
        return found.model_copy(update={"conditions": (not_ready,)}) if found.kind == "Istio" else found

    changed = on(changed, primary, sail=each(changed[primary].sail, resource))
    served = observation.topology.served_by(primary)
    changed = effects.injection_fails(changed, *served, why='no endpoints available for service "istiod"')
    # The gateway accepts the connection, and has nobody to hand it on to.
    behind = (expected.XDS_PORT, expected.WEBHOOK_PORT)
    return effects.gateway_probes(
        changed, primary, ProbeResult.REFUSED, ports=behind, detail="connection reset", connects=True
    )


def _cni_uncovered(observation: Observation) -> Observation:
    cluster = west(observation)
    changed = pods(observation, cluster, lambda pod: None if pod.labels.get("k8s-app") == "istio-cni-node" else pod)
    changed = workloads(changed, cluster, lambda w: w.name == "istio-cni-node", desired=0, ready=0, conditions=())
    not_ready = Condition(type="Ready", status="False", reason="IstioCNINotReady", message="no pod is scheduled")

    def resource(found: SailResource) -> SailResource:
        return found.model_copy(update={"conditions": (not_ready,)}) if found.kind == "IstioCNI" else found

    return on(changed, cluster, sail=each(changed[cluster].sail, resource))


def _version_mixed(observation: Observation) -> Observation:
    cluster = west(observation)
    changed = edit(observation[cluster].proxies, lambda proxy: proxy.role == expected.HELLOWORLD, version="1.29.2")
    return on(observation, cluster, proxies=changed)


def _trust_domains(observation: Observation) -> Observation:
    cluster, domain = west(observation), "west.local"
    old = f"spiffe://{observation.topology.trust_domain}/"
    leaves = {cluster.name: Shape(uri=lambda uri: uri.replace(old, f"spiffe://{domain}/"))}
    changed = with_mesh(reissue(observation, leaves=leaves), (cluster,), trustDomain=domain)
    changed = with_env(changed, cluster, expected.PROXY, TRUST_DOMAIN=domain)
    for client in observation.topology.clusters:
        changed = effects.only_from(changed, client, client, vain="refused")
    traffic = changed.traffic
    if traffic is None:
        return changed
    peers = tuple(
        peer.model_copy(update={"principal": peer.principal.replace(old, f"spiffe://{domain}/")})
        if peer.destination == cluster.name
        else peer
        for peer in traffic.peers or ()
    )
    return changed.model_copy(update={"traffic": traffic.model_copy(update={"peers": peers})})


def _mesh_ids(observation: Observation) -> Observation:
    changed = with_global(observation, west(observation), meshID="mesh2")
    return with_env(changed, west(observation), expected.PROXY, ISTIO_META_MESH_ID="mesh2")


def _renamed(observation: Observation, name: str) -> Observation:
    """West's proxies call themselves another cluster's name."""
    cluster = west(observation)
    changed = with_env(observation, cluster, expected.PROXY, ISTIO_META_CLUSTER_ID=name)
    named: tuple[Proxy, ...] = tuple(p.model_copy(update={"cluster_id": name}) for p in changed[cluster].proxies)
    changed = on(changed, cluster, proxies=named)

    def rows(plane: ControlPlane) -> ControlPlane:
        renamed: tuple[ProxySync, ...] = tuple(
            row.model_copy(update={"cluster_id": name}) if row.cluster_id == cluster.cluster_name else row
            for row in plane.proxies
        )
        return plane.model_copy(update={"proxies": renamed})

    return on(changed, cluster.primary, control_planes=each(changed[cluster.primary].control_planes, rows))


def _names_equal(observation: Observation) -> Observation:
    first, cluster = east(observation), west(observation)
    if not cluster.is_primary:
        changed = _injection_path(observation)
        secrets = edit(
            changed[first].remote_secrets,
            lambda secret: cluster.cluster_name in secret.clusters,
            clusters=(first.cluster_name,),
        )
        changed = on(changed, first, remote_secrets=secrets)
        changed = probes(changed, lambda p: None if p.kind is ProbeKind.API_SERVER else p)

        def without(plane: ControlPlane) -> ControlPlane:
            return plane.model_copy(
                update={"clusters": tuple(c for c in plane.clusters if c.id != cluster.cluster_name)}
            )

        changed = on(changed, first, control_planes=each(changed[first].control_planes, without))
        changed = effects.lose_endpoints(changed, first, cluster)
        return effects.only_from(changed, first, first)
    changed = _renamed(observation, first.cluster_name)
    multi = {"multiCluster": {"clusterName": first.cluster_name}}
    changed = with_global(changed, cluster, **multi)
    # West's istiod ignores a remote secret that has its own name: it does not watch East.
    rows = each(
        changed[cluster].control_planes,
        lambda plane: plane.model_copy(
            update={"clusters": tuple(row for row in plane.clusters if row.id != cluster.cluster_name)}
        ),
    )
    changed = on(changed, cluster, control_planes=rows)
    changed = effects.lose_endpoints(changed, cluster, first)
    return effects.only_from(changed, cluster, cluster)


def _external_off(observation: Observation) -> Observation:
    changed = with_env(observation, signer(observation), "discovery", EXTERNAL_ISTIOD="false")
    return with_global(changed, signer(observation), externalIstiod=False)


def _istiod_on_remote(observation: Observation) -> Observation:
    primary, cluster = signer(observation), west(observation)
    pod = next(pod for pod in observation[primary].pods if is_istiod(pod))
    deployment = next(iter(expected.istiod_workloads(observation[primary])))
    observed = observation[cluster]
    return on(observation, cluster, pods=(*observed.pods, pod), workloads=(*observed.workloads, deployment))


def _injection_path(observation: Observation) -> Observation:
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
    sample = observation.asked.sample_namespace

    def renamed(pod: Pod) -> Pod:
        container = pod.container(expected.PROXY)
        if container is None or pod.namespace != sample:
            return pod
        env = {**container.env, "ISTIO_META_CLUSTER_ID": first.cluster_name}
        return pod.model_copy(update={"containers": edit(pod.containers, lambda c: c.name == expected.PROXY, env=env)})

    changed = pods(changed, cluster, renamed)
    why = "workload certificate request failed: could not authenticate: token is not of cluster cluster1"
    changed = effects.sidecars_fail(changed, cluster, why)
    for client in observation.topology.clusters:
        if client != cluster:
            changed = effects.lose_endpoints(changed, client, cluster)
            changed = effects.only_from(changed, client, client)
    return effects.gateway_probes(
        changed, cluster, ProbeResult.REFUSED, ports=(expected.MESH_PORT,), detail="connection reset", connects=True
    )


def _with_path(url: str, path: str) -> str:
    return urlsplit(url)._replace(path=path).geturl()


def _remote_address(observation: Observation, address: str) -> Observation:
    """West calls its control plane at this address."""
    cluster = west(observation)

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
    changed = _remote_address(observation, "192.0.2.1")
    changed = effects.injection_fails(changed, west(observation), why="context deadline exceeded")
    return effects.disconnected(changed, west(observation))


def _discovery_address_stale(observation: Observation) -> Observation:
    primary, new = signer(observation), "172.18.200.99"
    service = expected.gateway_service(observation[primary])
    old = service.ingress if service else ()
    changed = gateway_service(observation, primary, ingress=(new,), resolved=(new,))
    changed = probes(
        changed,
        lambda p: p.model_copy(update={"address": new}) if p.address in old and p.target == primary.name else p,
    )
    lost = west(observation)
    changed = effects.injection_fails(changed, lost, why="context deadline exceeded")
    changed = effects.disconnected(changed, lost)
    if lost.network != primary.network:
        changed = effects.only_from(changed, lost, lost, vain="timeout")
    return changed


def _unannotated(observation: Observation) -> Observation:
    system = observation.asked.system_namespace
    return with_namespace(observation, west(observation), system, "annotations", **{ANNOTATION: None})


def _not_serving(observation: Observation) -> Observation:
    primary = signer(observation)
    changed = services(observation, primary, "istiod", selector={"app": "nothing"}, ready_endpoints=())
    served = observation.topology.served_by(primary)
    changed = effects.injection_fails(changed, *served, why='no endpoints available for service "istiod"')
    behind = (expected.XDS_PORT, expected.WEBHOOK_PORT)
    return effects.gateway_probes(
        changed, primary, ProbeResult.REFUSED, ports=behind, detail="connection reset", connects=True
    )


def _rejected(observation: Observation) -> Observation:
    spec = {"configPatches": [{"applyTo": "CLUSTER", "patch": {"operation": "MERGE", "value": {"no_such_field": 1}}}]}
    item = ConfigObject(
        api_version="networking.istio.io/v1alpha3",
        kind="EnvoyFilter",
        namespace=observation.asked.sample_namespace,
        name="refused",
        spec=spec,
    )
    changed = with_config(observation, observation.topology.primaries, item)
    sample = observation.asked.sample_namespace
    for cluster in observation.topology.clusters:
        proxies = each(
            changed[cluster].proxies,
            lambda p: (
                p.model_copy(update={"rejected": ("CDS: no such field: no_such_field",)})
                if p.namespace == sample
                else p
            ),
        )
        changed = on(changed, cluster, proxies=proxies)
    for primary in observation.topology.primaries:

        def rows(plane: ControlPlane) -> ControlPlane:
            refused = each(
                plane.proxies,
                lambda row: (
                    row.model_copy(update={"types": {**row.types, "CDS": "REJECTED"}})
                    if row.proxy.endswith(f".{sample}")
                    else row
                ),
            )
            return plane.model_copy(update={"proxies": refused})

        changed = on(changed, primary, control_planes=each(changed[primary].control_planes, rows))
    return changed


NO_ISTIOD = "no control plane runs that could be asked"
VIA_GATEWAY = "remotes reach istiod over the gateway, which hands their connections on to its Service"
SILENT = "a closed port is no protection: hardening is judged only where somebody is served"
CUT_OFF = "proxies find no control plane at the address, and connect again when their connection ends"
NOT_STARTED = "istiod checks a proxy's token at the API server of the cluster it names, and refuses it there"
UNSEEN = "endpoints of pods that are not ready are not handed out"

_WORKLOADS_DOWN = (
    Consequence(("WL-PLACED",), "pods whose sidecar does not start are not ready"),
    Consequence(("XDS-SYNCED",), NOT_STARTED),
    Consequence(("CP-VERSION", "CERT-WORKLOAD"), "a proxy that does not start can't be asked"),
    Consequence(("EP-COMPLETE", "EP-WEIGHTS", "TR-REACH"), UNSEEN),
    Consequence(SHARES, NO_SHARES),
    Consequence(("TR-NO-ERRORS", "TR-NO-RETRIES"), "there is no client on the remote to send requests from"),
    Consequence(("MTLS-PEER",), "no request reaches the remote's helloworld"),
    Consequence(("GW-REACHABLE", "GW-HARDENED", "CERT-ISTIOD"), "what is seen from the remote's pods is not seen"),
    Consequence(("GW-DATAPATH",), "no helloworld is ready behind the remote's gateway", MN),
    Consequence(("NET-ROUTES",), "there is no pod on the remote to reach or to send from"),
)

FAULTS: tuple[Fault, ...] = (
    Fault(
        "control-plane-down",
        "istiod's image cannot be pulled",
        _down,
        "control-plane-down",
        frozenset({"CP-READY"}),
        consequences=(
            Consequence(("CERT-IN-USE", "CERT-ISTIOD", "CP-VERSION", "XDS-SYNCED", "RS-SYNCED"), NO_ISTIOD),
            Consequence(("CP-INJECTION-WEBHOOK",), "the webhook's Service has no endpoint"),
            Consequence(("GW-HARDENED",), SILENT, PR),
        ),
        live=True,
    ),
    Fault(
        "cni-uncovered-node",
        "the CNI DaemonSet does not run on West's node",
        _cni_uncovered,
        "cni-uncovered-node",
        frozenset({"CP-CNI-READY"}),
        live=True,
    ),
    Fault(
        "version-mixed",
        "helloworld's proxy on West has another version",
        _version_mixed,
        "version-mixed",
        frozenset({"CP-VERSION"}),
    ),
    Fault(
        "trust-domains-differ",
        "West has another trust domain, istiod and workloads restarted",
        _trust_domains,
        "trust-domains-differ",
        frozenset({"CP-IDENTITY"}),
        consequences=(
            Consequence(("CERT-WORKLOAD",), "workloads are named spiffe://OTHER/…"),
            Consequence(("GW-DATAPATH",), "helloworld's certificate behind the gateway names the other domain", MN),
            Consequence(("MTLS-PEER",), "West's helloworld sees its callers at home under the other name"),
            Consequence(("TR-REACH", "TR-NO-RETRIES"), REFUSED),
            Consequence(SHARES, NO_SHARES),
        ),
        where=MP,
        live=True,
    ),
    Fault(
        "mesh-ids-differ",
        "West has another mesh id: mostly no symptom",
        _mesh_ids,
        "mesh-ids-differ",
        frozenset({"CP-IDENTITY"}),
        where=MP,
        live=True,
    ),
    Fault(
        "cluster-names-equal",
        "West is called cluster1, as East is",
        _names_equal,
        "cluster-names-equal",
        frozenset({"CP-IDENTITY"}),
        consequences=(
            Consequence(("WL-INJECTED",), "sidecars are told the name that the control plane has"),
            Consequence(("XDS-SYNCED",), "proxies report the other name, so West's own are not among those connected"),
            Consequence(("EP-COMPLETE", "EP-WEIGHTS"), "istiod ignores a remote secret of its own cluster's name"),
            Consequence(("TR-REACH",), "West's clients know no endpoint on East"),
            Consequence(SHARES, NO_SHARES),
            Consequence(("CP-REMOTE-PROFILE",), "the injection path says the name", PR),
            Consequence(
                ("RS-PRESENT", "RS-USABLE", "RS-LEAST", "RS-SYNCED"), "the remote secret is keyed by the name", PR
            ),
            *(Consequence(c.requirements, c.reason, both(PR, c.where)) for c in _WORKLOADS_DOWN),
        ),
        live=True,
    ),
    Fault(
        "external-off",
        "the primary does not serve remotes",
        _external_off,
        "external-off",
        frozenset({"CP-EXTERNAL"}),
        where=PR,
        live=True,
    ),
    Fault(
        "istiod-on-remote",
        "a control plane of its own on the remote",
        _istiod_on_remote,
        "istiod-on-remote",
        frozenset({"CP-REMOTE-NO-ISTIOD"}),
        where=PR,
        live=True,
    ),
    Fault(
        "injection-path",
        "the remote's injection path names East, workloads restarted",
        _injection_path,
        "injection-path",
        frozenset({"CP-REMOTE-PROFILE", "WL-INJECTED"}),
        consequences=(
            Consequence(("CP-IDENTITY",), "the path tells the sidecars their cluster's name"),
            *_WORKLOADS_DOWN,
        ),
        where=PR,
        live=True,
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
            Consequence(("EP-COMPLETE", "EP-WEIGHTS"), "proxies without control plane keep the former address", MN),
            Consequence(("TR-REACH", "TR-NO-ERRORS", "TR-NO-RETRIES"), "nobody answers at the former address", MN),
            Consequence(SHARES, NO_SHARES, MN),
        ),
        where=PR,
        live=True,
    ),
    Fault(
        "control-plane-clusters",
        "the annotation of the remote's system namespace is missing",
        _unannotated,
        "control-plane-clusters",
        frozenset({"CP-CONTROL-PLANE-CLUSTERS"}),
        where=PR,
        live=True,
    ),
    Fault(
        "webhook-not-serving",
        "istiod's Service selects nothing",
        _not_serving,
        "webhook-not-serving",
        frozenset({"CP-INJECTION-WEBHOOK"}),
        consequences=(
            Consequence(("CP-READY",), REMOTE_READY, PR),
            Consequence(("CERT-ISTIOD",), VIA_GATEWAY, PR),
            Consequence(("GW-HARDENED",), SILENT, PR),
        ),
        live=True,
    ),
    Fault(
        "proxy-rejects-config",
        "an EnvoyFilter that the proxies refuse, on every primary",
        _rejected,
        "proxy-rejects-config",
        frozenset({"XDS-SYNCED"}),
        live=True,
    ),
)
