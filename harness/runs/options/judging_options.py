"""Options of what is judged, of other ways to run, and of every run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from harness.judge.judgement import Level
from harness.model.resilience import SCENARIOS
from harness.runs.options import values
from harness.runs.options.option import Option


@dataclass(frozen=True)
class JudgingOptions:
    """What is judged."""

    requirements: Annotated[
        frozenset[str],
        Option(
            "judge only these ids; the report says partial",
            values.named,
            name="requirement",
            values="A,B",
            page="requirements.md",
        ),
    ]
    areas: Annotated[
        frozenset[str],
        Option(
            "judge only these areas; the report says partial",
            values.named,
            name="area",
            values="A,B",
            page="requirements.md",
        ),
    ]
    levels: Annotated[
        frozenset[Level],
        Option(
            "judge only these levels: MUST, SHOULD, EXTENDED; the report says partial",
            lambda option, given: frozenset(map(Level, values.some_of(tuple(Level))(option, given))),
            name="level",
            values="A,B",
            page="requirements.md",
        ),
    ]
    skipped: Annotated[
        Mapping[str, str],
        Option(
            "do not judge this requirement, and report why",
            values.pairs(":"),
            name="skip-requirement",
            values="ID:REASON",
            repeatable=True,
        ),
    ]
    requests: Annotated[
        int,
        Option(
            "requests per client, to measure how answers are distributed", values.whole(10), default="400", values="N"
        ),
    ]
    fail_on: Annotated[
        Literal["must", "should", "any"],
        Option(
            "what decides the exit code: must (every MUST passes), should (every SHOULD, too), or any (nothing fails, "
            "is blocked or is unknown)",
            values.one_of("must", "should", "any"),
            default="must",
            values="LEVEL",
        ),
    ]


@dataclass(frozen=True)
class ModeOptions:
    """Other ways to run."""

    verify_only: Annotated[
        bool,
        Option(
            "judge the mesh that is on the clusters of --contexts; install and change nothing",
            values.flag,
            flag=True,
            page="existing-clusters.md",
        ),
    ]
    observations: Annotated[
        tuple[Path, ...],
        Option(
            "judge this recorded observation instead of clusters",
            values.paths,
            name="observation",
            values="FILE",
            repeatable=True,
            paths=True,
        ),
    ]
    observe_only: Annotated[bool, Option("record the observation, judge nothing", values.flag, flag=True)]
    plan: Annotated[
        Literal["", "text", "shell"],
        Option(
            "only print every step: as text, or with --plan=shell as a bash script",
            values.one_of("text", "shell", or_none=True),
            values="FORM",
            bare="text",
        ),
    ]
    preflight: Annotated[
        bool, Option("only check engine, memory, disk and programs; create nothing", values.flag, flag=True)
    ]
    resilience: Annotated[
        bool, Option("also change the mesh while it serves, and judge what must hold meanwhile", values.flag, flag=True)
    ]
    scenarios: Annotated[
        frozenset[str],
        Option(
            f"with --resilience, play only these scenarios: {', '.join(SCENARIOS)}",
            values.some_of(SCENARIOS),
            name="scenario",
            values="A,B",
        ),
    ]
    """All of them where empty."""
    faults: Annotated[
        frozenset[str],
        Option(
            "with suites/faults, inject only these faults",
            values.named,
            name="fault",
            values="A,B",
            page="detection.md",
        ),
    ]
    """Ids; all of them where empty."""
    variants: Annotated[
        frozenset[str],
        Option("with suites/variants, apply only these variants", values.named, name="variant", values="A,B"),
    ]
    """Ids; all of them where empty."""


@dataclass(frozen=True)
class RunOptions:
    """The run."""

    output: Annotated[
        Path, Option("directory for everything that is written", values.directory, default="output", values="DIR")
    ]
    timeout_scale: Annotated[
        float,
        Option(
            "factor for every deadline, for slow machines and clouds", values.real(0.1), default="1", values="FACTOR"
        ),
    ]
    patience: Annotated[
        float,
        Option(
            "on kind, how long a run may wait in all while its machine is overloaded; then it goes on",
            values.real(0),
            default="120",
            values="SECONDS",
            page="conditions.md",
        ),
    ]
