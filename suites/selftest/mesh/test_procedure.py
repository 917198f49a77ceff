"""The procedure against API servers that remember what they are given: which steps, in what order, on which cluster."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiException

from harness.base.command import CommandError
from harness.base.errors import StepError
from harness.kube.api import Object
from harness.mesh import gateways, pki, procedure, workloads
from harness.mesh.context import HOPELESS_SECONDS, Mesh, title_of
from harness.mesh.settings import AVAILABLE_SECONDS, INJECTION_SECONDS, MeshSettings
from harness.model.step import WAIT_FOR_CONTROL_PLANE, Outcome, Step
from harness.model.step_log import OpenStep, StepLog
from harness.model.topology import Cluster, ControlPlaneModel, NetworkModel, Role, Topology, preset
from suites.selftest.support.fake_kube import FakeKube

MP, PR = ControlPlaneModel.MULTI_PRIMARY, ControlPlaneModel.PRIMARY_REMOTE
MULTI, SINGLE = NetworkModel.MULTI, NetworkModel.SINGLE
SETTINGS = MeshSettings(istio_version="1.31.0", istioctl=Path("istioctl"), run_id="run1")
CERTIFICATES = [
    "Create the project of the control plane",
    "Set the default network for the pods of the cluster",
    "Create the CA certificates, certificate chain, and the private key for Istio",
]
CNI = "Create an Istio Container Network Interface (CNI) resource"
SECRET = "Install a remote secret that provides access to the API server of another cluster"  # noqa: S105
GATEWAY = "Create an East-West gateway"
EXPOSE_SERVICES = "Expose the services through the gateway"
EXPOSE_ISTIOD = "Expose the control plane through the gateway"
ADDRESS = "Save the address of the East-West gateway"
ANNOTATE = "Annotate the istio-system namespace so that it is managed by the control plane of the primary"
SETTLE_CNI = "Wait for Istio's CNI plugin to be on every node"
SETTLE_GATEWAY = "Wait for the East-West gateway to be available"
PRIMARY = [*CERTIFICATES, CNI, "Install Istio on the primary cluster", WAIT_FOR_CONTROL_PLANE]


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


@pytest.fixture
def istioctl(monkeypatch: pytest.MonkeyPatch) -> Istioctl:
    """The program's stand-in, wherever it is run."""
    program = Istioctl()
    monkeypatch.setattr(QuickKube, "run", lambda _kube, command, **options: program(command, **options))
    return program


def _installed(
    topology: Topology, kubes: dict[str, QuickKube] | None = None
) -> tuple[dict[str, QuickKube], list[Step]]:
    kubes = kubes or {cluster.name: QuickKube(cluster.name) for cluster in topology.every}
    certificates = pki.Pki({name: pki.CaFiles("cert", "key", "root", "chain") for name in kubes})
    mesh = _mesh(topology, kubes)
    procedure.install(mesh, certificates)
    procedure.await_gateways(mesh)
    return kubes, list(mesh.log.steps)


def _mesh(topology: Topology, kubes: dict[str, QuickKube]) -> Mesh:
    return Mesh(topology, kubes, SETTINGS, StepLog())


def _titles(steps: list[Step], cluster: str) -> list[str]:
    return [step.title for step in steps if step.cluster == cluster]


def _remote_secrets(kube: QuickKube) -> list[str]:
    return sorted(name for kind, namespace, name in kube.objects if (kind, namespace) == ("Secret", "istio-system"))


def test_multi_primary_multi_network(istioctl: Istioctl) -> None:
    """Both clusters alike, then a remote secret each way."""
    kubes, steps = _installed(preset(MP, MULTI))
    for name in ("east", "west"):
        expected = [*PRIMARY, GATEWAY, EXPOSE_SERVICES, SECRET, SETTLE_CNI, SETTLE_GATEWAY]
        assert _titles(steps, name) == expected
    assert all(step.outcome is Outcome.DONE for step in steps)
    assert _remote_secrets(kubes["east"]) == ["cacerts", "istio-remote-secret-cluster2"]
    assert _remote_secrets(kubes["west"]) == ["cacerts", "istio-remote-secret-cluster1"]
    assert not any(name == "istiod-gateway" for _, _, name in kubes["east"].objects)


