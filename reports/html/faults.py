"""The detection matrix as a page: a table of faults and requirements for each topology, and each fault in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.proof.faults.trial import Notice, Trial, TrialResult
from reports.detection import DetectionMatrix, counts, summary
from reports.html.page import assets, templates

SIGNS = {
    Notice.FAILED: "●",
    Notice.BLOCKED: "○",
    Notice.MISSED: "✗",
    Notice.COLLATERAL: "!",
    Notice.UNKNOWN: "?",
}
"""What stands in a cell."""


@dataclass(frozen=True)
class TopologyTable:
    """The faults of one topology."""

    name: str
    anchor: str
    trials: tuple[Trial, ...]
    columns: tuple[str, ...]
    """The requirements that noticed any of them, in the catalogue's order."""
    silent: tuple[str, ...]
    """Those that noticed none."""
    result: TrialResult
    """The worst of them."""
    counts: dict[TrialResult, int]


def render(matrix: DetectionMatrix) -> str:
    """The page."""
    names = dict.fromkeys(trial.topology for trial in matrix.trials)
    tables = [
        _table(matrix, name, f"t{number}", [trial for trial in matrix.trials if trial.topology == name])
        for number, name in enumerate(names, start=1)
    ]
    return (
        templates()
        .get_template("faults.html.j2")
        .render(
            matrix=matrix,
            tables=tables,
            result=_worst(matrix.trials),
            summary=summary(matrix),
            signs=SIGNS,
            results=tuple(TrialResult),
            **assets(),
        )
    )


def _table(matrix: DetectionMatrix, name: str, anchor: str, trials: Sequence[Trial]) -> TopologyTable:
    noticing = {row for trial in trials for row in trial.notices}
    return TopologyTable(
        name=name,
        anchor=anchor,
        trials=tuple(trials),
        columns=tuple(row for row in matrix.requirements if row in noticing),
        silent=tuple(row for row in matrix.requirements if row not in noticing),
        result=_worst(trials),
        counts=counts(trials),
    )


def _worst(trials: Sequence[Trial]) -> TrialResult:
    found = {trial.result for trial in trials} or {TrialResult.UNKNOWN}
    return next(
        result for result in (TrialResult.NOT_AS_DECLARED, TrialResult.UNKNOWN, TrialResult.CAUGHT) if result in found
    )
