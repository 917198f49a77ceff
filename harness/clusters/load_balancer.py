"""What gives Services of type LoadBalancer an address on kind clusters: one interface, and the choice.

The chapter asks for clusters "with external load balancer support"; kind has none of its own. On existing clusters
nothing of this is used.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from harness.base.errors import UserError
from harness.clusters import cloud_provider_kind
from harness.clusters.cloud_provider_kind import CloudProviderKind, load_balancer_containers
from harness.clusters.metallb import MetalLB
from harness.clusters.run_record import Run
from harness.kube.access import ClusterAccess
from harness.machine.images import LocalImages
from harness.model.step_log import StepLog

__all__ = ["LoadBalancer", "choose", "load_balancer_containers"]


class LoadBalancer(Protocol):
    """Publishes load balancer addresses on clusters from `start` to `stop`."""

    @property
    def name(self) -> str:
        """As --load-balancer names it."""

    def start(self, clusters: Sequence[ClusterAccess], log: StepLog) -> None:
        """Begin to serve these clusters, without waiting for it; changes nothing where it does already.

        Raises:
            UserError: it can't be started.
        """

    def wait(self, clusters: Sequence[ClusterAccess], log: StepLog) -> None:
        """Wait until it serves these clusters. A mesh can be installed meanwhile.

        Raises:
            UserError: it does not get ready.
        """

    def complaints(self) -> tuple[str, ...]:
        """The warnings and errors that it wrote outside of the clusters; a few lines."""

    def stop(self, log: StepLog, *, keep: bool = False) -> None:
        """End what runs outside of the clusters.

        Args:
            log: where it is recorded, phase cleanup.
            keep: leave what gateways need to be reached.
        """


def choose(
    wanted: Literal["auto", "cloud-provider-kind", "metallb"], run: Run, images: LocalImages | None
) -> LoadBalancer:
    """The load balancer for a run's clusters.

    Args:
        wanted: auto takes what a kept run has, else cloud-provider-kind where its program is on PATH and no other run
            uses it, else MetalLB.
        run: the run.
        images: images built here, with MetalLB's manifest; None where they come from registries.

    Raises:
        UserError: cloud-provider-kind is wanted and not on PATH, or another run uses it.
    """
    chosen = run.record.load_balancer if wanted == "auto" else wanted
    program, busy = cloud_provider_kind.program(), cloud_provider_kind.used_by_another_run()
    if chosen == "cloud-provider-kind" and not program:
        raise UserError(
            "cloud-provider-kind is not installed.",
            "no program of that name is on PATH",
            "go install sigs.k8s.io/cloud-provider-kind@latest, or use --load-balancer=metallb",
        )
    if chosen == "cloud-provider-kind" and busy:
        raise cloud_provider_kind.in_use()
    if program and not busy and chosen != "metallb":
        return CloudProviderKind(program, run)
    return MetalLB(run, images.metallb_manifest if images else None)
