"""What a person sees on a terminal and in a log."""

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from harness.base.errors import StepError
from harness.model.observation import Observation
from harness.model.step import Phase
from harness.model.step_log import Event, StepLog
from reports import closing, conformance
from reports.result import TopologyResult
from reports.terminal import Progress, Verbosity, both, console
from suites.selftest.support.results import judged, run_info, without_address

QUIET, NORMAL, VERBOSE = Verbosity.QUIET, Verbosity.NORMAL, Verbosity.VERBOSE


def _some_steps(log: StepLog) -> None:
    with log.step(Phase.MESH, "Install Istio", "east") as step:
        step.note("1.31")
    with log.step(Phase.MESH, "Create a secret", "east") as step:
        step.skip("it is there")
    with pytest.raises(StepError), log.step(Phase.MESH, "Wait for [the] gateway", "west") as step:
        step.waiting("no address yet")
        raise StepError("still no address\nno available IPs")


def _logged(verbosity: Verbosity, prefix: str = "") -> list[str]:
    stream = io.StringIO()
    with Progress(console(stream), prefix, verbosity, clock=lambda: 0.0) as progress:
        _some_steps(StepLog(progress))
    return stream.getvalue().splitlines()


def test_log_has_a_line_a_step() -> None:
    """Topology, seconds, mark, cluster, title; what was skipped or failed says why."""
    lines = _logged(NORMAL, "primary-remote")
    assert lines == [
        "[primary-remote    0.0 s] ✓ east: Install Istio  0.0 s",
        "[primary-remote    0.0 s] – east: Create a secret  0.0 s",
        "    it is there",
        "[primary-remote    0.0 s] … west: Wait for [the] gateway: no address yet",
        "[primary-remote    0.0 s] ✗ west: Wait for [the] gateway  0.0 s",
        "    still no address",
        "    no available IPs",
    ]


def test_quiet_log_says_only_what_went_wrong() -> None:
    """No line for a step that went well."""
    assert [line.split(" s] ")[-1] for line in _logged(QUIET)] == [
        "✗ west: Wait for [the] gateway  0.0 s",
        "    still no address",
        "    no available IPs",
    ]


def test_verbose_log_has_what_steps_say() -> None:
    """Details of steps that went well."""
    assert "    1.31" in _logged(VERBOSE)


def test_terminal_shows_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live rows, then a line that stays."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = io.StringIO()
    output = Console(file=stream, force_terminal=True, width=100, color_system="standard")
    with Progress(output) as progress:
        log = StepLog(progress)
        with log.step(Phase.CLUSTERS, "Create the cluster", "east") as step:
            step.waiting("kubelet is starting")
            with log.step(Phase.CLUSTERS, "Create the cluster", "west"):
                pass
    text = stream.getvalue()
    assert "kubelet is starting" in text
    assert "✓" in text
    assert "\x1b[32m" in text


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colour where NO_COLOR is set."""
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    with Progress(Console(file=stream, force_terminal=True, width=100)) as progress:
        _some_steps(StepLog(progress))
    assert "\x1b[3" not in stream.getvalue()


def test_steps_of_many_threads_are_all_told() -> None:
    """Nothing is lost and nothing hangs when clusters are worked on side by side."""
    stream = io.StringIO()
    heard: list[Event] = []
    with Progress(Console(file=stream, force_terminal=True, width=100)) as progress:
        log = StepLog(both(progress, heard.append))

        def work(number: int) -> None:
            with log.step(Phase.MESH, "Step", f"cluster{number}") as step:
                for turn in range(20):
                    step.waiting(str(turn))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(40)))
    assert len(heard) == 40 * 22
    assert all(f"cluster{number}:" in stream.getvalue() for number in range(40))


@pytest.fixture(scope="module")
def broken(good_observations: Mapping[str, Observation]) -> TopologyResult:
    """A mesh whose last gateway has no address, judged."""
    return judged(without_address(good_observations["multi-primary-multi-network"]))


def _closing(result: TopologyResult, verbosity: Verbosity) -> str:
    stream = io.StringIO()
    report = conformance.build([result], run_info())
    closing.show(console(stream), report, [result], {"report": Path("output/report.html")}, verbosity)
    return stream.getvalue()


def test_closing_names_every_requirement_cause_and_artefact(broken: TopologyResult) -> None:
    """A verdict for each requirement, causes with repair, times, paths, the summary last."""
    text = _closing(broken, NORMAL)
    for judgement in broken.judgements:
        assert judgement.id in text
    assert "expected an address" in text
    assert "gateway-no-address" in text
    assert "repair" in text
    assert "20.0 s  west: Wait for the gateway's address" in text
    assert "clusters 17.5 s" in text
    assert "output/report.html" in text
    assert text.strip().splitlines()[-1].startswith("eastwest 0.1.0 (01234567): Not conformant")


def test_closing_forms(broken: TopologyResult) -> None:
    """Quiet, normal and verbose differ; no line ends in blanks."""
    quiet, normal, verbose = (_closing(broken, verbosity) for verbosity in (QUIET, NORMAL, VERBOSE))
    assert "Wait for the gateway" not in quiet
    assert "CERT-SECRET" not in quiet
    assert "GW-ADDRESS" in quiet
    assert len(quiet) < len(normal) < len(verbose)
    assert not any(line != line.rstrip() for line in normal.splitlines())
