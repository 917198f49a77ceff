"""Faults of workloads, policies, settings and traffic."""

from harness.model import client_endpoints, expectations
from harness.model.cluster import Pod
from harness.model.observation import Cleanup, InventoryChange, Observation
from harness.model.proxy import ControlPlane, EndpointSet, Proxy, ProxyEndpoint
from harness.model.topology import Cluster
from harness.proof.faults import effects, requests
from harness.proof.faults.acts import workloads as acts
from harness.proof.faults.certificates import NO_SHARES, SHARES
from harness.proof.faults.control_plane import SILENT
from harness.proof.faults.edit import each, east, on, pods, west
from harness.proof.faults.fault import EVERY_PLANE, MN, MP, Consequence, Fault
from harness.proof.faults.policies import reset_behind_gateway
from harness.proof.faults.requests import Answers


def _one_more(observation: Observation, cluster: Cluster, name: str, labels: dict[str, str]) -> Observation:
    """Another helloworld pod on a cluster, like the one there, with its proxy, and behind its Service."""
    observed, like = observation[cluster], _pod(observation, cluster)
    extra = like.model_copy(update={"name": name, "labels": labels, "ip": like.ip.rpartition(".")[0] + ".77"})
    own = [proxy for proxy in observed.proxies if (proxy.namespace, proxy.pod) == (like.namespace, like.name)]
    changed = on(
        observation,
        cluster,
        pods=(*observed.pods, extra),
        proxies=(*observed.proxies, *(proxy.model_copy(update={"pod": name}) for proxy in own)),
        services=each(
            observed.services,
            lambda s: (
                s.model_copy(update={"ready_endpoints": (*s.ready_endpoints, extra.ip)})
                if s.name == expectations.HELLOWORLD
                else s
            ),
        ),
    )

    def connected(plane: ControlPlane) -> ControlPlane:
        rows = [row for row in plane.proxies if row.proxy == f"{like.name}.{like.namespace}"]
        new = (row.model_copy(update={"proxy": f"{name}.{like.namespace}"}) for row in rows)
        return plane.model_copy(update={"proxies": (*plane.proxies, *new)})

    planes = each(changed[cluster.primary].control_planes, connected)
    return _weighted(on(changed, cluster.primary, control_planes=planes), cluster, extra.ip)


def _weighted(observation: Observation, target: Cluster, ip: str) -> Observation:
    """Clients learn of one more pod: another endpoint on their network, more weight of the gateway elsewhere."""
    count = len(expectations.helloworld_pods(observation[target], observation.asked.sample_namespace))
    for client in observation.topology.clusters:
        if client.network != target.network:
            gateways = client_endpoints.addresses_of(observation, client, target)

            def heavier(found: ProxyEndpoint, known: frozenset[tuple[str, int]] = frozenset(gateways)) -> ProxyEndpoint:
                meant = (found.address, found.port) in known
                return found.model_copy(update={"weight": count}) if meant else found

            observation = effects.endpoints(observation, client, heavier)
        else:
            observation = _another_endpoint(observation, client, ip)
    return observation


def _another_endpoint(observation: Observation, client: Cluster, ip: str) -> Observation:
    extra = ProxyEndpoint(address=ip, port=expectations.HELLOWORLD_PORT, weight=1, healthy=True)

    def more(found: EndpointSet) -> EndpointSet:
        whole = (*found.endpoints, extra)
        return found.model_copy(update={"endpoints": whole}) if "|helloworld." in found.cluster else found

    def known(proxy: Proxy) -> Proxy:
        meant = proxy.role == expectations.SLEEP
        return proxy.model_copy(update={"endpoints": each(proxy.endpoints, more)}) if meant else proxy

    return on(observation, client, proxies=each(observation[client].proxies, known))


def _pod(observation: Observation, cluster: Cluster) -> Pod:
    return expectations.helloworld_pods(observation[cluster], observation.asked.sample_namespace)[0]


