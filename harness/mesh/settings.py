"""How the mesh is to be installed: resolved once, passed to every step. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.mesh.distributions.istio_versions import IstioVersion, facts
from harness.mesh.distributions.model import ApiVersion, Installer, Operator, Platform, PullSecret
from harness.model.data_plane import DataPlane
from harness.model.expectations import GLOBAL_LABEL

CONTROL_PLANE_SECONDS = 180.0
"""Chapter: `oc wait --for condition=Ready istio/default --timeout=3m`."""
AVAILABLE_SECONDS = 180.0
"""For Deployments and DaemonSets, whose images may have to be pulled."""
ADDRESS_SECONDS = 120.0
"""For a load balancer's address; clouds take about a minute."""
INJECTION_SECONDS = 60.0
"""For the injection webhook of a control plane that is ready."""
REMOVAL_SECONDS = 180.0
"""For a namespace, and whatever finalizers hold, to be gone."""

_ACCESS_LOG = {
    "authority": "%REQ(:AUTHORITY)%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "downstream_peer_uri_san": "%DOWNSTREAM_PEER_URI_SAN%",
    "downstream_tls_version": "%DOWNSTREAM_TLS_VERSION%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "upstream_cluster": "%UPSTREAM_CLUSTER%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_request_attempt_count": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "start_time": "%START_TIME%",
}
"""Envoy, "Access logging: command operators"."""

Images = Literal["registry", "local", "archive"]


@dataclass(frozen=True)
class Overlay:
    """Values added to those of the chapter, each with a line that says so."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """Of Istio's Helm charts; the same whatever installs them."""
    deviations: tuple[str, ...] = ()


EVIDENCE = Overlay(
    {
        "meshConfig": {
            "accessLogFile": "/dev/stdout",
            "accessLogEncoding": "JSON",
            "accessLogFormat": json.dumps(_ACCESS_LOG),
        }
    },
    (
        "meshConfig.accessLogFile=/dev/stdout, accessLogEncoding=JSON and an accessLogFormat of its own: "
        "the destination proxy's account of who called is the evidence of mTLS",
    ),
)
CNI = Overlay(
    {"pilot": {"cni": {"enabled": True}}},
    ("pilot.cni.enabled=true: on OpenShift, the chapter's platform, the operator sets it by itself",),
)
CHANGING = Overlay(
    {
        "pilot": {
            "env": {"ISTIO_MULTIROOT_MESH": "true"},
            "resources": {"requests": {"cpu": "100m"}},
        },
        "meshConfig": {"defaultConfig": {"proxyMetadata": {"PROXY_CONFIG_XDS_AGENT": "true"}}},
    },
    (
        "ISTIO_MULTIROOT_MESH=true and proxyMetadata.PROXY_CONFIG_XDS_AGENT=true, for --resilience: "
        "without them no root can be rotated while the mesh serves",
        "pilot.resources.requests.cpu=100m, for --resilience: for a while two control planes share a node",
    ),
)
UPSTREAM_ENVOY = Overlay(
    {
        "pilot": {"env": {"PILOT_ENABLE_ALPN_FILTER": "false", "PILOT_ENABLE_METADATA_EXCHANGE": "false"}},
        "telemetry": {"enabled": False},
    },
    (
        "PILOT_ENABLE_ALPN_FILTER=false: the data plane is upstream Envoy without Istio's ALPN filter",
        "PILOT_ENABLE_METADATA_EXCHANGE=false: the data plane is upstream Envoy without Istio's metadata filter",
        "telemetry.enabled=false: the data plane is upstream Envoy without Istio's stats filter",
    ),
)
ZTUNNEL_CPU = "50m"
"""What ztunnel asks for where images are built here: a node of a laptop has two processors."""
AMBIENT_BUILT_HERE = Overlay(
    {
        "global": {"variant": "", "waypoint": {"resources": {"requests": {"cpu": "50m"}}}},
        "pilot": {"resources": {"requests": {"cpu": "200m"}}},
    },
    (
        "global.variant empty: profile ambient asks for distroless images, and of those built here there is one kind",
        "pilot.resources.requests.cpu=200m: everything runs on one small node",
        f"global.waypoint.resources.requests.cpu=50m, ztunnel.resources.requests.cpu={ZTUNNEL_CPU}: likewise",
        "EnvoyFilter istio-eastwestgateway: the data plane is upstream Envoy, which has neither Istio's filter for the "
        "peer's metadata nor its hashable string",
    ),
)


