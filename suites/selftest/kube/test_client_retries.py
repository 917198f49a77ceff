"""Applying an object: what ends by itself is tried again, what does not is told at once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiException
from urllib3.exceptions import ProtocolError

from harness.kube.access import ClusterAccess
from harness.kube.client import Kube

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
UNSERVED = ApiException(status=500)
UNSERVED.body = 'failed calling webhook "rev.namespace.sidecar-injector.istio.io"'


def _applied(failures: list[Exception], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is applied in the end, where the API server fails with these before it answers."""

    def server_side_apply(**_: object) -> object:
        if failures:
            raise failures.pop(0)
        return SimpleNamespace(data='{"kind": "ConfigMap"}')

    resource = SimpleNamespace(server_side_apply=server_side_apply)
    monkeypatch.setattr(Kube, "_resource", lambda *_: resource)
    return Kube(ClusterAccess("east", "a", Path("config"), "")).apply(CONFIG_MAP)


@pytest.mark.parametrize(
    "failure",
    [ProtocolError("Connection aborted."), UNSERVED, ApiException(status=409), ApiException(status=503)],
    ids=["connection", "webhook", "conflict", "unavailable"],
)
def test_what_ends_by_itself_is_tried_again(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _applied([failure], monkeypatch) == {"kind": "ConfigMap"}


@pytest.mark.parametrize("failure", [ApiException(status=403), ApiException(status=500)], ids=["forbidden", "error"])
def test_anything_else_is_told_at_once(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ApiException):
        _applied([failure], monkeypatch)
