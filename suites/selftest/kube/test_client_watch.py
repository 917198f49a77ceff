"""Watching one object: nothing that happens between looking and watching is missed, and a broken watch is taken up."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiException

from harness.base.errors import StepError
from harness.kube.api import KubeApi, Object
from harness.kube.client import Kube
from harness.model.step_log import OpenStep, ignore


class Resource:
    """A kind whose lists and watches are given in advance."""

    def __init__(self, lists: list[list[Object] | ApiException], watches: list[list[Object]]) -> None:
        self._lists, self._watches = lists, watches
        self.versions: list[str] = []

    def get(self, *, watch: bool = False, resource_version: str = "", **_options: Any) -> Any:
        """A list, or with `watch` a stream of events."""
        if watch:
            self.versions.append(resource_version)
            lines = [json.dumps(event).encode() + b"\n" for event in self._watches.pop(0)]
            return SimpleNamespace(
                status=200,
                stream=lambda **_options: iter(lines),
                close=lambda: None,
                release_conn=lambda: None,
            )
        listed = self._lists.pop(0)
        if isinstance(listed, ApiException):
            raise listed
        found = {"items": listed, "metadata": {"resourceVersion": str(40 + len(self.versions))}}
        return SimpleNamespace(data=json.dumps(found).encode())


def _kube(monkeypatch: pytest.MonkeyPatch, resource: Resource) -> KubeApi:
    monkeypatch.setattr(Kube, "_resource", lambda *_: resource)
    monkeypatch.setattr("harness.kube.watching.RETRY_SECONDS", 0)
    return Kube(SimpleNamespace(name="east"))  # type: ignore[arg-type]


def _object(version: str) -> Object:
    return {"kind": "Namespace", "metadata": {"name": "sample", "resourceVersion": version}}


def _gone(seen: Object | None) -> str:
    return "it is still there" if seen else ""


def _wait(kube: KubeApi, timeout: float) -> Object | None:
    step = OpenStep("title", "east", ignore)
    return kube.wait("v1", "Namespace", "sample", pending=_gone, timeout=timeout, step=step)


def test_a_deletion_just_after_the_look_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch begins at the version of the list, not at the present."""
    resource = Resource([[_object("7")]], [[{"type": "DELETED", "object": _object("8")}]])
    assert _wait(_kube(monkeypatch, resource), 60) is None
    assert resource.versions == ["40"]


def test_a_watch_that_breaks_off_is_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again, watch again; an API server that does not answer for a moment is waited for."""
    expired = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
    lists: list[list[Object] | ApiException] = [[_object("7")], ApiException(status=503), []]
    assert _wait(_kube(monkeypatch, Resource(lists, [[expired]])), 60) is None


def test_what_is_refused_at_first_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A permission that is missing does not come by waiting."""
    with pytest.raises(ApiException):
        _wait(_kube(monkeypatch, Resource([ApiException(status=403)], [])), 60)


def test_expiry_says_what_was_last_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The object is looked at once even where no time is left."""

    def watches() -> Iterator[list[Object]]:
        yield []

    with pytest.raises(StepError, match="it is still there after 0 s"):
        _wait(_kube(monkeypatch, Resource([[_object("7")]], list(watches()))), 0)
