"""The engine: what is rewritten where a machine lacks capabilities, and when nothing is touched."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.base import processes
from harness.base.container_engine import PODMAN, ContainerEngine
from harness.base.errors import UserError
from harness.machine import engine
from harness.machine.engine import debian, oci_wrapper
from harness.model.step import Outcome
from harness.model.step_log import StepLog

ALL = {f"CAP_{name}" for name in oci_wrapper.CAPABILITIES}
LACKING = ALL - {"CAP_SYS_RESOURCE"}
PROCESS = {
    "args": ["sh"],
    "oomScoreAdj": -500,
    "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "ambient": ["CAP_SYS_RESOURCE"]},
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1048576, "hard": 1048576}],
}


def test_capabilities_are_read_from_the_bounding_set() -> None:
    assert oci_wrapper.granted("CapPrm:\t0000000000000000\nCapBnd:\t0000000000000003\n") == {
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
    }
    assert oci_wrapper.granted("CapBnd:\t000001fffeffffff\n") == LACKING


def test_what_cannot_be_granted_is_taken_out() -> None:
    allowed = oci_wrapper.within(PROCESS, LACKING, {"RLIMIT_NOFILE": 20000})
    assert allowed == {
        "args": ["sh"],
        "capabilities": {"bounding": ["CAP_CHOWN"], "ambient": []},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 20000, "hard": 20000}],
    }


def test_a_machine_that_grants_everything_changes_nothing() -> None:
    assert oci_wrapper.within(PROCESS, ALL, {"RLIMIT_NOFILE": 20000}) == PROCESS


@pytest.mark.parametrize(("hard", "expected"), [(-1, 4096), (8192, 4096), (1024, 1024)])
def test_limits_are_lowered_to_the_hard_one_and_never_raised(hard: int, expected: int) -> None:
    limit = {"type": "RLIMIT_NOFILE", "soft": 4096, "hard": 4096}
    assert oci_wrapper.clamped(limit, hard) == {"type": "RLIMIT_NOFILE", "soft": expected, "hard": expected}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--root", "/run", "create", "--bundle", "/b", "id"], ("/b/config.json", True)),
        (["create", "--bundle=/b", "id"], ("/b/config.json", True)),
        (["run", "id"], ("./config.json", True)),
        (["--log", "/l", "exec", "--process", "/p.json", "--detach", "id"], ("/p.json", False)),
        (["exec", "id", "sh"], (None, False)),
        (["delete", "--force", "id"], (None, False)),
        ([], (None, False)),
    ],
)
def test_the_file_is_found_among_runcs_arguments(arguments: list[str], expected: tuple[str | None, bool]) -> None:
    assert oci_wrapper.process_file(arguments) == expected


def test_a_bundle_is_rewritten_in_place(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"ociVersion": "1.0.2", "process": PROCESS}))
    oci_wrapper.rewrite(str(file), bundle=True)
    content = json.loads(file.read_text())
    assert content["ociVersion"] == "1.0.2"
    assert content["process"]["args"] == ["sh"]


def test_the_wrapper_is_registered_only_where_capabilities_are_missing() -> None:
    wrapper = Path("/cache/oci-runtime")
    assert engine.daemon_config(ALL, wrapper) == {"live-restore": True}
    assert engine.daemon_config(LACKING, wrapper) == {
        "live-restore": True,
        "default-runtime": "eastwest",
        "runtimes": {"eastwest": {"path": "/cache/oci-runtime"}},
    }


def test_capabilities_that_an_old_kernel_does_not_know_are_not_missing() -> None:
    assert engine.missing_capabilities(ALL - {"CAP_BPF", "CAP_CHECKPOINT_RESTORE"}) == set()


@pytest.mark.parametrize(
    ("os_release", "expected"),
    [
        ("ID=debian\n", True),
        ('ID=ubuntu\nID_LIKE="debian"\n', True),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True),
        ('ID="fedora"\n', False),
        ("", False),
    ],
)
def test_debian_and_its_relatives(os_release: str, expected: bool) -> None:
    assert debian.is_debian(os_release) is expected


@pytest.mark.parametrize(("os_release", "user"), [("ID=debian\n", 1000), ("ID=fedora\n", 0)])
def test_elsewhere_a_missing_engine_is_an_error_that_says_what_to_do(os_release: str, user: int) -> None:
    with pytest.raises(UserError, match="permission denied") as raised:
        debian.require_debian_root(os_release, user, "permission denied")
    assert "docs.docker.com" in raised.value.fix


def test_an_engine_that_answers_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "STATE_DIRECTORY", tmp_path)
    monkeypatch.setattr(engine, "engine_version", lambda: "29.1.0")
    log = StepLog()
    assert engine.ensure_engine(log, "docker") == engine.Engine("29.1.0", started_here=False)
    assert log.steps == ()
    assert not engine.stop_engine(log)


def test_without_engine_or_rights_nothing_is_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "STATE_DIRECTORY", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    log = StepLog()
    with pytest.raises(UserError, match="No container engine answers"):
        engine.ensure_engine(log)
    assert log.steps == ()


def test_dockerd_that_ends_at_once_is_an_error_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    daemon = tmp_path / "bin" / "dockerd"
    daemon.parent.mkdir()
    daemon.write_text("#!/bin/sh\necho 'no space left on device' >&2\nexit 1\n")
    daemon.chmod(0o755)
    monkeypatch.setattr(engine, "STATE_DIRECTORY", tmp_path)
    monkeypatch.setenv("PATH", f"{daemon.parent}:/usr/bin:/bin")
    monkeypatch.setattr(engine, "engine_version", lambda: None)
    monkeypatch.setattr(engine, "_install", lambda _: None)
    monkeypatch.setattr(engine, "_require_debian_root", lambda: None)
    monkeypatch.setattr(engine, "packaged_engine_seconds", lambda: 0.0)
    monkeypatch.setattr(processes, "running", lambda _: ())
    log = StepLog()
    with pytest.raises(UserError, match="no space left on device"):
        engine.ensure_engine(log, "docker")
    assert [step.outcome for step in log.steps] == [Outcome.DONE, Outcome.FAILED]


def test_no_second_engine_is_started_beside_one_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "STATE_DIRECTORY", tmp_path)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "engine_version", lambda: None)
    monkeypatch.setattr(engine, "_install", lambda _: None)
    monkeypatch.setattr(engine, "_require_debian_root", lambda: None)
    monkeypatch.setattr(engine, "packaged_engine_seconds", lambda: 0.0)
    monkeypatch.setattr(processes, "running", lambda _: (4711,))
    with pytest.raises(UserError, match="4711"):
        engine.ensure_engine(StepLog(), "docker")


def test_an_engine_named_by_docker_host_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setattr(engine, "engine_version", lambda: None)
    with pytest.raises(UserError, match=re.escape("127.0.0.1:1")):
        engine.ensure_engine(StepLog(), "docker")


def test_the_engine_that_was_started_here_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "STATE_DIRECTORY", tmp_path)
    daemon = tmp_path / "dockerd"
    shutil.copy(shutil.which("sleep") or "", daemon)
    process = subprocess.Popen([daemon, "60"])
    (tmp_path / "dockerd.pid").write_text(str(process.pid))
    (tmp_path / "daemon.json").write_text("{}")
    log = StepLog()
    assert engine.stop_engine(log)
    assert process.wait(5) == -15
    assert not engine.stop_engine(log)
    assert [step.title for step in log.steps] == ["Stop the container engine"]


def test_another_program_with_the_same_process_id_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "STATE_DIRECTORY", tmp_path)
    (tmp_path / "dockerd.pid").write_text(str(os.getpid()))
    assert not engine.stop_engine(StepLog())


@pytest.mark.parametrize(("capabilities", "wrapped"), [(ALL, False), (LACKING, True)])
def test_podman_runs_through_the_wrapper_only_where_capabilities_are_missing(
    capabilities: set[str], wrapped: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configuration = tmp_path / "state" / "containers.conf"
    monkeypatch.setattr(engine, "STATE_DIRECTORY", tmp_path / "state")
    monkeypatch.setattr(engine, "PODMAN_CONFIGURATION", configuration)
    monkeypatch.setattr(ContainerEngine, "version", lambda _: "4.3.1")
    monkeypatch.setattr(oci_wrapper, "granted", lambda _: capabilities)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    found = engine.ensure_engine(StepLog(), "podman")
    assert found == engine.Engine("4.3.1", started_here=False, wrapped=wrapped, client=PODMAN)
    assert str(found) == "podman 4.3.1"
    assert configuration.exists() is wrapped
    if wrapped:
        known = tomllib.loads(configuration.read_text())["engine"]
        (program,) = known["runtimes"][known["runtime"]]
        assert os.access(program, os.X_OK)


def test_podman_that_is_not_there_is_not_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="Podman does not answer") as raised:
        engine.ensure_engine(StepLog(), "podman")
    assert "--container-engine=docker" in raised.value.fix


def test_the_wrapper_becomes_the_runtime_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "crun").write_text("#!/bin/sh\necho crun $1\n")
    (tmp_path / "crun").chmod(0o755)
    command = [sys.executable, oci_wrapper.__file__, "--version"]
    assert subprocess.check_output(command, env={"PATH": str(tmp_path)}, text=True) == "crun --version\n"


def test_system_directories_are_on_the_daemons_path() -> None:
    assert engine.daemon_environment({"PATH": "/usr/bin:/opt"})["PATH"] == "/usr/bin:/opt:/usr/sbin:/sbin:/bin"
