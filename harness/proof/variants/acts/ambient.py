"""Valid forms of a mesh of ztunnels that the suite does not make itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from harness.model import expectations
from harness.model.data_plane import DataPlane
from harness.proof.faults.acts.policies import configured
from harness.proof.faults.fault import MN
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.updates import quiet
from harness.proof.variants.acts.common import each_changed, helloworld_service
from harness.proof.variants.variant import Variant


@contextmanager
def scope_by_namespace(live: LiveMesh) -> Iterator[None]:
    """Take every Service of the sample's namespace for one of all clusters, then the label from helloworld."""
    name = {"kubernetes.io/metadata.name": live.mesh.settings.sample_namespace}
    scopes = {"serviceScopeConfigs": [{"namespaceSelector": {"matchLabels": name}, "scope": "GLOBAL"}]}
    unlabelled = {"metadata": {"labels": {expectations.GLOBAL_LABEL: None}}}
    change = each_changed(live, live.mesh.topology.clusters, lambda _: helloworld_service(live), unlabelled)
    with quiet(live, configured(live, scopes)), quiet(live, change):
        yield


VARIANTS = (
    Variant(
        "scope-by-namespace",
        "serviceScopeConfigs take in every Service of the sample's namespace, and helloworld has no label of its own",
        "istiod takes a Service for global that one of the configurations selects, by whatever labels",
        scope_by_namespace,
        MN,
        planes=frozenset({DataPlane.AMBIENT}),
    ),
)
