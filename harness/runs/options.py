"""What a run is asked to do: every command line option, its environment variable and its default, in one table."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.base.errors import UserError
from harness.judge.requirement import Level, Requirement
from harness.mesh import distributions
from harness.mesh.distributions import Distribution
from harness.model.resilience import SCENARIOS
from harness.model.topology import ControlPlaneModel, NetworkModel, Topology, preset
from harness.runs import topology_file

PREFIX = "EASTWEST_"
ImageSource = Literal["auto", "registry", "local", "archive"]


@dataclass(frozen=True)
class OptionSpec:
    """One command line option."""

    name: str
    """Without the dashes."""
    default: str
    """As text; the empty string is "not given". Flags have none."""
    help: str
    flag: bool = False
    repeatable: bool = False
    paths: bool = False
    """Its values are files: several in the variable are separated as in KUBECONFIG, with : on Linux."""
    bare: str = ""
    """The value where the option is given without one; empty where it needs one."""

    @property
    def destination(self) -> str:
        """Its name in pytest's namespace, apart from pytest's own options."""
        return "eastwest_" + self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that stands in for it."""
        return PREFIX + self.name.replace("-", "_").upper()

    def read(self, argument: object, variable: str | None) -> str | list[str] | bool:
        """The value that was given: the argument wins over the variable, and the default holds without both. Pure.

        Args:
            argument: from the command line: text, a list where it is repeatable, True for a flag; None without it.
            variable: the environment variable's value; None where it is not set.
        """
        if self.flag:
            return bool(argument) if argument is not None else (variable or "").lower() in ("1", "true", "yes")
        if self.repeatable:
            if isinstance(argument, list):
                return argument
            several = (variable or "").split(os.pathsep) if self.paths else [variable or ""]
            return [value for value in several if value]
        return str(argument) if argument is not None else self.default if variable is None else variable


OPTIONS = (
    OptionSpec("topology", "all", "control plane models: multi-primary, primary-remote (comma separated) or all"),
    OptionSpec("network", "multi", "network models: multi, single (comma separated) or all"),
    OptionSpec("clusters", "2", "number of clusters of the mesh"),
    OptionSpec("topology-file", "", "a mixed topology, YAML (docs/topology-files.md)", repeatable=True, paths=True),
    OptionSpec("contexts", "", "kubeconfig contexts of existing clusters, east first (comma separated)"),
    OptionSpec("kubeconfig", "", "kubeconfig of existing clusters; default KUBECONFIG", repeatable=True, paths=True),
    OptionSpec("peer-server", "", "CONTEXT=URL: API server address that other clusters must use", repeatable=True),
    OptionSpec("verify-only", "", "judge the mesh that is on --contexts; install and change nothing", flag=True),
    OptionSpec("distribution", "istio", "what is installed: istio, sail, ossm, or a YAML file (docs/distributions.md)"),
    OptionSpec("installer", "", "istioctl or sail; default the distribution's"),
    OptionSpec("istio-version", "", "version of Istio; default the distribution's, or the newest known"),
    OptionSpec("node-image", "", "node image of kind clusters; default the one that kind publishes"),
    OptionSpec("registry-mirror", "", "URL of a registry from which nodes of kind clusters pull every image"),
    OptionSpec(
        "images", "auto", "registry, local (built from packages), archive:FILE or auto: registry where one answers"
    ),
    OptionSpec("load-balancer", "auto", "cloud-provider-kind, metallb or auto: the first where it is on PATH"),
    OptionSpec("pki", "", "directory with NAME/{ca-cert,ca-key,root-cert,cert-chain}.pem; default made ones"),
    OptionSpec("namespace", "sample", "namespace of the sample workloads"),
    OptionSpec("requests", "400", "requests per client, to measure how answers are distributed"),
    OptionSpec("requirement", "", "judge only these ids (comma separated); the report says partial"),
    OptionSpec("area", "", "judge only these areas (comma separated); the report says partial"),
    OptionSpec("level", "", "judge only these levels: MUST, SHOULD, EXTENDED (comma separated)"),
    OptionSpec("skip-requirement", "", "ID:REASON: do not judge it, and say why", repeatable=True),
    OptionSpec("fault", "", "make only these faults (comma separated): suites/faults"),
    OptionSpec("variant", "", "make only these variants (comma separated): suites/variants"),
    OptionSpec("resilience", "", "also change the mesh while it serves, and judge what must hold meanwhile", flag=True),
    OptionSpec("scenario", "", "with --resilience: play only these scenarios (comma separated)"),
    OptionSpec("output", "output", "directory for everything that is written"),
    OptionSpec("observation", "", "judge this recorded observation instead of clusters", repeatable=True, paths=True),
    OptionSpec("observe-only", "", "record the observation, judge nothing", flag=True),
    OptionSpec("plan", "", "only print every step: as text, or with --plan=shell as a bash script", bare="text"),
    OptionSpec("preflight", "", "only check engine, memory, disk and programs; nothing is made", flag=True),
    OptionSpec("keep", "", "keep the clusters, and the mesh of the last topology", flag=True),
    OptionSpec("reuse", "", "take clusters that an earlier run kept", flag=True),
    OptionSpec("timeout-scale", "1", "factor for every deadline, for slow machines and clouds"),
    OptionSpec(
        "fail-on", "must", "what must pass: must, should (SHOULD, too) or any (nothing may fail, be blocked or unknown)"
    ),
)


