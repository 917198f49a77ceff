"""The command line: options are declared once, in `forming.py` and `judging.py`, and checked by `parse`.

`python -m harness.runs.options` prints docs/options.md.
"""

from harness.runs.options.run_options import Options, parse
from harness.runs.options.sections import OPTIONS, SECTIONS

__all__ = ["OPTIONS", "SECTIONS", "Options", "parse"]
