"""Writes docs/causes.md: every cause, from the code. `python -m harness.diagnose > docs/causes.md`."""

import sys

from harness.diagnose.documentation import page

sys.stdout.write(page())
