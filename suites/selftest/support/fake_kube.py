"""An API server of nothing but objects: the one fake of all self-tests, which override what a test plays."""
# ruff: noqa: ARG002 - the signatures are those of KubeApi

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from socket import socket
from typing import Any, TypeVar

from kubernetes.client import ApiException
from kubernetes.dynamic.exceptions import NotFoundError

from harness.base.command import CommandError
from harness.base.errors import StepError
from harness.kube.access import ClusterAccess
from harness.kube.api import ExecResult, KubeApi, Object, TransportError
from harness.model.step_log import OpenStep

T = TypeVar("T")
Key = tuple[str, str, str]
"""Kind, namespace, name."""


class FakeKube(KubeApi):
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
        self.answers: Mapping[str, Object | Exception] = {}
        """What is read by path; nothing behind every other path."""
        self.log: str | Exception = ""
        """Of every container."""
        self.logs_read: list[bool] = []
        """Of every log that was read: whether it is the one of the container before its restart."""
        self.execs: Callable[..., ExecResult] | Exception = TransportError("not there")
        """What commands in pods come to."""

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None."""
        return copy.deepcopy(self.objects.get((kind, namespace or "", name)))

    def list(self, api_version: str, kind: str, namespace: str | None = None, **selectors: str) -> list[Object]:
        """The objects of a kind that have these labels, each with the value if the selector names one."""
        wanted = [selector.partition("=") for selector in selectors.values()]

        def fits(labels: Mapping[str, str]) -> bool:
            return all(key in labels and (not valued or labels[key] == value) for key, valued, value in wanted)

        return [
            copy.deepcopy(found)
            for (of_kind, within, _), found in self.objects.items()
            if of_kind == kind and namespace in {None, within} and fits(found["metadata"].get("labels") or {})
        ]

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Store it unless it is there."""
        key = self._key(manifest)
        if key in self.objects and not dry_run:
            raise ApiException(status=409, reason="AlreadyExists")
        self.writes.append(f"create {'/'.join(key)}")
        self.objects[key] = {**copy.deepcopy(manifest), "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        return manifest

    def merge(self, api_version: str, kind: str, name: str, change: Object, namespace: str | None = None) -> Object:
        """A JSON merge patch."""
        key = (kind, namespace or "", name)
        if key not in self.objects:
            raise NotFoundError(_MissingError())
        self.writes.append(f"merge {'/'.join(key)}")
        self.objects[key] = merged(self.objects[key], change)
        return self.objects[key]

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Gone, unless finalizers hold it."""
        key = (kind, namespace or "", name)
        self.writes.append(f"delete {'/'.join(key)}")
        if (self.objects.get(key) or {}).get("metadata", {}).get("finalizers"):
            self.objects[key]["metadata"]["deletionTimestamp"] = "now"
            return True
        return self.objects.pop(key, None) is not None

    def apply(self, manifest: Object) -> Object:
        """Store it."""
        key = self._key(manifest)
        self.writes.append(f"apply {'/'.join(key)}")
        self.objects[key] = manifest
        return manifest

    def wait(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        pending: Callable[[Object | None], str],
        timeout: float,
        step: OpenStep,
        explain: Callable[[], str] = str,
        hopeless: Callable[[], str] | None = None,
    ) -> Object | None:
        """Look once: what is pending then is pending for ever."""
        seen = self.get(api_version, kind, name, namespace)
        if missing := pending(seen):
            why = explain()
            raise StepError(f"{missing} after {timeout:.0f} s" + (f": {why}" if why else ""))
        return seen

    def watch(
        self, api_version: str, kind: str, name: str, namespace: str | None, timeout: float
    ) -> Iterator[Object | None]:
        """Look once."""
        yield self.get(api_version, kind, name, namespace)

    def delete_pods(self, namespace: str, grace: int, labels: str | None = None) -> None:
        """They are gone at once."""
        for pod in self.list("v1", "Pod", namespace, **({"label_selector": labels} if labels else {})):
            self.delete("v1", "Pod", pod["metadata"]["name"], namespace)

    def serves(self, api_version: str, kind: str) -> bool:
        """Every kind."""
        return True

    def version(self, timeout: float) -> str:
        """One that every version of Istio supports."""
        return "v1.36.1"

    def read(self, path: str, *, accept: str = "application/json", **query: str) -> Object | None:
        """One of the answers."""
        return played(self.answers.get(path))

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        lines: int,
        since: float | None = None,
        previous: bool = False,
        timeout: float = 15,
    ) -> str:
        """The same of every container."""
        self.logs_read.append(previous)
        return played(self.log)

    def run(self, command: Sequence[str | Path], *, input: str | None = None, timeout: float | None = None) -> str:  # noqa: A002
        """No program is there."""
        raise CommandError([str(word) for word in command], 127, "not there")

    def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, stdin: str = "", timeout: float = 30
    ) -> ExecResult:
        """What `execs` makes of it."""
        if isinstance(self.execs, Exception):
            raise self.execs
        return self.execs(namespace, pod, container, command, stdin=stdin, timeout=timeout)

    def exec_lines(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, timeout: float
    ) -> Iterator[str]:
        """No pod can be reached."""
        raise TransportError(f"{pod}: not there")

    def forward(self, namespace: str, pod: str, port: int) -> AbstractContextManager[socket]:
        """No pod can be reached."""
        raise TransportError(f"{pod}: not there")

    @staticmethod
    def _key(manifest: Object) -> Key:
        metadata = manifest["metadata"]
        return manifest["kind"], metadata.get("namespace") or "", metadata.get("name", "")


class _MissingError(Exception):
    """The client's error for an object that is not there."""

    status, reason, body, headers = 404, "NotFound", "", None


def played(answer: T | Exception) -> T:
    """The answer; raised where it is an exception."""
    if isinstance(answer, Exception):
        raise answer
    return answer


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
