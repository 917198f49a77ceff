"""Starts etcd and kube-apiserver from the programs that images are built from."""

import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.cache import cache_directory
from harness.kube.access import ClusterAccess
from harness.kube.client import Kube
from harness.machine.images.programs import GO_MODULES, programs_path

START_SECONDS = 60.0


@contextmanager
def api_server(directory: Path) -> Iterator[ClusterAccess]:
    """An API server without nodes and controllers, for as long as the block runs.

    Args:
        directory: for its data, keys and logs.

    Raises:
        AssertionError: its programs are not built, or it does not answer in time.
    """
    etcd_port, peer_port, port = _free_ports(3)
    token = secrets.token_hex(16)
    (directory / "tokens").write_text(f"{token},admin,admin,system:masters\n")
    (directory / "tokens").chmod(0o600)
    etcd = f"http://127.0.0.1:{etcd_port}"
    commands: tuple[list[str | Path], ...] = (
        [_program("shared", "etcd"), *_etcd(directory, etcd, f"http://127.0.0.1:{peer_port}")],
        [_linked(directory, "kube-apiserver"), *_apiserver(directory, etcd, port)],
    )
    with ExitStack() as running:
        for command in commands:
            running.enter_context(_started(command, directory))
        access = ClusterAccess("east", "test", _kubeconfig(directory, port, token), f"https://127.0.0.1:{port}")
        _await_answer(access, directory)
        yield access


def _etcd(directory: Path, url: str, peer: str) -> list[str]:
    data = ["--data-dir", str(directory / "etcd"), "--unsafe-no-fsync"]
    clients = ["--listen-client-urls", url, "--advertise-client-urls", url]
    peers = ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
    return [*data, *clients, *peers]


def _apiserver(directory: Path, etcd: str, port: int) -> list[str]:
    key = ec.generate_private_key(ec.SECP256R1())
    path = directory / "sa.key"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)
    return [
        f"--etcd-servers={etcd}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={directory / 'certificates'}",
        f"--token-auth-file={directory / 'tokens'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={path}",
        f"--service-account-signing-key-file={path}",
    ]


def _program(module: str, name: str) -> Path:
    found = next(known for known in GO_MODULES if known.name == module)
    path = programs_path(found, cache_directory()) / name
    assert path.exists(), f"{name} is not built: make images"
    return path


def _linked(directory: Path, name: str) -> Path:
    """The Kubernetes program under the name of one of its components."""
    link = directory / name
    link.symlink_to(_program("shared", "kubernetes"))
    return link


@contextmanager
def _started(command: Sequence[str | Path], directory: Path) -> Iterator[None]:
    name = Path(command[0]).name
    with (directory / f"{name}.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.kill()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [int(found.getsockname()[1]) for found in sockets]


def _kubeconfig(directory: Path, port: int, token: str) -> Path:
    path = directory / "kubeconfig"
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    config = {
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


def _await_answer(access: ClusterAccess, directory: Path) -> None:
    deadline, last = time.monotonic() + START_SECONDS, ""
    while time.monotonic() < deadline:
        try:
            Kube(access).read("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
        except (ApiException, HTTPError, ValueError) as failed:
            last = str(failed)
            time.sleep(0.2)  # there is nothing yet that could be watched
        else:
            return
    log = (directory / "kube-apiserver.log").read_text().splitlines()[-5:]
    raise AssertionError(f"the API server does not answer: {last}; {log}")
