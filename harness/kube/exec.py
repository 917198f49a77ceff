"""Commands in pods, and sockets to them, through the API server."""

import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import yaml
from kubernetes import client
from kubernetes.client import ApiException
from kubernetes.stream import portforward, stream
from kubernetes.stream.ws_client import ERROR_CHANNEL, STDERR_CHANNEL, STDOUT_CHANNEL
from tenacity import retry, retry_if_exception, stop_after_attempt
from websocket import WebSocketException

from harness.base.parallel import LOOK_SECONDS, check_interrupted
from harness.kube.access import ClusterAccess
from harness.kube.api import ExecResult, TransportError, explain_api_error


class PodConnections:
    """What needs a connection to a pod."""

    access: ClusterAccess

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
            *_, ended = "", *_updates(session, timeout)
            if not ended and session.is_open():
                raise TransportError(f"{pod}/{container}: the command did not end within {timeout:.0f} s")
            return ExecResult(
                exit_status(ended), _received(session, STDOUT_CHANNEL), _received(session, STDERR_CHANNEL)
            )

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
            rest = ended = ""
            for ended in _updates(session, timeout):  # noqa: B007 - the last one counts
                *lines, rest = (rest + _received(session, STDOUT_CHANNEL)).split("\n")
                yield from lines
            exit_status(ended)

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

        def connect() -> Any:
            return stream(
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
            session = _connected(connect)
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
            connect = core.connect_get_namespaced_pod_portforward
            forwarded = _connected(lambda: portforward(connect, pod, namespace, ports=str(port)))
            opened = forwarded.socket(port)
        except (ApiException, WebSocketException, OSError) as broken:
            raise TransportError(f"{pod}:{port}: {_reason(broken)}", _status(broken)) from None
        opened.setblocking(True)
        try:
            yield opened
        finally:
            opened.close()


def _updates(session: Any, timeout: float) -> Iterator[str]:
    """Each time that something may have come: what the API server says at the command's end, empty before.

    That is the last message of a connection. Whether it is closed properly then is of no interest: behind a bad line it
    often is not. Over without such a message when the connection or the time has ended first.

    Raises:
        WebSocketException, OSError: the connection broke before.
    """
    deadline, ended = time.monotonic() + timeout, ""
    while not ended and session.is_open() and (left := deadline - time.monotonic()) > 0:
        check_interrupted()
        try:
            session.update(timeout=min(LOOK_SECONDS, left))
        except (WebSocketException, OSError):
            ended = _received(session, ERROR_CHANNEL)
            if not ended:
                raise
        ended = ended or _received(session, ERROR_CHANNEL)
        yield ended


def _received(session: Any, channel: int) -> str:
    """What has come on a channel; what came stays also when the connection is broken by now."""
    with suppress(WebSocketException, OSError):
        return str(session.read_channel(channel, timeout=0) or "")
    return ""


def _never_made(failed: BaseException) -> bool:
    """A connection that broke before the API server had answered."""
    return isinstance(failed, ApiException) and not failed.status and not _status(failed)


@retry(retry=retry_if_exception(_never_made), stop=stop_after_attempt(3), reraise=True)
def _connected(connect: Callable[[], Any]) -> Any:
    return connect()


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
