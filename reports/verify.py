"""`python -m reports verify DIR`: judges the observations of a published report again, and says whether it is true."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.base.errors import UserError
from harness.machine.suite_version import suite_version
from harness.model.observation import load
from harness.runs import output_layout as layout
from reports.conformance import EXIT_CODES
from reports.document import read
from reports.judging import judge_recorded
from reports.model import ConformanceReport, TopologyReport
from reports.summary import headline
from reports.verification import Verification, named, require_same_suite, verify

DIFFERS = 1
LAST_LINES = 3


def show(directory: Path) -> int:
    """Verify a report and print what came of it; returns 0 where everything agrees, else 1.

    Args:
        directory: a run's output: the report as JSON, and its observations.

    Raises:
        UserError: something of it can't be read, or another version of the suite made it.
    """
    claimed = read(directory / layout.REPORT_JSON, ConformanceReport)
    suite = suite_version()
    require_same_suite(claimed, suite)
    paths = tuple(_observation(directory, topology.name) for topology in claimed.topologies)
    found = verify(claimed, _judged_again(paths), _unread(directory, claimed, paths))
    versions = dict.fromkeys(named(load(path).suite) for path in paths)
    others = tuple(f"observed by {other}" for other in versions if other != named(suite))
    sys.stdout.write("\n".join(_told(claimed, found, others)) + "\n")
    return DIFFERS if found.differences else 0


def _observation(directory: Path, name: str) -> Path:
    """The file that a topology of the report was judged from.

    Raises:
        UserError: it is missing, can't be read, or the name leads out of the directory.
    """
    whole = layout.observation(directory, name)
    path = next((each for each in (whole, whole.with_name(f"{whole.name}.gz")) if each.is_file()), None)
    if path is None or path.parent.resolve() != (directory / layout.OBSERVATIONS).resolve():
        raise UserError(
            f"{name} can't be judged again.",
            f"its observation is not there: {whole}",
            f"publish {layout.OBSERVATIONS}/ with the report; without it nobody can check what the report says",
        )
    load(path)
    return path


def _unread(directory: Path, claimed: ConformanceReport, paths: Sequence[Path]) -> Iterator[str]:
    """What lies beside the report and is not what the report says: observations of others, another form of it."""
    for path in sorted((directory / layout.OBSERVATIONS).glob("*.json*")):
        if path not in paths:
            yield f"{path}: observed, and in no topology of the report; remove it where it is another run's"
    as_yaml = directory / layout.REPORT_YAML
    if as_yaml.exists() and read(as_yaml, ConformanceReport) != claimed:
        yield f"{as_yaml}: it says something else than {layout.REPORT_JSON}"


def _judged_again(paths: Sequence[Path]) -> tuple[TopologyReport, ...]:
    """What the observations come to now.

    Raises:
        UserError: the session that judges them has failed.
    """
    if not paths:
        return ()
    with tempfile.TemporaryDirectory(prefix="eastwest-verify-") as temporary:
        output, log = Path(temporary, "output"), Path(temporary, "log.txt")
        status = judge_recorded([path.resolve() for path in paths], output, log=log)
        if status in EXIT_CODES.values() and (output / layout.REPORT_JSON).exists():
            again = read(output / layout.REPORT_JSON, ConformanceReport).topologies
            if len(again) == len(paths):
                return again
        said = " ".join(" ".join(log.read_text().splitlines()[-LAST_LINES:]).split())
    raise UserError(
        "The observations could not be judged again.",
        f"the session ended with status {status}: {said}",
        f"see what fails: pytest --observation={paths[0]}",
    )


def _told(claimed: ConformanceReport, found: Verification, others: Sequence[str]) -> Iterator[str]:
    yield f"{headline(claimed.result, claimed.partial)}, says the report of {claimed.date:%Y-%m-%d} ({claimed.fail_on})"
    yield f"{len(claimed.topologies)} observations were judged again, {found.judged} requirements"
    for title, agrees, lines in (
        ("Verdicts", "the same", found.verdicts),
        ("Left out", "nothing", found.left_out),
        ("Images, versions and what else was observed", "as the report says", found.observed),
        ("What the report makes of it", "as it comes out", found.content),
        ("Note", "", (*found.notes, *others)),
    ):
        if lines or agrees:
            yield f"{title}: {agrees if not lines else len(lines) if agrees else ''}".rstrip()
        yield from (f"  {line}" for line in lines)
    yield (
        f"Not confirmed: {found.differences} statements do not agree with the observations."
        if found.differences
        else "Confirmed: everything in the report agrees with its observations."
    )
