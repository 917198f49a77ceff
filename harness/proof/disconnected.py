"""`python -m harness.proof.disconnected ARCHIVE [pytest arguments]`: proves that an archive is all that a run needs.

A run is made in namespaces of its own, which the kernel takes away with all that runs in them, however it ends:

- network: nothing but a loopback device, so that every connection to anywhere fails, which is shown first;
- processes and mounts: an empty /run and /var/lib/docker hide the machine's own container engine; the suite finds
  none and starts its own, as on any Debian machine that has Docker installed;
- a fresh home directory and hardly any environment: no cache, no configuration, no proxy is there;
- a fresh virtual environment: pip installs into it what the archive holds.
"""

import argparse
import errno
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.base.command import CommandError, run
from harness.base.errors import UserError
from harness.base.waiting import wait_until

NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
PROJECT = Path(__file__).parents[2]
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ADDRESSES = (("1.1.1.1", 443), ("8.8.8.8", 53), ("2606:4700:4700::1111", 443))
HOSTS = ("registry-1.docker.io", "registry.istio.io", "github.com", "istio.io", "kubernetes.io")
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
SIOCSIFFLAGS = 0x8914
"""Sets the flags of a network device: netdevice(7)."""
IFF_UP = 1
REMOVAL_SECONDS = 30.0
INSIDE = "--inside"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the status of pytest, or 4 where the environment cannot work."""
    parser = argparse.ArgumentParser(prog="python -m harness.proof.disconnected", description=__doc__)
    parser.add_argument("archive", type=Path, help="file that `make archive` wrote")
    parser.add_argument(INSIDE, type=Path, help=argparse.SUPPRESS)
    given, passed_on = parser.parse_known_args(arguments)
    archive = given.archive.resolve()
    try:
        return _inside(given.inside, archive, passed_on) if given.inside else _outside(archive, passed_on)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 4


def pytest_command(python: Path, archive: Path, passed_on: Sequence[str]) -> list[str]:
    """The run: primary-remote on two networks, where nothing else is asked for. Pure."""
    return [str(python), "-m", "pytest", "--topology=primary-remote", f"--images=archive:{archive}", *passed_on]


def bare_environment(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Environment of the run: of the caller's only what concerns the terminal and the suite's own options. Pure."""
    kept = {
        name: value
        for name, value in environment.items()
        if name in ("TERM", "LANG", "COLUMNS", "NO_COLOR") or name.startswith("EASTWEST_")
    }
    return {**kept, "EASTWEST_CONTAINER_ENGINE": "docker", "HOME": str(home), "PATH": SYSTEM_PATH}


def _outside(archive: Path, passed_on: Sequence[str]) -> int:
    if os.geteuid() != 0:
        raise UserError("The network can't be cut", "only root makes network namespaces", "run as root")
    try:
        run([*NAMESPACES, "true"])
    except CommandError as failed:
        raise UserError(
            "The network can't be cut",
            failed.output.strip(),
            "run where namespaces can be made, not in a plain container",
        ) from None
    if not shutil.which("dockerd", path=SYSTEM_PATH):
        raise UserError("Docker is not installed", "it can't be fetched once the network is cut", "make images")
    if not archive.is_file():
        raise UserError(f"There is no archive {archive}", "a run without a network needs one", "make archive")
    # Its container engine is on this disk, not in memory.
    scratch = Path(tempfile.mkdtemp(prefix="eastwest-disconnected-", dir="/var/tmp"))
    inner = [sys.executable, "-m", "harness.proof.disconnected", str(archive), INSIDE, str(scratch), *passed_on]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        (scratch / "home").mkdir()
        (scratch / "docker").mkdir()
        environment = bare_environment(scratch / "home", os.environ)
        with subprocess.Popen([*NAMESPACES, *inner], env=environment, cwd=PROJECT) as process:
            try:
                return process.wait()
            except KeyboardInterrupt:
                # Ctrl-C has reached pytest as well, which cleans up and ends.
                return process.wait(timeout=120)
            finally:
                process.kill()  # takes everything inside with it
    finally:
        _remove(scratch)


def _remove(scratch: Path) -> None:
    """Remove the directory, as soon as the kernel has ended what wrote into it."""

    def pending() -> str:
        try:
            shutil.rmtree(scratch)
        except FileNotFoundError:
            return ""
        except OSError as busy:
            return str(busy)
        return ""

    wait_until(pending, REMOVAL_SECONDS)


def _inside(scratch: Path, archive: Path, passed_on: Sequence[str]) -> int:
    engine = Path("/var/lib/docker")
    engine.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
    run(["mount", "--bind", scratch / "docker", engine])
    _raise_loopback()
    for line in require_cut():
        _say(line)
    python = _installed(scratch, archive)
    try:
        return _to_its_end(pytest_command(python, archive, passed_on))
    finally:
        _to_its_end([str(python), "-m", "harness.clusters", "clean"])


def _installed(scratch: Path, archive: Path) -> Path:
    """Python of a new virtual environment with the archive's packages, made as docs/disconnected.md says."""
    venv = scratch / "venv"
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    offline = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(scratch / "wheels")}
    try:
        run(["tar", "--extract", "--file", archive, "--directory", scratch, "wheels"])
        run(["make", f"VENV={venv}", f"PYTHON={base}", venv / "ready"], env=offline, cwd=PROJECT)
    except CommandError as failed:
        raise UserError(
            "The suite could not be installed from the archive",
            (failed.output.strip().splitlines() or [str(failed)])[-1],
            "write the archive again: make archive",
        ) from None
    _say("The suite's Python packages are installed from the archive.")
    return venv / "bin" / "python"


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def require_cut() -> list[str]:
    """See that nothing can be reached from here.

    Returns:
        A line for each thing that was tried.

    Raises:
        UserError: something can be.
    """
    tried = [f"routes: {len(Path('/proc/net/route').read_text().splitlines()[1:])}"]
    for address, port in ADDRESSES:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as asked:
                asked.settimeout(5)
                asked.connect((address, port))
        except OSError as failed:
            # A timeout would only say that nobody answered.
            if failed.errno in UNREACHABLE:
                tried.append(f"{address} port {port}: {failed.strerror}")
                continue
        raise _not_cut(f"{address} port {port} can be tried")
    for host in HOSTS:
        try:
            socket.getaddrinfo(host, 443)
        except OSError as failed:
            tried.append(f"{host}: {failed.strerror}")
        else:
            raise _not_cut(f"the name {host} is resolved")
    return ["The network is cut:", *(f"  {line}" for line in tried)]


def _not_cut(why: str) -> UserError:
    return UserError("The network is not cut", why, "report this: the proof would prove nothing")


def _to_its_end(command: Sequence[str]) -> int:
    """Run a program to its end; meanwhile collect those whose parents have ended, as the first process has to."""
    child = subprocess.Popen(command).pid
    while True:
        try:
            ended, status = os.waitpid(-1, 0)
        except KeyboardInterrupt:
            continue  # the child got it too, and cleans up
        if ended == child:
            return os.waitstatus_to_exitcode(status)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
