"""An API server of nothing but objects, for tests that change some and look whether they were put back."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kubernetes.dynamic.exceptions import NotFoundError

from harness.base.errors import StepError
from harness.kube.access import ClusterAccess
from harness.kube.api import Object

Key = tuple[str, str, str]
"""Kind, namespace, name."""


class FakeKube:
    """Keeps objects as an API server would: an object with finalizers does not go.

    Args:
        name: the cluster's.
        objects: those that are there.
    """

    def __init__(self, name: str, *objects: Object) -> None:
        self.name = name
        self.access = ClusterAccess(name, name, Path(name), f"https://{name}:6443", (f"{name}-node",))
        self.objects: dict[Key, Object] = {self._key(found): found for found in copy.deepcopy(objects)}
        self.writes: list[str] = []
        """What was written, and how."""

    def get(self, _api: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None."""
        return copy.deepcopy(self.objects.get((kind, namespace or "", name)))

    def list(self, _api: str, kind: str, namespace: str | None = None, **selectors: str) -> list[Object]:
        """The objects of a kind that have these labels."""
        wanted = {key: value for key, _, value in (s.partition("=") for s in selectors.values())}
        return [
            copy.deepcopy(found)
            for (of_kind, within, _), found in self.objects.items()
            if of_kind == kind
            and namespace in {None, within}
            and wanted.items() <= (found["metadata"].get("labels") or {}).items()
        ]

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Store it unless it is there."""
        key = self._key(manifest)
        if key in self.objects and not dry_run:
            raise StepError(f"{key} exists")
        self.writes.append(f"create {'/'.join(key)}")
        self.objects[key] = {**copy.deepcopy(manifest), "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        return manifest

    def merge(self, _api: str, kind: str, name: str, change: Object, namespace: str | None = None) -> Object:
        """A JSON merge patch."""
        key = (kind, namespace or "", name)
        if key not in self.objects:
            raise NotFoundError(_MissingError())
        self.writes.append(f"merge {'/'.join(key)}")
        self.objects[key] = merged(self.objects[key], change)
        return self.objects[key]

    def delete(self, _api: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Gone, unless finalizers hold it."""
        key = (kind, namespace or "", name)
        self.writes.append(f"delete {'/'.join(key)}")
        if (self.objects.get(key) or {}).get("metadata", {}).get("finalizers"):
            self.objects[key]["metadata"]["deletionTimestamp"] = "now"
            return True
        return self.objects.pop(key, None) is not None

    def wait(self, *which: Any, pending: Callable[[Object | None], str], **_options: Any) -> Object | None:
        """Look once."""
        seen = self.get(*which)
        if missing := pending(seen):
            raise StepError(missing)
        return seen

    def watch(self, *which: Any, **_options: Any) -> Iterator[Object | None]:
        """Look once."""
        yield self.get(*which)

    @staticmethod
    def _key(manifest: Object) -> Key:
        metadata = manifest["metadata"]
        return manifest["kind"], metadata.get("namespace") or "", metadata.get("name", "")


class _MissingError(Exception):
    """What the client is told of an object that is not there."""

    status, reason, body, headers = 404, "NotFound", "", None


def merged(target: Any, change: Any) -> Any:
    """A JSON merge patch, applied (RFC 7396)."""
    if not isinstance(change, dict):
        return change
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
