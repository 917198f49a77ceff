"""Existing clusters: kubeconfigs, and what is wrong with them. A tiny HTTP server stands in for an API server."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.base.addresses import is_loopback
from harness.base.errors import UserError
from harness.clusters import existing
from harness.kube import kubeconfig
from harness.kube.access import ClusterAccess
from harness.runs import environment
from harness.runs.options import OPTIONS, parse
from suites.selftest.support.serving import serving


def config(*contexts: str, server: str = "https://api.example:6443", **cluster: str) -> dict[str, Any]:
    """A kubeconfig with a cluster and a user for each context."""
    return {
        "contexts": [{"name": name, "context": {"cluster": f"c-{name}", "user": f"u-{name}"}} for name in contexts],
        "clusters": [{"name": f"c-{name}", "cluster": {"server": server, **cluster}} for name in contexts],
        "users": [{"name": f"u-{name}", "user": {"token": f"secret-{name}"}} for name in contexts],
    }


def write(path: Path, content: object) -> Path:
    """Write YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


class _ApiServer(BaseHTTPRequestHandler):
    """Answers GET /CLUSTER/api/v1/namespaces/kube-system with a uid of the cluster's name; `forbidden` with 403."""

    def do_GET(self) -> None:
        cluster = self.path.split("/")[1]
        status = {"forbidden": 403, "unauthorized": 401}.get(cluster, 200)
        body = {"metadata": {"name": "kube-system", "uid": cluster}, "message": f"you are {cluster}"}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    """URL of an API server of sorts."""
    server = HTTPServer(("127.0.0.1", 0), _ApiServer)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


def take(directory: Path, contexts: tuple[str, ...], **options: Any) -> tuple[ClusterAccess, ...]:
    """`existing.take` with the usual names."""
    names = ("east", "west", "north")[: len(contexts)]
    options = {"peer_servers": {}, "kubeconfigs": [directory / "config"], "need_peers": False, **options}
    return existing.take(names, contexts, directory=directory / "run", **options)


def two(directory: Path, api: str, first: str = "one", second: str = "two") -> None:
    """A kubeconfig with contexts a and b of two clusters."""
    whole = config("a", server=f"{api}/{first}")
    for section, entries in config("b", server=f"{api}/{second}").items():
        whole[section] += entries
    write(directory / "config", whole)


class TestTake:
    """Contexts become clusters."""

    def test_copies_are_private(self, tmp_path: Path, api: str) -> None:
        """Each file holds one context and nobody else may read it."""
        two(tmp_path, api)
        east, west = take(tmp_path, ("a", "b"))
        assert (east.name, east.context, west.name) == ("east", "a", "west")
        assert east.kubeconfig.stat().st_mode & 0o777 == 0o600
        assert "secret-b" not in east.kubeconfig.read_text()
        assert east.nodes == ()

    def test_the_default_is_kubeconfig(self, tmp_path: Path, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """KUBECONFIG may list several files; those that are missing are passed over."""
        first = write(tmp_path / "1", config("a", server=f"{api}/one"))
        second = write(tmp_path / "2", config("b", server=f"{api}/two"))
        monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'none'}:{second}")
        assert len(take(tmp_path, ("a", "b"), kubeconfigs=())) == 2

    def test_peers_by_context(self, tmp_path: Path, api: str) -> None:
        """A loopback address is of no use to other clusters, and is replaced where one is given."""
        two(tmp_path, api)
        with pytest.raises(UserError, match="not known to other clusters") as refused:
            take(tmp_path, ("a", "b"), need_peers=True)
        assert "--peer-server=a=" in refused.value.fix
        given = {"a": "https://10.0.0.1:6443", "b": "https://10.0.0.2:6443"}
        taken = take(tmp_path, ("a", "b"), need_peers=True, peer_servers=given)
        assert [access.peer_server for access in taken] == list(given.values())

    def test_forbidden_namespace(self, tmp_path: Path, api: str) -> None:
        """Who may not read namespaces is told apart by address."""
        two(tmp_path, api, "forbidden", "two")
        assert len(take(tmp_path, ("a", "b"))) == 2

    def test_same_cluster(self, tmp_path: Path, api: str) -> None:
        """Two contexts of one cluster are one cluster."""
        two(tmp_path, api, "one", "one")
        with pytest.raises(UserError, match="a and b lead to the same cluster"):
            take(tmp_path, ("a", "b"))

    def test_named_twice(self, tmp_path: Path) -> None:
        """Found before any file is read."""
        with pytest.raises(UserError, match="a is named twice"):
            take(tmp_path, ("a", "a"))

    def test_nothing_of_them_was_kept(self) -> None:
        """Kind clusters can be taken again; these are there anyway."""
        values = {option.name: option.default for option in OPTIONS} | {"contexts": "a,b", "reuse": "1"}
        with pytest.raises(UserError, match="--reuse and --contexts exclude each other"):
            parse(lambda name: values[name], {})

    @pytest.mark.parametrize(
        "name", ["", "Team", "a b", "-a", "a-", "a.b", "a" * 64, "a\n", "kube-system", "istio-system", "istio-cni"]
    )
    def test_not_a_namespace_for_the_sample(self, name: str) -> None:
        """What Kubernetes would refuse, and what is not the sample's, is refused before anything is made."""
        values = {option.name: option.default for option in OPTIONS} | {"namespace": name}
        with pytest.raises(UserError, match="--namespace="):
            parse(lambda name: values[name], {})

    @pytest.mark.parametrize("name", ["a", "sample", "a" * 63, "kube", "2-b"])
    def test_a_namespace_for_the_sample(self, name: str) -> None:
        """Any other label will do."""
        values = {option.name: option.default for option in OPTIONS} | {"namespace": name}
        assert parse(lambda name: values[name], {}).namespace == name

    def test_unknown_peer(self, tmp_path: Path) -> None:
        """A misspelt context in --peer-server is not passed over."""
        with pytest.raises(UserError, match="names c, which is none"):
            take(tmp_path, ("a", "b"), peer_servers={"c": "https://x"})

    def test_refused_credentials(self, tmp_path: Path, api: str) -> None:
        """The API server's own words are shown."""
        two(tmp_path, api, "unauthorized")
        with pytest.raises(UserError, match="you are unauthorized"):
            take(tmp_path, ("a", "b"))

    def test_no_answer(self, tmp_path: Path) -> None:
        """A closed port is found at once."""
        write(tmp_path / "config", config("a", server="http://127.0.0.1:1"))
        with pytest.raises(UserError, match="a does not answer: it can't be found out"):
            take(tmp_path, ("a",))


