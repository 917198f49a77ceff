"""A pytest plugin for runs that make nothing: everything at the edges is a stand-in, and one stage can be made to last.

What the stand-ins make are files in a directory, which must be empty after the run. Loaded with
`-p suites.selftest.support.staged`. EASTWEST_STAGED names the directory, EASTWEST_STAGE the stage that lasts until the
run is interrupted, EASTWEST_STAGE_BREAKS that it finds the disk full instead, EASTWEST_STAGE_FILE_BYTES how large a
file can be.
"""

import errno
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import fixtures.reporting
import fixtures.verdicts
from harness.base import command
from harness.base.container_engine import ContainerEngine
from harness.base.parallel import in_parallel
from harness.clusters import containers, kind, load_balancer
from harness.judge import requirement
from harness.kube import inventory
from harness.kube.access import ClusterAccess
from harness.kube.inventory import Inventory
from harness.machine.engine import Engine
from harness.mesh import cleanup, pki, procedure, removal, workloads
from harness.mesh.context import Mesh
from harness.mesh.pki import CaFiles, Pki
from harness.model.experiment import Experiments
from harness.model.observation import Asked, Cleanup, Observation
from harness.model.resilience import Resilience
from harness.model.step import WAIT_FOR_CONTROL_PLANE, Phase
from harness.model.step_log import StepLog
from harness.model.topology import Topology
from harness.runs import environment, mesh_run
from harness.runs.environment import Provisions
from harness.runs.options import Options
from reports import publish
from suites.selftest.support.good_resilience import resilience
from suites.selftest.support.recordings import recorded

MADE = Path(os.environ["EASTWEST_STAGED"]) / "made"
REACHED = MADE.with_name("reached")
JUDGE, REPORT, REMOVE = "judge", "report", "remove the clusters"
"""Stages beside those of a run's phases."""


