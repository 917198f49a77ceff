"""The detection matrix: which fault was noticed by which requirement, as data, as Markdown, and what it comes to."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import jsonschema

from harness.model.base import Model
from harness.proof.faults.trial import Notice, Trial, TrialResult
from reports.model import Suite

SCHEMA = "detection-matrix-v1.json"
EXIT_CODES = {TrialResult.CAUGHT: 0, TrialResult.NOT_AS_DECLARED: 1, TrialResult.UNKNOWN: 3}
NOTHING_TRIED = 5


class Untried(Model):
    """A topology, or a fault, that was asked for and not tried."""

    name: str
    """Its name, or `fault in topology`."""
    reason: str
    """Why not."""


class DetectionMatrix(Model):
    """Whether the suite catches what is wrong: faults made on live meshes, and what noticed them."""

    kind: Literal["DetectionMatrix"] = "DetectionMatrix"
    """What this document is."""
    schema_version: Literal[1] = 1
    """Version of its schema."""
    suite: Suite
    """The suite that was tried."""
    date: datetime
    """When the session began."""
    seconds: float
    """How long it took."""
    complete: bool
    """Whether everything that was asked for was tried; false while under way, and after an interruption."""
    reproduce: str
    """One command that makes this matrix again."""
    requirements: tuple[str, ...]
    """Every requirement's id, in the catalogue's order: the columns."""
    trials: tuple[Trial, ...]
    """Every fault that was made: the rows."""
    untried: tuple[Untried, ...] = ()
    """What was asked for and could not be tried."""


def counts(trials: Sequence[Trial]) -> dict[TrialResult, int]:
    """How many trials came to each result."""
    results = [trial.result for trial in trials]
    return {result: results.count(result) for result in TrialResult}


def exit_code(matrix: DetectionMatrix) -> int:
    """0 all as declared, 1 something was not, 3 the suite itself failed and nothing else did, 5 nothing was tried."""
    return status((EXIT_CODES[trial.result] for trial in matrix.trials), untried=bool(matrix.untried))


def status(trials: Iterable[int], *, untried: bool) -> int:
    """The exit code of a session: of those of its trials 1 comes first, then 3, then 0; what is untried counts as 3."""
    found = {*trials, *((3,) if untried else ())}
    return next((code for code in (1, 3, 0) if code in found), NOTHING_TRIED)


def summary(matrix: DetectionMatrix) -> str:
    """One line: how many of the faults were caught, where, and how fast."""
    found, total = counts(matrix.trials), len(matrix.trials)
    topologies = {trial.topology for trial in matrix.trials}
    where = next(iter(topologies)) if len(topologies) == 1 else f"{len(topologies)} topologies"
    detected = sorted(trial.seconds_to_detect for trial in matrix.trials if trial.seconds_to_detect is not None)
    parts = [f"{found[TrialResult.CAUGHT]} of {total} faults caught as declared in {where}"]
    parts += [f"{found[each]} {each}" for each in (TrialResult.NOT_AS_DECLARED, TrialResult.UNKNOWN) if found[each]]
    if detected:
        parts.append(f"detected within {detected[len(detected) // 2]:.0f} s (median), {detected[-1]:.0f} s at most")
    return "; ".join(parts) + ("" if matrix.complete else "; not everything was tried")


def schema() -> dict[str, Any]:
    """The JSON Schema of the model."""
    made = DetectionMatrix.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **made}


def published_schema() -> dict[str, Any]:
    """The JSON Schema that is committed."""
    found: dict[str, Any] = json.loads(files("reports").joinpath("schema", SCHEMA).read_text())
    return found


def write(matrix: DetectionMatrix, path: Path) -> None:
    """Write it as JSON.

    Raises:
        jsonschema.ValidationError: it does not follow the published schema.
    """
    data = matrix.model_dump(mode="json")
    jsonschema.Draft202012Validator(published_schema()).validate(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(data, indent=1) + "\n")
    unfinished.replace(path)


MARKS = {
    Notice.FAILED: "failed",
    Notice.BLOCKED: "blocked",
    Notice.MISSED: "**missed**",
    Notice.COLLATERAL: "**collateral**",
    Notice.UNKNOWN: "**unknown**",
}


def markdown(matrix: DetectionMatrix) -> str:
    """The matrix as Markdown: what it comes to, how it was made, and a table for each topology, a fault a row."""
    header = (
        "fault",
        "what is changed",
        "result",
        "cause named first",
        "failed",
        "blocked",
        "not as declared",
        "detected",
    )
    made = provenance(matrix.suite, matrix.date, matrix.seconds, matrix.reproduce)
    return tables(summary(matrix), made, header, ((trial.topology, _cells(trial)) for trial in matrix.trials))


def _cells(trial: Trial) -> tuple[str, ...]:
    def those(*notices: Notice) -> str:
        return ", ".join(row for row, notice in trial.notices.items() if notice in notices)

    return (
        trial.fault,
        trial.text,
        trial.result,
        ", ".join(trial.causes),
        those(Notice.FAILED),
        those(Notice.BLOCKED),
        "; ".join((*trial.problems, *((trial.error,) if trial.error else ()), *trial.remarks)),
        "" if trial.seconds_to_detect is None else f"{trial.seconds_to_detect:.0f} s",
    )


def provenance(suite: Suite, date: datetime, seconds: float, reproduce: str) -> str:
    """How a matrix was made, in one line."""
    commit = f" ({suite.commit[:8]})" if suite.commit else ""
    made = f"eastwest {suite.version}{commit}, {date:%d %B %Y}, {seconds / 60:.0f} min"
    return f"Made by `{reproduce}` with {made}."


def tables(summary: str, made: str, header: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """A page of Markdown with a table for each topology.

    Args:
        summary: its first line.
        made: `provenance`.
        header: of every table.
        rows: topology and cells, in the order in which they are shown.
    """
    by_topology: dict[str, list[str]] = {}
    for topology, cells in rows:
        by_topology.setdefault(topology, []).append(f"| {' | '.join(map(escaped, cells))} |")
    lines = [f"{summary}.", "", made, ""]
    for topology, table in by_topology.items():
        lines += [f"## {topology}", "", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *table, ""]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text for a cell of a Markdown table."""
    for character in "\\`*_[]|":
        text = text.replace(character, "\\" + character)
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
