"""Other valid forms of the sample: labels, protocol, client, service account."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from harness.base.parallel import in_parallel
from harness.mesh import manifests
from harness.model import expectations
from harness.model.topology import Cluster
from harness.proof.live.changes import Reference, absent, changed, existing, present
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.waits import await_quiet, await_rollout, quiet

CURL = "curl"
"""The client of Istio's samples since 1.24."""


@contextmanager
def both_labels(live: LiveMesh) -> Iterator[None]:
    """Label the sample namespace with a revision that does not run, on every cluster."""
    namespace = Reference("v1", "Namespace", live.mesh.settings.sample_namespace)
    with ExitStack() as undoing:
        for cluster in live.mesh.topology.clusters:
            undoing.enter_context(
                changed(live, cluster, namespace, {"metadata": {"labels": {"istio.io/rev": "canary"}}})
            )
        yield


def app_protocol(live: LiveMesh) -> AbstractContextManager[None]:
    """Set appProtocol on the ports of West's helloworld Service."""
    service = Reference("v1", "Service", expectations.HELLOWORLD, live.mesh.settings.sample_namespace)
    ports = [{**port, "appProtocol": "http"} for port in existing(live, live.west, service)["spec"]["ports"]]
    return quiet(live, changed(live, live.west, service, {"spec": {"ports": ports}}))


@contextmanager
def curl_for_sleep(live: LiveMesh) -> Iterator[None]:
    """Replace the client sleep by curl on every cluster."""
    clusters = live.mesh.topology.clusters
    with ExitStack() as undoing:
        undoing.callback(in_parallel, lambda cluster: _await_client(live, cluster, expectations.SLEEP), clusters)
        for cluster in clusters:
            undoing.enter_context(_client_replaced(live, cluster))
        in_parallel(lambda cluster: _await_client(live, cluster, CURL), clusters)
        await_quiet(live)
        yield


@contextmanager
def service_account(live: LiveMesh) -> Iterator[None]:
    """Let West's helloworld run under the service account helloworld-west."""
    name, namespace = f"{expectations.HELLOWORLD}-{live.west.version}", live.mesh.settings.sample_namespace
    metadata = {"name": f"{expectations.HELLOWORLD}-west", "namespace": namespace}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    # The API server keeps the deprecated field equal; left alone it would bring the name back when it is taken away.
    account_fields = dict.fromkeys(("serviceAccountName", "serviceAccount"), metadata["name"])
    change = {"spec": {"template": {"spec": account_fields}}}
    deployment = Reference("apps/v1", "Deployment", name, namespace)
    with present(live, live.west, account):
        try:
            with changed(live, live.west, deployment, change):
                await_rollout(live, live.west, namespace, name)
                yield
        finally:
            await_rollout(live, live.west, namespace, name)


@contextmanager
def _client_replaced(live: LiveMesh, cluster: Cluster) -> Iterator[None]:
    settings = live.mesh.settings
    objects = manifests.render("sleep", namespace=settings.sample_namespace, image=settings.sleep_image)
    with ExitStack() as undoing:
        for manifest in objects:
            undoing.enter_context(present(live, cluster, renamed(manifest, expectations.SLEEP, CURL)))
        for manifest in objects:
            if manifest["kind"] != "ServiceAccount":
                reference = Reference(
                    manifest["apiVersion"], manifest["kind"], expectations.SLEEP, settings.sample_namespace
                )
                undoing.enter_context(absent(live, cluster, reference))
        yield


def _await_client(live: LiveMesh, cluster: Cluster, name: str) -> None:
    await_rollout(live, cluster, live.mesh.settings.sample_namespace, name)


def renamed(value: Any, old: str, new: str) -> Any:
    """A manifest in which every value that is exactly the old name is the new one. Pure."""
    match value:
        case dict():
            return {key: renamed(each, old, new) for key, each in value.items()}
        case list():
            return [renamed(each, old, new) for each in value]
        case _:
            return new if value == old else value
