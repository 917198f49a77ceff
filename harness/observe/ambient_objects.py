"""Reads the API objects that only a mesh of ztunnels has; and kinds of Istio's and of the Gateway API, by path."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from kubernetes.client import ApiException

from harness.kube.api import KubeApi, Object, listed
from harness.model.cluster import ApiGateway, Pod, Workload
from harness.model.gateway_api import EAST_WEST_CLASS
from harness.model.gateways import NETWORK_LABEL
from harness.model.observation import Asked
from harness.observe import api_objects, istio_objects
from harness.observe.ztunnels import APP

Kinds = Iterable[tuple[str, tuple[str, ...], str, str]]
Parts = TypeVar("Parts", tuple[Pod, ...], tuple[Workload, ...])
_SELECTOR = f"app={APP}"


def custom(kube: KubeApi, kinds: Kinds) -> Iterator[tuple[Object, str, str]]:
    """The objects of kinds, of all namespaces, in the newest version that is served; with that, and the kind."""
    for group, versions, kind, plural in kinds:
        for version in versions:
            if (found := listed(kube, f"/apis/{group}/{version}/{plural}")) is not None:
                yield from ((raw, f"{group}/{version}", kind) for raw in found)
                break


def api_gateways(kube: KubeApi) -> tuple[ApiGateway, ...]:
    """The Gateways that stand between networks, or are labelled as if they did."""
    found = (istio_objects.api_gateway(raw) for raw, _, _ in custom(kube, istio_objects.API_GATEWAYS))
    return tuple(each for each in found if each.gateway_class == EAST_WEST_CLASS or NETWORK_LABEL in each.labels)


def joined(found: Parts, kube: KubeApi, asked: Asked, read: Callable[[KubeApi], Parts]) -> Parts:
    """What was found, with that of ztunnel where that carries the traffic and may be read in every namespace."""
    if not asked.ambient:
        return found
    try:
        more = read(kube)
    except ApiException:
        return found
    known = {(each.namespace, each.name) for each in found}
    return found + tuple(each for each in more if (each.namespace, each.name) not in known)


def pods(kube: KubeApi) -> tuple[Pod, ...]:
    """The pods of ztunnel, in whatever namespace: the operator's documentation has one of its own for it."""
    return tuple(api_objects.pod(raw) for raw in listed(kube, "/api/v1/pods", labelSelector=_SELECTOR) or ())


def workloads(kube: KubeApi) -> tuple[Workload, ...]:
    """Its DaemonSets."""
    found = listed(kube, "/apis/apps/v1/daemonsets", labelSelector=_SELECTOR) or ()
    return tuple(api_objects.workload(raw, "DaemonSet") for raw in found)