def _misplaced(observation: Observation) -> Observation:
    first, lost = east(observation), west(observation)
    like = _pod(observation, first)
    name = f"helloworld-{lost.version}-on-{first.name}"
    changed = _one_more(observation, first, name, {**like.labels, "version": lost.version})
    deployment = observation[lost].workload(observation.asked.sample_namespace, f"helloworld-{lost.version}")
    there = (*changed[first].workloads, deployment) if deployment else changed[first].workloads
    changed = on(changed, first, workloads=there)
    shares = {
        cluster.name: Answers(share=2.0, versions=(first.version, lost.version)) if cluster == first else Answers()
        for cluster in observation.topology.clusters
    }
    for client in observation.topology.clusters:
        changed = requests.traffic(changed, client, **shares)
    return changed


def _service_missing(observation: Observation) -> Observation:
    lost, sample = west(observation), observation.asked.sample_namespace
    rest = observation.topology.others(lost)
    changed = observation
    for client in observation.topology.clusters:
        changed = effects.lose_endpoints(changed, client, lost)
        # Without its Service the name does not resolve on West.
        changed = requests.only_from(changed, client, *(() if client == lost else rest))
    services = tuple(s for s in changed[lost].services if (s.namespace, s.name) != (sample, expectations.HELLOWORLD))
    return _without_peers(reset_behind_gateway(on(changed, lost, services=services), lost), lost)


def _without_peers(observation: Observation, destination: Cluster) -> Observation:
    traffic = observation.traffic
    if traffic is None:
        return observation
    peers = tuple(peer for peer in traffic.peers or () if peer.destination != destination.name)
    return observation.model_copy(update={"traffic": traffic.model_copy(update={"peers": peers})})


def _sidecar_missing(observation: Observation) -> Observation:
    """Helloworld on West without a sidecar: no gateway passes to it; on one network it answers in plaintext."""
    lost = west(observation)
    bare = _pod(observation, lost)

    def change(pod: Pod) -> Pod:
        if pod.name != bare.name:
            return pod
        kept = tuple(c for c in pod.containers if c.name == expectations.HELLOWORLD)
        return pod.model_copy(
            update={"containers": kept, "labels": {**pod.labels, "sidecar.istio.io/inject": "false"}, "annotations": {}}
        )

    changed = pods(observation, lost, change)
    changed = on(changed, lost, proxies=tuple(p for p in changed[lost].proxies if p.pod != bare.name))

    def without(plane: ControlPlane) -> ControlPlane:
        name = f"{bare.name}.{bare.namespace}"
        rows = tuple(r for r in plane.proxies if r.proxy != name or r.cluster_id != lost.cluster_name)
        return plane.model_copy(update={"proxies": rows})

    changed = on(changed, lost.primary, control_planes=each(changed[lost.primary].control_planes, without))
    for client in observation.topology.clusters:
        if client.network != lost.network:
            changed = effects.lose_endpoints(changed, client, lost)
            changed = requests.only_from(changed, client, *observation.topology.others(lost))
    return _without_peers(reset_behind_gateway(changed, lost), lost)


def _weights_wrong(observation: Observation) -> Observation:
    client, target = east(observation), west(observation)
    known = client_endpoints.addresses_of(observation, client, target)
    changed = effects.endpoints(
        observation,
        client,
        lambda found: found.model_copy(update={"weight": 3}) if (found.address, found.port) in known else found,
    )
    shares = {c.name: Answers(share=3.0 if c == target else 1.0) for c in observation.topology.clusters}
    return requests.traffic(changed, client, **shares)


def _half_broken(observation: Observation) -> Observation:
    lost = west(observation)
    like = _pod(observation, lost)
    changed = _one_more(observation, lost, f"{like.name}-broken", like.labels)
    shares = {
        cluster.name: Answers(share=2.0, failing=0.5) if cluster == lost else Answers()
        for cluster in observation.topology.clusters
    }
    for client in observation.topology.clusters:
        changed = requests.traffic(changed, client, **shares)
    return reset_behind_gateway(changed, lost)


