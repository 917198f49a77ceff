"""Plain records of Istio's objects: its resources, webhooks, configuration and remote secrets."""

from datetime import datetime
from typing import Any

from harness.model.base import Model
from harness.model.certificate import Certificate
from harness.model.kubernetes import Condition
from harness.model.origin import Origin


class SailResource(Model):
    """An Istio, IstioCNI or IstioRevision resource of the Sail operator."""

    api_version: str
    kind: str
    name: str
    generation: int
    observed_generation: int | None
    created: datetime
    spec: dict[str, Any]
    state: str = ""
    """`status.state`: one word that sums the conditions up."""
    conditions: tuple[Condition, ...] = ()
    origin: Origin | None = None
    """What declares it; None where that was not observed."""


class WebhookRule(Model):
    """One webhook of an injection webhook configuration."""

    name: str
    url: str = ""
    """Set where it calls an address; else `service` is."""
    service: str = ""
    """namespace/name:port of the Service it calls."""
    path: str = ""
    ca_bundle: tuple[Certificate, ...] = ()
    failure_policy: str = ""
    namespace_selector: dict[str, Any] | None = None
    """As the API has it, empty where it selects everything; None where it was not recorded."""
    object_selector: dict[str, Any] | None = None


class InjectionWebhook(Model):
    """A MutatingWebhookConfiguration that injects sidecars, or a ValidatingWebhookConfiguration of Istio."""

    name: str
    revision: str
    tag: str = ""
    annotations: dict[str, str] = {}
    """Those of sailoperator.io only: they explain a remote that is not ready."""
    webhooks: tuple[WebhookRule, ...]
    origin: Origin | None = None
    """What declares it; None where that was not observed."""


class AdmissionWebhook(Model):
    """An admission webhook configuration of another vendor that the API server asks about pods."""

    kind: str
    """MutatingWebhookConfiguration or ValidatingWebhookConfiguration."""
    name: str
    rules: tuple[str, ...]
    """The names of its webhooks, which are what the API server's messages name."""
    origin: Origin | None = None


class DryRun(Model):
    """A pod sent to the API server as a server-side dry run in the sample namespace."""

    injected: bool
    """It came back with an istio-proxy container."""
    revision: str = ""
    """The one that injected it, as its annotation istio.io/rev says."""
    error: str = ""
    """What the API server said instead."""


class ConfigObject(Model):
    """An Istio configuration object: Gateway, VirtualService, DestinationRule, PeerAuthentication and the like."""

    api_version: str
    kind: str
    namespace: str
    name: str
    labels: dict[str, str] = {}
    spec: dict[str, Any]
    generation: int = 0
    origin: Origin | None = None
    """What declares it; None where that was not observed."""


class MeshConfig(Model):
    """What the control plane's config maps say, of one revision."""

    revision: str
    mesh: dict[str, Any]
    """The `mesh` entry of config map `istio`, parsed."""
    values: dict[str, Any]
    """The `values` entry of config map `istio-sidecar-injector`, parsed; only its `global`, `pilot`, `revision` and
    `istiodRemote` parts."""
    networks: dict[str, Any] = {}
    """The networks of the `meshNetworks` entry of config map `istio`, by their names."""
    origin: Origin | None = None
    """What declares it; None where that was not observed."""
    problems: tuple[str, ...] = ()
    """Entries that can't be parsed, each with why; istiod goes on with the last one that it could read."""


class RemoteAccess(Model):
    """How a remote secret lets istiod into one cluster: the form of its kubeconfig, without what is secret in it."""

    cluster: str
    """The cluster name it is keyed by."""
    form: str
    """token, client certificate, exec, auth provider, token file, basic; empty where it has no credentials."""
    proxy_url: str = ""
    tls_server_name: str = ""
    insecure: bool = False
    """The server's certificate is not verified (insecure-skip-tls-verify)."""
    begins: datetime | None = None
    """Since when its token or client certificate is valid; None where that is not known."""
    ends: datetime | None = None
    """When its token or client certificate ends; None where it does not, or does not say."""


class RemoteSecret(Model):
    """A remote secret: the kubeconfig with which a control plane reads another cluster (never its token)."""

    namespace: str
    name: str
    labelled: bool
    """It carries istio/multiCluster=true, without which istiod does not see it."""
    clusters: tuple[str, ...]
    """The cluster names it is keyed by."""
    servers: tuple[str, ...]
    """API server URL for each of `clusters`."""
    has_token: bool
    created: datetime
    access: tuple[RemoteAccess, ...] = ()
    """For each of `clusters`; empty where it was not observed."""
    origin: Origin | None = None
    """What declares it; None where that was not observed."""
