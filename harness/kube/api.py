"""What the suite asks of one cluster's API server: the protocol, and plain reading of its objects and errors."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol, cast

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError, MaxRetryError

from harness.base.errors import UserError
from harness.kube.access import ClusterAccess
from harness.model.step_log import OpenStep

Object = dict[str, Any]
"""A Kubernetes object, as in the API server's JSON."""
READ_TIMEOUT = (5, 15)
"""Seconds to connect, and between two bytes of an answer, for what is only read."""
REQUEST_TIMEOUT = (5, 60)
"""The same for everything else. Without it a dropped connection is never noticed."""

PAGE = 500
"""Objects that an API server is asked for at a time, as kubectl does."""


class TransportError(Exception):
    """The way to a pod broke (exec, port forwarding): says nothing about the mesh.

    Args:
        message: what broke.
        status: HTTP status where the API server refused it, else 0.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class ExecResult:
    """The outcome of a command in a pod."""

    status: int
    stdout: str
    stderr: str


class KubeApi(Protocol):
    """One cluster's API server. Methods are documented at `Kube`, which asks a real one."""

    name: str
    """The topology's name for the cluster."""
    access: ClusterAccess

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the API server knows this kind."""

    def version(self, timeout: float) -> str:
        """The API server's version."""

    def read(self, path: str, *, accept: str = "application/json", **query: str) -> Object | None:
        """The JSON behind a path, None where there is nothing."""

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None where it, or its kind, does not exist."""

    def list(self, api_version: str, kind: str, namespace: str | None = None, **selectors: str) -> list[Object]:
        """The objects of a kind."""

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        lines: int,
        since: float | None = None,
        previous: bool = False,
        timeout: float = READ_TIMEOUT[1],
    ) -> str:
        """The end of a container's log."""

    def apply(self, manifest: Object) -> Object:
        """Server-side apply; returns the object as it then is."""

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Create an object, or only let the API server check it."""

    def merge(self, api_version: str, kind: str, name: str, change: Object, namespace: str | None = None) -> Object:
        """Change an object with a JSON merge patch."""

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Delete an object; whether it was there."""

    def delete_pods(self, namespace: str, grace: int, labels: str | None = None) -> None:
        """Delete a namespace's pods, or those that a label selector selects."""

    def watch(
        self, api_version: str, kind: str, name: str, namespace: str | None, timeout: float
    ) -> Iterator[Object | None]:
        """The object now and after each change."""

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
        """Watch an object until nothing is pending; returns it as it then is."""

    def run(
        self,
        command: Sequence[str | Path],
        *,
        input: str | None = None,  # noqa: A002 - the name subprocess uses
        timeout: float | None = None,
    ) -> str:
        """Run a program that works on, or for, this cluster."""

    def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        stdin: str = "",
        timeout: float = 30,
    ) -> ExecResult:
        """Run a command in a container to its end."""

    def exec_lines(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, timeout: float
    ) -> Iterator[str]:
        """Run a command in a container; each line of its standard output as it comes."""

    def forward(self, namespace: str, pod: str, port: int) -> AbstractContextManager[socket.socket]:
        """A socket to a pod's port, through the API server."""


def listed(kube: KubeApi, path: str, *, accept: str = "application/json", **query: str) -> Iterator[Object] | None:
    """The objects of a list, None where there is nothing behind the path; one page of them at a time is in memory.

    Args:
        kube: the cluster.
        path: of the list.
        accept: the media type.
        query: for instance labelSelector.

    Raises:
        ApiException: as the API server refused it; also later, of a further page.
        urllib3.exceptions.HTTPError: it did not answer.
    """

    def page(start: str = "") -> Object | None:
        return kube.read(path, accept=accept, **query, limit=str(PAGE), **({"continue": start} if start else {}))

    def objects(found: Object) -> Iterator[Object]:
        yield from found.get("items") or ()
        while start := metadata(found).get("continue"):
            found = page(start) or {}
            yield from found.get("items") or ()

    first = page()
    return None if first is None else objects(first)


def explain_api_error(refused: ApiException) -> str:
    """What the API server said, in one line."""
    # The reason of a refused WebSocket handshake ends with the answer's body.
    body = refused.body or str(refused.reason).rpartition("-+-+-")[2]
    try:
        return str(json.loads(body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{refused.status or ''} {refused.reason}".strip()


def explain_silence(failed: ApiException | HTTPError) -> str:
    """What an API server said, or why it said nothing, in one line."""
    if isinstance(failed, MaxRetryError) and failed.reason and failed.pool:
        said = f"{failed.pool.host}:{failed.pool.port}: {failed.reason}"
    else:
        said = explain_api_error(failed) if isinstance(failed, ApiException) else str(failed)
    return " ".join(said.split())


def unanswered(context: str, question: str, failed: ApiException | HTTPError, refused: str = "") -> UserError:
    """The error of a question without which a run can't begin, and which an API server did not answer.

    Args:
        context: the kubeconfig context of the cluster.
        question: what was asked, to follow "it can't be found out".
        failed: what came of it.
        refused: what to do where the API server answers, with something else; default to look at its own checks.
    """
    status = failed.status if isinstance(failed, ApiException) else None
    if status == HTTPStatus.UNAUTHORIZED:
        fix = "log in again, or correct its kubeconfig"
    elif status:
        fix = refused or f"see which of its checks fails: kubectl --context {context} get --raw '/readyz?verbose'"
    else:
        fix = f"see that it can be reached from here: kubectl --context {context} version"
    says = f"answers {status}" if status else "does not answer"
    what = f"The API server of the context {context} {says}: it can't be found out {question}."
    return UserError(what, explain_silence(failed), fix)


def metadata(seen: Mapping[str, Any]) -> Object:
    """An object's metadata; {} where it has none."""
    return cast(Object, seen.get("metadata") or {})


def condition(seen: Object | None, kind: str) -> Object:
    """The status condition of that type; {} where there is none."""
    found = ((seen or {}).get("status") or {}).get("conditions") or []
    return next((entry for entry in found if entry.get("type") == kind), {})
