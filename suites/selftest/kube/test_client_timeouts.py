"""An API server that takes connections and says nothing, as if a firewall dropped them: nobody waits for ever."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from kubernetes.dynamic.resource import Resource
from urllib3.exceptions import HTTPError

from harness.kube import client as api
from harness.kube.access import ClusterAccess
from harness.kube.api import KubeApi
from harness.kube.client import Kube

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    """A cluster of which nothing is heard."""
    monkeypatch.setattr(api, "REQUEST_TIMEOUT", (5, 0.02))
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        content = {
            "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {}}],
        }
        (tmp_path / "config").write_text(yaml.safe_dump(content))
        yield Kube(ClusterAccess("east", "a", tmp_path / "config", url))


@pytest.mark.parametrize(
    "call",
    [
        lambda kube: kube.apply(CONFIG_MAP),
        lambda kube: kube.create(CONFIG_MAP),
        lambda kube: kube.get("v1", "ConfigMap", "a", "default"),
        lambda kube: kube.list("v1", "ConfigMap"),
        lambda kube: kube.merge("v1", "ConfigMap", "a", {}, "default"),
        lambda kube: kube.delete("v1", "ConfigMap", "a", "default"),
    ],
    ids=["apply", "create", "get", "list", "merge", "delete"],
)
@pytest.mark.parametrize("discovered", [False, True], ids=["discovery", "request"])
def test_no_request_hangs(
    call: Callable[[KubeApi], object], silent: KubeApi, discovered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the request itself nor the question before it, what the API server serves."""
    if discovered:
        client = object.__new__(api._TimedClient)
        client.client, client.configuration = silent.access.api, silent.access.api.configuration
        resource = Resource(
            prefix="api",
            group="",
            api_version="v1",
            kind="ConfigMap",
            namespaced=True,
            name="configmaps",
            client=client,
            verbs=["get"],
        )
        monkeypatch.setattr(silent, "_resource", lambda *_: resource)
    with pytest.raises(HTTPError, match="timed out"):
        call(silent)


def test_nothing_is_left_in_the_temporary_directory(tmp_path: Path) -> None:
    """What API servers were found to serve is removed with the process."""
    code = "from harness.kube.client import _caches; import sys; sys.stdout.write(str(_caches().exists()))"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={"TMPDIR": str(tmp_path), "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert said.stdout == "True"
    assert list(tmp_path.iterdir()) == []
