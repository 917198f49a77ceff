"""`python -m harness.machine.images [archive FILE | ztunnel BINARY]`: builds every image.

`archive` writes all into one file. `ztunnel` adds an image of a ztunnel that was built by hand, for it is in no package
registry. A line for each thing that is waited for.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from harness.base.cache import cache_directory, in_use
from harness.base.container_engine import CHOICES
from harness.base.errors import UserError
from harness.base.locks import locked
from harness.machine.engine import ensure_engine
from harness.machine.images.archive_list import described
from harness.machine.images.archive_writing import write
from harness.machine.images.by_hand import keep_ztunnel
from harness.machine.images.local import LocalImages, local_images
from harness.model.step_log import Begun, Event, StepLog, Waiting


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, and print where everything is. Returns the exit status: 0, or 4 where the environment cannot work."""
    parser = argparse.ArgumentParser(prog="python -m harness.machine.images", description=__doc__)
    wanted = os.environ.get("EASTWEST_CONTAINER_ENGINE", "auto")
    parser.add_argument("--container-engine", default=wanted, metavar="NAME", help=", ".join(CHOICES))
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("archive", help="write all into one file").add_argument("file", type=Path)
    commands.add_parser("ztunnel", help="add a ztunnel that was built by hand").add_argument("binary", type=Path)
    given = parser.parse_args(arguments)
    begun = time.monotonic()

    def tell(event: Event) -> None:
        message = (
            event.title
            if isinstance(event, Begun)
            else f"  {event.message}"
            if isinstance(event, Waiting)
            else f"{event.outcome}: {event.title} ({event.seconds:.1f} s) {event.detail}"
        )
        sys.stdout.write(f"{time.monotonic() - begun:6.0f} s  {message}\n")
        sys.stdout.flush()

    log = StepLog(tell)
    try:
        with locked(in_use(), shared=True):
            if given.command == "ztunnel":
                keep_ztunnel(given.binary, cache_directory())
            engine = ensure_engine(log, given.container_engine)
            images = local_images(log, engine.client)
            lines = described(write(given.file, images, log)) if given.command == "archive" else _places(images)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 4
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _places(images: LocalImages) -> list[str]:
    return [
        f"node image  {images.node_image}",
        f"registry    {images.registry.endpoint_for_host} (for nodes {images.registry.endpoint_for_nodes})",
        *(f"{name:11} {path}" for name, path in vars(images.tools).items()),
        *(f"{digest[:19]}  {reference}" for reference, digest in sorted(images.images.items())),
    ]


if __name__ == "__main__":
    sys.exit(main())
