"""Prints docs/distributions.md."""

import sys

from harness.distributions.documentation import document

sys.stdout.write(document())
