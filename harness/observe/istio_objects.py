"""Distils the objects of Istio and of the Sail operator into the observation's models. Pure."""

import base64
from collections.abc import Iterable
from typing import Any

import yaml

from harness.kube.api import Object, metadata
from harness.model import x509
from harness.model.certificate import Certificate
from harness.model.cluster import (
    AdmissionWebhook,
    ConfigObject,
    InjectionWebhook,
    MeshConfig,
    SailResource,
    WebhookRule,
)
from harness.model.gateway_api import ApiGateway, ApiListener
from harness.model.origin import Origin, origin
from harness.observe.api_objects import conditions, created, labels

CONFIG_KINDS = (
    ("networking.istio.io", ("v1", "v1beta1"), "Gateway", "gateways"),
    ("networking.istio.io", ("v1", "v1beta1"), "VirtualService", "virtualservices"),
    ("networking.istio.io", ("v1", "v1beta1"), "DestinationRule", "destinationrules"),
    ("networking.istio.io", ("v1", "v1beta1"), "ServiceEntry", "serviceentries"),
    ("networking.istio.io", ("v1", "v1beta1"), "Sidecar", "sidecars"),
    ("networking.istio.io", ("v1", "v1beta1"), "WorkloadEntry", "workloadentries"),
    ("networking.istio.io", ("v1beta1",), "ProxyConfig", "proxyconfigs"),
    ("networking.istio.io", ("v1alpha3",), "EnvoyFilter", "envoyfilters"),
    ("security.istio.io", ("v1", "v1beta1"), "PeerAuthentication", "peerauthentications"),
    ("security.istio.io", ("v1", "v1beta1"), "AuthorizationPolicy", "authorizationpolicies"),
    ("security.istio.io", ("v1", "v1beta1"), "RequestAuthentication", "requestauthentications"),
    ("telemetry.istio.io", ("v1", "v1alpha1"), "Telemetry", "telemetries"),
    ("extensions.istio.io", ("v1alpha1",), "WasmPlugin", "wasmplugins"),
)
"""Group, versions (the newest first), kind and plural of what is read as Istio configuration."""
ROUTE_KINDS = (
    ("gateway.networking.k8s.io", ("v1",), "HTTPRoute", "httproutes"),
    ("gateway.networking.k8s.io", ("v1",), "GRPCRoute", "grpcroutes"),
    ("gateway.networking.k8s.io", ("v1", "v1alpha2"), "TCPRoute", "tcproutes"),
)
"""The same of the Gateway API's routes, which Istio takes for a service's where they are attached to it."""
API_GATEWAYS = (("gateway.networking.k8s.io", ("v1", "v1beta1"), "Gateway", "gateways"),)
"""The Gateway API's own Gateways, which make the east-west gateways of ambient."""
SAIL_KINDS = (
    ("sailoperator.io", ("v1", "v1alpha1"), "Istio", "istios"),
    ("sailoperator.io", ("v1", "v1alpha1"), "IstioCNI", "istiocnis"),
    ("sailoperator.io", ("v1", "v1alpha1"), "IstioRevision", "istiorevisions"),
)
_VALUES = ("global", "pilot", "revision", "istiodRemote")
_INJECTOR = "istio-sidecar-injector"


def sail_resource(raw: Object, api_version: str, kind: str) -> SailResource:
    """A resource of the Sail operator."""
    status = raw.get("status") or {}
    return SailResource(
        api_version=api_version,
        kind=kind,
        name=metadata(raw)["name"],
        generation=int(metadata(raw).get("generation") or 0),
        observed_generation=status.get("observedGeneration"),
        created=created(raw),
        spec=raw.get("spec") or {},
        state=status.get("state") or "",
        conditions=conditions(raw),
        origin=origin(metadata(raw)),
    )


def config_object(raw: Object, api_version: str, kind: str) -> ConfigObject:
    """An Istio configuration object."""
    return ConfigObject(
        api_version=api_version,
        kind=kind,
        namespace=metadata(raw)["namespace"],
        name=metadata(raw)["name"],
        labels=labels(raw),
        spec=raw.get("spec") or {},
        generation=int(metadata(raw).get("generation") or 0),
        origin=origin(metadata(raw)),
    )


def api_gateway(raw: Object) -> ApiGateway:
    """A Gateway of the Gateway API, with what its controller says of it."""
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    return ApiGateway(
        namespace=metadata(raw)["namespace"],
        name=metadata(raw)["name"],
        gateway_class=spec.get("gatewayClassName") or "",
        labels=labels(raw),
        listeners=tuple(
            ApiListener(
                name=found.get("name") or "",
                port=int(found.get("port") or 0),
                protocol=found.get("protocol") or "",
                tls_mode=(found.get("tls") or {}).get("mode") or "",
            )
            for found in spec.get("listeners") or ()
        ),
        addresses=tuple(str(found.get("value") or "") for found in status.get("addresses") or ()),
        conditions=conditions(raw),
        origin=origin(metadata(raw)),
    )


