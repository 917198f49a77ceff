"""What experiments stand on: the pods that send, the wait for them and for what their proxies know; and its removal."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.base.waiting import WaitError, wait_until
from harness.kube.api import KubeApi, Object, TransportError, condition
from harness.mesh.context import Mesh, environment_faults
from harness.mesh.readiness import await_deployment
from harness.model import captured
from harness.model.expectations import SLEEP
from harness.model.experiment import ECHO, HTTP_PORT, LABEL, PLAIN, TCP_PORT
from harness.model.observation import Observation
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster
from harness.model.ztunnel import Ztunnel
from harness.observe import envoy
from harness.observe.proxies import admin, clusters_in
from harness.observe.ztunnels import read_ztunnel

Item = TypeVar("Item")

READY_SECONDS = 60.0
"""For pods that were deployed before the mesh was observed."""
PROPAGATION_SECONDS = 20.0
"""For configuration to reach a proxy: istiod takes a second, on an overloaded machine several."""
ASK_SECONDS = 15.0
_KINDS = (
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("networking.istio.io/v1", "DestinationRule"),
)


@dataclass(frozen=True)
class Testbed:
    """A mesh whose loop passes, and the pods from which experiments send."""

    __test__: ClassVar[bool] = False  # pytest takes its name for that of a test
    mesh: Mesh
    observation: Observation
    pods: Mapping[tuple[str, str], str]
    """Cluster and app → name of its first ready pod."""

    @property
    def namespace(self) -> str:
        """The sample namespace."""
        return self.mesh.settings.sample_namespace

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """Every cluster of the mesh."""
        return self.mesh.topology.clusters

    @property
    def pairs(self) -> list[tuple[Cluster, Cluster]]:
        """Every cluster with every other one: who sends, and who is to answer."""
        return [(source, target) for source in self.clusters for target in self.mesh.topology.others(source)]

    def seconds(self, seconds: float) -> float:
        """A deadline, scaled as the run's are."""
        return seconds * self.mesh.settings.timeout_scale

    @contextmanager
    def step(self, title: str) -> Iterator[OpenStep]:
        """One step of the stage, over all clusters."""
        with self.mesh.log.step(Phase.EXPERIMENTS, title) as opened, environment_faults():
            yield opened

    def ask(self, cluster: Cluster, pod: str, path: str) -> Any:
        """What a pod's Envoy answers on its admin interface; None where it can't be asked."""
        kube = self.mesh.kube(cluster)
        try:
            return admin(kube, self.namespace, pod, (path,), self.seconds(ASK_SECONDS)).get(path)
        except TransportError:
            return None

    def ztunnel(self, cluster: Cluster, pod: str) -> Ztunnel | None:
        """What the ztunnel of a pod's node says; None where there is none, or it can't be asked."""
        kube = self.mesh.kube(cluster)
        node = ((kube.get("v1", "Pod", pod, self.namespace) or {}).get("spec") or {}).get("nodeName")
        ztunnels = captured.ztunnel_pods(self.observation, cluster)
        found = next((each for each in ztunnels if node and each.node == node), None)
        try:
            return read_ztunnel(kube, found, (self.namespace,), self.seconds(ASK_SECONDS)) if found else None
        except TransportError:
            return None

    def await_proxies(self, waiting: Mapping[tuple[Cluster, str], Callable[[Cluster, str], bool]]) -> tuple[str, ...]:
        """Ask every one of these pods' proxies until each is as it should be, or the time is over.

        Returns:
            `cluster: pod` of those that are not.
        """

        def pending(item: tuple[tuple[Cluster, str], Callable[[Cluster, str], bool]]) -> str:
            (cluster, pod), there = item
            return "" if there(cluster, pod) else f"{cluster.name}: {pod}"

        return self.await_each(pending, waiting.items())

    def await_each(self, pending: Callable[[Item], str], items: Iterable[Item]) -> tuple[str, ...]:
        """Ask of every item, side by side, until nothing is pending, or the time is over.

        Returns:
            What is pending still, in `pending`'s words.
        """

        def one(item: Item) -> str:
            try:
                wait_until(lambda: pending(item), self.seconds(PROPAGATION_SECONDS))
            except WaitError as expired:
                return expired.last
            return ""

        return tuple(filter(None, in_parallel(one, items)))


