"""Causes in the proxies' synchronisation with their control plane."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import applied, few, logged, logged_by_control_planes, read
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import istioctl, kubectl, noted
from harness.model import bystanders, expectations
from harness.model.cluster import Pod, Subject
from harness.model.observation import Observation
from harness.model.proxy import ProxySync
from harness.model.topology import Cluster


@cause("proxy-rejects-config", Layer.PROXIES, "XDS-SYNCED")
def proxy_rejects_config(observation: Observation) -> Iterator[Found]:
    """Proxies refuse the configuration that they are sent.

    Envoy keeps the last configuration it could use. Most often an EnvoyFilter is at fault: its patch makes something
    that this Envoy does not know. Endpoints that change from now on may not reach these proxies.
    """
    reported: set[str] = set()
    for cluster, observed in read(observation, Subject.PROXIES):
        source = applied(observation, cluster)
        errors = [f"{proxy.namespace}/{proxy.pod}: {error}" for proxy in observed.proxies for error in proxy.rejected]
        errors += [
            f"{name}: {kind} refused"
            for name, row in sorted(_rows(observation, cluster).items())
            for kind, state in row.types.items()
            if state == "REJECTED"
        ]
        if not errors or source.name in reported:
            continue
        reported.add(source.name)
        filters = [item for item in source.config if item.kind == "EnvoyFilter"]
        first = filters[0] if filters else None
        yield Found(
            cluster=source.name,
            object=f"EnvoyFilter {first.namespace}/{first.name}" if first else f"proxy {errors[0].partition(':')[0]}",
            field="configPatches" if first else "configuration",
            expected="accepted by every proxy",
            found=f"{len(errors)} refused",
            repair=noted(
                kubectl(source, "-n", first.namespace, f"get envoyfilter {first.name} -o yaml"),
                "change the patch that the errors name",
            )
            if first
            else noted(istioctl(source, "proxy-status"), "repair what the errors name"),
            evidence=few(
                errors,
                logged_by_control_planes(source),
                [f"also: EnvoyFilter {item.namespace}/{item.name}" for item in filters[1:]],
            ),
        )


def _rows(observation: Observation, cluster: Cluster) -> dict[str, ProxySync]:
    planes = applied(observation, cluster).control_planes
    return {row.proxy: row for plane in planes for row in plane.proxies if row.cluster_id == cluster.cluster_name}


def _connectable(observation: Observation) -> Iterator[tuple[Cluster, Pod]]:
    for cluster, observed in read(observation, Subject.PODS):
        planes = applied(observation, cluster).control_planes
        if planes and not any(plane.debug_off for plane in planes):
            for pod in observed.lasting_pods:
                if expectations.has_proxy(pod) and not bystanders.waits_beside(observation, cluster, pod):
                    yield cluster, pod


@cause("proxy-not-connected", Layer.PROXIES, "XDS-SYNCED", effect=True)
def proxy_not_connected(observation: Observation) -> Iterator[Found]:
    """A proxy is not connected to the control plane that should serve it.

    It has a sidecar, and its control plane runs, yet does not list it: the proxy can't reach it, is refused, or is
    connected to another one.
    """
    for cluster, pod in _connectable(observation):
        if f"{pod.name}.{pod.namespace}" in _rows(observation, cluster):
            continue
        observed = observation[cluster]
        proxy = next((p for p in observed.proxies if (p.namespace, p.pod) == (pod.namespace, pod.name)), None)
        container = pod.proxy
        state = f"{container.state} {container.reason} {container.message}" if container and not container.ready else ""
        yield Found(
            cluster=cluster.name,
            object=f"Pod {pod.namespace}/{pod.name}",
            field="connected to",
            expected=f"the control plane of {cluster.primary}",
            found=proxy.connected_to if proxy and proxy.connected_to else "no control plane",
            repair=noted(
                kubectl(observed, "-n", pod.namespace, f"logs {pod.name} -c {expectations.PROXY} --tail=50"),
                "repair what it says, then delete the pod",
            ),
            evidence=few(
                [state],
                logged(observed, (pod,)),
                (f"log {plane.pod}: {line}" for plane in applied(observation, cluster).control_planes
                 for line in plane.log_lines if pod.name in line),
            ),
        )  # fmt: skip


@cause("proxy-stale", Layer.PROXIES, "XDS-SYNCED", effect=True, fallback=True)
def proxy_stale(observation: Observation) -> Iterator[Found]:
    """A proxy has not acknowledged its last configuration.

    istiod sent it and had no answer: the proxy is overloaded or stuck.
    """
    for cluster, pod in _connectable(observation):
        row = _rows(observation, cluster).get(f"{pod.name}.{pod.namespace}")
        stale = [f"{kind} {status}" for kind, status in row.types.items() if status == "STALE"] if row else []
        if stale:
            observed = observation[cluster]
            yield Found(
                cluster=cluster.name,
                object=f"Pod {pod.namespace}/{pod.name}",
                field="acknowledged configuration",
                expected="SYNCED",
                found=", ".join(stale),
                repair=kubectl(observed, "-n", pod.namespace, f"delete pod {pod.name}"),
            )