def test_primary_remote_multi_network(istioctl: Istioctl) -> None:
    """The remote is installed with the primary's address, and only the primary has a remote secret."""
    kubes, steps = _installed(preset(PR, MULTI))
    assert _titles(steps, "east") == [
        *PRIMARY,
        *(GATEWAY, EXPOSE_ISTIOD, EXPOSE_SERVICES, ADDRESS, SECRET, SETTLE_CNI, SETTLE_GATEWAY),
    ]
    assert _titles(steps, "west") == [
        *(*CERTIFICATES, CNI, "Install Istio on the remote cluster", ANNOTATE, WAIT_FOR_CONTROL_PLANE),
        *(GATEWAY, SETTLE_CNI, SETTLE_GATEWAY),
    ]
    whole = [step.title for step in steps]
    assert whole.index(SECRET) < len(whole) - 1 - whole[::-1].index(WAIT_FOR_CONTROL_PLANE)
    assert _remote_secrets(kubes["west"]) == ["cacerts"]
    west = kubes["west"].objects
    assert west["Namespace", "", "istio-system"]["metadata"]["annotations"] == {
        "topology.istio.io/controlPlaneClusters": "cluster1"
    }
    values = yaml.safe_load(west["ConfigMap", "istio-system", "remote"]["data"]["input"])["spec"]["values"]
    assert values == {
        "istiodRemote": {"injectionPath": "/inject/cluster/cluster2/net/network2"},
        "global": {"remotePilotAddress": "192.0.2.1"},
    }
    assert not any(name == "cross-network-gateway" for _, _, name in west)


def test_multi_primary_single_network(istioctl: Istioctl) -> None:
    """No gateway anywhere."""
    kubes, steps = _installed(preset(MP, SINGLE))
    assert _titles(steps, "east") == [*PRIMARY, SECRET, SETTLE_CNI]
    for kube in kubes.values():
        assert kube.objects["Namespace", "", "istio-system"]["metadata"]["labels"] == {
            "eastwest/run": "run1",
            "topology.istio.io/network": "network1",
        }


def test_primary_remote_single_network(istioctl: Istioctl) -> None:
    """A gateway on the primary, for its control plane alone."""
    _, steps = _installed(preset(PR, SINGLE))
    assert _titles(steps, "east") == [
        *PRIMARY,
        *(GATEWAY, EXPOSE_ISTIOD, ADDRESS, SECRET, SETTLE_CNI, SETTLE_GATEWAY),
    ]
    assert GATEWAY not in _titles(steps, "west")


def test_external_control_plane(istioctl: Istioctl) -> None:
    """The host's gateway first; then the config cluster, whose kubeconfig istiod is given; then the remote."""
    kubes, steps = _installed(preset(ControlPlaneModel.EXTERNAL, SINGLE))
    assert _titles(steps, "control") == [
        *(CERTIFICATES[0], CERTIFICATES[2], CNI),
        "Create the project of the gateway through which the control plane is reached",
        *("Install Istio on the primary cluster", WAIT_FOR_CONTROL_PLANE, GATEWAY, EXPOSE_ISTIOD, ADDRESS),
        "Install the secret by which the control plane uses the API server of the config cluster as its own",
        *(WAIT_FOR_CONTROL_PLANE, ADDRESS, SETTLE_CNI, SETTLE_GATEWAY),
    ]
    assert _titles(steps, "east") == [
        *(*CERTIFICATES, CNI, "Install Istio on the remote cluster", "Install Istio on the primary cluster"),
        *(WAIT_FOR_CONTROL_PLANE, SECRET, SETTLE_CNI),
    ]
    assert "Install Istio on the remote cluster" in _titles(steps, "west")
    assert all(step.outcome is Outcome.DONE for step in steps)
    assert _remote_secrets(kubes["control"]) == ["cacerts", "istio-kubeconfig"]
    assert _remote_secrets(kubes["east"]) == ["cacerts", "istio-remote-secret-cluster2"]
    assert ("Deployment", "external-istiod-gateway", gateways.NAME) in kubes["control"].objects
    assert ("Gateway", "istio-system", "istiod-gateway") in kubes["control"].objects
    assert not any(name == gateways.NAME for _, _, name in kubes["east"].objects)


def test_three_primaries_watch_each_other(istioctl: Istioctl) -> None:
    """A full mesh of remote secrets, each for the address that the others use; of one cluster one after the other."""
    kubes, _ = _installed(preset(MP, MULTI, clusters=3))
    for number, name in enumerate(("east", "west", "north"), start=1):
        others = [f"istio-remote-secret-cluster{other}" for other in (1, 2, 3) if other != number]
        assert _remote_secrets(kubes[name]) == ["cacerts", *others]
    made = [words for words in istioctl.commands if "create-remote-secret" in words]
    servers = {(words[words.index("--name") + 1], words[words.index("--server") + 1]) for words in made}
    assert servers == {
        ("cluster1", "https://east:6443"),
        ("cluster2", "https://west:6443"),
        ("cluster3", "https://north:6443"),
    }


