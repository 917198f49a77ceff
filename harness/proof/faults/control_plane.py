"""Faults of control planes, their identity, and what ties remotes to them."""

from harness.model import expectations
from harness.model.cluster import Condition, ConfigObject, Pod, SailResource
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane, Proxy, ProxySync
from harness.model.traffic import ProbeKind, ProbeResult
from harness.proof.faults import effects, requests
from harness.proof.faults.acts import control_plane as acts
from harness.proof.faults.acts import remotes as remote_acts
from harness.proof.faults.certificates import NO_SHARES, REFUSED, SHARES
from harness.proof.faults.edit import (
    each,
    east,
    edit,
    is_istiod,
    on,
    pods,
    probes,
    server,
    services,
    signer,
    west,
    with_config,
    with_env,
    with_global,
    with_mesh,
    workloads,
)
from harness.proof.faults.fault import EVERY_PLANE, MN, MP, PR, Consequence, Fault, both
from harness.proof.faults.reissue import reissue
from harness.proof.faults.remotes import WORKLOADS_DOWN, injection_path
from harness.proof.faults.toy_certificates import Shape

UNAVAILABLE = Condition(
    type="Available", status="False", reason="MinimumReplicasUnavailable", message="Deployment does not have minimum"
)


def down(observation: Observation) -> Observation:
    """No control plane of West's primary is ready."""
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
    on_it = server(observation)
    changed = services(on(changed, primary, control_planes=()), on_it, "istiod", ready_endpoints=())
    not_ready = Condition(type="Ready", status="False", reason="IstiodNotReady", message="istiod is not ready")

    def resource(found: SailResource) -> SailResource:
        return found.model_copy(update={"conditions": (not_ready,)}) if found.kind == "Istio" else found

    changed = on(changed, on_it, sail=each(changed[on_it].sail, resource))
    served = observation.topology.served_by(primary)
    changed = effects.injection_fails(changed, *served, why='no endpoints available for service "istiod"')
    # The gateway accepts the connection, and has nobody to hand it on to.
    behind = (expectations.XDS_PORT, expectations.WEBHOOK_PORT)
    return effects.gateway_probes(
        changed, on_it, ProbeResult.REFUSED, ports=behind, detail="connection reset", connects=True
    )


def _cni_uncovered(observation: Observation) -> Observation:
    cluster = west(observation)
    changed = pods(
        observation,
        cluster,
        lambda pod: None if expectations.is_of_cni(pod) else pod,
    )
    changed = workloads(
        changed, cluster, lambda w: w.name == expectations.CNI_PLUGIN, desired=0, ready=0, conditions=()
    )
    not_ready = Condition(type="Ready", status="False", reason="IstioCNINotReady", message="no pod is scheduled")

    def resource(found: SailResource) -> SailResource:
        return found.model_copy(update={"conditions": (not_ready,)}) if found.kind == "IstioCNI" else found

    return on(changed, cluster, sail=each(changed[cluster].sail, resource))


def _version_mixed(observation: Observation) -> Observation:
    cluster = west(observation)
    changed = edit(observation[cluster].proxies, lambda proxy: proxy.role == expectations.HELLOWORLD, version="1.29.2")
    return on(observation, cluster, proxies=changed)


def _trust_domains(observation: Observation) -> Observation:
    cluster, domain = west(observation), "west.local"
    old = f"spiffe://{observation.topology.trust_domain}/"
    leaves = {cluster.name: Shape(uri=lambda uri: uri.replace(old, f"spiffe://{domain}/"))}
    changed = with_mesh(reissue(observation, leaves=leaves), (cluster,), trustDomain=domain)
    changed = with_env(changed, cluster, expectations.PROXY, TRUST_DOMAIN=domain)
    for client in observation.topology.clusters:
        changed = requests.only_from(changed, client, client, vain="refused")
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
    return with_env(changed, west(observation), expectations.PROXY, ISTIO_META_MESH_ID="mesh2")


