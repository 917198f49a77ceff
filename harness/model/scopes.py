"""Which Services istiod takes for those of all clusters: where ztunnels carry the traffic. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.model import expectations, revisions
from harness.model.cluster import ClusterObservation, Service
from harness.model.label_selector import selects
from harness.model.observation import Observation


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
    config = expectations.mesh_config(primary, revisions.revision(observation, primary))
    configs = (config.mesh.get("serviceScopeConfigs") if config else None) or ()
    namespace = observed.namespace(service.namespace)
    labels = namespace.labels if namespace else {}
    if any(_is_global(each) and _matches(each, labels, service.labels) for each in configs):
        return Scope(True)
    if not any(map(_is_global, configs)):
        return Scope(False, "the mesh configuration has no serviceScopeConfigs of scope GLOBAL")
    value = service.labels.get(expectations.GLOBAL_LABEL)
    return Scope(False, f"label {expectations.GLOBAL_LABEL}: {value or 'none'}")


def _is_global(config: Mapping[str, Any]) -> bool:
    return str(config.get("scope")) == "GLOBAL"


def _matches(config: Mapping[str, Any], namespace: Mapping[str, str], service: Mapping[str, str]) -> bool:
    return selects(config.get("namespaceSelector") or {}, namespace) and selects(
        config.get("servicesSelector") or {}, service
    )