def test_two_primaries_and_a_remote(istioctl: Istioctl) -> None:
    """Both primaries watch the remote, though only one serves it."""
    roles = {"east": (Role.PRIMARY, "east"), "west": (Role.PRIMARY, "west"), "north": (Role.REMOTE, "west")}
    clusters = tuple(
        Cluster(
            name=name, cluster_name=f"cluster{n}", network=f"network{n}", role=role, primary=primary, version=f"v{n}"
        )
        for n, (name, (role, primary)) in enumerate(roles.items(), start=1)
    )
    kubes, steps = _installed(Topology(name="mixed", clusters=clusters))
    assert _remote_secrets(kubes["east"]) == ["cacerts", "istio-remote-secret-cluster2", "istio-remote-secret-cluster3"]
    assert _remote_secrets(kubes["west"]) == ["cacerts", "istio-remote-secret-cluster1", "istio-remote-secret-cluster3"]
    assert ADDRESS in _titles(steps, "west")
    assert EXPOSE_ISTIOD not in _titles(steps, "east")


def test_a_second_run_makes_nothing_new(istioctl: Istioctl) -> None:
    """Get or create: what is there is left as it is, the CA above all."""
    kubes, _ = _installed(preset(MP, MULTI))
    secret = kubes["east"].objects["Secret", "istio-system", "cacerts"]
    _, steps = _installed(preset(MP, MULTI), kubes)
    assert kubes["east"].objects["Secret", "istio-system", "cacerts"] is secret
    assert [step.title for step in steps if step.outcome is Outcome.SKIPPED and step.cluster == "east"] == [
        CERTIFICATES[0],
        CERTIFICATES[2],
    ]


def test_a_failed_step_does_not_hide_the_rest(istioctl: Istioctl) -> None:
    """A control plane that does not come: recorded, with little patience for what depends on it, and nothing raised."""
    kubes = {name: QuickKube(name) for name in ("east", "west")}
    kubes["east"].never = {"Deployment", "Service"}
    _, steps = _installed(preset(PR, MULTI), kubes)
    failed = {(step.cluster, step.title): step.detail for step in steps if step.outcome is Outcome.FAILED}
    assert "after 180 s" in failed["east", WAIT_FOR_CONTROL_PLANE]
    assert "after 10 s" in failed["east", ADDRESS]
    skipped = [step for step in steps if step.title == "Install Istio on the remote cluster"]
    assert [step.outcome for step in skipped] == [Outcome.SKIPPED]
    assert "istio-remote-secret-cluster2" in _remote_secrets(kubes["east"])
    assert not any(step.outcome is Outcome.ERROR for step in steps)


def test_a_program_that_fails_is_the_steps_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of istioctl are the detail of the step."""

    def refuse(*_args: Any, **_options: Any) -> str:
        raise CommandError(["istioctl"], 1, "unknown field")

    monkeypatch.setattr(QuickKube, "run", refuse)
    _, steps = _installed(preset(MP, MULTI))
    failed = [step for step in steps if step.title == "Install Istio on the primary cluster"]
    assert all(step.outcome is Outcome.FAILED and "unknown field" in step.detail for step in failed)


def test_an_api_server_that_refuses_everything_fails_steps_only(
    istioctl: Istioctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where several requests of one step are refused at once."""

    def refuse(_self: QuickKube, manifest: Object) -> Object:
        raise ApiException(status=403, reason=f"{manifest['metadata']['name']} is forbidden")

    monkeypatch.setattr("harness.mesh.istioctl.rendered", lambda *_: [_config_map("a"), _config_map("b")])
    monkeypatch.setattr(QuickKube, "apply", refuse)
    monkeypatch.setattr(QuickKube, "merge", lambda *_: {})
    _, steps = _installed(preset(MP, SINGLE))
    details = {step.detail for step in steps if step.title == "Install Istio on the primary cluster"}
    assert details == {"403 a is forbidden; 403 b is forbidden"}
    assert not any(step.outcome is Outcome.ERROR for step in steps)


def _config_map(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "istio-system"}}


def test_the_wait_bears_the_title_that_is_judged() -> None:
    """CP-READY finds the step by this title."""
    assert title_of(procedure.await_control_plane) == WAIT_FOR_CONTROL_PLANE


