"""Which Services istiod takes for those of all clusters: where ztunnels carry the traffic. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.model import expectations, revisions
from harness.model.cluster import ClusterObservation, Service
from harness.model.label_selector import asked_for, selects
from harness.model.observation import Observation

Configs = Sequence[Mapping[str, Any]]
"""The serviceScopeConfigs of a mesh configuration."""


@dataclass(frozen=True)
class Scope:
    """Whether a Service is known on other clusters."""

    is_global: bool
    reason: str = ""
    """Why it is not."""


def scope(
    observation: Observation, primary: ClusterObservation, observed: ClusterObservation, service: Service
) -> Scope:
    """How far a Service is known to a control plane.

    Args:
        observation: the run.
        primary: what was observed of the control plane's cluster.
        observed: of the Service's cluster.
        service: the Service.

    Source: Istio, pilot/pkg/serviceregistry/ambient/services.go, matchServiceScope: without a selector it matches
    everything; the first one that is of scope GLOBAL decides.
    """
    asked = configs(primary, revisions.revision(observation, primary)) or ()
    namespace = observed.namespace(service.namespace)
    labels = namespace.labels if namespace else {}
    if is_global(asked, labels, service.labels):
        return Scope(True)
    if not any(map(_is_global, asked)):
        return Scope(False, "the mesh configuration has no serviceScopeConfigs of scope GLOBAL")
    value = service.labels.get(expectations.GLOBAL_LABEL)
    return Scope(False, f"label {expectations.GLOBAL_LABEL}: {value or 'none'}")


def configs(primary: ClusterObservation, revision: str) -> Configs | None:
    """What a control plane is told; None where its mesh configuration is not known."""
    config = expectations.mesh_config(primary, revision)
    return None if config is None else config.mesh.get("serviceScopeConfigs") or ()


def is_global(asked: Configs, namespace: Mapping[str, str], service: Mapping[str, str]) -> bool:
    """Whether a Service is one of all clusters, by its namespace's labels and its own."""
    return any(_is_global(each) and _matches(each, namespace, service) for each in asked)


def labels_asked_for(asked: Configs) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Of each configuration of scope GLOBAL, the labels that it asks a namespace for, and the Services in it."""
    for each in filter(_is_global, asked):
        yield asked_for(each.get("namespaceSelector") or {}), asked_for(each.get("servicesSelector") or {})


def _is_global(config: Mapping[str, Any]) -> bool:
    return str(config.get("scope")) == "GLOBAL"


def _matches(config: Mapping[str, Any], namespace: Mapping[str, str], service: Mapping[str, str]) -> bool:
    return selects(config.get("namespaceSelector") or {}, namespace) and selects(
        config.get("servicesSelector") or {}, service
    )
