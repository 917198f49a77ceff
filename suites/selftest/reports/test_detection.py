"""The matrix of detection, as files, text and page."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from harness.judge.diagnose import diagnose
from harness.model.experiment import IDS
from harness.model.observation import Observation
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.proof.faults.mutations import faults
from harness.proof.faults.trial import Trial, TrialResult, compare
from harness.proof.live.whole import judged
from reports import detection
from reports.__main__ import main
from reports.detection import DetectionMatrix, Untried
from reports.html import faults as page
from reports.model import Suite
from suites.catalogue import catalogue

TOPOLOGY = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI)
ROWS = tuple(catalogue().values())


def _matrix(*trials: Trial, untried: tuple[Untried, ...] = ()) -> DetectionMatrix:
    return DetectionMatrix(
        suite=Suite(version="1", commit="abc"),
        date=datetime.now(UTC),
        seconds=1.0,
        complete=not untried,
        reproduce="pytest suites/faults",
        requirements=tuple(catalogue()),
        trials=trials,
        untried=untried,
    )


@pytest.fixture(scope="module")
def trials(good_observations: Mapping[str, Observation]) -> tuple[Trial, ...]:
    """Real ones, of recorded observations: two as declared, one not, one that could not be made."""
    good = good_observations[TOPOLOGY.name].model_copy(update={"experiments": None})
    found = []
    for made, held in (
        ("gateway-down", "gateway-down"),
        ("chain-incomplete", "chain-incomplete"),
        ("secret-missing", "key-mismatch"),
    ):
        broken = faults()[made].apply(good)
        judgements = judged(broken, ROWS, (*IDS, "CLEAN"))
        trial = compare(faults()[held], good.topology, judgements, diagnose(broken, judgements))
        found.append(trial.model_copy(update={"seconds_to_detect": 12.0}))
    return (*found, found[0].model_copy(update={"fault": "half-broken", "error": "no | act", "mended": False}))


def test_matrix_follows_its_schema_and_says_what_it_comes_to(trials: tuple[Trial, ...], tmp_path: Path) -> None:
    assert [trial.result for trial in trials] == [
        TrialResult.CAUGHT,
        TrialResult.CAUGHT,
        TrialResult.NOT_AS_DECLARED,
        TrialResult.UNKNOWN,
    ]
    path = tmp_path / "made" / "detection.json"
    detection.write(_matrix(*trials), path)
    assert DetectionMatrix.model_validate_json(path.read_text()).trials == trials
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"kind": "DetectionMatrix"}, detection.published_schema())
    assert "2 of 4 faults caught as declared" in detection.summary(_matrix(*trials))
    shown = detection.markdown(_matrix(*trials))
    assert "| gateway-down |" in shown
    assert "no \\| act" in shown


def test_matrices_of_several_runs_are_printed_as_one_text(
    trials: tuple[Trial, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with what it comes to and how it was made, for a nightly has a run for each topology."""
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for path, trial in zip(files, trials, strict=False):
        detection.write(_matrix(trial), path)
    assert main(["detection", *map(str, files)]) == 0
    told = capsys.readouterr().out
    assert told.count("1 of 1 faults caught") == told.count("Made by `") == 2
    assert f"| {trials[0].fault} |" in told
    assert main(["detection", str(tmp_path / "none.json")]) == 4


def test_published_schema_is_current() -> None:
    assert detection.published_schema() == detection.schema(), (
        "write it again: python -m reports schema --of=DetectionMatrix > reports/schema/detection-matrix-v1.json"
    )


def test_exit_codes_are_those_of_the_suite(trials: tuple[Trial, ...]) -> None:
    caught, also, wrong, unknown = trials
    untried = (Untried(name="x", reason="y"),)
    assert detection.exit_code(_matrix()) == 5
    assert detection.exit_code(_matrix(caught, also)) == 0
    assert detection.exit_code(_matrix(caught, untried=untried)) == 3
    assert detection.exit_code(_matrix(caught, unknown)) == 3
    assert detection.exit_code(_matrix(caught, unknown, wrong)) == 1


def test_page_stands_alone_and_shows_every_trial(trials: tuple[Trial, ...]) -> None:
    shown = page.render(_matrix(*trials, untried=(Untried(name="<b>x</b>", reason="y"),)))
    assert "Not every fault is caught as declared" in shown
    assert "&lt;b&gt;x&lt;/b&gt;" in shown
    assert "<b>x</b>" not in shown
    assert not re.search(r"(src|href)=.?https?:", shown)
    for trial in trials:
        assert f'id="t1-{trial.fault}"' in shown
    assert shown.count('title="CERT-CHAIN: failed as declared"') == 1
    assert "That is never a success" in page.render(_matrix())
