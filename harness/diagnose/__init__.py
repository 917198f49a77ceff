"""From an observation to causes: which object is at fault, and what repairs it. Pure."""
