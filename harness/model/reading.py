"""How reading each part of a cluster went."""

from enum import StrEnum

from harness.model.base import Model


class ReadOutcome(StrEnum):
    """How an attempt to read something ended."""

    READ = "read"
    FORBIDDEN = "forbidden"
    """Not permitted: what depends on it is skipped, by name."""
    UNREACHABLE = "unreachable"
    """Never answered since the first read: a fault of the environment; what depends on it is blocked."""
    LOST = "lost"
    """Answered before and not any more, or answered nonsense: unknown."""


class Reading(Model):
    """One thing the suite set out to read."""

    subject: str
    """What: one of the names of `Subject`."""
    outcome: ReadOutcome
    detail: str = ""


class Subject(StrEnum):
    """The things that are read of a cluster, each as a whole."""

    API_SERVER = "API server"
    NODES = "nodes"
    NAMESPACES = "namespaces"
    CA_SECRET = "cacerts secret"  # noqa: S105 - a name
    ROOT_CONFIG_MAP = "istio-ca-root-cert config map"
    WORKLOADS = "deployments and daemon sets"
    CNI_PLUGIN = "daemon sets of Istio's CNI plugin in every namespace"
    PODS = "pods"
    SERVICES = "services"
    SAIL = "Sail resources"
    WEBHOOKS = "injection webhooks"
    VALIDATION = "validating webhooks"
    ADMISSION = "admission webhooks of others"
    DRY_RUN = "injection dry run"
    CONFIG = "Istio configuration"
    MESH_CONFIG = "mesh configuration"
    REMOTE_SECRETS = "remote secrets"
    CONTROL_PLANE = "control plane's debug endpoints"
    PROXIES = "proxies' admin endpoints"
    ZTUNNELS = "ztunnels' admin endpoints"
    API_GATEWAYS = "Gateways of the Gateway API"
    EVENTS = "events"
