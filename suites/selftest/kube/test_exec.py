"""Commands in pods: what came counts, however the connection ends, and one that was never made is tried again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.stream.ws_client import ERROR_CHANNEL, STDOUT_CHANNEL
from websocket import WebSocketConnectionClosedException

from harness.kube import exec as connections
from harness.kube.access import ClusterAccess
from harness.kube.api import ExecResult, TransportError
from harness.kube.client import Kube

SUCCESS = '{"status": "Success"}'
FAILURE = '{"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}'
BROKEN = WebSocketConnectionClosedException("socket is already closed.")
Message = tuple[int, str] | Exception


class PlayedSession:
    """A connection on which these messages come, one at each look; an exception is where it breaks."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages, self._channels = list(messages), dict[int, str]()

    def is_open(self) -> bool:
        """Until the last message."""
        return bool(self._messages)

    def update(self, timeout: float = 0) -> None:  # noqa: ARG002 - the client's signature
        """Receive the next message."""
        if not self._messages:
            return
        first = self._messages[0]
        if isinstance(first, Exception):
            raise first
        del self._messages[0]
        channel, text = first
        self._channels[channel] = self._channels.get(channel, "") + text
        following = next(iter(self._messages), None)
        if isinstance(following, Exception):
            raise following  # what came and the break are seen at one look

    def read_channel(self, channel: int, timeout: float = 0) -> str:  # noqa: ARG002 - as before
        """As the client's: looks for more where nothing has come."""
        if channel not in self._channels:
            self.update()
        return self._channels.pop(channel, "")

    def close(self) -> None:
        """Nothing to do."""


def _kube(monkeypatch: pytest.MonkeyPatch, *connected: Sequence[Message] | Exception) -> Kube:
    """The client of an API server to which these connections are made, one after the other."""
    left = list(connected)

    def stream(*_: Any, **__: Any) -> PlayedSession:
        opened = left.pop(0)
        if isinstance(opened, Exception):
            raise opened
        return PlayedSession(opened)

    monkeypatch.setattr(connections, "stream", stream)
    access = ClusterAccess("east", "a", Path("config"), "")
    monkeypatch.setitem(access.__dict__, "api", ApiClient(Configuration()))
    return Kube(access)


def _run(kube: Kube) -> ExecResult:
    return kube.exec("sample", "sleep", "sleep", ["true"])


@pytest.mark.parametrize(
    "end", [(), (BROKEN,), (ConnectionResetError(104, "reset"),)], ids=["closed", "broken", "reset"]
)
def test_the_end_of_a_command_counts_and_not_that_of_its_connection(
    end: tuple[Exception, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = _kube(monkeypatch, [(STDOUT_CHANNEL, "he"), (STDOUT_CHANNEL, "llo"), (ERROR_CHANNEL, FAILURE), *end])
    assert _run(kube) == ExecResult(3, "hello", "")


@pytest.mark.parametrize("end", [(), (BROKEN,)], ids=["closed", "broken"])
def test_a_connection_that_ends_before_the_command_is_lost(
    end: tuple[Exception, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TransportError, match=r"ended before the command did|socket is already closed"):
        _run(_kube(monkeypatch, [(STDOUT_CHANNEL, "he"), *end]))


def test_lines_are_given_also_when_the_connection_breaks_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = _kube(monkeypatch, [(STDOUT_CHANNEL, "one\ntw"), (STDOUT_CHANNEL, "o\n"), (ERROR_CHANNEL, SUCCESS), BROKEN])
    assert list(kube.exec_lines("sample", "sleep", "sleep", ["true"], timeout=5)) == ["one", "two"]


def test_a_connection_that_was_never_made_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = ApiException(status=0, reason="[Errno 104] Connection reset by peer")
    assert _run(_kube(monkeypatch, lost, lost, [(ERROR_CHANNEL, SUCCESS)])).status == 0
    with pytest.raises(TransportError, match="reset by peer"):
        _run(_kube(monkeypatch, lost, lost, lost, [(ERROR_CHANNEL, SUCCESS)]))


def test_what_the_api_server_refuses_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ApiException(status=0, reason="Handshake status 403 Forbidden")
    with pytest.raises(TransportError, match="403"):
        _run(_kube(monkeypatch, refused, [(ERROR_CHANNEL, SUCCESS)]))
