"""The host names by which proxies know the control plane that serves them. Pure."""

from collections.abc import Collection, Iterable

from harness.model.gateways import is_address
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane
from harness.model.topology import Cluster


def of_control_plane(observation: Observation, primary: Cluster, plane: ControlPlane) -> tuple[str, ...]:
    """The names under which the proxies that a control plane serves connect to it; else that of its Service.

    Control planes of other revisions beside it have names of their own, and other proxies.
    """
    served = {row.proxy for row in plane.proxies}
    names = _connected_to(observation, observation.topology.served_by(primary), served)
    return names or (_service(observation, plane.revision),)


def of_clusters(observation: Observation, clusters: Iterable[Cluster]) -> tuple[str, ...]:
    """The names under which the proxies of these clusters connect to their control plane."""
    return _connected_to(observation, clusters) or (_service(observation),)


def _connected_to(
    observation: Observation, clusters: Iterable[Cluster], only: Collection[str] | None = None
) -> tuple[str, ...]:
    addresses = {
        proxy.connected_to.rpartition(":")[0] or proxy.connected_to
        for cluster in clusters
        for proxy in observation[cluster].proxies
        if only is None or f"{proxy.pod}.{proxy.namespace}" in only
    }
    return tuple(sorted(name for name in addresses if name and not is_address(name.strip("[]"))))


def _service(observation: Observation, revision: str = "") -> str:
    suffix = f"-{revision}" if revision not in {"", "default"} else ""
    return f"istiod{suffix}.{observation.asked.system_namespace}.svc"
