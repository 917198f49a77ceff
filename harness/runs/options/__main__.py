"""Print docs/options.md."""

import sys

from harness.runs.options.page import page

sys.stdout.write(page())
