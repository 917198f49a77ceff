"""Every fault that can be made on live clusters, in every topology in which it applies."""

import pytest

from harness.proof.faults.trial import Trial


def test_fault_is_caught(trial: Trial) -> None:
    """Exactly what is declared fails or is blocked, and the fault's cause is named first."""
    if trial.problems:
        pytest.fail("\n".join(trial.problems), pytrace=False)