@dataclass(frozen=True)
class MeshSettings:
    """How the mesh is to be installed."""

    istio_version: str
    """Without a v: 1.31.0."""
    istioctl: Path
    """Also used to make remote secrets."""
    installer: Installer = "istioctl"
    distribution: str = "istio"
    """Name of the profile that this was resolved from."""
    hub: str = ""
    """Registry and path of Istio's images; empty for the charts' own."""
    tag: str = ""
    """Empty for the charts' own."""
    images: Images = "registry"
    system_namespace: str = "istio-system"
    cni_namespace: str = "istio-cni"
    sample_namespace: str = "sample"
    ingress_namespace: str = ""
    """Of the gateway through which a control plane outside of the mesh is reached; empty where there is none."""
    cni: bool = True
    """Whether Istio's CNI plugin is installed, as the chapter presupposes."""
    data_plane: DataPlane = DataPlane.SIDECAR
    """What carries the traffic of workloads."""
    gateway_api: Path | None = None
    """File with the definitions of the Gateway API, which ambient needs; None for those that its project publishes."""
    helloworld_image: str = "docker.io/istio/examples-helloworld-{version}:1.0"
    """`{version}` stands for v1 or v2; there are no others upstream."""
    sleep_image: str = "docker.io/curlimages/curl:8.16.0"
    echo_image: str = "docker.io/istio/app:{version}"
    """`{version}` stands for Istio's."""
    global_labels: Mapping[str, str] = field(default_factory=lambda: {GLOBAL_LABEL: "true"})
    """Of the sample's Services in an ambient mesh: by these they have endpoints in other clusters."""
    experiments: bool = False
    """Whether what experiments need is deployed with the sample."""
    resilience: bool = False
    """Whether the mesh is to be changed while it serves."""
    revision: str = ""
    """Of the control plane that istioctl renders; empty for the one without a name."""
    profile: Overlay = Overlay()
    """What the distribution adds."""
    operator: Operator | None = None
    """How the Sail operator arrives; None where nothing has to."""
    helm: Path | None = None
    """Needed where the operator arrives as a chart."""
    api_version: ApiVersion = "auto"
    """Of the operator's resources."""
    resource_version: str = ""
    """`spec.version` of the operator's resources; empty for v and the version of Istio."""
    resource_profile: str = ""
    """`spec.profile` of a primary's Istio resource."""
    platform: Platform = "kubernetes"
    pull_secret: PullSecret | None = None
    cli: str = "kubectl"
    """As shown commands name it."""
    timeout_scale: float = 1.0
    run_id: str = ""
    """Written as a label on what the suite itself applies."""

    @property
    def brings_operator(self) -> bool:
        """Whether the run installs the Sail operator where it is not."""
        return self.operator is not None and self.operator.arrival != "present"

    @property
    def ambient(self) -> bool:
        """Whether ztunnel carries the traffic of workloads."""
        return self.data_plane is DataPlane.AMBIENT

    @property
    def built_here(self) -> bool:
        """Whether images were built from packages, here or where an archive was written."""
        return self.images != "registry"

    @property
    def ztunnel_namespace(self) -> str:
        """Of ztunnel: istioctl puts it beside the control plane, the operator's documentation into one of its own."""
        return "ztunnel" if self.installer == "sail" else self.system_namespace

    @property
    def facts(self) -> IstioVersion:
        """What is so in this version of Istio."""
        return facts(self.istio_version)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces that the chapter removes in the end."""
        cni = (self.cni_namespace,) if self.cni else ()
        ingress = (self.ingress_namespace,) if self.ingress_namespace else ()
        ztunnel = (self.ztunnel_namespace,) if self.ambient and self.ztunnel_namespace != self.system_namespace else ()
        return (self.system_namespace, self.sample_namespace, *cni, *ztunnel, *ingress)

    @property
    def overlay(self) -> Overlay:
        """Everything added to the values of the chapter."""
        parts = [EVIDENCE]
        # It keeps sidecars from setting up their own redirection. On OpenShift the operator sets it by itself.
        if self.cni and not self.ambient and (self.installer, self.platform) != ("sail", "openshift"):
            parts.append(CNI)
        if self.built_here:
            parts.append(UPSTREAM_ENVOY)
        if self.built_here and self.ambient:
            parts.append(AMBIENT_BUILT_HERE)
        if self.resilience:
            parts.append(CHANGING)
        parts.append(self.profile)
        values: dict[str, Any] = {}
        for part in parts:
            values = merged(values, part.values)
        return Overlay(values, tuple(line for part in parts for line in part.deviations))

    @property
    def deviations(self) -> tuple[str, ...]:
        """What is done that the chapter does not say, one line each."""
        return self.overlay.deviations


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, mappings merged at every depth; `over` wins elsewhere."""
    result = dict(base)
    for key, value in over.items():
        there = result.get(key)
        nested = isinstance(there, Mapping) and isinstance(value, Mapping)
        result[key] = merged(there, value) if nested else value  # type: ignore[arg-type]
    return result
