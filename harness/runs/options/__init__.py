"""The command line: options are declared once, in `mesh_options.py` and `judging_options.py`, and checked by `parse`.

`python -m harness.runs.options` prints docs/options.md.
"""

from harness.runs.options.run_options import Options, parse
from harness.runs.options.sections import OPTIONS, SECTIONS

__all__ = ["OPTIONS", "SECTIONS", "Options", "parse"]
