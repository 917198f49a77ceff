"""The node image: a Debian that runs systemd, containerd and the kubelet, with what a cluster needs to start."""

import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.base.cache import digest_of, entry
from harness.base.command import CommandError, run
from harness.base.container_engine import ContainerEngine
from harness.base.errors import UserError
from harness.base.waiting import WaitError, wait_until
from harness.machine.images import versions
from harness.machine.images.layers import (
    Image,
    Layer,
    LayerFile,
    config_json,
    executable,
    keep_layer,
    kept_layer,
    manifest_json,
    write_oci_archive,
    write_tar,
)
from harness.machine.images.recipes import PATH, PAUSE_IMAGE, Ingredients, kubernetes_layer, node_images

FILES_DIRECTORY = Path(__file__).parent / "node_files"
REPOSITORY = "eastwest/node"
UNITS = ("containerd.service", "kubelet.service", "node-dns.service")
MASKED = (
    "systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-logind.service", "systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service",
    "systemd-modules-load.service", "systemd-sysctl.service", "systemd-remount-fs.service",
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount", "dev-hugepages.mount",
    "getty.target", "console-getty.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
    "e2scrub_all.timer", "fstrim.timer", "docker-registry.service", "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service", "e2scrub_reap.service", "modprobe@.service", "systemd-tmpfiles-clean.timer",
    "sys-fs-fuse-connections.mount",
)  # fmt: skip
"""Units of Debian that a container has no use for, or that would act on the machine it runs on."""
CNI_PLUGINS = ("host-local", "loopback", "portmap", "ptp")
IMPORT_SECONDS = 120.0


def build_node_image(have: Ingredients, rootfs: Layer) -> Image:
    """Put the node image together; its layers are on disk afterwards.

    Args:
        have: what images are made from.
        rootfs: the layer of the node's root file system.
    """
    images = node_images(have)
    layers = (rootfs, kubernetes_layer(have), have.layer(*node_files(have)), image_store(have, images))
    image = Image(
        (REPOSITORY,),
        layers,
        entrypoint=("/usr/local/bin/eastwest-node",),
        environment={"PATH": PATH, "container": "docker"},
        stop_signal="SIGRTMIN+3",
    )
    tag = digest_of(config_json(image))[:12]
    return Image(
        (f"{REPOSITORY}:{versions.KUBERNETES}-{tag}",),
        layers,
        entrypoint=image.entrypoint,
        environment=image.environment,
        stop_signal=image.stop_signal,
    )


def node_files(have: Ingredients) -> Iterator[LayerFile]:
    """Programs, configuration and units of a node."""
    for name in ("containerd", "containerd-shim-runc-v2", "ctr"):
        yield executable(f"/usr/local/bin/{name}", have.program("shared", name))
    yield executable("/usr/local/bin/coredns", have.program("shared", "coredns"))
    for name in CNI_PLUGINS:
        yield executable(f"/opt/cni/bin/{name}", have.program("shared", name))
    for name in ("kubelet", "kubeadm", "kubectl"):
        yield LayerFile(f"/usr/bin/{name}", link="/usr/local/bin/kubernetes", mode=0o777)
    yield LayerFile("/kind/version", content=versions.KUBERNETES.encode())
    yield from configuration_files()


def configuration_files() -> Iterator[LayerFile]:
    """The files under node_files/, and the links that enable and mask units."""
    for file in sorted(path for path in FILES_DIRECTORY.rglob("*") if path.is_file()):
        content = file.read_text().replace("@PAUSE_IMAGE@", PAUSE_IMAGE)
        place = f"/{file.relative_to(FILES_DIRECTORY)}"
        yield LayerFile(place, content=content.encode(), mode=0o755 if "/bin/" in place else 0o644)
    units = "/etc/systemd/system"
    for unit in UNITS:
        yield LayerFile(f"{units}/multi-user.target.wants/{unit}", link=f"{units}/{unit}", mode=0o777)
    for unit in MASKED:
        yield LayerFile(f"{units}/{unit}", link="/dev/null", mode=0o777)


