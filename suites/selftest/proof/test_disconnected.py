"""A whole run without a network: what it is given, and that the network is really cut."""

from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.proof import disconnected


def test_a_disconnected_run_takes_nothing_of_the_caller_along() -> None:
    environment = {"HTTPS_PROXY": "http://proxy", "DOCKER_HOST": "tcp://x", "TERM": "xterm", "EASTWEST_REQUESTS": "10"}
    assert disconnected.bare_environment(Path("/fresh"), environment) == {
        "TERM": "xterm",
        "EASTWEST_REQUESTS": "10",
        "EASTWEST_CONTAINER_ENGINE": "docker",
        "HOME": "/fresh",
        "PATH": disconnected.SYSTEM_PATH,
    }
    command = disconnected.pytest_command(Path("/python"), Path("/a.tar"), ["--keep"])
    assert command == ["/python", "-m", "pytest", "--topology=primary-remote", "--images=archive:/a.tar", "--keep"]


def test_a_network_that_is_there_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disconnected, "ADDRESSES", ())
    monkeypatch.setattr(disconnected, "HOSTS", ("localhost",))
    with pytest.raises(UserError, match="localhost is resolved"):
        disconnected.require_cut()