@dataclass(frozen=True)
class Options:
    """The options of a run, checked."""

    catalogue: Mapping[str, Requirement]
    """Every requirement there is, by id."""
    topologies: tuple[Topology, ...]
    contexts: tuple[str, ...]
    kubeconfigs: tuple[Path, ...]
    peer_servers: Mapping[str, str]
    verify_only: bool
    distribution: Distribution
    """With the installer that is used."""
    istio_version: str
    """Without a v; empty where any will do."""
    node_image: str
    registry_mirror: str
    images: ImageSource
    archive: Path | None
    """Set where images come from one."""
    load_balancer: Literal["auto", "cloud-provider-kind", "metallb"]
    pki: Path | None
    namespace: str
    requests: int
    requirements: frozenset[str]
    areas: frozenset[str]
    levels: frozenset[Level]
    skipped: Mapping[str, str]
    """Requirement id → why it is not judged."""
    faults: frozenset[str]
    """Ids of the faults that suites/faults makes; all where empty."""
    variants: frozenset[str]
    """Ids of the variants that suites/variants makes; all where empty."""
    resilience: bool
    scenarios: frozenset[str]
    """Played with --resilience, if their requirements are judged: all of them unless some are named."""
    output: Path
    observations: tuple[Path, ...]
    observe_only: bool
    plan: Literal["", "text", "shell"]
    preflight: bool
    keep: bool
    reuse: bool
    timeout_scale: float
    fail_on: Literal["must", "should", "any"]

    @property
    def existing(self) -> bool:
        """Whether the clusters are there already."""
        return bool(self.contexts)

    @property
    def partial(self) -> bool:
        """Whether a part of the catalogue is left out on purpose."""
        return bool(self.requirements or self.areas or self.levels or self.skipped)

    def selects(self, requirement: Requirement) -> bool:
        """Whether a requirement is to be judged."""
        return not self.left_out_by(requirement)

    def left_out_by(self, requirement: Requirement) -> str:
        """The option, with its values, that leaves a requirement out; empty where none does."""
        choices: tuple[tuple[str, frozenset[str], str], ...] = (
            ("requirement", self.requirements, requirement.id),
            ("area", self.areas, requirement.area),
            ("level", frozenset(self.levels), requirement.level),
        )
        found = next(((name, chosen) for name, chosen, own in choices if chosen and own not in chosen), None)
        return f"{found[0]}={','.join(sorted(found[1]))}" if found else ""

    @property
    def judged(self) -> tuple[Requirement, ...]:
        """The requirements that the options select."""
        return tuple(row for row in self.catalogue.values() if self.selects(row) and row.id not in self.skipped)

    @property
    def experiments(self) -> frozenset[str]:
        """The requirements whose experiments are made: those that are judged."""
        return frozenset(row.id for row in self.judged if row.experiment)

    @property
    def played(self) -> frozenset[str]:
        """The scenarios that the run plays: none without --resilience."""
        return self.scenarios if self.resilience and not self.observations else frozenset()


