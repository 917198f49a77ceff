"""What an API server serves is asked for each time: kinds come and go with their definitions."""

from pathlib import Path
from typing import Any

import pytest

from harness.kube.access import ClusterAccess
from harness.kube.client import Kube

SERVED = {"resources": [{"name": "istios", "kind": "Istio"}, {"name": "istios/status", "kind": "Istio"}]}


def test_a_kind_is_served_for_as_long_as_its_definition_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was known before says nothing: an operator may have been removed since."""
    kube = Kube(ClusterAccess("east", "a", tmp_path / "config", "https://192.0.2.1:6443"))
    answers: dict[str, Any] = {"/apis/sailoperator.io/v1": SERVED, "/api/v1": {"resources": [{"kind": "Pod"}]}}
    monkeypatch.setattr(kube, "read", answers.get)
    assert kube.serves("sailoperator.io/v1", "Istio")
    assert kube.serves("v1", "Pod")
    assert not kube.serves("sailoperator.io/v1", "ZTunnel")
    del answers["/apis/sailoperator.io/v1"]
    assert not kube.serves("sailoperator.io/v1", "Istio")
