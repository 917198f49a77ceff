"""Runs that are cut short, at every stage: nothing is left, or it is named with the command that removes it.

So it is with a full disk, and with a second run beside the first.
"""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from fixtures.session import terminate_as_interrupt
from harness.model.step import Phase
from suites.selftest.support import sessions
from suites.selftest.support.sessions import PATIENCE, ended

NETWORK = ("suites/conformance/test_network.py", "--requirement=NET-LABEL")
"""One requirement: pytest need not read the modules of all others for it."""
EXPERIMENTS = ("suites/conformance/test_experiments.py", NETWORK[0], "--requirement=NET-LABEL,MTLS-STRICT")
RESILIENCE = (
    "suites/resilience/test_workloads_and_gateways.py",
    NETWORK[0],
    "--resilience",
    "--requirement=NET-LABEL,RES-ISTIOD-RESTART",
)
STAGES = (*(phase.value for phase in Phase if phase is not Phase.FAULTS), "judge", "report")


@dataclass
class Staged:
    """A run that makes nothing but files in a directory."""

    directory: Path
    processes: list[ForkServerProcess] = field(default_factory=list)

    def begin(self, stage: str = "", *arguments: str, **environment: str) -> ForkServerProcess:
        """Begin it; one stage lasts until it is interrupted."""
        given = {
            "EASTWEST_STAGED": str(self.directory),
            "EASTWEST_STAGE": stage,
            "XDG_STATE_HOME": str(self.directory / "state"),
            **environment,
        }
        run = ["--topology=primary-remote", "--images=registry", f"--output={self.directory / 'output'}", *arguments]
        said = given.pop("TERMINAL", self.directory / "said")
        process = sessions.begin(["-p", "suites.selftest.support.staged", *run], said, given)
        self.processes.append(process)
        if stage:
            self._await_reached(process)
        return process

    @retry(retry=retry_if_result(lambda there: not there), wait=wait_fixed(0.02), stop=stop_after_delay(PATIENCE))
    def _await_reached(self, process: ForkServerProcess) -> bool:
        return (self.directory / "reached").exists() or not process.is_alive()

    @property
    def made(self) -> set[str]:
        """What is still there of what was made."""
        return {path.name for path in (self.directory / "made").iterdir()}

    @property
    def records(self) -> list[Path]:
        """Records of runs that say that something is left."""
        return list((self.directory / "state/eastwest/runs").glob("*/run.json"))

    @property
    def said(self) -> str:
        """What was printed."""
        return (self.directory / "said").read_text()


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Staged]:
    """A run in an empty directory; no process outlives the test."""
    run = Staged(tmp_path)
    yield run
    for process in run.processes:
        process.kill()
        process.join()


def test_nothing_is_left_of_a_run_that_is_not_interrupted(staged: Staged) -> None:
    """The stand-ins form a good mesh, and what they make is removed."""
    assert ended(staged.begin()) == 0, staged.said
    assert staged.made == set()
    assert staged.records == []
    assert "Conformant" in staged.said


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_interrupted_run_leaves_nothing(stage: str, sent: signal.Signals, staged: Staged) -> None:
    """Whatever it is doing: exit status 2, soon, nothing left, no traceback."""
    process = staged.begin(stage, *(RESILIENCE if stage == Phase.RESILIENCE else EXPERIMENTS))
    assert process.pid
    os.kill(process.pid, sent)
    assert ended(process) == 2, staged.said
    assert staged.made == set()
    assert staged.records == []
    assert "Traceback" not in staged.said


def test_interrupted_run_that_judges_nothing_leaves_nothing(staged: Staged) -> None:
    """With --observe-only SIGTERM does no less."""
    process = staged.begin(Phase.OBSERVE, "--observe-only")
    assert process.pid
    os.kill(process.pid, signal.SIGTERM)
    assert ended(process) == 2, staged.said
    assert staged.made == set()
    assert staged.records == []


