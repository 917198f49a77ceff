"""API servers that only record what they are asked to do: the procedure runs against them, and that is the plan."""
# ruff: noqa: ARG002 - the signatures are those of KubeApi

from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from socket import socket
from typing import Any

import yaml

from harness.kube.access import ClusterAccess
from harness.kube.api import ExecResult, KubeApi, Object, TransportError
from harness.mesh.gateway_api import API_VERSION as GATEWAY_API
from harness.mesh.gateway_api import GATEWAYS
from harness.mesh.settings import MeshSettings
from harness.model.ca import ROOT_KEY
from harness.model.ca import SECRET as CA_SECRET
from harness.model.step import Outcome, Phase, Step
from harness.model.step_log import Begun, Event, OpenStep
from harness.model.topology import Cluster
from harness.runs.plan.actions import (
    Action,
    Apply,
    Approve,
    Create,
    Delete,
    Injected,
    Merge,
    RunProgram,
    SaveKey,
    ScriptCluster,
    Secret,
    Wait,
)

OUTPUT = "Output"
"""The kind of what stands for a program's output until it is applied."""
_UNAPPROVED: Object = {
    "metadata": {"name": "unapproved", "namespace": "unapproved"},
    "spec": {},
    "status": {
        "conditions": [{"type": "InstallPlanPending", "status": "True", "reason": "RequiresApproval"}],
        "installPlanRef": {"name": "unapproved"},
    },
}
"""A Subscription that asks for approval."""


@dataclass
class PlannedStep:
    """A step of a plan."""

    phase: Phase
    title: str
    cluster: str | None
    actions: list[Action] = field(default_factory=list)


class Recorder:
    """Keeps the steps that are taken, and what each does."""

    def __init__(self) -> None:
        self.steps: list[PlannedStep] = []
        self.failed: list[Step] = []

    def __call__(self, event: Event) -> None:
        """Listen to a step log."""
        if isinstance(event, Begun):
            self.steps.append(PlannedStep(event.phase, event.title, event.cluster))
        elif isinstance(event, Step) and event.outcome in (Outcome.FAILED, Outcome.ERROR):
            self.failed.append(event)

    @property
    def actions(self) -> list[Action]:
        """Those of the step under way."""
        return self.steps[-1].actions


