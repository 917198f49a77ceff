"""How a cause is declared: a small pure function over the observation, with its place in the graph."""

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from harness.judge.diagnose.graph import LAYERS, Layer
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation

MODULES = (
    "api_servers",
    "ambient",
    "workloads",
    "certificates",
    "certificate_profiles",
    "certificates_in_use",
    "control_plane",
    "identity",
    "refused_pods",
    "injection",
    "remotes",
    "ambient_gateways",
    "gateway_services",
    "gateway_targets",
    "proxy_protocol",
    "gateways",
    "gateway_addresses",
    "exposure",
    "istiod_exposure",
    "plain_istiod",
    "istiod_passthrough",
    "remote_secrets",
    "remote_secrets_in_use",
    "network",
    "proxies",
    "authorization",
    "service_objects",
    "policies",
    "routes",
    "settings",
    "traffic",
    "experiments",
    "run",
)


@dataclass(frozen=True)
class Found:
    """A thing that is broken, before it is known whether it is a cause or follows from another one."""

    cluster: str
    """Name of the cluster whose object is at fault; empty where it concerns the mesh as a whole."""
    object: str
    field: str
    expected: str
    found: str
    repair: str
    """The command that repairs it on a mesh that the suite installed; never shown on another."""
    evidence: tuple[str, ...] = ()
    title: str = ""
    """Said instead of the detector's title where more is known."""
    change: str = ""
    """What to change, one sentence without its place, where field, expected and found do not say it well."""
    felt_at: str = ""
    """Name of the cluster whose layer it takes down, where that is another one than its object's."""
    harmless: bool = False
    """Here it breaks nothing beyond the requirements that prove it."""


Find = Callable[[Observation], Iterable[Found]]


@dataclass(frozen=True)
class Detector:
    """A kind of cause, and how it is recognised."""

    id: str
    """Stable for ever; an anchor in docs/causes.md."""
    layer: Layer
    """Where in the graph the object at fault stands."""
    proves: frozenset[str]
    """Requirements that fail because of this very fault, wherever else it leads."""
    breaks: Layer | None
    """The first layer of its cluster that it can take down; requirements judged there and behind it follow from it.
    None for a fault without symptoms."""
    effect: bool
    """It is seen by its effect (something does not answer): a cause only where nothing that it needs is broken. Others
    are read from an object that somebody has set, and stand by themselves."""
    fallback: bool
    """Named only where no other cause explains the same requirements: an object in bad shape for no known reason."""
    text: str
    """Title, blank line, explanation."""
    find: Find
    plane: DataPlane | None = None
    """It is about meshes whose traffic this carries, and no others; None for all."""

    @property
    def title(self) -> str:
        """The first line of its text."""
        return self.text.splitlines()[0].rstrip(".")

    @property
    def explanation(self) -> str:
        """The rest of its text."""
        return "\n".join(self.text.splitlines()[2:])


def cause(
    id: str,  # noqa: A002 - the field's name
    layer: Layer,
    *proves: str,
    breaks: Layer | str | None = "",
    effect: bool = False,
    fallback: bool = False,
    plane: DataPlane | None = None,
) -> Callable[[Find], Detector]:
    """Declare a function to be the detector of a cause; its docstring is title and explanation.

    Args:
        id: stable id.
        layer: where the object at fault stands.
        proves: requirements that fail because of this very fault.
        breaks: the first layer it can take down, default its own; None where it has no symptom.
        effect: see `Detector.effect`.
        fallback: see `Detector.fallback`.
        plane: see `Detector.plane`.
    """

    def declare(find: Find) -> Detector:
        reach = layer if breaks == "" else (Layer(breaks) if breaks else None)
        text = inspect.getdoc(find) or ""

        def where_concerned(observation: Observation) -> Iterable[Found]:
            return find(observation) if plane in {None, observation.asked.data_plane} else ()

        return Detector(id, layer, frozenset(proves), reach, effect, fallback, text, where_concerned, plane)

    return declare


@cache
def detectors() -> tuple[Detector, ...]:
    """Every declared detector, in the order of the layers, then of its lines.

    Raises:
        ValueError: an id is declared twice.
    """
    found: dict[str, Detector] = {}
    for name in MODULES:
        for value in vars(importlib.import_module(f"harness.judge.diagnose.{name}")).values():
            if isinstance(value, Detector) and found.setdefault(value.id, value) is not value:
                raise ValueError(f"cause {value.id} is declared twice")
    return tuple(sorted(found.values(), key=lambda detector: LAYERS.index(detector.layer)))
