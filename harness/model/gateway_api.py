"""Gateways of the Gateway API, as far as they stand between networks."""

from harness.model.base import Model
from harness.model.kubernetes import Condition
from harness.model.origin import Origin

EAST_WEST_CLASS = "istio-east-west"
"""The class of a Gateway for which istiod makes an east-west gateway of ambient."""
CLASS_LABEL = "gateway.networking.k8s.io/gateway-class-name"
"""On the Service and the Deployment that istiod makes of a Gateway: its class."""
NAME_LABEL = "gateway.networking.k8s.io/gateway-name"
"""The same: the Gateway's name."""


class ApiListener(Model):
    """A listener of a Gateway."""

    name: str
    port: int
    protocol: str
    """HBONE for what ztunnels send."""
    tls_mode: str = ""
    """Terminate or Passthrough; empty where it has no TLS."""


class ApiGateway(Model):
    """A Gateway of the group gateway.networking.k8s.io."""

    namespace: str
    name: str
    gateway_class: str
    labels: dict[str, str]
    listeners: tuple[ApiListener, ...]
    addresses: tuple[str, ...] = ()
    """Of its status: where others reach it."""
    conditions: tuple[Condition, ...] = ()
    origin: Origin | None = None
    """What declares it; None where that was not observed."""

    @property
    def hbone(self) -> tuple[ApiListener, ...]:
        """The listeners that istiod takes for an entrance from other networks (pilot, ambient's networks)."""
        return tuple(each for each in self.listeners if (each.protocol, each.tls_mode) == ("HBONE", "Terminate"))