class PlannedKube(KubeApi):
    """Stands in for a cluster's API server; reaches none.

    Args:
        cluster: the cluster.
        settings: how the mesh would be installed.
        recorder: given every action.
    """

    def __init__(self, cluster: Cluster, settings: MeshSettings, recorder: Recorder) -> None:
        self.variable = cluster.cluster_name.upper().replace("-", "_")
        context, server = f"${{CTX_{self.variable}}}", f"${{API_SERVER_{self.variable}}}"
        self.name = cluster.name
        self.access = ClusterAccess(cluster.name, context, Path("kubeconfig"), server)
        self._settings, self._recorder = settings, recorder
        self._operator = not settings.brings_operator
        self._on = ScriptCluster(context)

    def _record(self, action: Action) -> None:
        self._operator = True  # the first that is done to a cluster is to install the operator, where it is installed
        self._recorder.actions.append(action)

    def serves(self, api_version: str, kind: str) -> bool:
        """As it would be at this point of the procedure."""
        return self._operator

    def apply(self, manifest: Object) -> Object:
        """Keep it; what a program has printed is applied to this cluster."""
        if manifest["kind"] == OUTPUT:
            last = self._recorder.actions[-1]
            assert isinstance(last, RunProgram)  # noqa: S101 - what `run` recorded
            self._recorder.actions[-1] = replace(last, into=self._on)
        elif manifest["kind"] == "Secret":
            self._record(self._secret(manifest))
        else:
            self._record(Apply(self._on, (manifest,)))
        return manifest

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Keep it; a dry run is a wait for injection."""
        metadata = manifest["metadata"]
        if dry_run:
            self._record(Injected(self._on, metadata["namespace"], metadata["labels"]))
            return {"spec": {"containers": [{"name": "istio-proxy"}]}}
        self._record(self._secret(manifest) if manifest["kind"] == "Secret" else Create(self._on, manifest))
        return manifest

    def _secret(self, secret: Object) -> Secret:
        """By the files that it is made of: what is in a pull secret goes nowhere."""
        metadata, pull = secret["metadata"], self._settings.pull_secret
        kind = str(secret.get("type") or "Opaque")
        if pull and metadata["name"] == pull.name:
            files = dict.fromkeys(secret["data"], pull.file)
        else:
            files = {key: b64decode(path).decode() for key, path in secret["data"].items()}
        return Secret(self._on, metadata["name"], metadata["namespace"], kind, tuple(files.items()))

    def merge(self, api_version: str, kind: str, name: str, change: Object, namespace: str | None = None) -> Object:
        """Keep it."""
        self._record(Merge(self._on, kind, name, change))
        return change

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Keep it; then there is nothing there any more."""
        self._record(Delete(self._on, kind, name, namespace))
        return False

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Nothing is there, as far as is known, but the CA's secret, which the procedure has made.

        Whether the Gateway API is there, the script itself finds out.
        """
        if kind == "Secret" and name == CA_SECRET:
            saved = SaveKey(self._on, name, str(namespace), ROOT_KEY, f"ROOT_{self.variable}")
            self._record(saved)
            return {"data": {ROOT_KEY: f"${{{saved.variable}}}"}}
        established = {"conditions": [{"type": "Established", "status": "True"}]}
        return {"metadata": {"name": name}, "status": established} if name == GATEWAYS else None

    def list(self, api_version: str, kind: str, namespace: str | None = None, **selectors: str) -> list[Object]:
        """Nothing is there."""
        return []

    def version(self, timeout: float) -> str:
        """None of a cluster that is not asked."""
        return ""

    def read(self, path: str, *, accept: str = "application/json", **query: str) -> Object | None:
        """Nothing is there."""
        return None

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        lines: int,
        since: float | None = None,
        previous: bool = False,
        timeout: float = 0,
    ) -> str:
        """Nothing is there."""
        return ""

    def delete_pods(self, namespace: str, grace: int, labels: str | None = None) -> None:
        """Not recorded: they go with their namespace."""

    def watch(
        self, api_version: str, kind: str, name: str, namespace: str | None, timeout: float
    ) -> Iterator[Object | None]:
        """Nothing is there."""
        yield None

    def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        stdin: str = "",
        timeout: float = 30,
    ) -> ExecResult:
        """No pod is there."""
        raise TransportError(f"{pod} is only planned")

    def exec_lines(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, timeout: float
    ) -> Iterator[str]:
        """No pod is there."""
        raise TransportError(f"{pod} is only planned")

    def forward(self, namespace: str, pod: str, port: int) -> AbstractContextManager[socket]:
        """No pod is there."""
        raise TransportError(f"{pod} is only planned")

    def wait(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        pending: Callable[[Object | None], str],
        timeout: float,
        step: OpenStep,
        explain: Callable[[], str] = str,
        hopeless: Callable[[], str] | None = None,
    ) -> Object | None:
        """Keep it; over at once. A load balancer's address is a variable, as in the chapter.

        A wait for a Subscription to ask for approval stands for the approval too.
        """
        if kind == "Subscription" and not pending(_UNAPPROVED):
            self._record(Approve(self._on, name, str(namespace), timeout))
            return None
        gone = not pending(None)
        saved = f"${{DISCOVERY_ADDRESS_{self.variable}}}" if kind == "Service" and not gone else ""
        # Istio has Gateways of its own.
        named = f"{kind}.{api_version.partition('/')[0]}" if api_version == GATEWAY_API else kind
        self._record(Wait(self._on, named, name, namespace, timeout, gone=gone, saved=saved))
        return {"status": {"loadBalancer": {"ingress": [{"ip": saved}]}}} if saved else None

    def run(
        self,
        command: Sequence[str | Path],
        *,
        input: str | None = None,  # noqa: A002 - the name subprocess uses
        timeout: float | None = None,
    ) -> str:
        """Keep it; what it would print is an object that stands for it."""
        self._record(RunProgram(tuple(str(word) for word in command), input or ""))
        output: dict[str, Any] = {"apiVersion": "v1", "kind": OUTPUT, "metadata": {"name": "output"}}
        return yaml.safe_dump(output)
