"""The sections of the command line, and all their options.

An option is declared once, as a field of its section, in the type that the harness uses. The docstring of a section is
its title. pytest's registration, the parser and docs/options.md follow from that.
"""

from dataclasses import dataclass

from harness.runs.options.found_mesh_options import FoundMeshOptions
from harness.runs.options.judging_options import JudgingOptions, ModeOptions, RunOptions
from harness.runs.options.mesh_options import ClusterOptions, MeshOptions
from harness.runs.options.option import declared_in

SECTIONS = (MeshOptions, ClusterOptions, JudgingOptions, ModeOptions, FoundMeshOptions, RunOptions)
OPTIONS = tuple(option for section in SECTIONS for option in declared_in(section))


@dataclass(frozen=True)
class AllOptions(MeshOptions, ClusterOptions, JudgingOptions, ModeOptions, FoundMeshOptions, RunOptions):
    """Every option of the command line."""