def _identity_lost(observation: Observation) -> Observation:
    traffic = observation.traffic
    if traffic is None or not traffic.peers:
        raise LookupError("no evidence of callers")
    name = west(observation).name
    peers = tuple(
        peer.model_copy(update={"principal": "", "mutual_tls": False}) if peer.destination == name else peer
        for peer in traffic.peers
    )
    return observation.model_copy(update={"traffic": traffic.model_copy(update={"peers": peers})})


def _left_behind(observation: Observation) -> Observation:
    cleanup = observation.cleanup or Cleanup(clusters=(), objects_before={}, changes=())
    change = InventoryChange(
        cluster=west(observation).name,
        change="left behind",
        kind="MutatingWebhookConfiguration",
        namespace="",
        name="istio-sidecar-injector",
        detail="being deleted; held by finalizers: example.com/held",
    )
    return observation.model_copy(update={"cleanup": cleanup.model_copy(update={"changes": (change,)})})


FAULTS: tuple[Fault, ...] = (
    Fault(
        "workload-misplaced",
        "v2 on East too",
        _misplaced,
        "workload-misplaced",
        frozenset({"WL-PLACED"}),
        consequences=(Consequence(("TR-DISTRIBUTION",), "an answer no longer says which cluster gave it"),),
        live=True,
        act=acts.misplaced,
    ),
    Fault(
        "service-missing",
        "helloworld's Service missing on West",
        _service_missing,
        "service-missing",
        frozenset({"WL-PLACED"}),
        consequences=(
            Consequence(("EP-COMPLETE", "EP-WEIGHTS"), "pods without a Service are endpoints of nothing"),
            Consequence(("TR-REACH", "TR-NO-ERRORS", "TR-NO-RETRIES"), "on West the name does not resolve"),
            Consequence(SHARES, NO_SHARES),
            Consequence(("MTLS-PEER",), "nobody calls West's helloworld"),
            Consequence(("CONFIG-CONSISTENT",), "ports that are not there can't be compared", MP),
            Consequence(("GW-DATAPATH",), "West's gateway has no endpoint to pass helloworld's traffic on to", MN),
            Consequence(("GW-HARDENED",), SILENT, MN),
        ),
        live=True,
        act=acts.service_missing,
    ),
    Fault(
        "sidecar-missing",
        "West's helloworld has no sidecar",
        _sidecar_missing,
        "sidecar-missing",
        frozenset({"WL-INJECTED"}),
        consequences=(
            Consequence(("EP-COMPLETE", "EP-WEIGHTS"), "a gateway passes mutual TLS only; others are left out", MN),
            Consequence(("TR-REACH",), "a client that knows no endpoint on West gets no answer from there", MN),
            Consequence(SHARES, NO_SHARES, MN),
            Consequence(("GW-DATAPATH",), "nobody behind the gateway has a certificate to show", MN),
            Consequence(("GW-HARDENED",), SILENT, MN),
            Consequence(("MTLS-PEER",), "without a proxy nobody records who called"),
        ),
        live=True,
        act=acts.sidecar_missing,
    ),
    Fault(
        "weights-wrong",
        "West's endpoints weigh three times what their pods are",
        _weights_wrong,
        "weights-wrong",
        frozenset({"EP-WEIGHTS"}),
    ),
    Fault(
        "half-broken",
        "one of two pods behind West's gateway refuses connections",
        _half_broken,
        "half-broken",
        frozenset({"TR-NO-RETRIES"}),
        consequences=(
            Consequence(("TR-DISTRIBUTION",), "what is refused on West is answered on East"),
            Consequence(("GW-DATAPATH",), "the gateway passes the one connection to either pod", by_chance=True),
            Consequence(("GW-HARDENED",), SILENT, by_chance=True),
        ),
        where=MN,
        live=True,
        act=acts.half_broken,
    ),
    Fault(
        "identity-lost",
        "West's helloworld saw no identity of its callers",
        _identity_lost,
        "identity-lost",
        frozenset({"MTLS-PEER"}),
    ),
    Fault(
        "left-behind",
        "a webhook with a finalizer is left after cleanup",
        _left_behind,
        "left-behind",
        frozenset({"CLEAN"}),
        planes=EVERY_PLANE,
        live=True,
        act=acts.left_behind,
    ),
)
