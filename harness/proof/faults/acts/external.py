"""A control plane outside of the mesh, without what it needs."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from harness.mesh.context import environment_faults
from harness.model.remotes import CONFIG_SECRET
from harness.proof.live.changes import Reference, absent, existing
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.restarts import ISTIOD, run_istiod_as


def config_secret_missing(live: LiveMesh) -> AbstractContextManager[None]:
    """Delete the secret by which the control plane reads its config cluster; it goes on with what it has read."""
    return absent(live, live.server, Reference("v1", "Secret", CONFIG_SECRET, live.mesh.settings.system_namespace))


@contextmanager
def scaled_down(live: LiveMesh) -> Iterator[None]:
    """Scale the control plane to 0."""
    deployment = Reference("apps/v1", "Deployment", ISTIOD, live.mesh.settings.system_namespace)
    with environment_faults():
        before = existing(live, live.server, deployment)["spec"]["replicas"]
    try:
        run_istiod_as(live, live.signer, {"spec": {"replicas": 0}}, ready=False)
        yield
    finally:
        run_istiod_as(live, live.signer, {"spec": {"replicas": before}})
