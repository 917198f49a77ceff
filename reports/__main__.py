"""`python -m reports schema | compare A B | history DIR`: JSON Schemas, what changed, many reports as a table."""

import argparse
import json
import sys
from pathlib import Path

from harness.errors import UserError
from reports import conformance, detection, history
from reports.compare import differences, load

USAGE = 4
SCHEMAS = {"ConformanceReport": conformance.schema, "DetectionMatrix": detection.schema}


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; returns 0 (done; same), 1 (differs) or 4 (a file is no report, or there is none)."""
    parser = argparse.ArgumentParser(prog="python -m reports")
    commands = parser.add_subparsers(dest="command", required=True)
    printing = commands.add_parser("schema", help="print the JSON Schema of a published document")
    printing.add_argument("--of", choices=sorted(SCHEMAS), default="ConformanceReport")
    comparing = commands.add_parser("compare", help="what changed between two reports: 0 nothing, 1 something")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    telling = commands.add_parser("history", help="make index.html and badge.svg of DIR/NIGHT/CELL/report.json")
    telling.add_argument("directory", type=Path)
    given = parser.parse_args(arguments)
    if given.command == "schema":
        _say(json.dumps(SCHEMAS[given.of](), indent=2))
        return 0
    try:
        if given.command == "history":
            _say(str(history.write(given.directory)))
            return 0
        changes = differences(load(given.before), load(given.after))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    _say("\n".join(changes) or "Both reports say the same.")
    return 1 if changes else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
