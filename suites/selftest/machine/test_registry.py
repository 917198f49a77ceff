"""The registry: how nodes find it, and what its client sends."""

# ruff: noqa: D102 - the names of these methods are those of the HTTP methods

import hashlib
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.base.errors import UserError
from harness.machine.images import hosts_toml, registry
from harness.machine.images.layers import Image, manifest_json
from harness.machine.images.registry import Registry
from suites.selftest.support.serving import serving


def test_hosts_toml_names_the_registry_and_nothing_else() -> None:
    content = tomllib.loads(hosts_toml(Registry("r", "http://r:5000", "http://127.0.0.1:1")))
    assert content == {
        "server": "http://r:5000",
        "host": {"http://r:5000": {"capabilities": ["pull", "resolve"]}},
    }


class FakeRegistry(BaseHTTPRequestHandler):
    """As much of the OCI distribution specification as a push needs."""

    protocol_version = "HTTP/1.1"
    stored: dict[str, bytes] = {}  # noqa: RUF012 - one for the class, emptied by the fixture
    uploads: list[str] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        content = self.stored.get(self.path)
        self._answer(404 if content is None else 200, content)

    def do_POST(self) -> None:
        self.uploads.append(self.path)
        self.send_response(202)
        self.send_header("Location", f"http://registry{self.path.partition('?')[0]}1?state=x")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        path, _, query = self.path.partition("?")
        if "/uploads/" in path:
            digest = query.rpartition("digest=")[2]
            assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
            path = path.replace("uploads/1", digest)
        self.stored[path] = content
        self._answer(201, content)

    def _answer(self, status: int, content: bytes | None) -> None:
        self.send_response(status)
        if content is not None:
            self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(content).hexdigest()}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def fake_registry() -> Iterator[Registry]:
    FakeRegistry.stored.clear()
    FakeRegistry.uploads.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeRegistry)
    with serving(server):
        yield Registry("fake", "http://fake:5000", f"http://127.0.0.1:{server.server_address[1]}")


def test_a_push_sends_what_is_missing_and_only_that(image: Image, fake_registry: Registry) -> None:
    digests = registry.push(fake_registry, [image])
    assert set(digests) == set(image.references)
    assert FakeRegistry.stored["/v2/a/b/manifests/v1"] == manifest_json(image)
    assert registry.serves(fake_registry, digests)
    assert any("mount=" in upload for upload in FakeRegistry.uploads), "a layer is taken over from the first name"
    FakeRegistry.uploads.clear()
    assert registry.push(fake_registry, [image]) == digests
    assert FakeRegistry.uploads == []
    assert not registry.serves(fake_registry, {"quay.io/a/b:v1": "sha256:other"})


def test_a_registry_that_refuses_is_an_error(
    image: Image, fake_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeRegistry, "do_POST", lambda self: self._answer(500, None))
    with pytest.raises(UserError, match="answered 500"):
        registry.push(fake_registry, [image])