Raw = Callable[[str], str | list[str] | bool]
"""Gives an option's value by its name: text, a list where it is repeatable, whether it is set for a flag."""


def parse(raw: Raw, catalogue: Mapping[str, Requirement]) -> Options:
    """Check the options' values and give them their types.

    Args:
        raw: the options as they were given.
        catalogue: every requirement that can be chosen, by id.

    Raises:
        UserError: a value that is not one of the option's; names the option.
    """

    def text(name: str) -> str:
        return str(raw(name) or "")

    def listed(name: str) -> tuple[str, ...]:
        given = raw(name)
        values = given if isinstance(given, list) else [str(given or "")]
        return tuple(part.strip() for value in values for part in value.split(",") if part.strip())

    contexts = listed("contexts")
    _no_twins("contexts", contexts)
    if contexts and raw("reuse"):
        raise UserError(
            "--reuse and --contexts exclude each other.",
            "it takes kind clusters that an earlier run kept, and these are clusters that are there anyway",
            "leave one of them out",
        )
    distribution = _distribution(text("distribution"), text("installer"))
    count = len(contexts) if contexts else _number("clusters", text("clusters"), int, least=2)
    images, archive = _images(text("images"), contexts)
    return Options(
        catalogue=catalogue,
        topologies=_from_files(_raw_list(raw("topology-file")), text, contexts)
        or _topologies(listed("topology"), listed("network"), int(count)),
        contexts=contexts,
        kubeconfigs=tuple(Path(value) for value in _raw_list(raw("kubeconfig"))),
        peer_servers=_pairs("peer-server", listed("peer-server"), "="),
        verify_only=_verify_only(raw, contexts),
        distribution=distribution,
        istio_version=text("istio-version").removeprefix("v") or distribution.istio_version,
        node_image=_not_built("node-image", text("node-image"), text("images")),
        registry_mirror=_not_built("registry-mirror", _url("registry-mirror", text("registry-mirror")), text("images")),
        images=images,
        archive=archive,
        load_balancer=_one_of(  # type: ignore[arg-type]
            "load-balancer", text("load-balancer"), ("auto", "cloud-provider-kind", "metallb")
        ),
        pki=Path(text("pki")) if text("pki") else None,
        namespace=_namespace(text("namespace"), distribution),
        requests=int(_number("requests", text("requests"), int, least=10)),
        requirements=frozenset(_some_of("requirement", listed("requirement"), tuple(sorted(catalogue)))),
        areas=frozenset(_some_of("area", listed("area"), tuple(sorted({row.area for row in catalogue.values()})))),
        levels=frozenset(Level(level) for level in _some_of("level", listed("level"), tuple(Level))),
        skipped=_skipped(_raw_list(raw("skip-requirement")), frozenset(catalogue)),
        faults=frozenset(listed("fault")),
        variants=frozenset(listed("variant")),
        resilience=_resilience(raw, listed("scenario")),
        scenarios=frozenset(_some_of("scenario", listed("scenario"), SCENARIOS) or SCENARIOS),
        output=Path(text("output")),
        observations=tuple(Path(value) for value in _raw_list(raw("observation"))),
        observe_only=bool(raw("observe-only")),
        plan=_one_of("plan", text("plan"), ("text", "shell")) if text("plan") else "",  # type: ignore[arg-type]
        preflight=bool(raw("preflight")),
        keep=bool(raw("keep")),
        reuse=bool(raw("reuse")),
        timeout_scale=_number("timeout-scale", text("timeout-scale"), float, least=0.1),
        fail_on=_one_of("fail-on", text("fail-on"), ("must", "should", "any")),  # type: ignore[arg-type]
    )


