"""By which addresses a remote cluster reaches its control plane, and which ones are right. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.model import expectations, gateways, revisions
from harness.model.cluster import ClusterObservation, Service
from harness.model.observation import Observation
from harness.model.topology import Cluster


def _leads_to_primary(service: Service) -> bool:
    """Whether it is a remote's Service of its control plane: `istiod[-REVISION][-remote]`, without pods of its own.

    Source: Istio, manifests/charts/istio-control/istio-discovery, istiod-remote.yaml.
    """
    return (service.name == "istiod" or service.name.startswith("istiod-")) and not service.selector


@dataclass(frozen=True)
class Used:
    """An address of the control plane, as an object of a remote has it."""

    object: str
    field: str
    address: str


def present(observation: Observation, primary: Cluster) -> tuple[str, ...]:
    """The host names and addresses at which a primary's istiod can be reached from other clusters.

    Those of every Service with port 15012: of all east-west gateways, and of load balancers that lead to istiod alone.
    Where no Service has the port, those of the gateways. The gateways' come first.
    """
    if primary.host:
        found = [
            service for service in observation[primary.host].services if gateways.has_port(service, gateways.XDS_PORT)
        ]
        return tuple(dict.fromkeys(name for service in found for name in names(service)))
    observed = observation[primary]
    known = {(found.namespace, found.name): found for found in gateways.services(observed, primary.network)}
    known |= {(found.namespace, found.name): found for found in (*gateways.labelled(observed), *observed.services)}
    meant = gateways.services(observed, primary.network)
    leading = [found for found in known.values() if gateways.has_port(found, gateways.XDS_PORT)]
    return tuple(dict.fromkeys(name for found in leading or meant for name in names(found)))


def names(service: Service) -> tuple[str, ...]:
    """What a Service is reached by from outside: host names, and addresses."""
    return (*service.ingress, *gateways.addresses(service))


def used(observation: Observation, observed: ClusterObservation) -> tuple[Used, ...]:
    """Every address that a remote uses for its control plane, with the object in which it stands."""
    return tuple(found for found in _used(observation, observed) if found.address)


def _used(observation: Observation, observed: ClusterObservation) -> Iterator[Used]:
    system, field = observation.asked.system_namespace, "global.remotePilotAddress"
    if resource := expectations.istio_resource(observed):
        values = (resource.spec.get("values") or {}).get("global") or {}
        yield Used(f"Istio {resource.name}", f"spec.values.{field}", str(values.get("remotePilotAddress") or ""))
    if config := expectations.mesh_config(observed, revisions.revision(observation, observed)):
        values = config.values.get("global") or {}
        injector = f"ConfigMap {system}/istio-sidecar-injector"
        yield Used(injector, field, str(values.get("remotePilotAddress") or ""))
    yield from calls(observed, system)


def calls(observed: ClusterObservation, system: str) -> Iterator[Used]:
    """The addresses that a remote's webhooks and its Services of istiod lead to.

    Args:
        observed: the remote.
        system: the namespace of its control plane's Services.
    """
    for webhook in observed.webhooks:
        for rule in webhook.webhooks:
            name = f"MutatingWebhookConfiguration {webhook.name}"
            yield Used(name, f"url of {rule.name}", urlsplit(rule.url).hostname or "")
    for service in observed.services:
        if service.namespace == system and _leads_to_primary(service):
            for address in service.ready_endpoints or service.resolved or service.ingress or (service.external_name,):
                yield Used(f"Service {system}/{service.name}", "endpoints", address)
