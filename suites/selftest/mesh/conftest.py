"""Fixtures of the self-tests of the procedure."""

import pytest

from suites.selftest.support.quick_mesh import Istioctl, QuickKube


@pytest.fixture
def istioctl(monkeypatch: pytest.MonkeyPatch) -> Istioctl:
    """The program's stand-in, wherever it is run."""
    program = Istioctl()
    monkeypatch.setattr(QuickKube, "run", lambda _kube, command, **options: program(command, **options))
    return program
