"""What a go.mod requires."""

import re
from pathlib import Path


def required(go_mod: Path) -> dict[str, str]:
    """Module → version, of a go.mod file."""
    return dict(re.findall(r"^(?:require|\t)\s*(\S+) (v\S+)", go_mod.read_text(), re.MULTILINE))