class TestProxies:
    """A proxy of the environment is used for what is not on this machine."""

    @pytest.fixture(autouse=True)
    def _proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Nothing listens there.
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.delenv(name.lower(), raising=False)
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        for name in ("ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)

    @pytest.mark.parametrize("exempt", ["", "internal.example"])
    def test_loopback_without(self, tmp_path: Path, api: str, monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
        """An API server at 127.0.0.1, like kind's, is reached although NO_PROXY does not name it."""
        monkeypatch.setenv("NO_PROXY", exempt)
        two(tmp_path, api)
        east, _ = take(tmp_path, ("a", "b"))
        assert existing._identity(east) == "one"
        assert str(east.api.configuration.no_proxy).endswith("127.0.0.1,::1,localhost")
        assert exempt in east.api.configuration.no_proxy

    def test_elsewhere_through_it(self, tmp_path: Path) -> None:
        """Any other address goes through the proxy."""
        write(tmp_path / "config", config("a", server="http://api.example"))
        with pytest.raises(UserError, match="Unable to connect to proxy"):
            take(tmp_path, ("a",))

    def test_the_kubeconfigs_own(self, tmp_path: Path, api: str) -> None:
        """A proxy-url leads to the machine whose loopback address the kubeconfig names: ssh -D."""
        write(tmp_path / "config", config("a", server=api, **{"proxy-url": "http://127.0.0.1:2"}))
        with pytest.raises(UserError, match="a does not answer"):
            take(tmp_path, ("a",))

    def test_registry_through_it(self, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whether a registry answers is asked through the proxy, unless NO_PROXY names it."""
        monkeypatch.setattr(environment, "REGISTRY", "http://127.0.0.1:1/v2/")
        monkeypatch.setenv("HTTPS_PROXY", api)
        assert environment._registry_answers()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert not environment._registry_answers()


class TestKubeconfig:
    """Reading and merging."""

    def test_first_wins(self, tmp_path: Path) -> None:
        """As kubectl merges."""
        paths = [write(tmp_path / str(n), config("a", server=f"https://{n}")) for n in (1, 2)]
        assert kubeconfig.server_of(kubeconfig.single(kubeconfig.merged(paths), "a")) == "https://1"

    def test_relative_paths(self, tmp_path: Path) -> None:
        """They are relative to their own file."""
        path = write(tmp_path / "x" / "config", config("a", **{"certificate-authority": "ca.pem"}))
        assert kubeconfig.merged([path])["clusters"]["c-a"]["certificate-authority"] == str(tmp_path / "x" / "ca.pem")

    def test_relative_plugin(self, tmp_path: Path) -> None:
        """A plugin's path too, but not a name to be looked for on PATH."""
        content = config("a", "b")
        content["users"][0]["user"] = {"exec": {"command": "./login"}}
        content["users"][1]["user"] = {"exec": {"command": "login"}}
        users = kubeconfig.merged([write(tmp_path / "config", content)])["users"]
        assert users["u-a"]["exec"]["command"] == str(tmp_path / "login")
        assert users["u-b"]["exec"]["command"] == "login"

    def test_missing_context(self, tmp_path: Path) -> None:
        """Those that are there are named."""
        whole = kubeconfig.merged([write(tmp_path / "config", config("a", "b"))])
        with pytest.raises(UserError, match="the kubeconfig has: a, b"):
            kubeconfig.single(whole, "c")

    def test_incomplete_context(self, tmp_path: Path) -> None:
        """A context without its user."""
        content = {**config("a"), "users": None}
        whole = kubeconfig.merged([write(tmp_path / "config", content)])
        with pytest.raises(UserError, match="names the user u-a"):
            kubeconfig.single(whole, "a")

    @pytest.mark.parametrize(
        ("text", "why"),
        [(None, "No such file"), ("token: [hidden", "not YAML"), ("hidden", "no list of contexts"), ("", "contexts")],
    )
    def test_unreadable(self, tmp_path: Path, text: str | None, why: str) -> None:
        """Nothing of its content is shown: it may be a key."""
        path = tmp_path.parent / "unreadable"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        with pytest.raises(UserError, match=why) as refused:
            kubeconfig.merged([path])
        assert "hidden" not in str(refused.value)

    @pytest.mark.parametrize(
        ("url", "loopback"),
        [
            ("https://127.0.0.1:6443", True),
            ("https://localhost:6443", True),
            ("https://[::1]:6443", True),
            ("https://0.0.0.0:6443", True),
            ("https://10.0.0.1:6443", False),
            ("https://api.example", False),
        ],
    )
    def test_loopback(self, url: str, loopback: bool) -> None:
        """An address that means another machine everywhere."""
        assert is_loopback(url) is loopback
