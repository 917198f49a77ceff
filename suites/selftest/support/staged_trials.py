"""A pytest plugin for trials on a mesh that is none: every fault is caught and every variant green, but for one.

Loaded with `-p suites.selftest.support.staged_trials`. EASTWEST_UNMADE names the fault or variant that can't be made.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness.proof.faults.fault import Fault
from harness.proof.faults.fault_proof import Proof
from harness.proof.faults.trial import Trial
from harness.proof.variants.trial import VariantTrial
from harness.proof.variants.variant import Variant
from harness.proof.variants.variant_proof import VariantProof
from harness.runs.lab import Lab

TOPOLOGY = "primary-remote-multi-network"


def _error(change: Fault | Variant) -> str:
    return "the API server is gone" if change.id == os.environ.get("EASTWEST_UNMADE") else ""


def made(_: Proof, fault: Fault) -> Trial:
    """A fault, caught."""
    named = {"declared_cause": fault.cause, "causes": (fault.cause,)}
    return Trial(fault=fault.id, text=fault.text, topology=TOPOLOGY, error=_error(fault), **named)


def varied(_: VariantProof, variant: Variant) -> VariantTrial:
    """A variant, green."""
    return VariantTrial(variant=variant.id, text=variant.text, topology=TOPOLOGY, error=_error(variant))


@contextmanager
def formed(*_: object) -> Iterator[Any]:
    """A mesh."""
    yield None


def pytest_configure(config: pytest.Config) -> None:
    """Put the stand-ins in their places."""
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    for name, stand_in in (("prepare", lambda *_: None), ("close", lambda *_: None), ("formed", formed)):
        patch.setattr(Lab, name, stand_in)
    for proof, attempt in ((Proof, made), (VariantProof, varied)):
        patch.setattr(proof, "__init__", lambda *_: None)
        patch.setattr(proof, "begin", lambda *_: None)
        patch.setattr(proof, "attempt", attempt)
