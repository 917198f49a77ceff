"""How to reach one cluster."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.request import getproxies

from kubernetes import client, config

from harness.base.container_engine import DOCKER, ContainerEngine

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Never reached through the environment's proxy, as with kubectl: it would look on its own machine."""


@dataclass(frozen=True)
class ClusterAccess:
    """A cluster that is there, and how it is reached."""

    name: str
    """The topology's name for it: east."""
    context: str
    kubeconfig: Path
    """A file of mode 0600 that holds this context."""
    peer_server: str
    """URL of the API server as the other clusters must use it: https://172.18.0.2:6443."""
    nodes: tuple[str, ...] = field(default=())
    """Names of the node containers where the suite made the cluster, else empty."""
    engine: ContainerEngine = DOCKER
    """In which those run."""

    @cached_property
    def api(self) -> client.ApiClient:
        """A client of its own; safe to share between threads."""
        configuration = client.Configuration()
        config.load_kube_config(str(self.kubeconfig), self.context, client_configuration=configuration)
        # A proxy that the kubeconfig itself names (proxy-url) may well be on the machine that its 127.0.0.1 means.
        if configuration.proxy in getproxies().values():
            configuration.no_proxy = ",".join(filter(None, (configuration.no_proxy, *LOOPBACK)))
        return client.ApiClient(configuration)
