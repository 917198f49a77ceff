"""An image of one file."""

from pathlib import Path

import pytest

from harness.machine.images.layers import Image, LayerFile, write_layer


@pytest.fixture
def image(tmp_path: Path) -> Image:
    (tmp_path / "layers").mkdir()
    layer = write_layer(tmp_path / "layers", [LayerFile("/hello", content=b"hello", mode=0o755)])
    return Image(("quay.io/a/b:v1", "docker.io/c/d:v2"), (layer,), entrypoint=("/hello",), user="1337")
