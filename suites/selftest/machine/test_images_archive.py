"""Archives of images: written, read back, and refused where they are not what they should be."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.base import container_engine
from harness.base.container_engine import DOCKER
from harness.base.errors import UserError
from harness.machine.images import archive, archive_writing
from harness.machine.images.archive_list import (
    LIST,
    SCHEMA_VERSION,
    TOOLS,
    ArchiveList,
    described,
    parsed,
    require_platform,
    written,
)
from harness.machine.images.layers import Image, LayerFile, config_json, docker_archive, write_layer, write_tar
from harness.machine.images.local import LocalImages, Tools, pinned_versions
from harness.machine.images.registry import Registry, push, serves
from harness.model.step_log import StepLog
from harness.runs.options import OPTIONS, Options, parse
from harness.runs.options.values import Images
from suites.selftest.machine.test_registry import FakeRegistry
from suites.selftest.support.serving import serving

Edit = Callable[[str, bytes], bytes | None]


class ReadableRegistry(FakeRegistry):
    """A fake registry that gives out by digest what it was given."""

    stored: dict[str, bytes] = {}  # noqa: RUF012 - one for the class, emptied by the fixture

    def do_GET(self) -> None:  # noqa: D102, N802 - the standard library's name
        place, _, digest = self.path.rpartition("/")
        found = [
            content
            for path, content in self.stored.items()
            if path.startswith(place) and digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
        ]
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(found[0]) if found else 0))
        self.end_headers()
        self.wfile.write(found[0] if found else b"")


@pytest.fixture
def registry() -> Iterator[Registry]:
    ReadableRegistry.stored.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), ReadableRegistry)
    with serving(server):
        yield Registry("fake", "http://fake:5000", f"http://127.0.0.1:{server.server_address[1]}")


@pytest.fixture
def node(tmp_path: Path) -> Image:
    (tmp_path / "layers").mkdir()
    layers = (write_layer(tmp_path / "layers", [LayerFile("/sbin/init", content=b"init")]),)
    return Image(("eastwest/node:v1",), layers, entrypoint=("/sbin/init",))


@pytest.fixture
def images(tmp_path: Path, registry: Registry, node: Image, monkeypatch: pytest.MonkeyPatch) -> LocalImages:
    """Images as they are where an archive is written, and a Docker that only knows the node image."""

    def engine(command: Sequence[str | Path], **_: object) -> str:
        assert (*command[:3], command[4]) == ("docker", "save", "--output", "eastwest/node:v1")
        with Path(command[3]).open("wb") as output:
            write_tar(output, docker_archive(node))
        return ""

    def pip(command: Sequence[str | Path], **_: object) -> str:
        directory = Path(command[command.index("--wheel-dir") + 1])
        directory.mkdir()
        (directory / "rich-14.0.0-py3-none-any.whl").write_text("a wheel")
        return ""

    monkeypatch.setattr(container_engine, "run", engine)
    monkeypatch.setattr(archive_writing, "run", pip)
    (tmp_path / "tools").mkdir()
    for name in TOOLS:
        (tmp_path / "tools" / name).write_text(f"I am {name}")
    manifest = tmp_path / "metallb.yaml"
    manifest.write_text("kind: Namespace")
    gateway_api = tmp_path / "definitions.yaml"
    gateway_api.write_text("kind: CustomResourceDefinition")
    shared = write_layer(tmp_path / "layers", [LayerFile("/hello", content=b"hello")])
    served = [
        Image(("quay.io/a/b:v1", "docker.io/c/d:v2"), (shared,), entrypoint=("/hello",)),
        Image(("quay.io/e/f:v1",), (shared, *node.layers)),
    ]
    tools = Tools(**{name: tmp_path / "tools" / name for name in TOOLS})
    digests = push(registry, served)
    return LocalImages(
        "eastwest/node:v1", registry, digests, tools, manifest, gateway_api, pinned_versions(), built=False
    )


@pytest.fixture
def file(tmp_path: Path, images: LocalImages, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "images.tar"
    monkeypatch.setattr(archive_writing, "NEEDED_GIBIBYTES", 0)
    archive_writing.write(path, images, StepLog())
    return path


def edited(path: Path, edit: Edit) -> Path:
    """The archive with members changed; one for which None comes back is left out."""
    target = path.with_name("edited.tar")
    with tarfile.open(path) as source, tarfile.open(target, "w") as output:
        for member in source:
            content = edit(member.name, source.extractfile(member).read())  # type: ignore[union-attr]
            if content is not None:
                member.size = len(content)
                output.addfile(member, io.BytesIO(content))
    return target


def with_list(path: Path, **changed: object) -> Path:
    def edit(name: str, content: bytes) -> bytes:
        return json.dumps({**json.loads(content), **changed}).encode() if name == LIST else content

    return edited(path, edit)


def options(images: str, **others: str) -> Options:
    values = {option.name: option.default for option in OPTIONS} | {"images": images} | others
    return parse(lambda name: values[name], {})


def test_what_was_written_is_served_where_it_is_opened(
    file: Path, images: LocalImages, node: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ReadableRegistry.stored.clear()
    registry = images.registry
    loads: list[list[LayerFile]] = []
    monkeypatch.setattr(archive, "loaded", lambda *_: bool(loads))
    monkeypatch.setattr(archive, "load", lambda _, files: loads.append(list(files)))
    monkeypatch.setattr(archive, "start_registry", lambda *_: registry)

    def opened(log: StepLog) -> LocalImages:
        return archive.provide(archive.unpack(file, log, tmp_path / "cache"), DOCKER, log, tmp_path / "cache")

    first = opened(StepLog())
    assert (first.node_image, first.images, first.versions) == (images.node_image, images.images, images.versions)
    assert serves(registry, images.images)
    assert next(iter(loads[0])).content == config_json(node)
    assert first.tools.kind.read_text() == "I am kind"
    assert first.tools.kind.stat().st_mode & 0o111
    assert first.metallb_manifest.read_text() == "kind: Namespace"
    assert first.gateway_api.read_text() == "kind: CustomResourceDefinition"
    log = StepLog()
    assert opened(log) == first
    assert [step.outcome for step in log.steps] == ["skipped", "skipped"]
    assert len(loads) == 1


def test_the_list_stands_beside_the_archive_and_names_everything(file: Path, images: LocalImages) -> None:
    beside = file.with_name("images.tar.json").read_bytes()
    known, content = archive.read_list(file)
    assert beside == content == written(known)
    assert known.images == images.images
    lines = list(described(known))
    assert any(line.endswith("  quay.io/a/b:v1") for line in lines)
    assert {line.rpartition("  ")[2] for line in lines} >= {
        *(f"tools/{name}" for name in TOOLS),
        "wheels/rich-14.0.0-py3-none-any.whl",
    }
    with tarfile.open(file) as whole:
        names = whole.getnames()
    assert names == [LIST, *known.files]
    assert len(names) == len(set(names)), "what images share is there once"


def test_an_archive_is_an_oci_layout(file: Path, images: LocalImages) -> None:
    with tarfile.open(file) as whole:
        index = json.load(whole.extractfile("index.json"))  # type: ignore[arg-type]
    found = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in index["manifests"]}
    assert {reference: found[reference] for reference in images.images} == images.images


def test_wheels_are_of_everything_that_pyproject_names() -> None:
    project = '[project]\ndependencies = ["b"]\n[project.optional-dependencies]\ndev = ["c"]\n'
    text = project + '[build-system]\nrequires = ["a>=1"]'
    assert archive_writing.requirements(text) == ["a>=1", "b", "c"]


def test_nothing_half_written_is_left(file: Path, images: LocalImages, monkeypatch: pytest.MonkeyPatch) -> None:
    ReadableRegistry.stored.clear()
    before = sorted(file.parent.iterdir())
    with pytest.raises(UserError, match="lacks a part of a/b"):
        archive_writing.write(file.with_name("other.tar"), images, StepLog())
    assert sorted(file.parent.iterdir()) == before


def changed(name: str, content: bytes) -> bytes | None:
    return content.replace(b"kind", b"evil") if name == "tools/kind" else content


def grown(name: str, content: bytes) -> bytes | None:
    return content + b"!" if name == "tools/kind" else content


def shortened(name: str, content: bytes) -> bytes | None:
    return None if name == "tools/kind" else content


def renamed(name: str, content: bytes) -> bytes | None:
    return content.replace(b'"tools/kind"', b'"../../kind"') if name == LIST else content


def listless(name: str, content: bytes) -> bytes | None:
    return None if name == LIST else content


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (changed, "tools/kind does not have the digest"),
        (grown, "tools/kind is not as its list says"),
        (shortened, "it ends before tools/kind"),
        (renamed, "it names '../../kind'"),
        (listless, "is no archive of images"),
    ],
)
def test_a_damaged_archive_is_refused_and_leaves_nothing(file: Path, tmp_path: Path, edit: Edit, said: str) -> None:
    with pytest.raises(UserError, match=said):
        archive.unpack(edited(file, edit), StepLog(), tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix != ".lock" and path.is_file()]


@pytest.mark.parametrize("part", [0, 100, 30_000])
def test_an_archive_that_was_cut_off_is_refused(file: Path, tmp_path: Path, part: int) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes(file.read_bytes()[:part])
    with pytest.raises(UserError, match=r"damaged|no archive"):
        archive.unpack(cut, StepLog(), tmp_path / "cache")


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        archive.read_list(tmp_path / "absent.tar")
    with pytest.raises(UserError, match="Is a directory"):
        archive.read_list(tmp_path)


def test_another_schema_version_platform_or_pin_is_refused(file: Path) -> None:
    with pytest.raises(UserError, match=f"schema 1, and schema {SCHEMA_VERSION} is understood"):
        archive.read_list(with_list(file, schema_version=1))
    with pytest.raises(UserError, match="programs for linux/arm64"):
        archive.read_list(with_list(file, platform="linux/arm64"))
    with pytest.raises(UserError, match=r"it holds istio 1\.2\.3"):
        archive.read_list(with_list(file, versions={**pinned_versions(), "istio": "1.2.3"}))
    known, _ = archive.read_list(file)
    with pytest.raises(UserError, match="this is darwin/arm64"):
        require_platform(known, "a.tar", "Darwin/arm64")


def test_a_list_that_is_none_is_damage() -> None:
    for content in (b"", b"[]", f'{{"schema_version": {SCHEMA_VERSION}}}'.encode(), b"\xff"):
        with pytest.raises(UserError, match="damaged"):
            parsed(content, "a.tar")
    assert "properties" in ArchiveList.model_json_schema()


def test_the_option_names_the_file() -> None:
    given = options("archive:/media/images.tar")
    assert given.images == Images("archive", Path("/media/images.tar"))
    assert options("local").images == Images("local")
    for value, said in (("archive:", "names no file"), ("archive", "names no file"), ("archives:x", "is not known")):
        with pytest.raises(UserError, match=said):
            options(value)
    with pytest.raises(UserError, match="exclude each other"):
        options("archive:x", contexts="a,b")
