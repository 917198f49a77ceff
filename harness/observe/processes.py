"""Asks the processes of a cluster about themselves: every istiod, every Envoy and every ztunnel, side by side."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from harness.base.parallel import in_parallel
from harness.kube.api import KubeApi
from harness.model.cluster import ClusterObservation, Pod, Subject, Ztunnel
from harness.model.observation import Asked
from harness.model.proxy import ControlPlane, Proxy
from harness.observe import control_plane, proxies, ztunnels
from harness.observe.reading import Reader

_ASKED_AT_ONCE = 16
"""Pods of a cluster: a namespace may have hundreds, and each answer takes megabytes while it is read."""
Said = ControlPlane | Proxy | Ztunnel


@dataclass(frozen=True)
class Processes:
    """What the pods of one cluster said of themselves."""

    control_planes: tuple[ControlPlane, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    ztunnels: tuple[Ztunnel, ...] = ()


@dataclass(frozen=True)
class _Question:
    """A pod that is asked about itself."""

    subject: Subject
    pod: Pod
    ask: Callable[[], Said | None]


def ask_all(kube: KubeApi, seen: ClusterObservation, reader: Reader, asked: Asked, limit: float) -> Processes:
    """Ask the processes of a cluster; never raises.

    Args:
        kube: the cluster.
        seen: its objects.
        reader: notes what could not be asked.
        asked: names of namespaces, and what carries the traffic.
        limit: seconds for one question.
    """
    for subject in (Subject.CONTROL_PLANE, Subject.PROXIES, *((Subject.ZTUNNELS,) if asked.ambient else ())):
        reader.read(subject, lambda: None, None)
    questions = list(_questions(kube, seen, asked, limit))
    answers = in_parallel(lambda question: _ask(reader, question), questions, _ASKED_AT_ONCE)
    return Processes(
        tuple(answer for answer in answers if isinstance(answer, ControlPlane)),
        tuple(answer for answer in answers if isinstance(answer, Proxy)),
        tuple(answer for answer in answers if isinstance(answer, Ztunnel)),
    )


def _questions(kube: KubeApi, seen: ClusterObservation, asked: Asked, limit: float) -> Iterator[_Question]:
    for pod in control_plane.istiod_pods(seen):
        yield _Question(Subject.CONTROL_PLANE, pod, partial(control_plane.read_control_plane, kube, pod, limit))
    for pod in proxies.proxy_pods(seen):
        yield _Question(Subject.PROXIES, pod, partial(proxies.read_proxy, kube, pod, asked.sample_namespace, limit))
    for pod in ztunnels.ztunnel_pods(seen) if asked.ambient else ():
        yield _Question(Subject.ZTUNNELS, pod, partial(ztunnels.read_ztunnel, kube, pod, asked.namespaces, limit))


def _ask(reader: Reader, question: _Question) -> Said | None:
    """What a pod says; one that is not ready may well say nothing, and that is no failure of the suite."""
    try:
        return question.ask()
    except Exception as failed:  # noqa: BLE001 - whatever fails is noted, nothing may stop an observation
        if question.pod.ready:
            reader.failed(question.subject, failed)
        return None