def _resilience(raw: Raw, scenarios: tuple[str, ...]) -> bool:
    """Whether the mesh is changed while it serves."""
    asked = bool(raw("resilience"))
    if scenarios and not asked:
        raise UserError(
            "--scenario needs --resilience.",
            "scenarios change the mesh while it serves, which only --resilience allows",
            "add --resilience, or leave --scenario out",
        )
    if asked and raw("verify-only"):
        raise UserError(
            "--resilience and --verify-only exclude each other.",
            "the one changes the mesh, the other changes nothing",
            "leave one of them out",
        )
    return asked


def _images(value: str, contexts: tuple[str, ...]) -> tuple[ImageSource, Path | None]:
    """Where images come from, and the file where that is an archive."""
    kind, _, file = value.partition(":")
    if kind != "archive":
        return _one_of("images", value, ("auto", "registry", "local", "archive:FILE")), None  # type: ignore[return-value]
    if not file:
        raise UserError(
            f"--images={value} names no file.",
            "an archive is one file, which `make archive` writes",
            "give it as --images=archive:FILE",
        )
    if contexts:
        raise UserError(
            "--images=archive and --contexts exclude each other.",
            "clusters that are there already pull their images from the registries they know",
            "put the images there (docs/disconnected.md), and leave --images out",
        )
    return "archive", Path(file)


def _distribution(name: str, installer: str) -> Distribution:
    found = distributions.load(name)
    if not installer or installer == found.installer:
        return found
    _one_of("installer", installer, ("istioctl", "sail"))
    if installer == "sail" and found.operator is None:
        raise UserError(
            f"--installer=sail can't be used with the distribution {found.name}.",
            "it does not say how the operator arrives",
            "use --distribution=sail, or a file of your own with the key operator",
        )
    return found.model_copy(update={"installer": installer})