def image_store(have: Ingredients, images: list[Image]) -> Layer:
    """The store of containerd with these images in it, as a layer: nodes begin with them and load nothing.

    A containerd of this machine's own fills it in a scratch directory. The images are unpacked by the node, which
    knows its file system. The store has times in it and is never the same twice: it is kept in the cache.
    """
    path = have.cache / "rootfs" / f"store-{digest_of(*map(manifest_json, images))}"
    entry(path, lambda directory: _fill_store(have.program("shared", "containerd"), directory, images))
    return kept_layer(path)


def _fill_store(containerd: Path, directory: Path, images: list[Image]) -> None:
    with tempfile.TemporaryDirectory(prefix="eastwest-") as name:
        scratch = Path(name)
        root = scratch / "content" / "var" / "lib" / "containerd"
        root.mkdir(parents=True)
        archive = scratch / "images.tar"
        with archive.open("wb") as output:
            write_oci_archive(output, images)
        with _containerd(containerd, root, scratch) as socket:
            ctr = [str(containerd.with_name("ctr")), "--address", str(socket), "--namespace=k8s.io"]
            options = ["--local", "--no-unpack", "--label=io.cri-containerd.pinned=pinned"]
            run([*ctr, "images", "import", *options, str(archive)], timeout=IMPORT_SECONDS)
        members = ["--sort=name", "--mtime=@0", "--numeric-owner", "--owner=0", "--group=0"]
        tar = directory / "layer.tar"
        run(["tar", *members, "--create", "--file", tar, "--directory", scratch / "content", "var/lib/containerd"])
    keep_layer(directory, tar)


@contextmanager
def _containerd(program: Path, root: Path, scratch: Path) -> Iterator[Path]:
    socket, config, log = scratch / "socket", scratch / "config.toml", scratch / "log"
    config.write_text(containerd_config(root, scratch / "state", socket))
    with (
        log.open("wb") as output,
        subprocess.Popen([program, "--config", config], stdout=output, stderr=output) as process,
    ):
        try:
            wait_until(
                lambda: "" if _answers(program, socket) else "containerd does not answer",
                IMPORT_SECONDS,
                hopeless=lambda: "" if process.poll() is None else "it ended",
            )
            yield socket
        except WaitError as failed:
            lines = log.read_text(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else str(failed)
            raise UserError("The node image could not be filled", reason, "try again as root") from None
        finally:
            process.terminate()


def _answers(program: Path, socket: Path) -> bool:
    try:
        run([program.with_name("ctr"), "--address", socket, "version"], timeout=10)
    except CommandError:
        return False
    return True


def containerd_config(root: Path, state: Path, socket: Path) -> str:
    """Configuration of a containerd that only stores images: pure."""
    plugins = ("io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri")
    return (
        f"version = 3\nroot = '{root}'\nstate = '{state}'\ndisabled_plugins = {list(plugins)}\n"
        f"[grpc]\naddress = '{socket}'\n[ttrpc]\naddress = '{socket}.ttrpc'\n"
    )


def loaded(engine: ContainerEngine, reference: str, layers: Iterable[Layer]) -> bool:
    """Whether the container engine holds the image of this name with these very layers."""
    try:
        there = engine.run("image", "inspect", "--format", "{{json .RootFS.Layers}}", reference)
    except CommandError:
        return False
    return all(layer.digest in there for layer in layers)


def load(engine: ContainerEngine, files: Iterable[LayerFile]) -> None:
    """Give the container engine an image as the files of an archive that `docker load` takes.

    Raises:
        UserError: it did not take it.
    """
    with subprocess.Popen(
        [engine.name, "load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=engine.environment(),
    ) as process:
        assert process.stdin and process.stdout  # noqa: S101 - both are pipes
        try:
            write_tar(process.stdin, files)
            process.stdin.close()
        except BrokenPipeError:
            pass
        output = process.stdout.read().decode(errors="replace").strip()
    if process.returncode != 0:
        last = output.splitlines()[-1] if output else f"{engine.name} load ended with status {process.returncode}"
        raise UserError(f"{engine.name} did not take the node image", last, "see that it has disk space and works")
