"""East-west gateways that expose too much, made on a live mesh and undone."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from harness.base.parallel import in_parallel
from harness.kube.api import Object
from harness.model.topology import Cluster
from harness.proof.faults import configuration
from harness.proof.faults.acts import gateways
from harness.proof.faults.acts.policies import NETWORKING
from harness.proof.live.changes import present
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.updates import quiet

NAME = "istiod-plain"
"""The name of the Gateway and of the VirtualService."""
MUTUAL = "mutual"
"""The name of the DestinationRule for every service."""


def istiod_tls_originated(live: LiveMesh) -> AbstractContextManager[None]:
    """Create a DestinationRule on East that says ISTIO_MUTUAL for every service."""
    rule = _object(live, "DestinationRule", MUTUAL, configuration.mutual_for_all())
    return quiet(live, present(live, live.east, rule))


def _object(live: LiveMesh, kind: str, name: str, spec: configuration.Spec) -> Object:
    metadata = {"name": name, "namespace": live.mesh.settings.system_namespace}
    return {"apiVersion": NETWORKING, "kind": kind, "metadata": metadata, "spec": spec}


@contextmanager
def istiod_exposed_plain(live: LiveMesh) -> Iterator[None]:
    """Lead 15010 of the gateways that West's primary configures to istiod."""
    primary, system, port = live.signer, live.mesh.settings.system_namespace, configuration.PLAIN_PORT
    topology = live.mesh.topology
    opened = [cluster for cluster in topology.served_by(primary) if topology.has_gateway(cluster)]

    def await_open(cluster: Cluster, wanted: bool) -> None:
        gateways.await_listening(live, cluster, wanted=wanted, port=port)

    try:
        with ExitStack() as undoing:
            for kind, spec in (
                ("Gateway", configuration.plain_gateway()),
                ("VirtualService", configuration.plain_route(system, NAME)),
            ):
                undoing.enter_context(present(live, primary, _object(live, kind, NAME, spec)))
            in_parallel(lambda cluster: await_open(cluster, True), opened)
            yield
    finally:
        in_parallel(lambda cluster: await_open(cluster, False), opened)
