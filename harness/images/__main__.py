"""`python -m harness.images`: builds every image, with a line for each thing that is waited for."""

import sys
import time

from harness.engine import ensure_engine
from harness.errors import UserError
from harness.images.local import local_images
from harness.steps import Begun, Event, StepLog, Waiting


def main() -> int:
    """Build, and print where everything is. Returns the exit status: 0, or 4 where the environment cannot work."""
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
        ensure_engine(log)
        images = local_images(log)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 4
    lines = [
        f"node image  {images.node_image}",
        f"registry    {images.registry.endpoint_for_host} (for nodes {images.registry.endpoint_for_nodes})",
        *(f"{name:11} {path}" for name, path in vars(images.tools).items()),
        *(f"{digest[:19]}  {reference}" for reference, digest in sorted(images.images.items())),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
