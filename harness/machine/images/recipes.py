"""What each image consists of: which layers, under which references."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.machine.images import versions
from harness.machine.images.layers import Image, Layer, LayerFile, executable, write_layer

KUBERNETES_COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ISTIO_PROXY_USER = 1337
PAUSE_IMAGE = f"registry.k8s.io/pause:{versions.PAUSE}"
ISTIO_HUBS = (versions.ISTIO_HUB, "docker.io/istio")
"""The hub of the charts and of istioctl, and the one that older charts and operators name."""
SAMPLE_HUBS = ("registry.istio.io/release", "docker.io/istio")


@dataclass(frozen=True)
class Ingredients:
    """Everything images are put together from."""

    cache: Path
    """Layers are written to `layers` in there."""
    base: Layer
    """Small Debian with a shell, curl, openssl, iptables and iproute2."""
    programs: Mapping[str, Path]
    """Go module name, as in modules/, to the directory of its programs."""
    envoy: Path
    """The envoy program."""
    ztunnel: Path | None = None
    """The ztunnel program, where someone has given it."""

    def program(self, module: str, name: str) -> Path:
        """Path of a program, or of a file that its module ships."""
        return self.programs[module] / name

    def layer(self, *files: LayerFile) -> Layer:
        """Write a layer of these files."""
        return write_layer(self.cache / "layers", files)


def kubernetes_layer(have: Ingredients) -> Layer:
    """The one Kubernetes program, and a link to it for each name it goes by."""
    links = [LayerFile(f"/usr/local/bin/{name}", link="kubernetes", mode=0o777) for name in KUBERNETES_COMPONENTS]
    return have.layer(executable("/usr/local/bin/kubernetes", have.program("shared", "kubernetes")), *links)


def node_images(have: Ingredients) -> list[Image]:
    """What a node needs to start: baked into it, under the references that kubeadm asks for."""
    kubernetes = kubernetes_layer(have)
    environment = {"PATH": PATH}
    images = [
        Image(
            (f"registry.k8s.io/{name}:{versions.KUBERNETES}",),
            (have.base, kubernetes) if name == "kube-proxy" else (kubernetes,),
            entrypoint=(f"/usr/local/bin/{name}",),
            environment=environment,
        )
        for name in KUBERNETES_COMPONENTS
    ]
    etcd = have.layer(executable("/usr/local/bin/etcd", have.program("shared", "etcd")))
    coredns = have.layer(executable("/coredns", have.program("shared", "coredns")))
    pause = have.layer(executable("/pause", have.program("samples", "pause")))
    return [
        *images,
        Image((f"registry.k8s.io/etcd:{versions.ETCD_TAG}",), (etcd,), environment=environment),
        Image((f"registry.k8s.io/coredns/coredns:{versions.COREDNS}",), (coredns,), entrypoint=("/coredns",)),
        Image((PAUSE_IMAGE,), (pause,), entrypoint=("/pause",), user="65535:65535"),
    ]


def registry_images(have: Ingredients) -> list[Image]:
    """What the registry serves: the mesh, its load balancer and the sample workloads."""
    istio = [istiod_image(have), proxy_image(have), cni_image(have)]
    if have.ztunnel:
        istio.append(ztunnel_image(have, have.ztunnel))
    return [*istio, *metallb_images(have), *sample_images(have)]


def istiod_image(have: Ingredients) -> Image:
    """The control plane, laid out as upstream's."""
    program = executable("/usr/local/bin/pilot-discovery", have.program("shared", "pilot-discovery"))
    return Image(
        istio_references("pilot"),
        (have.base, have.layer(program, *account_files("istio-proxy", ISTIO_PROXY_USER))),
        entrypoint=("/usr/local/bin/pilot-discovery",),
        environment={"PATH": PATH},
        user=f"{ISTIO_PROXY_USER}:{ISTIO_PROXY_USER}",
    )


def proxy_image(have: Ingredients) -> Image:
    """The proxy, laid out as upstream's."""
    template = upstream_bootstrap(have.program("shared", "envoy_bootstrap.json").read_text())
    bootstrap = LayerFile("/var/lib/istio/envoy/envoy_bootstrap_tmpl.json", content=template.encode())
    program = executable("/usr/local/bin/pilot-agent", have.program("shared", "pilot-agent"))
    # Envoy has a layer to itself: it stays when Istio changes.
    envoy = have.layer(executable("/usr/local/bin/envoy", have.envoy))
    return Image(
        istio_references("proxyv2"),
        (have.base, envoy, have.layer(program, bootstrap, *account_files("istio-proxy", ISTIO_PROXY_USER))),
        entrypoint=("/usr/local/bin/pilot-agent",),
        environment={"PATH": PATH, "ISTIO_META_ISTIO_PROXY_SHA": f"envoy:{versions.ENVOY}"},
        directory="/",
    )


