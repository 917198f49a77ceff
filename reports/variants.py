"""What the suite says of valid meshes: one row for each variant and topology, as JSON and as Markdown."""

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Literal

from harness.model.base import Model
from harness.proof.variants.trial import VariantResult, VariantTrial
from reports.conformance import shortened
from reports.detection import Untried, provenance, status, tables
from reports.model import Suite

SHOWN = 4
"""Facts in a row of the table; the data has all."""
EXIT_CODES = {VariantResult.GREEN: 0, VariantResult.FALSE_ALARM: 1, VariantResult.UNKNOWN: 3}


class VariantMatrix(Model):
    """Whether the suite leaves valid meshes green: variants made on live meshes, and what was said of them."""

    kind: Literal["VariantMatrix"] = "VariantMatrix"
    """What this document is."""
    suite: Suite
    """The suite that was tried."""
    date: datetime
    """When the session began."""
    seconds: float
    """How long it took."""
    reproduce: str
    """One command that makes this matrix again."""
    trials: tuple[VariantTrial, ...]
    """Every variant that was made: the rows."""
    untried: tuple[Untried, ...] = ()
    """What was asked for and not tried."""


def exit_code(matrix: VariantMatrix) -> int:
    """0 all green, 1 a false alarm, 3 the suite itself failed and nothing else did, 5 nothing was tried."""
    return status((EXIT_CODES[trial.result] for trial in matrix.trials), untried=bool(matrix.untried))


def summary(matrix: VariantMatrix) -> str:
    """One line: how many of the variants stayed green."""
    found = Counter(trial.result for trial in matrix.trials)
    parts = [f"{found[VariantResult.GREEN]} of {len(matrix.trials)} variants stayed green"]
    parts += [f"{found[each]} {each}" for each in (VariantResult.FALSE_ALARM, VariantResult.UNKNOWN) if found[each]]
    parts += [f"{len(matrix.untried)} not tried"] if matrix.untried else []
    return "; ".join(parts)


def markdown(matrix: VariantMatrix) -> str:
    """The matrix as Markdown: a table for each topology, a variant a row."""
    header = ("variant", "what is changed", "result", "why it is not green", "reported besides")
    made = provenance(matrix.suite, matrix.date, matrix.seconds, matrix.reproduce)
    return tables(summary(matrix), made, header, ((trial.topology, _cells(trial)) for trial in matrix.trials))


def _cells(trial: VariantTrial) -> tuple[str, ...]:
    wrong = "; ".join((*((trial.error,) if trial.error else ()), *trial.alarms, *trial.remarks))
    return trial.variant, trial.text, trial.result, wrong, "; ".join(shortened(trial.news, SHOWN))


def write(matrix: VariantMatrix, path: Path) -> None:
    """Write the matrix as JSON, and as Markdown beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(matrix.model_dump(mode="json"), indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(matrix))
