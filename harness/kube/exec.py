"""Commands in pods, and sockets to them, through the API server."""

import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from kubernetes import client
from kubernetes.client import ApiException
from kubernetes.stream import portforward, stream
from kubernetes.stream.ws_client import ERROR_CHANNEL
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
                check_interrupted()
                session.update(timeout=LOOK_SECONDS)
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
