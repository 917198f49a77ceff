"""MetalLB: its own kinds are used once the API server lists them, and not before."""

from typing import Any

import pytest

from harness.base import waiting
from harness.clusters import metallb
from harness.kube.api import Object
from harness.model.step import Phase
from harness.model.step_log import StepLog
from suites.selftest.support.fake_kube import FakeKube


class LateKube(FakeKube):
    """Establishes kinds at once, and lists them when it has been asked twice."""

    def __init__(self) -> None:
        super().__init__("east")
        self.asked = 0
        self.order: list[str] = []

    def serves(self, api_version: str, kind: str) -> bool:  # noqa: ARG002 - the protocol's
        """Whether it lists a kind by now."""
        self.asked += 1
        return self.asked > 2

    def apply(self, manifest: Object) -> Object:
        """Refuses what it does not list."""
        assert "metallb.io/" not in manifest["apiVersion"] or self.asked > 2
        self.order.append(manifest["kind"])
        return manifest

    def wait(self, *_: Any, **__: Any) -> Object | None:
        """Established."""
        return None


def test_pools_are_made_once_their_kind_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PAUSE_SECONDS", 0.01)
    kube = LateKube()
    with StepLog().step(Phase.LOAD_BALANCER, "Install MetalLB") as step:
        metallb._install(kube, (), "192.0.2.10-192.0.2.20", step)
    assert kube.order == ["IPAddressPool", "L2Advertisement"]
    assert kube.asked > 2
