"""The Kubernetes API of one cluster: apply, read, watch, run a command in a pod."""

import atexit
import copy
import json
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from http import HTTPStatus
from math import ceil
from pathlib import Path
from typing import Any, cast

import yaml
from kubernetes import client
from kubernetes.client import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError
from kubernetes.stream import portforward, stream
from kubernetes.stream.ws_client import ERROR_CHANNEL
from kubernetes.watch import Watch
from tenacity import retry, retry_if_exception, stop_after_delay, wait_exponential
from urllib3.exceptions import HTTPError
from websocket import WebSocketException

from harness.base import command as programs
from harness.base.errors import StepError
from harness.base.parallel import LOOK_SECONDS, check_interrupted
from harness.base.waiting import pause
from harness.kube.access import ClusterAccess
from harness.model.step_log import OpenStep

FIELD_MANAGER = "eastwest"
Object = dict[str, Any]
"""A Kubernetes object as the API server's JSON says it."""


READ_TIMEOUT = (5, 15)
"""Seconds to connect, and between two bytes of an answer, for what is only read."""
REQUEST_TIMEOUT = (5, 60)
"""Likewise for everything else: of a connection that was dropped nothing is ever heard."""
RETRY_SECONDS = 0.5
WATCH_SECONDS = 5
"""After which a watch is begun anew: nobody waits longer for an interrupted run, or a hopeless wait, to end."""


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
    """What a command in a pod came to."""

    status: int
    stdout: str
    stderr: str


