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


def _created(kind: str, dry_run: bool, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is created where the connection breaks once."""
    failures: list[Exception] = [ProtocolError("Connection aborted.")]

    def create(**_: object) -> object:
        if failures:
            raise failures.pop()
        return SimpleNamespace(data='{"status": {"allowed": true}}')

    monkeypatch.setattr(Kube, "_resource", lambda *_: SimpleNamespace(create=create))
    manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}}
    return Kube(ClusterAccess("east", "a", Path("config"), "")).create(manifest, dry_run=dry_run)


@pytest.mark.parametrize(("kind", "dry_run"), [("SelfSubjectAccessReview", False), ("Pod", True)])
def test_what_stores_nothing_is_asked_again(kind: str, dry_run: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _created(kind, dry_run, monkeypatch) == {"status": {"allowed": True}}


def test_what_may_have_been_created_is_not_created_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProtocolError):
        _created("Namespace", False, monkeypatch)
