"""What the suite says of valid meshes: one row for each variant and topology, as JSON and as Markdown."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from harness.model.base import Model
from harness.proof.variants.trial import VariantResult, VariantTrial
from reports.conformance import shortened
from reports.detection import NOTHING_TRIED, Untried, escaped
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


def counts(trials: Sequence[VariantTrial]) -> dict[VariantResult, int]:
    """How many trials came to each result."""
    results = [trial.result for trial in trials]
    return {result: results.count(result) for result in VariantResult}


def exit_code(matrix: VariantMatrix) -> int:
    """0 all green, 1 a false alarm, 3 the suite itself failed and nothing else did, 5 nothing was tried."""
    found = counts(matrix.trials)
    if found[VariantResult.FALSE_ALARM]:
        return EXIT_CODES[VariantResult.FALSE_ALARM]
    if found[VariantResult.UNKNOWN] or matrix.untried:
        return EXIT_CODES[VariantResult.UNKNOWN]
    return EXIT_CODES[VariantResult.GREEN] if matrix.trials else NOTHING_TRIED


def summary(matrix: VariantMatrix) -> str:
    """One line: how many of the variants stayed green."""
    found = counts(matrix.trials)
    parts = [f"{found[VariantResult.GREEN]} of {len(matrix.trials)} variants stayed green"]
    parts += [f"{found[each]} {each}" for each in (VariantResult.FALSE_ALARM, VariantResult.UNKNOWN) if found[each]]
    parts += [f"{len(matrix.untried)} not tried"] if matrix.untried else []
    return "; ".join(parts)


def markdown(matrix: VariantMatrix) -> str:
    """The matrix as Markdown: a table for each topology, a variant a row."""
    commit = f" ({matrix.suite.commit[:8]})" if matrix.suite.commit else ""
    made = f"eastwest {matrix.suite.version}{commit}, {matrix.date:%d %B %Y}, {matrix.seconds / 60:.0f} min"
    lines = [f"{summary(matrix)}.", "", f"Made by `{matrix.reproduce}` with {made}.", ""]
    for topology in dict.fromkeys(trial.topology for trial in matrix.trials):
        lines += [
            f"## {topology}",
            "",
            "| variant | what is changed | result | why it is not green | reported besides |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(trial) for trial in matrix.trials if trial.topology == topology]
        lines.append("")
    return "\n".join(lines)


def _row(trial: VariantTrial) -> str:
    wrong = "; ".join((*((trial.error,) if trial.error else ()), *trial.alarms, *trial.remarks))
    cells = (trial.variant, trial.text, trial.result, wrong, "; ".join(shortened(trial.news, SHOWN)))
    return "| " + " | ".join(escaped(cell) for cell in cells) + " |"


def write(matrix: VariantMatrix, path: Path) -> None:
    """Write the matrix as JSON, and as Markdown beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(matrix.model_dump(mode="json"), indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(matrix))
