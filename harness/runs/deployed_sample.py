"""--deploy-sample: the sample in a namespace of its own on a mesh that is there, with the experiments; then removed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.errors import UserError
from harness.base.parallel import in_parallel
from harness.experiments import echo, experiment
from harness.kube import inventory
from harness.kube.api import KubeApi, unanswered
from harness.kube.inventory import Inventory
from harness.mesh import guest_sample
from harness.mesh.cleanup import observe_cleanup
from harness.mesh.context import Mesh
from harness.mesh.distributions.istio_versions import KNOWN
from harness.mesh.resolve import resolve
from harness.mesh.settings import MeshSettings
from harness.model import expectations, odds
from harness.model.cluster import ClusterObservation
from harness.model.experiment import RERUN
from harness.model.observation import Observation
from harness.model.sample_labels import ambient_labels, sample_labels
from harness.model.step import Phase
from harness.model.step_log import StepLog
from harness.model.topology import Topology
from harness.observe import required_permissions
from harness.observe.required_permissions import Wanted
from harness.runs.options import Options

DOCUMENTATION = "docs/deploy-sample-clusterrole.yaml"


@dataclass(frozen=True)
class DeployedSample:
    """The sample as it stands, until its namespace is removed."""

    mesh: Mesh
    wanted: frozenset[str]
    """The requirements whose experiments are made."""

    def experimented(self, observation: Observation) -> Observation:
        """The observation with the experiments, made now; without any where none is wanted."""
        if not self.wanted:
            return observation
        seen = experiment(self.mesh.restarted(self.mesh.log), pki=None, observation=observation, wanted=self.wanted)
        return observation.model_copy(update={"experiments": seen})


def placed(options: Options, run_id: str) -> Options:
    """The options with the namespace of the run's own sample in place of --namespace."""
    return replace(options, namespace=guest_sample.namespace_of(run_id)) if options.deploy_sample else options


def needed(options: Options) -> tuple[Wanted, ...]:
    """What must be permitted beyond what --verify-only needs."""
    pull_secret = required_permissions.PULL_SECRET if options.distribution.pull_secret else ()
    return required_permissions.FOR_SAMPLE + pull_secret


def require_free(kubes: Mapping[str, KubeApi], namespace: str) -> None:
    """See that the sample's namespace exists on no cluster.

    Raises:
        UserError: it does, or a cluster does not say.
    """

    def of_cluster(kube: KubeApi) -> str:
        try:
            return kube.access.context if kube.read(f"/api/v1/namespaces/{namespace}") else ""
        except (ApiException, HTTPError) as failed:
            question = f"whether namespace {namespace} exists there"
            raise unanswered(kube.access.context, question, failed) from None

    if taken := [context for context in in_parallel(of_cluster, kubes.values()) if context]:
        raise UserError(
            f"The sample can't be deployed: namespace {namespace} exists on {', '.join(taken)}.",
            "--deploy-sample works in a namespace that it creates and removes; nothing has been done",
            "run it again: each run has a namespace of its own",
        )


@contextmanager
def deployed(
    topology: Topology,
    kubes: Mapping[str, KubeApi],
    seen: Sequence[ClusterObservation],
    options: Options,
    *,
    run_id: str,
    log: StepLog,
) -> Iterator[DeployedSample]:
    """The sample on every cluster; its namespace is removed in the end, whatever happens.

    Args:
        topology: the mesh.
        kubes: its clusters, by name.
        seen: what was read of each, in the topology's order.
        options: as `placed` returns them.
        run_id: label of what is created.
        log: notified of every step.
    """
    wanted = options.experiments - {RERUN}
    mesh = Mesh(topology, kubes, _settings(seen, options, run_id, experiments=bool(wanted)), log)
    by_name = {observed.name: observed for observed in seen}
    primaries = [by_name[primary.name] for primary in topology.primaries]
    services = guest_sample.service_labels(mesh.settings)
    labels = {
        cluster.name: ambient_labels(by_name[cluster.primary], primaries, options.namespace, services)
        if mesh.settings.ambient
        else sample_labels(by_name[cluster.name], by_name[cluster.primary], options.namespace)
        for cluster in topology.clusters
    }
    with log.step(Phase.ENVIRONMENT, "Plan what is created and sent") as step:
        step.note(announced(mesh.settings, topology, options.requests))
    try:
        guest_sample.deploy(mesh, labels)
        yield DeployedSample(mesh, wanted)
    finally:
        guest_sample.remove(mesh)


def compared(
    observation: Observation, kubes: Mapping[str, KubeApi], before: Mapping[str, Inventory], log: StepLog
) -> Observation:
    """The observation with what is left of the sample's namespace."""
    namespace = observation.asked.sample_namespace
    with log.step(Phase.CLEANUP, "Compare the sample's namespace with what it was before the run"):
        found = observe_cleanup(kubes, before, take=lambda kube: inventory.take_namespace(kube, namespace))
    return observation.model_copy(update={"cleanup": found})


def inventories(kubes: Mapping[str, KubeApi], namespace: str) -> dict[str, Inventory]:
    """What stands in the sample's namespace, by the cluster's name."""
    found = in_parallel(lambda kube: inventory.take_namespace(kube, namespace), kubes.values())
    return dict(zip(kubes, found, strict=True))


def announced(settings: MeshSettings, topology: Topology, requests: int) -> str:
    """How many objects are created, and how many requests are sent, in words."""
    count = len(topology.clusters)
    objects = {c.name: guest_sample.object_count(settings, topology, c) for c in topology.clusters}
    told = ", ".join(f"{number} objects on {name}" for name, number in objects.items())
    cap = odds.coverage_cap(odds.equal_shares(count))
    shares = odds.scaled_requests(requests, odds.equal_shares(count), count)
    text = (
        f"namespace {settings.sample_namespace}: {told}; up to {cap + shares} requests from each cluster's client to "
        "helloworld, after a few until every version answers"
    )
    if settings.experiments:
        pairs = count * (count - 1)
        sent = pairs * echo.CONNECTIONS + echo.calls(count) * count + 4 * pairs + 2 * count + cap * count
        text += f"; about {sent} requests in experiments"
    return f"{text}. The namespace is removed in the end"


def _settings(seen: Sequence[ClusterObservation], options: Options, run_id: str, *, experiments: bool) -> MeshSettings:
    """Settings for the sample alone: nothing else of them is used."""
    settings = resolve(
        options.distribution,
        istio_version=options.istio_version or _version(seen) or KNOWN[-1].name,
        istioctl=Path("istioctl"),
        sample_namespace=options.namespace,
        timeout_scale=options.timeout_scale,
        run_id=run_id,
    )
    images: dict[str, Any] = {f"{name}_image": image for name, image in options.sample_images.items()}
    return replace(settings, experiments=experiments, data_plane=options.data_plane, **images)


def _version(seen: Sequence[ClusterObservation]) -> str:
    """The version of Istio, from the tag of an istiod image; empty where it has none that begins with numbers."""
    images = (c.image for each in seen for pod in expectations.istiod_pods(each) for c in pod.containers)
    tags = (image.rpartition("/")[2].partition("@")[0].partition(":")[2] for image in images)
    return next((tag for tag in tags if tag[:1].isdigit() and "." in tag), "")
