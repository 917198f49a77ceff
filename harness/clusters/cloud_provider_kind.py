"""cloud-provider-kind: a program beside the clusters that makes an Envoy container for each load balancer.

It serves every kind cluster of the machine, looks for new ones every 30 s only, keeps the API client of a cluster's
name for as long as it runs, and on SIGTERM removes the load balancers of all clusters, whoever made them. So it is
started once the clusters are there, by one run at a time, ended with SIGKILL, and its containers are removed by
their cluster's label.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from harness.base import processes
from harness.base.container_log import telling_lines
from harness.base.errors import UserError
from harness.base.locks import try_lock
from harness.clusters import containers
from harness.clusters.run_record import Run, state_directory
from harness.kube.access import ClusterAccess
from harness.model.step import Phase
from harness.model.step_log import StepLog

PROGRAM = "cloud-provider-kind"
START_SECONDS = 60.0
_UNWANTED = {"gateway-channel": "disabled", "enable-default-ingress": "false"}
"""What it would add to the clusters beyond load balancers: flag → value that keeps it from that."""


@dataclass
class CloudProviderKind:
    """cloud-provider-kind for the clusters of one run, as its child process.

    Args:
        program: its path.
        run: the run; the program's log is a file in the run's directory.
    """

    program: str
    run: Run
    _open: ExitStack = field(default_factory=ExitStack, repr=False, compare=False)
    _taken: "_Taken | None" = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """As --load-balancer names it."""
        return PROGRAM

    @property
    def log_file(self) -> Path:
        """What it writes."""
        return self.run.directory / f"{PROGRAM}.log"

    def start(self, clusters: Sequence[ClusterAccess], log: StepLog) -> None:
        """Start it, unless the user runs one himself.

        Raises:
            UserError: another run uses it.
        """
        with log.step(Phase.LOAD_BALANCER, "Start cloud-provider-kind") as step:
            lock = try_lock(_lock_file())
            if lock is None:
                raise in_use()
            self._open.callback(os.close, lock)
            self.run.update(lambda record, _: record.model_copy(update={"load_balancer": self.name}))
            if there := processes.running(PROGRAM):
                step.skip(f"it runs already (process {there[0]}), and was not started here")
                return
            process = self._spawn()
            self._open.callback(process.wait)
            self._open.callback(process.kill)
            names = {cluster.name for cluster in clusters}
            self._taken = _Taken(record.kind_name for record in self.run.record.clusters if record.name in names)
            threading.Thread(target=self._taken.read, args=(process.stdout, self.log_file), daemon=True).start()

    def wait(self, clusters: Sequence[ClusterAccess], log: StepLog) -> None:  # noqa: ARG002 - all at once
        """Wait until it has taken up every cluster.

        Raises:
            UserError: it ends, or has not taken up one of them in 60 s.
        """
        if self._taken is None:
            return
        with log.step(Phase.LOAD_BALANCER, "Wait for cloud-provider-kind") as step:
            step.waiting(f"{PROGRAM} to take up {', '.join(sorted(self._taken.missing))}")
            if not self._taken.settled.wait(START_SECONDS) or self._taken.missing:
                raise UserError(
                    f"{PROGRAM} does not serve {', '.join(sorted(self._taken.missing))}.",
                    self._taken.last or "it wrote nothing",
                    f"see {self.log_file}, or use --load-balancer=metallb",
                )

    def complaints(self) -> tuple[str, ...]:
        """The last warnings and errors in its log; nothing where the user runs one himself."""
        try:
            return telling_lines(self.log_file.read_text(errors="replace"))
        except OSError:
            return ()

    def stop(self, log: StepLog, *, keep: bool = False) -> None:
        """End it and, unless clusters are kept, remove its containers for this run's clusters."""
        with log.step(Phase.CLEANUP, "Stop cloud-provider-kind") as step:
            self._open.close()
            left = load_balancer_containers(self.run)
            if keep:
                step.note(f"kept: {', '.join(left) or 'no containers'}")
            else:
                containers.remove(self.run.record.container_engine, left)

    def _spawn(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [self.program, *arguments(_usage(self.program))],
            stdin=subprocess.DEVNULL,
            # A pipe, not the file: should this process die, the next line it writes ends it.
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.run.record.container_engine.environment(),
            text=True,
            # Ctrl-C at the terminal is for the suite: what this program does on SIGINT, it does to everyone's clusters.
            start_new_session=True,
        )


class _Taken:
    """Which clusters the program has taken up, from what it writes."""

    def __init__(self, clusters: Iterable[str]) -> None:
        self.missing = set(clusters)
        self.last = ""
        self.settled = threading.Event()
        """None is missing, or the program has ended."""

    def read(self, output: Iterable[str], file: Path) -> None:
        """Follow the output to its end, and copy it to a file."""
        with file.open("a") as copy:
            for line in output:
                copy.write(line)
                copy.flush()
                self.last = line.strip()
                self.missing -= {cluster for cluster in self.missing if taken_up(line, cluster)}
                if not self.missing:
                    self.settled.set()
        self.settled.set()


def load_balancer_containers(run: Run) -> tuple[str, ...]:
    """Names of the containers that cloud-provider-kind made for Services of the run's clusters."""
    record = run.record
    return tuple(
        name
        for cluster in record.clusters
        for name in containers.labelled(record.container_engine, containers.LOAD_BALANCER_LABEL, cluster.kind_name)
    )


def taken_up(line: str, cluster: str) -> bool:
    """Whether a line of its log says that a cluster is served from now on: pure.

    Up to 0.10 `Starting cloud controller for cluster NAME`, since then `"Starting cloud controller" cluster="NAME"`.
    """
    said = line.rstrip().replace('"', "").replace("cluster=", "for cluster ")
    return said.endswith(f"Starting cloud controller for cluster {cluster}")


def arguments(usage: str) -> tuple[str, ...]:
    """Its arguments, as far as its usage text knows them: pure."""
    return tuple(f"--{flag}={value}" for flag, value in _UNWANTED.items() if f"-{flag}" in usage)


def program() -> str | None:
    """Its path, if it is on PATH."""
    return shutil.which(PROGRAM)


def used_by_another_run() -> bool:
    """Whether a run of this user has started it."""
    lock = try_lock(_lock_file())
    if lock is not None:
        os.close(lock)
    return lock is None


def in_use() -> UserError:
    """The error of a run that wants it while another has it."""
    return UserError(
        f"{PROGRAM} is in use by another run.",
        "one of them serves every kind cluster of a machine",
        "wait for that run to end, or use --load-balancer=metallb",
    )


def _lock_file() -> Path:
    directory = state_directory() / PROGRAM
    directory.mkdir(parents=True, exist_ok=True)
    return directory / "lock"


def _usage(path: str) -> str:
    ended = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=20, check=False)
    return ended.stdout + ended.stderr
