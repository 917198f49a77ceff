"""What is left on the clusters after the mesh was removed."""

from collections.abc import Callable, Mapping, Sequence

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.parallel import in_parallel
from harness.kube import inventory
from harness.kube.api import KubeApi, explain_silence
from harness.kube.inventory import Inventory
from harness.model.observation import Cleanup, InventoryChange


def observe_cleanup(
    kubes: Mapping[str, KubeApi],
    before: Mapping[str, Inventory],
    containers_left: Sequence[str] = (),
    take: Callable[[KubeApi], Inventory] = inventory.take,
) -> Cleanup:
    """Compare every cluster with its inventory from before the run.

    Args:
        kubes: the API servers, by the cluster's name.
        before: the inventories, likewise.
        containers_left: names of load balancer containers that are still there.
        take: how an inventory is taken; as those from before the run.
    """
    changes: list[InventoryChange] = []
    unread: list[str] = []

    def compare(kube: KubeApi) -> str | None:
        old = before[kube.name]
        try:
            new = take(kube)
        except (ApiException, HTTPError) as failed:
            unread.append(f"{kube.name}: {explain_silence(failed)}")
            return None
        unread.extend(f"{kube.name}: {kind}: {why}" for kind, why in {**old.unread, **new.unread}.items())
        changes.extend(inventory.changes(old, new))
        return kube.name

    compared = in_parallel(compare, kubes.values())
    return Cleanup(
        clusters=tuple(name for name in compared if name),
        objects_before={name: len(before[name].entries) for name in kubes},
        changes=tuple(sorted(changes, key=lambda change: change.cluster)),
        containers_left=tuple(containers_left),
        unread=tuple(sorted(unread)),
    )
