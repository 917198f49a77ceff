"""Faults as they were recorded on live clusters, judged against the declaration that the live run uses."""

import gzip
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.model.observation import Observation, load
from harness.proof.faults import recordings
from harness.proof.faults.mutations import faults
from harness.proof.faults.recordings import live_faults, main, missing
from harness.proof.faults.trial import TrialResult, noticed
from harness.proof.recordings import SUFFIX
from suites.catalogue import catalogue

ROWS = tuple(catalogue().values())
RECORDED = Path(__file__).parents[1] / "recorded" / "faults"
MULTI = "multi-primary-multi-network"


RECORDINGS = {path.name.removesuffix(SUFFIX): path for path in sorted(RECORDED.glob(f"*{SUFFIX}"))}


MESHES = RECORDED.parent / "meshes"
OF_OTHERS = {
    "gateway-selector": "gateway-selector",
    "chain-glued-restart": "chain-glued",
    "no-mtls": "no-mtls",
    "mesh-locality": "mesh-locality",
    "gateway-selects-others": "tls-ended",
    "network-value": "network-value",
    "subset-unknown": "subset-unknown",
    "injector-left": "injector-left",
    "gateway-left-out": "discovery-gateways",
    "gateway-port-moved": "gateway-port-moved",
    "secret-unreachable-restart": "restart-away",
    "istiod-tls-originated": "mutual-for-all",
}
"""Fault → its recording on a mesh that is judged as somebody else's."""


@pytest.mark.parametrize("name", OF_OTHERS)
def test_recorded_fault_of_others_is_caught(name: str) -> None:
    """What is declared fails or is blocked on a mesh that the suite did not install, too."""
    trial = noticed(faults()[name], load(MESHES / f"{OF_OTHERS[name]}{SUFFIX}"), ROWS)
    assert (trial.problems, trial.error, trial.result) == ((), "", TrialResult.CAUGHT)


def test_a_fault_without_a_mutation_is_recorded() -> None:
    """Its declaration is held against something without a cluster."""
    unmutated = {name for name, fault in faults().items() if fault.mutate is None}
    assert unmutated - {"config-no-yaml"} <= OF_OTHERS.keys() | RECORDINGS.keys()


@pytest.mark.parametrize("name", RECORDINGS)
def test_recorded_fault_is_caught(name: str) -> None:
    """Exactly what is declared fails or is blocked, and the cause is named first."""
    trial = noticed(faults()[name], load(RECORDINGS[name]), ROWS)
    assert (trial.problems, trial.error, trial.result) == ((), "", TrialResult.CAUGHT)


def test_every_live_fault_is_recorded_or_a_reason_is_given() -> None:
    assert RECORDINGS.keys() | missing(RECORDED).keys() == live_faults().keys()
    assert not RECORDINGS.keys() & missing(RECORDED).keys()
    assert all(missing(RECORDED).values())


def _run(tmp_path: Path, good: Observation, *names: str) -> Path:
    """What a run of these faults in the topology leaves in its output directory."""
    source = tmp_path / "from"
    for name in names:
        faults()[name].apply(good).save(source / good.topology.name / f"{name}{SUFFIX}")
    return source


def test_a_run_is_kept(
    tmp_path: Path, good_observations: Mapping[str, Observation], capsys: pytest.CaptureFixture[str]
) -> None:
    """A recording is written, has fewer bytes, and is not missing any more."""
    names = ("gateway-unlabelled", "left-behind")
    source, target = _run(tmp_path, good_observations[MULTI], *names), tmp_path / "to"
    target.mkdir()
    (target / recordings.MISSING).write_text('{"gateway-unlabelled": "later", "secret-missing": "later"}')
    assert main([str(source), str(target)], ROWS) == 0
    assert f"2 of {len(live_faults())} faults recorded" in capsys.readouterr().out
    assert missing(target) == {"secret-missing": "later"}
    for name in names:
        path = target / f"{name}{SUFFIX}"
        assert load(path) == load(source / MULTI / path.name)
        assert len(gzip.decompress(path.read_bytes())) < len(gzip.decompress((source / MULTI / path.name).read_bytes()))


def test_what_was_not_caught_is_not_kept(
    tmp_path: Path, good_observations: Mapping[str, Observation], capsys: pytest.CaptureFixture[str]
) -> None:
    good_observations[MULTI].save(tmp_path / MULTI / f"secret-missing{SUFFIX}")
    assert main([str(tmp_path), str(tmp_path / "to")], ROWS) == 1
    assert "refused: secret-missing in multi-primary-multi-network: missed: " in capsys.readouterr().out
    assert not list((tmp_path / "to").glob(f"*{SUFFIX}"))


def test_an_empty_directory_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "to")], ROWS) == main([], ROWS) == 4
    assert "make record-faults OUTPUT=DIR" in capsys.readouterr().err
