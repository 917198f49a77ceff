"""How to reach one cluster."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kubernetes import client, config


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

    @cached_property
    def api(self) -> client.ApiClient:
        """A client of its own; safe to share between threads."""
        made: client.ApiClient = config.new_client_from_config(str(self.kubeconfig), self.context)
        return made
