"""Changes a few fields of an observation, which is frozen. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from harness.model import expectations, gateways
from harness.model.base import Model
from harness.model.cluster import ClusterObservation, ConfigObject, InjectionWebhook, Pod, Service, Workload
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane
from harness.model.topology import Cluster
from harness.model.traffic import Probe

Item = TypeVar("Item", bound=Model)
Change = Callable[[Item], Item | None]


def east(observation: Observation) -> Cluster:
    """The first cluster: a primary."""
    return observation.topology.clusters[0]


def west(observation: Observation) -> Cluster:
    """The last cluster: a remote wherever there is one."""
    return observation.topology.clusters[-1]


def signer(observation: Observation) -> Cluster:
    """The primary that serves the last cluster."""
    return observation.topology[west(observation).primary]


def server(observation: Observation) -> Cluster:
    """The cluster on which that primary's istiod runs, with the gateway that leads to it."""
    return observation.topology.control_plane_of(west(observation))


def on(observation: Observation, cluster: Cluster | str, **fields: object) -> Observation:
    """Replace fields of what was observed of a cluster."""
    name = cluster if isinstance(cluster, str) else cluster.name

    def changed(found: tuple[ClusterObservation, ...]) -> tuple[ClusterObservation, ...]:
        return tuple(each.model_copy(update=fields) if each.name == name else each for each in found)

    return observation.model_copy(
        update={"clusters": changed(observation.clusters), "hosts": changed(observation.hosts)}
    )


def each(items: Iterable[Item], change: Change[Item]) -> tuple[Item, ...]:
    """Change items; those for which it gives None are taken away."""
    changed = (change(item) for item in items)
    return tuple(item for item in changed if item is not None)


def edit(items: Sequence[Item], which: Callable[[Item], bool], **fields: object) -> tuple[Item, ...]:
    """Replace fields of those items that are meant.

    Raises:
        LookupError: there is none, so that nothing would be broken.
    """
    if not any(which(item) for item in items):
        raise LookupError("nothing to change")
    return tuple(item.model_copy(update=fields) if which(item) else item for item in items)


def services(observation: Observation, cluster: Cluster, name: str, **fields: object) -> Observation:
    """Replace fields of a cluster's Service of that name."""
    found: tuple[Service, ...] = edit(observation[cluster].services, lambda item: item.name == name, **fields)
    return on(observation, cluster, services=found)


def gateway_service(observation: Observation, cluster: Cluster, **fields: object) -> Observation:
    """Replace fields of the gateway's Service; istiod's list of gateways follows its addresses."""
    service = expectations.gateway_service(observation[cluster])
    changed = services(observation, cluster, service.name if service else "", **fields)
    if "resolved" not in fields and "labels" not in fields:
        return changed
    now = expectations.gateway_service(changed[cluster])
    known = gateways.addresses(now) if now and gateways.network(now) else ()

    def follow(plane: ControlPlane) -> ControlPlane:
        own = [row for row in plane.network_gateways if row.cluster == cluster.cluster_name]
        others = tuple(row for row in plane.network_gateways if row not in own)
        rows = tuple(row.model_copy(update={"address": address}) for row in own[:1] for address in known)
        return plane.model_copy(update={"network_gateways": (*others, *rows)})

    for primary in changed.topology.primaries:
        changed = on(changed, primary, control_planes=each(changed[primary].control_planes, follow))
    return changed


def workloads(
    observation: Observation, cluster: Cluster, which: Callable[[Workload], bool], **fields: object
) -> Observation:
    """Replace fields of workloads."""
    return on(observation, cluster, workloads=edit(observation[cluster].workloads, which, **fields))


def pods(observation: Observation, cluster: Cluster, change: Callable[[Pod], Pod | None]) -> Observation:
    """Change pods, or take them away."""
    return on(observation, cluster, pods=each(observation[cluster].pods, change))


def with_env(observation: Observation, cluster: Cluster, container: str, **variables: str) -> Observation:
    """Set environment variables of a container in every pod of a cluster that has one of that name."""

    def change(pod: Pod) -> Pod:
        found = pod.container(container)
        if found is None:
            return pod
        changed = found.model_copy(update={"env": {**found.env, **variables}})
        return pod.model_copy(
            update={"containers": edit(pod.containers, lambda c: c.name == container, **dict(changed))}
        )

    return pods(observation, cluster, change)


def with_global(observation: Observation, cluster: Cluster, **values: object) -> Observation:
    """Change global values of a primary's installation."""
    configs = observation[cluster].mesh_config
    changed = tuple(
        config.model_copy(
            update={"values": {**config.values, "global": {**(config.values.get("global") or {}), **values}}}
        )
        for config in configs
    )
    return on(observation, cluster, mesh_config=changed)


def with_mesh(observation: Observation, clusters: Iterable[Cluster], **settings: object) -> Observation:
    """Change the mesh configuration of primaries."""
    for cluster in clusters:
        configs = observation[cluster].mesh_config
        changed = tuple(config.model_copy(update={"mesh": {**config.mesh, **settings}}) for config in configs)
        observation = on(observation, cluster, mesh_config=changed)
    return observation


def with_config(observation: Observation, clusters: Iterable[Cluster], *items: ConfigObject) -> Observation:
    """Apply configuration objects to clusters."""
    for cluster in clusters:
        observation = on(observation, cluster, config=(*observation[cluster].config, *items))
    return observation


def with_namespace(
    observation: Observation, cluster: Cluster, name: str, kind: str, **changes: str | None
) -> Observation:
    """Change labels or annotations of a namespace; None takes one away.

    Args:
        observation: the run.
        cluster: where.
        name: the namespace.
        kind: `labels` or `annotations`.
        changes: key → value.
    """
    namespace = observation[cluster].namespace(name)
    values = {**(getattr(namespace, kind) if namespace else {}), **changes}
    kept = {key: value for key, value in values.items() if value is not None}
    changed = edit(observation[cluster].namespaces, lambda found: found.name == name, **{kind: kept})
    return on(observation, cluster, namespaces=changed)


def with_webhooks(
    observation: Observation, cluster: Cluster, change: Callable[[InjectionWebhook], InjectionWebhook]
) -> Observation:
    """Change injection webhooks."""
    return on(observation, cluster, webhooks=tuple(change(webhook) for webhook in observation[cluster].webhooks))


def probes(observation: Observation, change: Callable[[Probe], Probe | None]) -> Observation:
    """Change probes, or take them away."""
    return observation.model_copy(update={"probes": each(observation.probes, change)})


def is_istiod(pod: Pod) -> bool:
    """Whether a pod is a control plane."""
    return pod.labels.get("app") == "istiod"


def gateway_pods(observed: ClusterObservation) -> frozenset[str]:
    """The names of the gateway's pods."""
    names = {proxy.pod for proxy in expectations.gateway_proxies(observed)}
    return frozenset(names | {pod.name for pod in observed.pods if pod.labels.get("istio") == "eastwestgateway"})
