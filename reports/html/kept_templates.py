"""Compiled templates are kept between runs, as Python keeps its compiled modules: compiling takes most of rendering."""

import sys
from contextlib import suppress
from pathlib import Path

import jinja2
from jinja2 import FileSystemBytecodeCache
from jinja2.bccache import Bucket


class KeptTemplates(FileSystemBytecodeCache):
    """In a directory, which is made where it is missing. What can't be read or written there is compiled again."""

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory))

    def get_cache_key(self, name: str, filename: str | None = None) -> str:  # noqa: ARG002 - wherever the suite lies
        """The template's name: each is kept once, for each version of Jinja."""
        return super().get_cache_key(f"{name} {jinja2.__version__}")

    def load_bytecode(self, bucket: Bucket) -> None:
        """Take what is kept, where it was made from the same source by the same version of Python."""
        with suppress(Exception):  # unpickling what was damaged may raise anything
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it, where Python may keep bytecode."""
        if not sys.dont_write_bytecode:
            with suppress(OSError):
                Path(self.directory).mkdir(parents=True, exist_ok=True)
                super().dump_bytecode(bucket)
