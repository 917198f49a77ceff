"""On which cluster an object of a control plane stands: one outside of the mesh where the control plane runs there."""

import re

from harness.model.topology import Cluster

_OF_CONTROL_PLANE = re.compile(
    r"((Deployment|Pod) \S+/istiod|Secret \S+/cacerts|ConfigMap \S+/istio(?!-ca-))(?=$|[-: ])"
    r"|istiod |Deployment istiod$"
)
"""Not remote secrets: istiod looks for them on its config cluster (Istio, LOCAL_CLUSTER_SECRET_WATCHER)."""


def of_control_plane(object: str) -> bool:  # noqa: A002 - as in a finding
    """Whether an object, as findings and causes name it, stands beside istiod."""
    return bool(_OF_CONTROL_PLANE.match(object))


def place(cluster: Cluster, object: str) -> str:  # noqa: A002 - as in a finding
    """The name of the cluster on which an object of a cluster, or of its control plane, stands."""
    return cluster.host if cluster.host and of_control_plane(object) else cluster.name