def _namespace(name: str, distribution: Distribution) -> str:
    """A namespace for the sample: it is made, labelled and removed."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
        raise UserError(
            f"--namespace={name} can't be a namespace.",
            "a name has 1 to 63 of a-z, 0-9 and -, and begins and ends with a letter or digit (RFC 1123)",
            "correct --namespace",
        )
    taken = (distribution.namespaces.system, distribution.namespaces.cni)
    if name in taken or name.startswith("kube-"):
        raise UserError(
            f"--namespace={name} can't hold the sample.",
            f"Kubernetes keeps kube-* for itself, and the mesh {' and '.join(taken)}",
            "choose another --namespace",
        )
    return name


def _not_built(option: str, value: str, images: str) -> str:
    if value and images not in ("auto", "registry"):
        raise UserError(
            f"--{option} can't be used with --images={images}.",
            "nodes and images are then those that the suite brings",
            f"leave --{option} out, or use --images=registry",
        )
    return value


def _url(option: str, value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise UserError(f"--{option}={value} is no URL.", "it begins with https:// or http://", f"correct --{option}")
    return value.rstrip("/")


def _verify_only(raw: Raw, contexts: tuple[str, ...]) -> bool:
    """Whether a mesh is only observed; what would say how it is to be is then refused."""
    if not raw("verify-only"):
        return False
    if not contexts:
        raise UserError(
            "--verify-only needs --contexts.",
            "it judges a mesh that is there, on clusters that exist",
            "name their kubeconfig contexts: --contexts=east,west",
        )
    senseless = ("topology", "network", "clusters", "topology-file", "pki", "keep", "reuse", "plan")
    for option in (option for option in OPTIONS if option.name in senseless):
        if (raw(option.name) or "") not in (option.default, "", []):
            raise UserError(
                f"--verify-only and --{option.name} exclude each other.",
                "nothing is installed, and what the mesh was meant to be is found out",
                f"leave --{option.name} out",
            )
    return True


def _from_files(files: tuple[str, ...], text: Callable[[str], str], contexts: tuple[str, ...]) -> tuple[Topology, ...]:
    defaults = {option.name: option.default for option in OPTIONS}
    for other in ("topology", "network", "clusters") if files else ():
        if text(other) != defaults[other]:
            raise UserError(
                f"--topology-file and --{other} exclude each other.",
                "the file says everything of the topology",
                "leave one of them out",
            )
    topologies = topology_file.load_all([Path(file) for file in files])
    for topology in topologies if contexts else ():
        if len(topology.clusters) != len(contexts):
            raise UserError(
                f"{topology.name} has {len(topology.clusters)} clusters, and --contexts names {len(contexts)}.",
                "the contexts are those of the file's clusters, in its order",
                "correct --contexts or --topology-file",
            )
        if _names(topology) != _names(topologies[0]):
            raise UserError(
                f"{topology.name} names its clusters otherwise than {topologies[0].name}.",
                "each of the contexts has one name in a run",
                "give the clusters the same names in every file, or run the files one by one",
            )
    return topologies


def _names(topology: Topology) -> tuple[str, ...]:
    return tuple(cluster.name for cluster in topology.clusters)


def _topologies(models: tuple[str, ...], networks: tuple[str, ...], clusters: int) -> tuple[Topology, ...]:
    chosen_models = _choices("topology", models, tuple(ControlPlaneModel))
    chosen_networks = _choices("network", networks, tuple(NetworkModel))
    return tuple(
        preset(ControlPlaneModel(model), NetworkModel(network), clusters)
        for network in chosen_networks
        for model in chosen_models
    )


def _choices(option: str, given: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    if "all" in given:
        return known
    if not given:
        raise UserError(f"--{option} is empty.", "nothing would be run", f"give one of: {', '.join(known)}, all")
    chosen = _some_of(option, given, known)
    return tuple(value for value in known if value in chosen)


def _some_of(option: str, given: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    for value in given:
        _one_of(option, value, known)
    return given


def _one_of(option: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise UserError(
            f"--{option}={value} is not known.",
            f"the values it takes are: {', '.join(known)}",
            f"correct --{option} (or {PREFIX}{option.replace('-', '_').upper()})",
        )
    return value


def _number(option: str, value: str, kind: Callable[[str], float], least: float) -> float:
    try:
        number = kind(value)
    except ValueError:
        number = least - 1
    if not number >= least or number == float("inf"):
        raise UserError(
            f"--{option}={value} can't be used.", f"it must be a number of {least} or more", f"correct --{option}"
        )
    return number


def _no_twins(option: str, values: tuple[str, ...]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise UserError(
            f"--{option} names {', '.join(twice)} twice.",
            "each cluster of a mesh must be another one",
            f"name every context once in --{option}",
        )


def _pairs(option: str, values: tuple[str, ...], separator: str) -> dict[str, str]:
    found = {}
    for value in values:
        left, found_separator, right = value.partition(separator)
        if not (left and found_separator and right):
            raise UserError(
                f"--{option}={value} can't be read.", f"it has the form NAME{separator}VALUE", f"correct --{option}"
            )
        found[left] = right
    return found


def _raw_list(given: str | list[str] | bool) -> tuple[str, ...]:
    """Repeatable values that may contain commas themselves."""
    return tuple(given) if isinstance(given, list) else ((str(given),) if given else ())


def _skipped(values: tuple[str, ...], known: frozenset[str]) -> dict[str, str]:
    skipped = _pairs("skip-requirement", values, ":")
    for requirement in skipped:
        _one_of("skip-requirement", requirement, tuple(sorted(known)))
    return skipped
