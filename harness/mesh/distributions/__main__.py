"""Prints docs/distributions.md."""

import sys

from harness.mesh.distributions.documentation import document

sys.stdout.write(document())
