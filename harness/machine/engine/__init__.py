"""The container engine: one that is there, or on a bare Debian machine Docker, installed and started here."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.base import processes
from harness.base.container_engine import DOCKER, PODMAN, PODMAN_CONFIGURATION, ContainerEngine, choose
from harness.base.errors import UserError
from harness.base.locks import locked
from harness.base.waiting import WaitError, wait_until
from harness.machine.engine import oci_wrapper
from harness.machine.engine.debian import install_packages, require_debian_root
from harness.model.step import Phase
from harness.model.step_log import OpenStep, StepLog

STATE_DIRECTORY = Path("/run/eastwest")
"""Configuration, wrapper, process id and log of the engine started here; gone at the next boot, as it is."""
INOTIFY_LIMITS = {"max_user_instances": 1024, "max_user_watches": 1048576}
"""Each node's systemd, kubelet and containerd take about 40 instances; Debian's default is 128 for all of root's."""
START_SECONDS = 60.0
RUNTIME_NAME = "eastwest"
PACKAGES = {
    "docker.io": "/usr/sbin/dockerd",
    "iptables": "/usr/sbin/iptables",
    "python3-minimal": "/usr/bin/python3",
}
"""Debian packages the engine needs, and the file that says a package is there."""


@dataclass(frozen=True)
class Engine:
    """The container engine that answers."""

    version: str
    started_here: bool
    """The suite started it, so `make clean` may stop it."""
    wrapped: bool = False
    """Containers go through the suite's OCI runtime because the machine lacks capabilities."""
    client: ContainerEngine = DOCKER

    def __str__(self) -> str:
        """Name and version."""
        return f"{self.client.name} {self.version}"


def ensure_engine(log: StepLog, wanted: str = "auto") -> Engine:
    """See that a container engine answers; install and start Docker only on Debian or Ubuntu as root.

    An engine that answers is never touched. The one started here has a configuration file, log and process id of
    its own in /run/eastwest; the machine's /etc/docker is left alone. It outlives this process. Podman has nothing to
    be started: where the machine lacks capabilities, the suite's calls of it are given a configuration of their own.

    Args:
        log: where the steps are recorded, phase environment.
        wanted: docker or podman; auto for the first that answers.

    Raises:
        UserError: no engine answers, and none can be started here.
    """
    client = choose(wanted)
    if client is PODMAN:
        return _podman()
    if version := engine_version():
        return _running(version)
    if host := os.environ.get("DOCKER_HOST"):
        raise UserError(
            f"The container engine at {host} does not answer",
            DOCKER.why_not(),
            "start it, or unset DOCKER_HOST to use this machine's own",
        )
    _require_debian_root()
    with locked(STATE_DIRECTORY / "lock"):
        # Another run may have started it meanwhile.
        if version := engine_version():
            return _running(version)
        with log.step(Phase.ENVIRONMENT, "Install a container engine") as step:
            _install(step)
        with log.step(Phase.ENVIRONMENT, "Start the container engine") as step:
            return _start(step)


def _running(version: str) -> Engine:
    started_here = _running_pid() is not None
    return Engine(version, started_here, wrapped=started_here and RUNTIME_NAME in _config_path().read_text())


def engine_version() -> str | None:
    """Version of the Docker engine that answers, or None."""
    return DOCKER.version()


def _podman() -> Engine:
    if not (version := PODMAN.version()):
        raise UserError(
            "Podman does not answer",
            PODMAN.why_not(),
            "install Podman 4 or newer (https://podman.io/docs/installation), or use --container-engine=docker",
        )
    # Without root, Podman's containers are in a user namespace, which has every capability.
    missing = os.geteuid() == 0 and missing_capabilities(oci_wrapper.granted(Path("/proc/self/status").read_text()))
    if missing:
        STATE_DIRECTORY.mkdir(parents=True, exist_ok=True)
        PODMAN_CONFIGURATION.write_text(podman_config(_write_wrapper()))
    return Engine(version, started_here=False, wrapped=bool(missing), client=PODMAN)


def podman_config(wrapper: Path) -> str:
    """Text of a containers.conf with which Podman runs containers through the OCI wrapper: pure."""
    return f'[engine]\nruntime = "{RUNTIME_NAME}"\n\n[engine.runtimes]\n{RUNTIME_NAME} = ["{wrapper}"]\n'


def stop_engine(log: StepLog) -> bool:
    """Stop the engine if it is the one that `ensure_engine` started; its containers end with it.

    Returns:
        True if one was stopped, False if there was none of ours.
    """
    if _running_pid() is None:
        return False
    with locked(STATE_DIRECTORY / "lock"):
        pid = _running_pid()
        if pid is None:
            return False
        with log.step(Phase.CLEANUP, "Stop the container engine") as step:
            step.waiting("dockerd to end")
            os.kill(pid, 15)
            with suppress(WaitError):
                wait_until(lambda: "dockerd runs" if _running_pid() else "", START_SECONDS)
        _pid_path().unlink(missing_ok=True)
        _config_path().unlink(missing_ok=True)
        return True


def daemon_config(capabilities: set[str], wrapper: Path) -> dict[str, object]:
    """Content of dockerd's configuration file for a machine that can grant these capabilities: pure.

    Args:
        capabilities: names in the bounding set.
        wrapper: the OCI runtime to use when some are missing.
    """
    # Nodes outlive their engine: an engine that is started again finds them as they were.
    config: dict[str, object] = {"live-restore": True}
    if missing_capabilities(capabilities):
        config |= {"default-runtime": RUNTIME_NAME, "runtimes": {RUNTIME_NAME: {"path": str(wrapper)}}}
    return config


