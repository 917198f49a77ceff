"""Which clusters of an earlier run --reuse takes. Pure."""

from collections.abc import Iterator, Sequence

from harness.clusters.kind import Nodes
from harness.clusters.run_record import RunRecord


def misfit(record: RunRecord, names: Sequence[str], nodes: Nodes, load_balancer: str) -> str:
    """Why the clusters of a kept run are not those that are wanted; empty where they are.

    Args:
        record: of the kept run.
        names: the topology's names.
        nodes: what the clusters' nodes are to be made of.
        load_balancer: as --load-balancer has it; auto takes what is there.
    """
    return next(_misfits(record, names, nodes, load_balancer), "")


def _misfits(record: RunRecord, names: Sequence[str], nodes: Nodes, load_balancer: str) -> Iterator[str]:
    there = tuple(cluster.name for cluster in record.clusters)
    if there != tuple(names):
        yield f"its clusters are {', '.join(there)}"
    if record.engine != nodes.engine.name:
        yield f"its nodes run in {record.engine}"
    if record.nodes != nodes.count:
        yield f"its clusters have {record.nodes} nodes each"
    if record.node_image != nodes.image:
        yield f"its nodes were made from {record.node_image or 'the image of kind itself'}"
    if load_balancer not in ("auto", record.load_balancer):
        yield f"its load balancer is {record.load_balancer}"
    if image := _rebuilt(record, nodes):
        yield f"image {image} was rebuilt since, and its nodes may still have the former one"


def _rebuilt(record: RunRecord, nodes: Nodes) -> str:
    """The first image that a node may hold under the same reference with another content; a node never asks again."""
    changed = (name for name, digest in sorted(nodes.images.items()) if record.images.get(name, digest) != digest)
    return next(changed, "")
