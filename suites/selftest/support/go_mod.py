"""What a go.mod requires."""

import re
from pathlib import Path


def required(go_mod: Path) -> dict[str, str]:
    """Module → version, of a go.mod file."""
    text = re.sub(r"^exclude \(.*?^\)", "", go_mod.read_text(), flags=re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"^(?:require|\t)\s*(\S+) (v\S+)", text, re.MULTILINE))
