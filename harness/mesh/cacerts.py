"""The secret `cacerts`, from which istiod takes its CA.

Source: chapter "Applying certificates to a multi-cluster topology".
"""

from base64 import b64encode

from harness.mesh.context import Mesh, step
from harness.mesh.namespaces import create_if_absent
from harness.mesh.pki import CaFiles
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster


@step(Phase.CERTIFICATES)
def create_cacerts(mesh: Mesh, cluster: Cluster, opened: OpenStep, files: CaFiles) -> None:
    """Create the CA certificates, certificate chain, and the private key for Istio."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "cacerts", "namespace": mesh.settings.system_namespace},
        "data": {name: b64encode(text.encode()).decode() for name, text in files.entries.items()},
    }
    if not create_if_absent(mesh, cluster, secret):
        opened.skip("cacerts is there")