def reach(stage: str) -> None:
    """Last until the run is interrupted, once, where this is the stage that is to."""
    if os.environ.get("EASTWEST_STAGE") != stage or REACHED.exists():
        return
    REACHED.write_text(stage)
    if os.environ.get("EASTWEST_STAGE_BREAKS"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    # Finding primes takes a while, and can't be interrupted.
    command.run(["sleep", "0.5" if stage == Phase.CERTIFICATES else "60"])


def made(name: str) -> None:
    """Something now exists."""
    (MADE / name).touch()


def gone(*names: str) -> None:
    """It does not any more."""
    for name in names:
        (MADE / name).unlink(missing_ok=True)


class Balancer:
    """A load balancer."""

    name = "metallb"

    def start(self, _clusters: Sequence[ClusterAccess], log: StepLog) -> None:
        """Begin."""
        with log.step(Phase.LOAD_BALANCER, "Start"):
            made("balancer")
            reach(Phase.LOAD_BALANCER)

    def wait(self, _clusters: Sequence[ClusterAccess], _log: StepLog) -> None:
        """Nothing to wait for."""

    def complaints(self, *_: object) -> tuple[str, ...]:
        """None."""
        return ()

    def stop(self, _log: StepLog, *, keep: bool = False) -> None:
        """End."""
        if not keep:
            gone("balancer")


def provide(_options: Options, log: StepLog) -> Provisions:
    """Images and programs."""
    with log.step(Phase.ENVIRONMENT, "Look around"):
        reach(Phase.ENVIRONMENT)
    with log.step(Phase.IMAGES, "Provide images"):
        reach(Phase.IMAGES)
    return Provisions("registry", None, Path("istioctl"), "1.31", Engine("28", started_here=False))


def program(words: Sequence[str | Path], **_: object) -> str:
    """Kind, where a cluster is made."""
    name = str(words[words.index("--name") + 1])
    made(f"{name}-control-plane")
    Path(words[words.index("--kubeconfig") + 1]).touch()
    if name.endswith("west"):
        reach(Phase.CLUSTERS)
    return ""


def labelled(_engine: ContainerEngine, label: str, value: str = "") -> tuple[str, ...]:
    """The node containers."""
    found = sorted(path.name for path in MADE.glob("*-control-plane"))
    return tuple(name for name in found if label == containers.CLUSTER_LABEL and name.startswith(value))


def remove_containers(engine: ContainerEngine, names: Sequence[str]) -> None:
    """With a cluster everything on it goes."""
    reach(REMOVE)
    gone(*names)
    if not labelled(engine, containers.CLUSTER_LABEL):
        gone("sample", "experiment", *(path.name for path in MADE.glob("mesh-*")))


def certificates(topology: Topology, **_: object) -> Pki:
    """Certificates of every cluster."""
    reach(Phase.CERTIFICATES)
    return Pki({cluster.name: CaFiles("", "", "", "") for cluster in topology.clusters})


def install(mesh: Mesh, *_: object) -> None:
    """A mesh on every cluster, side by side."""

    def one(name: str) -> None:
        with mesh.log.step(Phase.MESH, "Install", name):
            made(f"mesh-{name}")
            reach(Phase.MESH)
        with mesh.log.step(Phase.MESH, WAIT_FOR_CONTROL_PLANE, name):
            pass

    in_parallel(one, [cluster.name for cluster in mesh.topology.clusters])


def deploy(*_: object) -> None:
    """The sample."""
    made("sample")
    reach(Phase.WORKLOADS)


def observe(topology: Topology, _kubes: object, asked: Asked, **given: Any) -> Observation:
    """What was recorded once."""
    log: StepLog = given["log"]
    with log.step(Phase.OBSERVE, "Observe"):
        reach(Phase.OBSERVE)
    found = recorded(topology.name)
    asked = found.asked.model_copy(update={"kept": asked.kept})
    return found.model_copy(update={"asked": asked, "steps": found.steps, "experiments": None, "cleanup": None})


def experiment(mesh: Mesh, **_: object) -> Experiments:
    """What was recorded once."""
    with mesh.log.step(Phase.EXPERIMENTS, "Act"):
        made("experiment")
        try:
            reach(Phase.EXPERIMENTS)
        finally:
            gone("experiment")
    found = recorded(mesh.topology.name).experiments
    assert found
    return found


def play(mesh: Mesh, *_: object, **__: object) -> Resilience:
    """What clients saw of a good mesh, while requests went on."""
    with mesh.log.step(Phase.RESILIENCE, "Change"):
        made("requests")
        try:
            reach(Phase.RESILIENCE)
        finally:
            gone("requests")
    return resilience(mesh.topology)


def remove(mesh: Mesh, *_: object) -> None:
    """Mesh and sample go."""
    with mesh.log.step(Phase.CLEANUP, "Remove"):
        reach(Phase.CLEANUP)
        gone("sample", *(f"mesh-{cluster.name}" for cluster in mesh.topology.clusters))


def compare(kubes: Mapping[str, object], *_: object) -> Cleanup:
    """Nothing is left."""
    return Cleanup(clusters=tuple(kubes), objects_before=dict.fromkeys(kubes, 100), changes=())


def staged(stage: str, function: Callable[..., object]) -> Callable[..., object]:
    """A function that is a stage of its own."""

    def call(*arguments: Any, **named: Any) -> object:
        reach(stage)
        return function(*arguments, **named)

    return call


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Put the stand-ins in their places; runs that judge nothing go no further than this hook."""
    MADE.mkdir(parents=True, exist_ok=True)
    if most := os.environ.get("EASTWEST_STAGE_FILE_BYTES"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)

    def put(where: object, name: str, stand_in: Callable[..., object]) -> None:
        patch.setattr(where, name, stand_in)

    patch.setattr(command, "LOOK_SECONDS", 0.05)
    put(environment, "provide", provide)
    put(kind, "run", program)
    put(kind, "_taken", lambda _: ())
    put(kind, "_wait_until_ready", lambda *_, **__: None)
    put(containers, "labelled", labelled)
    put(containers, "running_addresses", lambda _, names: dict.fromkeys(names, "172.18.0.2"))
    put(containers, "names", lambda engine: frozenset(labelled(engine, containers.CLUSTER_LABEL)))
    put(containers, "remove", remove_containers)
    put(load_balancer, "choose", lambda *_: Balancer())
    put(load_balancer, "load_balancer_containers", lambda _run: ())
    put(pki, "make", certificates)
    put(procedure, "require_kubernetes", lambda *_: None)
    put(inventory, "take", lambda kube: Inventory(kube.name, {}))
    put(procedure, "install", install)
    put(procedure, "await_gateways", lambda _mesh: None)
    put(workloads, "deploy", deploy)
    put(mesh_run, "observe", observe)
    put(mesh_run, "experiment", experiment)
    put(mesh_run, "play", play)
    put(removal, "remove", remove)
    put(cleanup, "observe_cleanup", compare)
    put(fixtures.verdicts, "judge", staged(JUDGE, requirement.judge))
    put(fixtures.reporting, "publish", staged(REPORT, publish.publish))
