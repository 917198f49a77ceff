"""Settings of a valid mesh: mesh configuration, and what proxies read when they start."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from harness.kube.api import Object
from harness.mesh import pki
from harness.proof.faults.acts.policies import SECURITY, configured
from harness.proof.faults.fault import everywhere
from harness.proof.live.changes import Reference
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.updates import quiet
from harness.proof.variants.acts import common
from harness.proof.variants.acts.common import adds, each_changed, manifest, primaries, sets, sets_for_proxies
from harness.proof.variants.variant import Variant

DISCOVERED = {"eastwest-discovered": "true"}
COLLECTOR = {"service": "collector.observability.svc.cluster.local", "port": 4317}


@contextmanager
def strict_registry_only(live: LiveMesh) -> Iterator[None]:
    """Make mTLS STRICT in the root namespace, and set outboundTrafficPolicy REGISTRY_ONLY, on every primary."""
    spec: Object = {"mtls": {"mode": "STRICT"}}
    policy = manifest(SECURITY, "PeerAuthentication", "default", live.mesh.settings.system_namespace, spec)
    setting = configured(live, {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}})
    with quiet(live, common.created(live, primaries(live), [policy])), quiet(live, setting):
        yield


@contextmanager
def discovery_selectors(live: LiveMesh) -> Iterator[None]:
    """Label the namespaces of the mesh, then set discoverySelectors to this label."""
    settings = live.mesh.settings
    selectors = configured(live, {"discoverySelectors": [{"matchLabels": DISCOVERED}]})
    with ExitStack() as undoing:
        for name in (settings.system_namespace, settings.sample_namespace):
            namespace = Reference("v1", "Namespace", name)
            label = {"metadata": {"labels": dict(DISCOVERED)}}
            undoing.enter_context(
                each_changed(live, live.mesh.topology.clusters, lambda _, found=namespace: found, label)  # type: ignore[misc]
            )
        with quiet(live, selectors):
            yield


def next_root(live: LiveMesh) -> AbstractContextManager[None]:
    """Add the certificate of the next root to caCertificates on every primary."""
    following = pki.make(live.mesh.topology).clusters[live.east.name].root_cert
    return sets({"caCertificates": [{"pem": following}]})(live)


def _telemetry(live: LiveMesh) -> list[Object]:
    spec = {"accessLogging": [{"providers": [{"name": "envoy"}]}]}
    return [manifest("telemetry.istio.io/v1", "Telemetry", "default", live.mesh.settings.system_namespace, spec)]


VARIANTS = (
    Variant(
        "strict-registry-only",
        "STRICT mTLS in the whole mesh, and outbound traffic only to what the registry knows",
        "traffic between the clusters is mTLS, to services that the registry knows",
        strict_registry_only,
        everywhere,
    ),
    Variant(
        "discovery-selectors",
        "discoverySelectors admit the system and the sample namespace by a label",
        "every namespace of the mesh has the label",
        discovery_selectors,
        everywhere,
    ),
    Variant(
        "trust-domain-aliases",
        "trustDomainAliases names a former trust domain",
        "certificates are issued for the trust domain, not for its aliases",
        sets({"trustDomainAliases": ["old.example.com"]}),
        everywhere,
    ),
    Variant(
        "next-root-in-settings",
        "caCertificates has the next root",
        "it adds a root that proxies trust, and takes none away",
        next_root,
        everywhere,
    ),
    Variant(
        "tls-1-3",
        "meshMTLS.minProtocolVersion is TLSV1_3",
        "Envoy and istiod speak TLS 1.3",
        sets({"meshMTLS": {"minProtocolVersion": "TLSV1_3"}}),
        everywhere,
    ),
    Variant(
        "locality-off",
        "localityLbSetting.enabled is false",
        "all endpoints have one priority, as without localities of the nodes",
        sets({"localityLbSetting": {"enabled": False}}),
        everywhere,
    ),
    Variant(
        "cluster-local-elsewhere",
        "The services of kube-system are cluster-local",
        "serviceSettings holds for the named hosts alone",
        sets({"serviceSettings": [{"settings": {"clusterLocal": True}, "hosts": ["*.kube-system.svc.cluster.local"]}]}),
        everywhere,
    ),
    Variant(
        "access-log-text",
        "The access log is text in Envoy's own format",
        "a log's format changes no traffic; the format has the request id, but no caller",
        sets({"accessLogEncoding": "TEXT", "accessLogFormat": ""}),
        everywhere,
    ),
    Variant(
        "tracing-provider",
        "An extension provider for traces, whose collector does not exist",
        "a provider is used only where a Telemetry names it",
        sets({"enableTracing": True, "extensionProviders": [{"name": "otel", "opentelemetry": COLLECTOR}]}),
        everywhere,
    ),
    Variant(
        "telemetry",
        "A Telemetry turns on access logs by the built-in provider envoy",
        "it takes the place of accessLogFile; nothing else changes",
        adds(_telemetry),
        everywhere,
    ),
    Variant(
        "hold-application",
        "holdApplicationUntilProxyStarts for all proxies",
        "containers start in another order",
        sets_for_proxies({"holdApplicationUntilProxyStarts": True}),
        everywhere,
    ),
    Variant(
        "dns-capture",
        "Proxies answer their application's DNS queries (ISTIO_META_DNS_CAPTURE)",
        "the proxy answers for services that istiod knows, and forwards the rest",
        sets_for_proxies({"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}}),
        everywhere,
    ),
)