def is_injection_webhook(raw: Object) -> bool:
    """Whether a MutatingWebhookConfiguration injects sidecars, whatever it is called."""
    found = labels(raw)
    return found.get("app") == "sidecar-injector" or metadata(raw)["name"].startswith(_INJECTOR)


def is_validation_webhook(raw: Object) -> bool:
    """Whether a ValidatingWebhookConfiguration checks Istio's objects, whatever it is called."""
    rules = (rule for webhook in raw.get("webhooks") or () for rule in webhook.get("rules") or ())
    return any(group.endswith(".istio.io") for rule in rules for group in rule.get("apiGroups") or ())


def injection_webhook(raw: Object) -> InjectionWebhook:
    """An admission webhook of Istio."""
    found = labels(raw)
    return InjectionWebhook(
        name=metadata(raw)["name"],
        revision=found.get("istio.io/rev") or "default",
        tag=found.get("istio.io/tag") or "",
        annotations={
            key: value
            for key, value in (metadata(raw).get("annotations") or {}).items()
            if key.startswith("sailoperator.io/")
        },
        webhooks=tuple(_webhook_rule(rule) for rule in raw.get("webhooks") or []),
        origin=origin(metadata(raw)),
    )


def is_about_pods(raw: Object) -> bool:
    """Whether an admission webhook configuration, of whatever vendor, is asked when a pod is created."""
    rules = [rule for webhook in raw.get("webhooks") or () for rule in webhook.get("rules") or ()]
    return any({"pods", "*", "*/*"} & set(rule.get("resources") or ()) for rule in rules)


def admission_webhook(raw: Object, kind: str) -> AdmissionWebhook:
    """An admission webhook configuration of another vendor."""
    rules = tuple(webhook["name"] for webhook in raw.get("webhooks") or ())
    return AdmissionWebhook(kind=kind, name=metadata(raw)["name"], rules=rules, origin=origin(metadata(raw)))


def _webhook_rule(raw: Object) -> WebhookRule:
    client = raw.get("clientConfig") or {}
    service = client.get("service") or {}
    return WebhookRule(
        name=raw["name"],
        url=client.get("url") or "",
        service=f"{service['namespace']}/{service['name']}:{service.get('port', 443)}" if service else "",
        path=service.get("path") or "",
        ca_bundle=readable_certificates(base64.b64decode(client.get("caBundle") or "")),
        failure_policy=raw.get("failurePolicy") or "",
        namespace_selector=raw.get("namespaceSelector") or {},
        object_selector=raw.get("objectSelector") or {},
    )


def readable_certificates(bundle: bytes | str) -> tuple[Certificate, ...]:
    """The certificates of a PEM bundle; none where it can't be read."""
    try:
        return x509.certificates(bundle)
    except ValueError:
        return ()


def mesh_configs(config_maps: Iterable[Object]) -> tuple[MeshConfig, ...]:
    """The configuration of each revision, from the config maps of the system namespace."""
    mesh: dict[str, dict[str, Any]] = {}
    values: dict[str, dict[str, Any]] = {}
    networks: dict[str, dict[str, Any]] = {}
    origins: dict[str, Origin | None] = {}
    problems: dict[str, list[str]] = {}
    for raw in config_maps:
        name, data = metadata(raw)["name"], raw.get("data") or {}
        revision = labels(raw).get("istio.io/rev") or _revision(name)
        if "mesh" in data and name.split("-")[0] == "istio":
            mesh[revision] = _parsed(data["mesh"], f"ConfigMap {name}, key mesh", problems.setdefault(revision, []))
            origins[revision] = origin(metadata(raw))
            networks[revision] = _networks(data.get("meshNetworks") or "")
        if "values" in data and name.startswith(_INJECTOR):
            # JSON is YAML.
            found = _parsed(data["values"], f"ConfigMap {name}, key values", problems.setdefault(revision, []))
            values[revision] = {key: found[key] for key in _VALUES if key in found}
    return tuple(
        MeshConfig(
            revision=revision,
            mesh=mesh.get(revision, {}),
            values=values.get(revision, {}),
            networks=networks.get(revision, {}),
            origin=origins.get(revision),
            problems=tuple(problems.get(revision, ())),
        )
        for revision in sorted({*mesh, *values})
    )


def _parsed(text: str, where: str, problems: list[str]) -> dict[str, Any]:
    """A mapping in YAML; where it is none, nothing, and why is added to the problems."""
    try:
        return _mapping(yaml.safe_load(text))
    except yaml.MarkedYAMLError as failed:
        mark = failed.problem_mark or failed.context_mark
        line = f" (line {mark.line + 1}: {failed.problem})" if mark else ""
        problems.append(f"{where}: no YAML{line}")
    except yaml.YAMLError:
        problems.append(f"{where}: no YAML")
    return {}


def _networks(text: str) -> dict[str, Any]:
    """The networks of Istio's MeshNetworks; none where it is no YAML, which istiod passes over, too."""
    try:
        return _mapping(_mapping(yaml.safe_load(text)).get("networks"))
    except yaml.YAMLError:
        return {}


def _revision(name: str) -> str:
    return name.removeprefix(_INJECTOR).removeprefix("istio").removeprefix("-") or "default"


def _mapping(found: object) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}
