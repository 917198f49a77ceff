"""A mesh on API servers that remember what they are given, and on which nothing takes time."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiException

from harness.base.command import CommandError
from harness.base.errors import StepError
from harness.kube.api import Object
from harness.mesh import pki, procedure
from harness.mesh.context import Mesh
from harness.mesh.settings import MeshSettings
from harness.model.step import Step
from harness.model.step_log import StepLog
from harness.model.topology import Topology
from suites.selftest.support.fake_kube import FakeKube

GATEWAY, ADDRESS = "Create an East-West gateway", "Save the address of the East-West gateway"
"""Titles of steps."""
SETTINGS = MeshSettings(istio_version="1.31.0", istioctl=Path("istioctl"), run_id="run1")


class QuickKube(FakeKube):
    """Every wait is over at once, but for those of the kinds in `never`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.never: set[str] = set()
        self.injects = True

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Store it unless it is there; a dry run comes back injected."""
        if not dry_run:
            return super().create(manifest)
        if not self.injects:
            raise ApiException(status=500, reason="failed calling webhook")
        return {"spec": {"containers": [{"name": "probe"}], "initContainers": [{"name": "istio-proxy"}]}}

    def wait(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, **options: Any
    ) -> Object | None:
        """Over at once."""
        pending: Callable[[Object | None], str] = options["pending"]
        if kind in self.never:
            raise StepError(f"{pending(None)} after {options['timeout']:.0f} s")
        if kind == "Service":
            ready: Object = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
            assert pending(ready) == ""
            return ready
        return self.get(api_version, kind, name, namespace)


class Istioctl:
    """Stands in for the program: one ConfigMap that holds its input, and remote secrets."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self._of_clusters: set[str] = set()

    def __call__(self, command: Sequence[str | Path], *, input: str | None = None, **_options: Any) -> str:  # noqa: A002
        """Answer a command."""
        words = [str(word) for word in command]
        self.commands.append(words)
        if "create-remote-secret" in words:
            name = words[words.index("--name") + 1]
            if name in self._of_clusters:
                raise CommandError(words, 1, "the Secret of the token already exists")
            self._of_clusters.add(name)
            time.sleep(0.02)  # as long as another one would meet it
            self._of_clusters.remove(name)
            secret = "istio-kubeconfig" if "--type" in words else f"istio-remote-secret-{name}"
            return yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}})
        resource = yaml.safe_load(input or "")
        metadata = {"name": resource["spec"]["profile"], "namespace": "istio-system"}
        data = {"input": input}
        return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def installed(topology: Topology, kubes: dict[str, QuickKube] | None = None) -> tuple[dict[str, QuickKube], list[Step]]:
    """A mesh that was formed by the procedure: its API servers, and its steps."""
    kubes = kubes or {cluster.name: QuickKube(cluster.name) for cluster in topology.every}
    certificates = pki.Pki({name: pki.CaFiles("cert", "key", "root", "chain") for name in kubes})
    mesh = mesh_of(topology, kubes)
    procedure.install(mesh, certificates)
    procedure.await_gateways(mesh)
    return kubes, list(mesh.log.steps)


def mesh_of(topology: Topology, kubes: dict[str, QuickKube]) -> Mesh:
    """A mesh that is to be formed."""
    return Mesh(topology, kubes, SETTINGS, StepLog())


def titles(steps: list[Step], cluster: str) -> list[str]:
    """Titles of the steps of a cluster."""
    return [step.title for step in steps if step.cluster == cluster]


def remote_secrets(kube: QuickKube) -> list[str]:
    """Names of the Secrets in its system namespace."""
    return sorted(name for kind, namespace, name in kube.objects if (kind, namespace) == ("Secret", "istio-system"))