class _TimedClient(DynamicClient):
    """Gives every request a timeout that has none."""

    def request(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """As the client's own."""
        return super().request(method, path, body, **{"_request_timeout": REQUEST_TIMEOUT, **params})


@cache
def _caches() -> Path:
    """A directory for what API servers say they serve, removed when the process ends."""
    directory = Path(tempfile.mkdtemp(prefix="eastwest-discovery-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


class Kube:
    """One cluster's API server. Safe to use from several threads.

    Args:
        access: how the cluster is reached.
    """

    def __init__(self, access: ClusterAccess) -> None:
        self.access = access
        self.name = access.name

    @cached_property
    def _dynamic(self) -> DynamicClient:
        # A cache file of its own: the default one is named for the server's address, and kind gives addresses again.
        file = Path(tempfile.mkdtemp(dir=_caches())) / "resources.json"
        return _TimedClient(self.access.api, cache_file=str(file))  # type: ignore[no-untyped-call]

    def _resource(self, api_version: str, kind: str) -> Any:
        return self._dynamic.resources.get(api_version=api_version, kind=kind)

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the API server knows this kind."""
        try:
            self._resource(api_version, kind)
        except ResourceNotFoundError:
            return False
        return True

    def apply(self, manifest: Object) -> Object:
        """Server-side apply; returns the object as it then is.

        A webhook that does not serve yet, or a namespace whose kinds are only just known, is tried again for 20 s.
        """
        resource = self._resource(manifest["apiVersion"], manifest["kind"])
        metadata = manifest["metadata"]
        applied = _patiently(
            lambda: resource.server_side_apply(
                body=manifest,
                name=metadata["name"],
                namespace=metadata.get("namespace"),
                field_manager=FIELD_MANAGER,
                force_conflicts=True,
                serialize=False,
            )
        )
        return _parsed(applied)

    def apply_all(self, manifests: str, namespace: str | None = None) -> list[Object]:
        """Apply every document of a YAML text, in its order, in `namespace` where they name none."""
        applied = []
        for manifest in yaml.safe_load_all(manifests):
            if not manifest:
                continue
            if namespace and "namespace" not in manifest["metadata"] and self.namespaced(manifest):
                manifest["metadata"]["namespace"] = namespace
            applied.append(self.apply(manifest))
        return applied

    def namespaced(self, manifest: Object) -> bool:
        """Whether objects of this kind live in a namespace."""
        return bool(self._resource(manifest["apiVersion"], manifest["kind"]).namespaced)

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Create an object; with `dry_run` the API server does all but store it.

        Raises:
            ApiException: as the API server refused it; status 409 where it exists.
        """
        resource = self._resource(manifest["apiVersion"], manifest["kind"])
        options = {"dry_run": "All"} if dry_run else {}
        namespace = manifest["metadata"].get("namespace")
        created = resource.create(
            body=manifest, namespace=namespace, field_manager=FIELD_MANAGER, serialize=False, **options
        )
        return _parsed(created)

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None where it, or its kind, does not exist."""
        try:
            return _parsed(self._resource(api_version, kind).get(name=name, namespace=namespace, serialize=False))
        except (NotFoundError, ResourceNotFoundError):
            return None

    def list(self, api_version: str, kind: str, namespace: str | None = None, **selectors: str) -> list[Object]:
        """The objects of a kind; none where the kind does not exist.

        Args:
            api_version: group/version.
            kind: the kind.
            namespace: default all.
            selectors: `label_selector`, `field_selector`.
        """
        try:
            found = _parsed(self._resource(api_version, kind).get(namespace=namespace, serialize=False, **selectors))
        except (NotFoundError, ResourceNotFoundError):
            return []
        # In a list the items' own apiVersion and kind are left out.
        return [{"apiVersion": api_version, "kind": kind, **item} for item in found["items"]]

    def version(self, timeout: float) -> str:
        """The API server's version, for instance v1.36.1: one question, asked once.

        Args:
            timeout: seconds to connect, and again to be answered.

        Raises:
            ApiException: it answered with an error.
            urllib3.exceptions.HTTPError: it did not answer.
        """
        answer = client.VersionApi(self._unretried).get_code(_request_timeout=(timeout, timeout))
        return str(answer.git_version)

    @cached_property
    def _unretried(self) -> client.ApiClient:
        """A client that asks once: where time is short, another try is no help."""
        configuration = copy.deepcopy(self.access.api.configuration)
        configuration.retries = False
        return client.ApiClient(configuration)

    def read(self, path: str, *, accept: str = "application/json", **query: str) -> Object | None:
        """The JSON behind a path of the API server, None where there is nothing.

        Needs no discovery: for reading many kinds, some of which may not be served.

        Args:
            path: for instance /api/v1/nodes.
            accept: the media type, where it is to be another than plain JSON.
            query: for instance labelSelector.

        Raises:
            ApiException: as the API server refused it.
            urllib3.exceptions.HTTPError: it did not answer.
        """
        api = cast(Any, self.access.api)
        request = api.param_serialize(
            "GET",
            path,
            query_params=list(query.items()),
            header_params={"Accept": accept},
            auth_settings=["BearerToken"],
        )
        answer = api.call_api(*request, _request_timeout=READ_TIMEOUT)
        body = answer.read()
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status != HTTPStatus.OK:
            raise ApiException(status=answer.status, reason=answer.reason, body=body.decode(errors="replace"))
        return cast(Object, json.loads(body))

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
        """The end of a container's log, asked for once.

        Args:
            namespace: the pod's.
            pod: its name.
            container: the container's name.
            lines: how many of its last lines.
            since: only those of so many last seconds.
            previous: of the container that ran before it was started again.
            timeout: seconds between two bytes of the answer.

        Raises:
            ApiException: as the API server refused it.
            urllib3.exceptions.HTTPError: it did not answer.
        """
        core = cast(Any, client.CoreV1Api(self._unretried))
        answer = core.read_namespaced_pod_log(
            pod,
            namespace,
            container=container,
            tail_lines=lines,
            previous=previous,
            _preload_content=False,
            _request_timeout=(READ_TIMEOUT[0], timeout),
            **({} if since is None else {"since_seconds": max(1, ceil(since))}),
        )
        return bytes(answer.data).decode(errors="replace")

    def merge(self, api_version: str, kind: str, name: str, change: Object, namespace: str | None = None) -> Object:
        """Change an object with a JSON merge patch; None takes a field away."""
        changed = self._resource(api_version, kind).patch(
            body=change,
            name=name,
            namespace=namespace,
            content_type="application/merge-patch+json",
            serialize=False,
        )
        return _parsed(changed)

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Delete an object and what it owns; whether it was there. Does not wait for it to be gone."""
        try:
            body = client.V1DeleteOptions(propagation_policy="Background")
            self._resource(api_version, kind).delete(name=name, namespace=namespace, body=body)
        except (NotFoundError, ResourceNotFoundError):
            return False
        return True

    def delete_pods(self, namespace: str, grace: int, labels: str | None = None) -> None:
        """Delete a namespace's pods, or those that a label selector selects. Does not wait for them to be gone.

        Args:
            namespace: of the pods.
            grace: seconds in which they may end by themselves.
            labels: which; default all.
        """
        client.CoreV1Api(self.access.api).delete_collection_namespaced_pod(
            namespace, label_selector=labels, grace_period_seconds=grace, _request_timeout=REQUEST_TIMEOUT
        )

    def watch(
        self, api_version: str, kind: str, name: str, namespace: str | None, timeout: float
    ) -> Iterator[Object | None]:
        """The object now, after each change and at least every `WATCH_SECONDS`, None while it does not exist.

        Ends when `timeout` seconds are over.
        """
        resource, deadline = self._resource(api_version, kind), time.monotonic() + timeout
        which = {"namespace": namespace, "field_selector": f"metadata.name={name}", "serialize": False}
        known = False
        while not known or time.monotonic() < deadline:
            try:
                # The list's version is where the watch begins: nothing that happens in between is missed.
                found = _parsed(resource.get(**which, _request_timeout=READ_TIMEOUT))
                items = found["items"]
                yield {"apiVersion": api_version, "kind": kind, **items[0]} if items else None
                known = True
                check_interrupted()
                # One second at least: 0 would mean "no limit" to the API server.
                left = min(WATCH_SECONDS, max(1, int(deadline - time.monotonic())))
                events = Watch().stream(
                    resource.get,
                    **which,
                    resource_version=found["metadata"]["resourceVersion"],
                    timeout_seconds=left,
                    _request_timeout=(READ_TIMEOUT[0], left + READ_TIMEOUT[1]),
                )
                for event in events:
                    yield None if event["type"] == "DELETED" else cast(Object, event["raw_object"])
            except (ApiException, HTTPError):
                # A watch may break off at any time (Kubernetes API concepts, "410 Gone"): look again, watch again.
                if not known:
                    raise
                pause(RETRY_SECONDS)  # while the API server does not answer there is nothing to watch

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
        """Watch an object until nothing is pending; returns it as it then is.

        Args:
            api_version: group/version.
            kind: the kind.
            name: its name.
            namespace: None for a cluster-scoped kind.
            pending: says in a few words what is still missing, "" when nothing is; given None where it does not exist.
            timeout: seconds.
            step: told what is being waited for.
            explain: asked on expiry for the reason; its words are added to the error.
            hopeless: asked now and then why it can't come about any more, "" while it may; its words end the wait.

        Raises:
            StepError: the time is over, or there is no hope; says what was last seen and why.
        """
        missing = f"{kind} {name} does not exist"
        for seen in self.watch(api_version, kind, name, namespace, timeout):
            missing = pending(seen)
            if not missing:
                return seen
            step.waiting(missing)
            if hopeless and (why := hopeless()):
                raise StepError(f"{missing}, and can't by itself: {why}")
        why = explain()
        raise StepError(f"{missing} after {timeout:.0f} s" + (f": {why}" if why else ""))

    def run(
        self,
        command: Sequence[str | Path],
        *,
        input: str | None = None,  # noqa: A002 - the name subprocess uses
        timeout: float | None = None,
    ) -> str:
        """Run a program that works on, or for, this cluster; as `harness.base.command.run`."""
        return programs.run(command, input=input, timeout=timeout)

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
        """Run a command in a container to its end.

        Args:
            namespace: the pod's.
            pod: its name.
            container: the container's name.
            command: program and arguments; never secrets.
            stdin: sent to the command; its end can't be signalled, so the command must know when it has read enough.
            timeout: seconds.

        Raises:
            TransportError: the connection could not be made or broke, or the command did not end in time.
        """
        with self._session(namespace, pod, container, command, timeout, stdin=bool(stdin)) as session:
            if stdin:
                session.write_stdin(stdin)
            deadline = time.monotonic() + timeout
            while session.is_open() and (left := deadline - time.monotonic()) > 0:
                session.run_forever(timeout=min(LOOK_SECONDS, left))
                check_interrupted()
            if session.is_open():
                raise TransportError(f"{pod}/{container}: the command did not end within {timeout:.0f} s")
            status = exit_status(session.read_channel(ERROR_CHANNEL))
            return ExecResult(status, session.read_stdout() or "", session.read_stderr() or "")

    def exec_lines(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, timeout: float
    ) -> Iterator[str]:
        """Run a command in a container, and give each line of its standard output as it comes.

        Args:
            namespace: the pod's.
            pod: its name.
            container: the container's name.
            command: program and arguments; never secrets.
            timeout: seconds after which the connection is given up; the command must know its own end.

        Raises:
            TransportError: the connection could not be made, or broke before the command ended.
        """
        with self._session(namespace, pod, container, command, timeout, stderr=False) as session:
            deadline, rest = time.monotonic() + timeout, ""
            while session.is_open() and time.monotonic() < deadline:
                session.update(timeout=1)
                *lines, rest = (rest + (session.read_stdout(timeout=0) or "")).split("\n")
                yield from lines
            exit_status(session.read_channel(ERROR_CHANNEL, timeout=0))

    @contextmanager
    def _session(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        timeout: float,
        *,
        stdin: bool = False,
        stderr: bool = True,
    ) -> Iterator[Any]:
        """A command that runs in a container; what breaks within is raised as a TransportError that names it."""
        # stream() swaps a method of the client it is given while it runs: a client of its own for each call.
        core = client.CoreV1Api(client.ApiClient(self.access.api.configuration))
        try:
            session = stream(
                core.connect_get_namespaced_pod_exec,
                pod,
                namespace,
                container=container,
                command=list(command),
                stdin=stdin,
                stdout=True,
                stderr=stderr,
                tty=False,
                _preload_content=False,
                _request_timeout=timeout,
            )
            try:
                yield session
            finally:
                session.close()
        except (ApiException, WebSocketException, OSError, ValueError, TypeError, KeyError) as broken:
            raise TransportError(f"{pod}/{container}: {_reason(broken)}", _status(broken)) from None

    @contextmanager
    def forward(self, namespace: str, pod: str, port: int) -> Iterator[socket.socket]:
        """A socket to a pod's port, through the API server.

        Raises:
            TransportError: it could not be made.
        """
        core = client.CoreV1Api(client.ApiClient(self.access.api.configuration))
        try:
            forwarded = portforward(core.connect_get_namespaced_pod_portforward, pod, namespace, ports=str(port))
            opened = forwarded.socket(port)
        except (ApiException, WebSocketException, OSError) as broken:
            raise TransportError(f"{pod}:{port}: {_reason(broken)}", _status(broken)) from None
        opened.setblocking(True)
        try:
            yield opened
        finally:
            opened.close()


def _parsed(answer: Any) -> Object:
    """The object in an answer that the client was told not to turn into its own classes: those are slow to make."""
    return cast(Object, json.loads(answer.data))


def exit_status(answer: str) -> int:
    """The exit status of a command, from what the API server says at its end (Kubernetes' remote command protocol).

    Raises:
        ValueError: the command could not be run, or the connection ended before it did; says why.
    """
    ended = yaml.safe_load(answer) or {}
    if ended.get("status") == "Success":
        return 0
    for cause in (ended.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ValueError(ended.get("message") or "the connection ended before the command did")


def _reason(broken: Exception) -> str:
    if isinstance(broken, ApiException):
        return explain_api_error(broken)
    return str(broken) if isinstance(broken, ValueError) else f"{type(broken).__name__}: {broken}"


def _status(broken: Exception) -> int:
    """The HTTP status behind a failure; a refused WebSocket handshake has it in its text only."""
    handshake = re.search(r"Handshake status (\d{3})", str(broken))
    return int(handshake[1]) if handshake else int(getattr(broken, "status", 0) or 0)


def explain_api_error(refused: ApiException) -> str:
    """What the API server said, in one line."""
    # The reason of a refused WebSocket handshake ends with the answer's body.
    body = refused.body or str(refused.reason).rpartition("-+-+-")[2]
    try:
        return str(json.loads(body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{refused.status or ''} {refused.reason}".strip()


def _not_ready_yet(refused: BaseException) -> bool:
    """Refusals that end by themselves: a webhook without endpoints, a kind just being established, a conflict."""
    return isinstance(refused, ApiException) and (
        refused.status in (409, 429, 503, 504)
        or (refused.status == 500 and "failed calling webhook" in str(refused.body))  # noqa: PLR2004
    )


@retry(
    retry=retry_if_exception(_not_ready_yet),
    stop=stop_after_delay(20),
    wait=wait_exponential(multiplier=0.1, max=2),
    reraise=True,
)
def _patiently(call: Callable[[], Any]) -> Any:
    return call()


def metadata(seen: Mapping[str, Any]) -> Object:
    """An object's metadata; {} where it has none."""
    return cast(Object, seen.get("metadata") or {})


def condition(seen: Object | None, kind: str) -> Object:
    """The status condition of that type; {} where there is none."""
    found = ((seen or {}).get("status") or {}).get("conditions") or []
    return next((entry for entry in found if entry.get("type") == kind), {})