def upstream_bootstrap(template: str) -> str:
    """The proxy's bootstrap template without Istio's discovery of workloads, which upstream Envoy does not have. Pure.

    Nothing else turns it off for a waypoint, and the east-west gateway of an ambient mesh is one (Istio,
    pkg/bootstrap/config.go).
    """
    return template.replace("{{- if .metadata_discovery }}", "{{- if false }}")


def cni_image(have: Ingredients) -> Image:
    """The CNI plugin with its installer, laid out as upstream's."""
    plugin = executable("/opt/cni/bin/istio-cni", have.program("shared", "istio-cni"))
    installer = executable("/usr/local/bin/install-cni", have.program("shared", "install-cni"))
    return Image(
        istio_references("install-cni"),
        (have.base, have.layer(plugin, installer)),
        command=("/usr/local/bin/install-cni",),
        environment={"PATH": f"{PATH}:/opt/cni/bin"},
        directory="/opt/cni/bin",
    )


def ztunnel_image(have: Ingredients, program: Path) -> Image:
    """ztunnel, laid out as upstream's."""
    return Image(
        istio_references("ztunnel"),
        (have.base, have.layer(executable("/usr/local/bin/ztunnel", program))),
        entrypoint=("/usr/local/bin/ztunnel",),
        environment={"PATH": PATH},
        directory="/",
    )


def istio_references(name: str) -> tuple[str, ...]:
    """References of an Istio image: every hub that charts name, by version and as latest."""
    return tuple(f"{hub}/{name}:{tag}" for hub in ISTIO_HUBS for tag in (versions.ISTIO, "latest"))


def metallb_images(have: Ingredients) -> list[Image]:
    """MetalLB's controller and speaker."""
    return [
        Image(
            (f"quay.io/metallb/{name}:{versions.METALLB}",),
            (have.layer(executable(f"/{name}", have.program("metallb", name))),),
            entrypoint=(f"/{name}",),
        )
        for name in ("controller", "speaker")
    ]


def sample_images(have: Ingredients) -> list[Image]:
    """Helloworld in both versions, curl for the sleep sample, and Istio's echo server."""
    helloworld = have.layer(executable("/usr/local/bin/helloworld", have.program("samples", "helloworld")))
    curl = have.layer(*account_files("curl_user", 100))
    echo = have.layer(
        executable("/usr/local/bin/server", have.program("shared", "server")),
        executable("/usr/local/bin/client", have.program("shared", "client")),
    )
    return [
        *(
            Image(
                tuple(f"{hub}/examples-helloworld-{version}:{versions.HELLOWORLD}" for hub in SAMPLE_HUBS),
                (helloworld,),
                entrypoint=("/usr/local/bin/helloworld",),
                environment={"PATH": PATH, "SERVICE_VERSION": version},
            )
            for version in ("v1", "v2")
        ),
        Image(
            (f"docker.io/curlimages/curl:{versions.CURL}", "docker.io/curlimages/curl:latest"),
            (have.base, curl),
            command=("curl",),
            environment={"PATH": PATH},
            user="100",
        ),
        Image(
            istio_references("app"),
            (have.base, echo),
            entrypoint=("/usr/local/bin/server",),
            environment={"PATH": PATH},
            user="1338",
        ),
    ]


def account_files(name: str, user: int) -> tuple[LayerFile, ...]:
    """/etc/passwd and /etc/group with root, nobody and one account more: pure."""
    passwd = (
        "root:x:0:0:root:/root:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        f"{name}:x:{user}:{user}:{name}:/home/{name}:/bin/sh\n"
    )
    group = f"root:x:0:\nnogroup:x:65534:\n{name}:x:{user}:\n"
    return (
        LayerFile("/etc/passwd", content=passwd.encode()),
        LayerFile("/etc/group", content=group.encode()),
        LayerFile(f"/home/{name}", mode=0o755, user=user),
    )
