"""Everything that differs between vendors, one YAML file a distribution; see docs/distributions.md.

A file holds what `Distribution` describes, and nothing else. `load` reads a built-in one by its name, or a vendor's own
by its path.
"""

from harness.mesh.distributions.model import Distribution
from harness.mesh.distributions.profile import built_in, load

__all__ = ["Distribution", "built_in", "load"]
