"""What carries the traffic of a mesh that is there: sidecars or ztunnels. Pure.

The sample's pods tell it; where they tell nothing, the labels of its namespace; where there is no sample, what the mesh
has between its networks.
"""

from collections.abc import Iterator, Sequence

from harness.base.errors import UserError
from harness.model import expectations, gateways
from harness.model.cluster import ClusterObservation, Pod, Service
from harness.model.data_plane import DataPlane
from harness.model.revisions import INJECTION_LABEL, REVISION_LABEL
from harness.model.topology import Topology

Sign = tuple[DataPlane, str]
"""What carries the traffic, and what shows it, in words."""


def data_plane(clusters: Sequence[ClusterObservation], namespace: str, given: DataPlane | None) -> DataPlane:
    """What carries the traffic of the sample, or would carry that of one.

    Args:
        clusters: what was read of each, ztunnels of every namespace among it.
        namespace: of the sample, or of the service in its place.
        given: what --data-plane says; None without it.

    Raises:
        UserError: it can't be told, or the mesh is no such mesh as --data-plane says.
    """
    signs = [sign for seen in clusters for sign in _of_sample(seen, namespace)]
    found = {plane for plane, _ in signs}
    if given:
        _require_no_other(clusters, signs, given)
        return given
    if len(found) > 1:
        raise _undecided(f"namespace {namespace}", signs)
    return next(iter(found), None) or _of_mesh(clusters)


def require_known(topology: Topology, plane: DataPlane) -> None:
    """See that a mesh of ztunnels is one of those that the suite can judge.

    Raises:
        UserError: it is not.
    """
    if plane is DataPlane.AMBIENT and (topology.remotes or len(topology.networks) < len(topology.clusters)):
        told = "; ".join(
            f"{cluster.name}: {cluster.role}, network {cluster.network or 'without a name'}"
            for cluster in topology.clusters
        )
        raise UserError(
            "This ambient mesh can't be judged by --verify-only.",
            f"the suite knows those in which each cluster is a primary on a network of its own ({told})",
            "give each cluster a network, or name the contexts of such clusters only",
        )


def _of_sample(seen: ClusterObservation, namespace: str) -> Iterator[Sign]:
    """What the pods of one cluster's sample say, else their namespace.

    Where a namespace asks for both, pods get sidecars, and no ztunnel takes them in (Istio, cni's selection of pods).
    """
    pods = [pod for pod in seen.pods_with(namespace) if not pod.is_gateway]
    told = list(dict.fromkeys(filter(None, map(_of_pod, pods))))
    if told:
        yield from ((plane, f"{seen.name} has {words}") for plane, words in told)
        return
    found = seen.namespace(namespace)
    labels = found.labels if found else {}
    ambient = labels.get(expectations.MODE_LABEL) == DataPlane.AMBIENT
    if labels.get(INJECTION_LABEL) == "enabled" or (REVISION_LABEL in labels and not ambient):
        yield DataPlane.SIDECAR, f"{seen.name} injects into it"
    elif ambient:
        yield DataPlane.AMBIENT, f"{seen.name} has it labelled {expectations.MODE_LABEL}=ambient"


def _of_pod(pod: Pod) -> Sign | None:
    if expectations.has_proxy(pod):
        return DataPlane.SIDECAR, "pods with sidecars there"
    return (DataPlane.AMBIENT, "pods there that ztunnel has taken in") if expectations.is_captured(pod) else None


def _of_mesh(clusters: Sequence[ClusterObservation]) -> DataPlane:
    """What a mesh is made for that has no sample: gateways lead traffic of one kind or of both."""
    services = [(seen, service) for seen in clusters for service in seen.services if gateways.network(service)]
    hbone = [seen.name for seen, service in services if gateways.has_port(service, gateways.HBONE_PORT)]
    if not hbone or not any(map(_has_ztunnel, clusters)):
        return DataPlane.SIDECAR
    passing = [seen.name for seen, service in services if _passes_mtls(service)]
    if passing:
        signs = [
            *((DataPlane.AMBIENT, f"{name} has a gateway for HBONE") for name in hbone),
            *((DataPlane.SIDECAR, f"{name} has one for mTLS of sidecars") for name in passing),
        ]
        raise _undecided("a sample", signs)
    return DataPlane.AMBIENT


def _passes_mtls(service: Service) -> bool:
    return gateways.has_port(service, gateways.announced_port(service))


def _has_ztunnel(seen: ClusterObservation) -> bool:
    pods = (pod for pod in seen.lasting_pods if pod.labels.get("app") == expectations.ZTUNNEL)
    workloads = (each for each in seen.workloads if (each.kind, each.name) == ("DaemonSet", expectations.ZTUNNEL))
    return next(pods, None) is not None or next(workloads, None) is not None


def _require_no_other(clusters: Sequence[ClusterObservation], signs: Sequence[Sign], given: DataPlane) -> None:
    other = [words for plane, words in signs if plane is not given]
    if other and all(plane is not given for plane, _ in signs):
        raise UserError(
            f"--data-plane={given} contradicts the mesh.",
            f"the other one carries the traffic that is judged: {'; '.join(other)}",
            "leave --data-plane out: it is found",
        )
    if given is DataPlane.AMBIENT and not signs and not any(map(_has_ztunnel, clusters)):
        raise UserError(
            "--data-plane=ambient contradicts the mesh.",
            f"there is no DaemonSet {expectations.ZTUNNEL} on {', '.join(seen.name for seen in clusters)}",
            "leave --data-plane out, or see that all pods and DaemonSets may be listed",
        )


def _undecided(what: str, signs: Sequence[Sign]) -> UserError:
    return UserError(
        f"It can't be told what carries the traffic of {what}.",
        "; ".join(dict.fromkeys(words for _, words in signs)),
        "say it with --data-plane=sidecar or --data-plane=ambient",
    )
