"""What --data-plane=ambient can be used with."""

from collections.abc import Iterable

from harness.base.errors import UserError
from harness.mesh.distributions.istio_versions import minor_of
from harness.model.data_plane import DataPlane
from harness.model.topology import Topology
from harness.runs.options.sections import AllOptions

OLDEST = (1, 28)
"""The first version of Istio in which the suite knows ambient meshes of several clusters."""


def require_ambient_known(given: AllOptions, topologies: Iterable[Topology], istio_version: str) -> None:
    """See that an ambient mesh can be made in these topologies, and with the other options.

    Args:
        given: the options.
        topologies: those that are to be run.
        istio_version: empty where it follows from the programs that are there.

    Raises:
        UserError: it can't.
    """
    if given.given_data_plane is not DataPlane.AMBIENT or given.verify_only:  # a mesh that is there shows what it is
        return
    if given.resilience:
        raise UserError(
            "--data-plane=ambient and --resilience exclude each other.",
            "--resilience knows the proxies of sidecars only",
            "leave --resilience out, or use --data-plane=sidecar",
        )
    for topology in topologies:
        if topology.remotes or topology.hosts or len(topology.networks) < len(topology.clusters):
            raise UserError(
                f"--data-plane=ambient can't be used with {topology.name}.",
                "in an ambient mesh each cluster is a primary on a network of its own",
                "use --topology=multi-primary --network=multi, or a file with such a topology",
            )
    if istio_version:
        require_version_for(given.given_data_plane, istio_version)


def require_version_for(data_plane: DataPlane, istio_version: str) -> None:
    """See that a version of Istio has a data plane for several clusters.

    Raises:
        UserError: it has not.
    """
    if data_plane is DataPlane.AMBIENT and minor_of(istio_version) < OLDEST:
        raise UserError(
            f"--data-plane=ambient can't be used with Istio {istio_version}.",
            f"the suite knows ambient meshes of several clusters from Istio {'.'.join(map(str, OLDEST))} on",
            "choose a newer one with --istio-version, or use --data-plane=sidecar",
        )