def set_up(mesh: Mesh, observation: Observation) -> Testbed:
    """Wait for the pods that experiments need, and until their proxies know the other clusters' echo servers.

    Raises:
        StepError: a pod did not become ready.
    """
    log = mesh.log

    def of_cluster(cluster: Cluster) -> dict[tuple[str, str], str]:
        kube, timeout = mesh.kube(cluster), mesh.deadline(cluster, READY_SECONDS)
        with (
            log.step(Phase.EXPERIMENTS, "Wait for the experiments' pods", cluster.name) as opened,
            environment_faults(),
        ):
            for name in (f"{ECHO}-{cluster.version}", PLAIN):
                await_deployment(kube, mesh.settings.sample_namespace, name, timeout, opened)
            return {(cluster.name, app): _first_pod(kube, mesh, app) for app in (ECHO, PLAIN, SLEEP)}

    pods: dict[tuple[str, str], str] = {}
    for found in in_parallel(of_cluster, mesh.topology.clusters):
        pods |= found
    testbed = Testbed(mesh, observation, pods)
    with testbed.step("Wait until the clients' proxies know the echo servers of the other clusters") as opened:
        pending = testbed.await_proxies(
            {
                (source, testbed.pods[source.name, app]): lambda cluster, pod: not _unknown(testbed, cluster, pod)
                for source in testbed.clusters
                for app in (ECHO, SLEEP)
            }
        )
        if pending:
            opened.note(f"not known after {testbed.seconds(PROPAGATION_SECONDS):.0f} s to {', '.join(pending)}")
    return testbed


def _unknown(testbed: Testbed, cluster: Cluster, pod: str) -> list[str]:
    versions = [other.version for other in testbed.clusters]
    if testbed.mesh.settings.ambient:
        return unknown_to_ztunnel(testbed.ztunnel(cluster, pod), versions)
    told = testbed.ask(cluster, pod, clusters_in(testbed.namespace))
    return unknown_services(told, testbed.namespace, versions)


def unknown_to_ztunnel(ztunnel: Ztunnel | None, versions: Sequence[str]) -> list[str]:
    """The versions of the echo server of which a ztunnel has no endpoint yet. Pure.

    Args:
        ztunnel: what it says of the sample namespace; None where it can't be asked.
        versions: those that there are.
    """
    known = {
        service.name
        for service in (ztunnel.services if ztunnel else ())
        if ztunnel and any(captured.endpoint_at(ztunnel, each, HTTP_PORT) for each in service.endpoints)
    }
    return [version for version in versions if f"{ECHO}-{version}" not in known]


def unknown_services(clusters: Any, namespace: str, versions: Sequence[str]) -> list[str]:
    """The Services of the echo servers, one for each version, that a proxy has no endpoint of yet. Pure.

    Args:
        clusters: the answer of Envoy's `clusters?format=json`.
        namespace: the sample namespace.
        versions: those that there are.
    """

    def known(name: str) -> bool:
        service = f"{name}.{namespace}.svc."
        return all(envoy.host_counters(clusters, port, service) for port in (TCP_PORT, HTTP_PORT))

    return [name for version in versions if not known(name := f"{ECHO}-{version}")]


def take_down(mesh: Mesh) -> None:
    """Remove what is there for experiments only, from every cluster at once; what fails is recorded in the log."""
    if not mesh.settings.experiments:
        return
    namespace = mesh.settings.sample_namespace

    def of_cluster(cluster: Cluster) -> None:
        kube = mesh.kube(cluster)
        try:
            with mesh.log.step(Phase.EXPERIMENTS, "Remove the experiments' pods", cluster.name), environment_faults():
                for api_version, kind in _KINDS:
                    for found in kube.list(api_version, kind, namespace, label_selector=LABEL):
                        kube.delete(api_version, kind, found["metadata"]["name"], namespace)
        except StepError:
            return

    in_parallel(of_cluster, mesh.topology.clusters)


def ready_pods(kube: KubeApi, namespace: str, app: str) -> list[Object]:
    """The ready pods of an app, by name."""
    found = kube.list("v1", "Pod", namespace, label_selector=f"app={app}")
    ready = [pod for pod in found if condition(pod, "Ready").get("status") == "True" and not _going(pod)]
    return sorted(ready, key=lambda pod: str(pod["metadata"]["name"]))


def _first_pod(kube: KubeApi, mesh: Mesh, app: str) -> str:
    found = ready_pods(kube, mesh.settings.sample_namespace, app)
    if not found:
        raise StepError(f"no pod of {app} is ready on {kube.name}")
    return str(found[0]["metadata"]["name"])


def _going(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))
