"""`python -m reports demo`: judges two recorded runs that ship with the suite, so that one sees what a report is.

The healthy one was recorded on live clusters. The broken one is that run with one fault of harness/proof/faults in it,
and its report says so under "Added to the chapter's procedure".
"""

import gzip
import os
import sys
from pathlib import Path

from harness.base.errors import UserError
from harness.model.observation import Observation
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.proof.faults.mutations import faults
from harness.runs import output_layout as layout
from reports.judging import ROOT, judge_recorded

FAULT = "gateway-no-address"
"""What is broken in the broken run."""
EXPECTED = {"healthy": 0, "broken": 1}
"""Each recorded run and the exit status that judging it comes to."""


def recording(name: str) -> Path:
    """Where a recorded run lies, seen from the top of the checkout."""
    return Path(__file__).parent.relative_to(ROOT) / f"{name}.json.gz"


def show(output: Path) -> int:
    """Judge both recorded runs and say where their reports are; returns 0, or 3 where a verdict is not as it must be.

    Args:
        output: directory; each run gets one below it.
    """
    # Reports say how they are made again: in the checkout, with short paths.
    output = Path(os.path.relpath(output.absolute(), ROOT))
    statuses = {}
    for name in EXPECTED:
        statuses[name] = judge_recorded([recording(name)], output / name)
    pages = {name: (ROOT / output / name).resolve() / layout.REPORT_HTML for name in EXPECTED}
    sys.stdout.write("\nTwo recorded runs were judged, without a cluster. Their reports, for a browser:\n")
    sys.stdout.write("".join(f"  {name:<8} {page}\n" for name, page in pages.items()))
    return 0 if statuses == EXPECTED else 3


def record(observation: Observation, directory: Path) -> None:
    """Make the recorded runs from a good observation.

    Raises:
        UserError: the observation is of another topology than the one that the demo shows.
    """
    shown = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI).name
    if observation.topology.name != shown:
        raise UserError(
            f"The demo can't be made from {observation.topology.name}.",
            f"it shows {shown}, the procedure that the chapter tells",
            f"give the observation of a good run: pytest --topology=primary-remote, then observations/{shown}.json",
        )
    fault = faults()[FAULT]
    note = f"this is no real run: a fault was put into the recording of a good one ({FAULT}: {fault.text})"
    broken = fault.apply(observation)
    broken = broken.model_copy(update={"deviations": (note, *broken.deviations)})
    for name, recorded in (("healthy", observation), ("broken", broken)):
        # Without a time in it, the same observation gives the same file.
        packed = gzip.compress(recorded.model_dump_json().encode(), mtime=0)
        (directory / f"{name}.json.gz").write_bytes(packed)