def _renamed(observation: Observation, name: str) -> Observation:
    """West's proxies call themselves another cluster's name."""
    cluster = west(observation)
    changed = with_env(observation, cluster, expectations.PROXY, ISTIO_META_CLUSTER_ID=name)
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
        changed = injection_path(observation)
        secrets = edit(
            changed[first].remote_secrets,
            lambda secret: cluster.cluster_name in secret.clusters,
            clusters=(first.cluster_name,),
        )
        changed = on(changed, first, remote_secrets=secrets)
        changed = probes(changed, lambda p: None if p.kind is ProbeKind.API_SERVER and p.target == cluster.name else p)

        def without(plane: ControlPlane) -> ControlPlane:
            return plane.model_copy(
                update={"clusters": tuple(c for c in plane.clusters if c.id != cluster.cluster_name)}
            )

        changed = on(changed, first, control_planes=each(changed[first].control_planes, without))
        changed = effects.lose_endpoints(changed, first, cluster)
        return requests.only_from(changed, first, first)
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
    return requests.only_from(changed, cluster, cluster)


def _not_serving(observation: Observation) -> Observation:
    on_it = server(observation)
    changed = services(observation, on_it, "istiod", selector={"app": "nothing"}, ready_endpoints=())
    served = observation.topology.served_by(signer(observation))
    changed = effects.injection_fails(changed, *served, why='no endpoints available for service "istiod"')
    behind = (expectations.XDS_PORT, expectations.WEBHOOK_PORT)
    return effects.gateway_probes(
        changed, on_it, ProbeResult.REFUSED, ports=behind, detail="connection reset", connects=True
    )


def _rejected(observation: Observation) -> Observation:
    """Envoy keeps no error of a cluster that it refuses in its configuration dump: only the control plane knows."""
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
FAULTS: tuple[Fault, ...] = (
    Fault(
        "control-plane-down",
        "istiod's image cannot be pulled",
        down,
        "control-plane-down",
        frozenset({"CP-READY"}),
        consequences=(
            Consequence(("CERT-IN-USE", "CERT-ISTIOD", "CP-VERSION", "CP-SKEW", "XDS-SYNCED", "RS-SYNCED"), NO_ISTIOD),
            Consequence(("CP-INJECTION-WEBHOOK",), "the webhook's Service has no endpoint"),
            Consequence(("GW-HARDENED",), SILENT, PR),
        ),
        planes=EVERY_PLANE,
        live=True,
        act=acts.control_plane_down,
    ),
    Fault(
        "cni-uncovered-node",
        "the CNI DaemonSet does not run on West's node",
        _cni_uncovered,
        "cni-uncovered-node",
        frozenset({"CP-CNI-READY"}),
        planes=EVERY_PLANE,
        live=True,
        act=acts.cni_uncovered_node,
    ),
    Fault(
        "version-mixed",
        "helloworld's proxy on West has another version",
        _version_mixed,
        "version-mixed",
        frozenset({"CP-VERSION", "CP-SKEW"}),
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
        act=acts.trust_domains_differ,
    ),
    Fault(
        "mesh-ids-differ",
        "West has another mesh id: mostly no symptom",
        _mesh_ids,
        "mesh-ids-differ",
        frozenset({"CP-IDENTITY"}),
        where=MP,
        live=True,
        act=acts.mesh_ids_differ,
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
            *(Consequence(c.requirements, c.reason, both(PR, c.where)) for c in WORKLOADS_DOWN),
        ),
        live=True,
        act=remote_acts.cluster_names_equal,
    ),
    Fault(
        "webhook-not-serving",
        "istiod's Service selects nothing",
        _not_serving,
        "webhook-not-serving",
        frozenset({"CP-INJECTION-WEBHOOK", "CP-READY"}),
        consequences=(
            Consequence(("CERT-ISTIOD",), VIA_GATEWAY, PR),
            Consequence(("GW-HARDENED",), SILENT, PR),
        ),
        live=True,
        act=acts.webhook_not_serving,
    ),
    Fault(
        "proxy-rejects-config",
        "an EnvoyFilter that the proxies refuse, on every primary",
        _rejected,
        "proxy-rejects-config",
        frozenset({"XDS-SYNCED"}),
        live=True,
        act=acts.proxy_rejects_config,
    ),
)