def missing_capabilities(capabilities: set[str]) -> set[str]:
    """Capabilities that privileged containers ask for and this machine cannot grant.

    Those that the kernel does not know at all are not missing: Docker looks for the kernel's last one itself.
    """
    common = oci_wrapper.CAPABILITIES[: oci_wrapper.CAPABILITIES.index("AUDIT_READ") + 1]
    return {f"CAP_{name}" for name in common} - capabilities


def _require_debian_root() -> None:
    release = Path("/etc/os-release")
    require_debian_root(release.read_text() if release.exists() else "", os.geteuid(), DOCKER.why_not())


def _install(step: OpenStep) -> None:
    packages = [name for name, file in PACKAGES.items() if not Path(file).exists()]
    if packages:
        install_packages(packages, step)
    if not shutil.which("docker"):
        # Newer releases have the client in a package of its own.
        packages.append("docker-cli")
        install_packages(packages[-1:], step)
    if not packages:
        step.skip("already installed")
        return
    step.note(f"installed the Debian packages {', '.join(packages)}")


def packaged_engine_seconds() -> float:
    """How long to wait for the engine that the Debian package starts itself: only systemd starts one."""
    return 5.0 if Path("/run/systemd/system").exists() else 0.0


def _start(step: OpenStep) -> Engine:
    # On a machine that runs systemd the package has started its own service by now.
    if version := _wait_for_version(packaged_engine_seconds()):
        step.note(f"Docker {version}, started by its package")
        return Engine(version, started_here=False)
    if there := processes.running("dockerd"):
        raise UserError(
            "The container engine does not answer",
            f"dockerd runs (process {', '.join(map(str, there))}), and a second one would take its socket away",
            "see its log, and end or restart it",
        )
    missing = missing_capabilities(oci_wrapper.granted(Path("/proc/self/status").read_text()))
    raised = _raise_inotify_limits()
    _write_config()
    # dockerd does not start while the id in an old file belongs to a process, whichever that is by now.
    _pid_path().unlink(missing_ok=True)
    step.waiting("dockerd to answer")
    process = _spawn()
    version = _wait_for_version(START_SECONDS, process)
    if not version:
        raise UserError("The container engine did not start", _last_log_line(), f"see {_log_path()}")
    through = f", through the OCI wrapper: this machine lacks {', '.join(sorted(missing))}" if missing else ""
    step.note("; ".join((f"Docker {version}, log in {_log_path()}{through}", *raised)))
    return Engine(version, started_here=True, wrapped=bool(missing))


def _raise_inotify_limits() -> tuple[str, ...]:
    """Raise the kernel's limits where they would stop the third or fourth node; says which."""
    raised = []
    for name, wanted in INOTIFY_LIMITS.items():
        limit = Path("/proc/sys/fs/inotify") / name
        try:
            if int(limit.read_text()) < wanted:
                limit.write_text(str(wanted))
                raised.append(f"fs.inotify.{name} raised to {wanted}")
        except (OSError, ValueError):
            continue  # the preflight checks name it where it is too low
    return tuple(raised)


def _write_wrapper() -> Path:
    wrapper = STATE_DIRECTORY / "oci-runtime"
    unfinished = wrapper.with_suffix(f".{os.getpid()}")  # containers of other runs use it meanwhile
    unfinished.write_text(Path(oci_wrapper.__file__).read_text())
    unfinished.chmod(0o755)
    return unfinished.replace(wrapper)


def _write_config() -> None:
    wrapper = _write_wrapper()
    capabilities = oci_wrapper.granted(Path("/proc/self/status").read_text())
    _config_path().write_text(json.dumps(daemon_config(capabilities, wrapper), indent=2))


def _spawn() -> "subprocess.Popen[bytes]":
    command = ["dockerd", "--config-file", str(_config_path()), "--pidfile", str(_pid_path())]
    with _log_path().open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=daemon_environment(os.environ),
            cwd="/",
            start_new_session=True,
        )


def daemon_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment for dockerd: the caller's, with the directories of system programs on PATH."""
    path = environment.get("PATH", "")
    system = [place for place in ("/usr/sbin", "/usr/bin", "/sbin", "/bin") if place not in path.split(":")]
    return {**environment, "PATH": ":".join(filter(None, [path, *system]))}


def _wait_for_version(seconds: float, process: "subprocess.Popen[bytes] | None" = None) -> str | None:
    version: str | None = None

    def pending() -> str:
        nonlocal version
        version = engine_version()
        return "" if version else "no answer"

    with suppress(WaitError):
        wait_until(pending, seconds, hopeless=lambda: "it ended" if process and process.poll() is not None else "")
    return version


def _last_log_line() -> str:
    lines = _log_path().read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "dockerd wrote nothing"


def _running_pid() -> int | None:
    """Process id of the engine started here, or None if it does not run."""
    try:
        pid = int(_pid_path().read_text())
    except (OSError, ValueError):
        return None
    return pid if pid in processes.running("dockerd") else None


def _config_path() -> Path:
    return STATE_DIRECTORY / "daemon.json"


def _pid_path() -> Path:
    return STATE_DIRECTORY / "dockerd.pid"


def _log_path() -> Path:
    return STATE_DIRECTORY / "dockerd.log"
