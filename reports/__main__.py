"""`python -m reports COMMAND`: everything about published documents that needs no run."""

import argparse
import json
import sys
from pathlib import Path

from harness.base.errors import UserError
from harness.model.observation import load as load_observation
from reports import conformance, demo, detection, history, variants, verify
from reports.compare import differences
from reports.detection import DetectionMatrix
from reports.document import read
from reports.model import ConformanceReport
from reports.variants import VariantMatrix

USAGE = 4
SCHEMAS = {"ConformanceReport": conformance.schema, "DetectionMatrix": detection.schema}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit status.

    0: done; the same; confirmed. 1: something differs. 3: the demo's verdicts are wrong. 4: wrong usage.
    """
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reports")
    commands = parser.add_subparsers(dest="command", required=True)
    printing = commands.add_parser("schema", help="print the JSON Schema of a published document")
    printing.add_argument("--of", choices=sorted(SCHEMAS), default="ConformanceReport")
    printing.set_defaults(run=_schema)
    comparing = commands.add_parser("compare", help="what changed between two reports: 0 nothing, 1 something")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    comparing.set_defaults(run=_compare)
    verifying = commands.add_parser(
        "verify", help="judge a published report's observations again: 0 everything agrees, 1 something does not"
    )
    verifying.add_argument("directory", type=Path, help="a run's output: report.json and observations/")
    verifying.set_defaults(run=_verify)
    gathering = commands.add_parser("detection", help="print detection matrices, one a topology, as one text")
    gathering.add_argument("matrices", type=Path, nargs="+", metavar="DETECTION.JSON")
    gathering.set_defaults(run=_detection)
    collecting = commands.add_parser("variants", help="print matrices of variants as one text")
    collecting.add_argument("matrices", type=Path, nargs="+", metavar="VARIANTS.JSON")
    collecting.set_defaults(run=_variants)
    telling = commands.add_parser("history", help="make index.html and badge.svg of DIR/NIGHT/CELL/report.json")
    telling.add_argument("directory", type=Path)
    telling.set_defaults(run=_history)
    showing = commands.add_parser("demo", help="judge two recorded runs that ship with the suite")
    showing.add_argument("--output", type=Path, default=Path("output/demo"), help="directory (default: output/demo)")
    showing.add_argument("--record", type=Path, help="instead, make the recorded runs again from this observation")
    showing.set_defaults(run=_demo)
    taking = commands.add_parser("picture", help="take the picture of a report with Chromium")
    taking.add_argument("report", type=Path, help="a report.html")
    taking.add_argument("picture", type=Path, help="a PNG file")
    taking.set_defaults(run=_picture)
    return parser


def _schema(given: argparse.Namespace) -> int:
    _say(json.dumps(SCHEMAS[given.of](), indent=2))
    return 0


def _compare(given: argparse.Namespace) -> int:
    changes = differences(read(given.before, ConformanceReport), read(given.after, ConformanceReport))
    _say("\n".join(changes) or "Both reports say the same.")
    return 1 if changes else 0


def _verify(given: argparse.Namespace) -> int:
    return verify.show(given.directory)


def _detection(given: argparse.Namespace) -> int:
    _say("\n".join(detection.markdown(read(path, DetectionMatrix)) for path in given.matrices).rstrip())
    return 0


def _variants(given: argparse.Namespace) -> int:
    _say("\n".join(variants.markdown(read(path, VariantMatrix)) for path in given.matrices).rstrip())
    return 0


def _history(given: argparse.Namespace) -> int:
    _say(str(history.write(given.directory)))
    return 0


def _demo(given: argparse.Namespace) -> int:
    if given.record is None:
        return demo.show(given.output)
    demo.record(load_observation(given.record), Path(demo.__file__).parent)
    return 0


def _picture(given: argparse.Namespace) -> int:
    from reports.picture import take  # noqa: PLC0415 - playwright is a tool of development

    take(given.report, given.picture)
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
