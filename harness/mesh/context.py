"""What every step of the procedure is given, and how a function becomes a step."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from kubernetes.client import ApiException
from kubernetes.dynamic.exceptions import ResourceNotFoundError
from urllib3.exceptions import HTTPError

from harness.base.command import CommandError
from harness.base.errors import StepError
from harness.kube.api import KubeApi, Object, explain_api_error
from harness.mesh import manifests
from harness.mesh.settings import MeshSettings
from harness.model.step import Phase
from harness.model.step_log import OpenStep, StepLog
from harness.model.topology import Cluster, Topology

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Returned_co = TypeVar("Returned_co", covariant=True)

RUN_LABEL = "eastwest/run"
ENVIRONMENT_ERRORS = (ApiException, HTTPError, CommandError, ResourceNotFoundError)
"""What the mesh or the environment is to blame for."""
HOPELESS_SECONDS = 10.0


@dataclass(frozen=True)
class Mesh:
    """What every stage that acts on a mesh needs. A run makes it once and passes it on."""

    topology: Topology
    kubes: Mapping[str, KubeApi]
    """By the cluster's name."""
    settings: MeshSettings
    log: StepLog
    impaired: set[str] = field(default_factory=set)
    """Clusters on which a step has failed."""
    adapt: Callable[[Object], Object] = field(default=lambda manifest: manifest)
    """Changes each manifest before it is applied."""

    def kube(self, cluster: Cluster) -> KubeApi:
        """The API server of a cluster."""
        return self.kubes[cluster.name]

    def restarted(self, log: StepLog, **settings: Any) -> "Mesh":
        """The same mesh for work that does not depend on the steps before it: no cluster counts as impaired.

        Args:
            log: where every step is recorded from now on.
            settings: fields of the settings that differ.
        """
        return replace(self, log=log, settings=replace(self.settings, **settings), impaired=set())

    def deadline(self, cluster: Cluster, seconds: float) -> float:
        """Seconds to wait: few where an earlier step has failed, because what depends on it rarely succeeds."""
        scaled = seconds * self.settings.timeout_scale
        needed = {cluster.name, cluster.primary, self.topology[cluster.primary].host}
        return min(scaled, HOPELESS_SECONDS) if self.impaired & needed else scaled

    def apply(self, cluster: Cluster, manifest: Object) -> Object:
        """Apply an object, labelled with the run's id."""
        return self.kube(cluster).apply(self.labelled(self.adapt(manifest)))

    def apply_manifest(self, cluster: Cluster, name: str, **values: str) -> None:
        """Apply the objects of one of the suite's own manifests."""
        for manifest in manifests.render(name, **values):
            self.apply(cluster, manifest)

    def labelled(self, manifest: Object) -> Object:
        """The manifest with the label that names the run."""
        if not self.settings.run_id:
            return manifest
        metadata: dict[str, Any] = manifest["metadata"]
        labels = {**(metadata.get("labels") or {}), RUN_LABEL: self.settings.run_id}
        return {**manifest, "metadata": {**metadata, "labels": labels}}


def run_selector(settings: MeshSettings) -> str:
    """The label selector of what a run has made. Pure."""
    return f"{RUN_LABEL}={settings.run_id}"


StepFunction = Callable[Concatenate[Mesh, Cluster, OpenStep, Arguments], Result]


class StepCall(Protocol[Arguments, Returned_co]):
    """A step as it is called."""

    def __call__(
        self, mesh: Mesh, cluster: Cluster, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Returned_co | None:
        """Take the step; None where it failed."""


def step(phase: Phase) -> Callable[[StepFunction[Arguments, Result]], StepCall[Arguments, Result]]:
    """Make a function a step of the procedure: recorded, with the first line of its docstring as its title.

    Called without the `OpenStep`, which it is given. Where the step does not reach its goal it is recorded as failed,
    its cluster as impaired, and the call returns None: a mesh's fault does not stop the procedure.
    """

    def declare(function: StepFunction[Arguments, Result]) -> StepCall[Arguments, Result]:
        title = title_of(function)

        @wraps(function)
        def take(mesh: Mesh, cluster: Cluster, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | None:
            try:
                with mesh.log.step(phase, title, cluster.name) as opened, environment_faults():
                    return function(mesh, cluster, opened, *args, **kwargs)
            except StepError:
                mesh.impaired.add(cluster.name)
                return None

        return take

    return declare


def title_of(function: Callable[..., object]) -> str:
    """The first line of the docstring, without its full stop."""
    return (function.__doc__ or function.__name__).strip().splitlines()[0].removesuffix(".")


@contextmanager
def environment_faults() -> Iterator[None]:
    """Turn what an API server, the way to it or a program refuses into the step's failure."""
    try:
        yield
    except ENVIRONMENT_ERRORS as fault:
        raise StepError(_words(fault)) from fault
    except ExceptionGroup as several:
        faults, others = several.split((StepError, *ENVIRONMENT_ERRORS))
        if others or not faults:
            raise
        raise StepError("; ".join(sorted({_words(fault) for fault in faults.exceptions}))) from several


def _words(fault: Exception) -> str:
    return explain_api_error(fault) if isinstance(fault, ApiException) else str(fault)
