"""Writes docs/causes.md: every cause, from the code. `python -m harness.judge.diagnose > docs/causes.md`."""

import sys

from harness.judge.diagnose.documentation import page

sys.stdout.write(page())
