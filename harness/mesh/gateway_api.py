"""The definitions of the Kubernetes Gateway API, which the east-west gateway of an ambient mesh is made with.

Source: Istio, "Ambient mode", "Install multi-primary on different networks"; Gateway API, "Installing Gateway API".
"""

from pathlib import Path
from urllib.request import urlopen

from harness.base import yaml_documents
from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.kube.api import Object
from harness.machine.images.versions import GATEWAY_API
from harness.mesh.context import Mesh, step
from harness.mesh.readiness import definition_pending
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

GATEWAYS = "gateways.gateway.networking.k8s.io"
"""Name of the definition of Gateways."""
API_VERSION = "gateway.networking.k8s.io/v1"
URL = f"https://github.com/kubernetes-sigs/gateway-api/releases/download/{GATEWAY_API}/standard-install.yaml"
ESTABLISHED_SECONDS = 30.0
_DOWNLOAD_SECONDS = 30
_CRD = "apiextensions.k8s.io/v1", "CustomResourceDefinition"


@step(Phase.MESH)
def install_gateway_api(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Install the definitions of the Kubernetes Gateway API."""
    kube = mesh.kube(cluster)
    # Of what was just removed, the API server goes on listing the kinds for a moment: the definition itself is asked.
    there = kube.get(*_CRD, GATEWAYS)
    if not definition_pending(there) and not (there or {})["metadata"].get("deletionTimestamp"):
        opened.skip("they are there")
        return
    definitions = read_definitions(mesh.settings.gateway_api)
    opened.note(f"{len(definitions)} of {GATEWAY_API}")
    in_parallel(lambda definition: mesh.apply(cluster, definition), definitions)
    timeout = mesh.deadline(cluster, ESTABLISHED_SECONDS)
    for definition in definitions:
        name = definition["metadata"]["name"]
        kube.wait(*_CRD, name, pending=definition_pending, timeout=timeout, step=opened)


def read_definitions(file: Path | None) -> list[Object]:
    """The custom resource definitions; the policy that guards their upgrades is of no use to a mesh that goes again.

    Args:
        file: where they are; None for those that their project publishes.

    Raises:
        StepError: they can't be had.
    """
    try:
        text = file.read_text() if file else _download()
    except OSError as failed:
        raise StepError(
            f"the API server serves no {API_VERSION}, and {file or URL} can't be read ({failed}): "
            f"install it with `kubectl apply --server-side -f {URL}`"
        ) from None
    return [found for found in yaml_documents.load_all(text) if found["kind"] == _CRD[1]]


def shell(kubectl: str) -> str:
    """The commands that do the same. Pure.

    Args:
        kubectl: the kubectl-compatible command with its context.
    """
    there = f"{kubectl} get crd {GATEWAYS}"
    wait = f"{kubectl} wait --for=condition=Established crd/{GATEWAYS} --timeout=30s"
    return f"{there} || {kubectl} apply --server-side -f {URL}\n{wait}"


def _download() -> str:
    with urlopen(URL, timeout=_DOWNLOAD_SECONDS) as answer:
        text: str = answer.read().decode()
    return text