def test_closed_terminal_leaves_nothing(staged: Staged) -> None:
    """SIGHUP ends a run like Ctrl-C; that nothing can be written to the terminal any more keeps nothing from going."""
    terminal, end = os.openpty()
    process = staged.begin(Phase.OBSERVE, *NETWORK, TERMINAL=os.ttyname(end))
    os.close(end)
    os.close(terminal)
    assert process.pid
    # The shell that ends sends it, and the kernel then again.
    os.kill(process.pid, signal.SIGHUP)
    os.kill(process.pid, signal.SIGHUP)
    assert ended(process) == 2
    assert staged.made == set()
    assert staged.records == []
    assert "✓ Remove " in (staged.directory / "output" / "log.txt").read_text()


def test_under_nohup_a_closed_terminal_is_no_matter(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SIGHUP that is ignored when the run begins stays ignored; one that is not gets its handler back at the end."""
    cleanups: list[Callable[[], None]] = []
    monkeypatch.setattr(pytestconfig, "add_cleanup", cleanups.append)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        terminate_as_interrupt(pytestconfig)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        terminate_as_interrupt(pytestconfig)
        assert signal.getsignal(signal.SIGHUP) is signal.getsignal(signal.SIGTERM)
        for cleanup in reversed(cleanups):
            cleanup()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_interrupted_removal_names_what_is_left(staged: Staged) -> None:
    """A second Ctrl-C, while clusters are being removed: they are named, with the command."""
    process = staged.begin("remove the clusters", *NETWORK)
    assert process.pid
    os.kill(process.pid, signal.SIGINT)
    assert ended(process) == 2, staged.said
    assert len(staged.records) == 1
    assert len(staged.made) >= 2
    assert "left behind: eastwest-" in staged.said
    assert "make clean" in staged.said
    assert "Traceback" not in staged.said


@pytest.mark.parametrize("stage", [Phase.OBSERVE, Phase.CERTIFICATES, "judge", "report"])
def test_full_disk_is_unknown(stage: str, staged: Staged) -> None:
    """Whatever finds the disk full: exit status 3, nothing left, and no report that could be taken for one."""
    process = staged.begin(stage, *NETWORK, EASTWEST_STAGE_BREAKS="1")
    assert ended(process) == 3, staged.said
    assert staged.made == set()
    assert staged.records == []
    assert "No space left on device" in staged.said
    assert "Conformant" not in staged.said
    if stage == "report":
        assert not (staged.directory / "output" / "report.json").exists()
        assert "Traceback" not in staged.said


def test_full_disk_where_nothing_is_judged_is_unknown(staged: Staged) -> None:
    """With --observe-only, too: no traceback, whose status would say that a MUST failed."""
    process = staged.begin(Phase.OBSERVE, "--observe-only", EASTWEST_STAGE_BREAKS="1")
    assert ended(process) == 3, staged.said
    assert staged.made == set()
    assert "The suite itself failed.\n  why: OSError: [Errno 28] No space left on device (" in staged.said
    assert "Traceback" not in staged.said


def test_observation_that_does_not_fit_is_unknown(staged: Staged) -> None:
    """No half of an observation is kept, and nothing is judged."""
    process = staged.begin("", *NETWORK, EASTWEST_STAGE_FILE_BYTES="200000")
    assert ended(process) == 3, staged.said
    assert staged.made == set()
    assert list((staged.directory / "output" / "observations").iterdir()) == []
    assert "The observation could not be written" in staged.said


def test_second_run_beside_it(staged: Staged, tmp_path: Path) -> None:
    """The same output directory is refused; another one is no obstacle, and neither touches what the other made."""
    first = staged.begin(Phase.OBSERVE, *NETWORK)
    there = staged.made
    (tmp_path / "beside").mkdir()
    second = Staged(tmp_path / "beside")
    state = str(staged.directory / "state")
    assert ended(second.begin("", f"--output={staged.directory / 'output'}", XDG_STATE_HOME=state)) == 4
    assert "Another run writes to" in second.said
    assert ended(second.begin("", *NETWORK, XDG_STATE_HOME=state)) == 0, second.said
    assert second.made == set()
    assert staged.made == there
    assert len(staged.records) == 1
    assert first.pid
    os.kill(first.pid, signal.SIGTERM)
    assert ended(first) == 2, staged.said
    assert staged.made == set()