def test_a_gateway_without_injection_is_created_all_the_same(
    istioctl: Istioctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pods come when injection does; until then the Deployment shows what is missing."""
    monkeypatch.setattr(gateways, "INJECTION_SECONDS", 0.0)
    kubes = {name: QuickKube(name) for name in ("east", "west")}
    kubes["east"].injects = False
    _, steps = _installed(preset(MP, MULTI), kubes)
    failed = [step.detail for step in steps if (step.cluster, step.title) == ("east", GATEWAY)]
    assert "are not injected after 0 s" in failed[0]
    assert ("Deployment", "istio-system", gateways.NAME) in kubes["east"].objects


def test_workloads_in_the_chapters_order() -> None:
    """Each cluster its own version; a third one is v1's image under another name."""
    topology = preset(MP, MULTI, clusters=3)
    kubes = {cluster.name: QuickKube(cluster.name) for cluster in topology.clusters}
    mesh = _mesh(topology, kubes)
    workloads.deploy(mesh)
    assert _titles(list(mesh.log.steps), "west") == [
        "Create a sample application namespace",
        "Label the application namespace to support sidecar injection",
        "Wait for sidecar injection to answer",
        "Create the helloworld service",
        "Create the helloworld deployment of the cluster's version",
        "Deploy the sleep application",
        "Wait for the helloworld application to be available",
        "Wait for the sleep application to be available",
    ]
    deployments = {name: sorted(n for k, _, n in kube.objects if k == "Deployment") for name, kube in kubes.items()}
    assert deployments == {
        "east": ["helloworld-v1", "sleep"],
        "west": ["helloworld-v2", "sleep"],
        "north": ["helloworld-v3", "sleep"],
    }
    third = kubes["north"].objects["Deployment", "sample", "helloworld-v3"]["spec"]["template"]["spec"]["containers"][0]
    assert third["image"].endswith("examples-helloworld-v1:1.0")
    assert third["env"] == [{"name": "SERVICE_VERSION", "value": "v3"}]
    assert kubes["east"].objects["Namespace", "", "sample"]["metadata"]["labels"]["istio-injection"] == "enabled"


def test_the_sample_starts_while_gateways_become_available(istioctl: Istioctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither waits for the other: both are under way at the same time, and both have ended in the end."""
    both = threading.Barrier(2, timeout=10)
    for module, name in ((workloads, "deploy"), (procedure, "await_gateways")):
        monkeypatch.setattr(module, name, lambda _mesh: both.wait())
    topology = preset(MP, MULTI)
    kubes = {cluster.name: QuickKube(cluster.name) for cluster in topology.clusters}
    certificates = pki.Pki({name: pki.CaFiles("cert", "key", "root", "chain") for name in kubes})
    procedure.form(_mesh(topology, kubes), certificates)
    assert not both.n_waiting


@pytest.mark.parametrize("injects", [True, False])
def test_waits_are_short_after_a_failed_installation(
    injects: bool, istioctl: Istioctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample is deployed with the record of what failed; that injection answers shows that its pods may start."""
    topology, waits = preset(MP, MULTI), list[tuple[str, float]]()

    def await_injection(kube: QuickKube, _namespace: str, timeout: float, _step: OpenStep) -> None:
        waits.append((kube.name, timeout))
        if not injects:
            raise StepError("no webhook added a proxy to the pod")

    def await_deployment(kube: QuickKube, _namespace: str, _name: str, timeout: float, _step: OpenStep) -> None:
        waits.append((kube.name, timeout))

    monkeypatch.setattr(workloads, "await_injection", await_injection)
    monkeypatch.setattr(workloads, "await_deployment", await_deployment)
    kubes = {cluster.name: QuickKube(cluster.name) for cluster in topology.clusters}
    kubes["east"].never = {"Deployment"}
    mesh = _mesh(topology, kubes)
    procedure.install(mesh, pki.Pki({name: pki.CaFiles("cert", "key", "root", "chain") for name in kubes}))
    procedure.await_gateways(mesh)
    assert [step.cluster for step in mesh.log.steps if step.outcome is Outcome.FAILED][:1] == ["east"]
    workloads.deploy(mesh)
    east, west = ([timeout for cluster, timeout in waits if cluster == name] for name in ("east", "west"))
    started = AVAILABLE_SECONDS if injects else HOPELESS_SECONDS
    assert east == [HOPELESS_SECONDS, started, started]
    if injects:
        assert west == [INJECTION_SECONDS, AVAILABLE_SECONDS, AVAILABLE_SECONDS]
