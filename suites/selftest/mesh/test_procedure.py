"""The procedure against API servers that remember what they are given: which steps, in what order, on which cluster."""

import threading

import pytest
import yaml

from harness.mesh import gateways, pki, procedure, workloads
from harness.mesh.context import title_of
from harness.model.step import WAIT_FOR_CONTROL_PLANE, Outcome
from harness.model.topology import Cluster, ControlPlaneModel, NetworkModel, Role, Topology, preset
from suites.selftest.support.quick_mesh import (
    ADDRESS,
    GATEWAY,
    Istioctl,
    QuickKube,
    installed,
    mesh_of,
    remote_secrets,
    titles,
)

MP, PR = ControlPlaneModel.MULTI_PRIMARY, ControlPlaneModel.PRIMARY_REMOTE
MULTI, SINGLE = NetworkModel.MULTI, NetworkModel.SINGLE
CERTIFICATES = [
    "Create the project of the control plane",
    "Set the default network for the pods of the cluster",
    "Create the CA certificates, certificate chain, and the private key for Istio",
]
CNI = "Create an Istio Container Network Interface (CNI) resource"
SECRET = "Install a remote secret that provides access to the API server of another cluster"  # noqa: S105
EXPOSE_SERVICES = "Expose the services through the gateway"
EXPOSE_ISTIOD = "Expose the control plane through the gateway"
ANNOTATE = "Annotate the istio-system namespace so that it is managed by the control plane of the primary"
SETTLE_CNI = "Wait for Istio's CNI plugin to be on every node"
SETTLE_GATEWAY = "Wait for the East-West gateway to be available"
PRIMARY = [*CERTIFICATES, CNI, "Install Istio on the primary cluster", WAIT_FOR_CONTROL_PLANE]


def test_multi_primary_multi_network(istioctl: Istioctl) -> None:
    """Both clusters alike, then a remote secret each way."""
    kubes, steps = installed(preset(MP, MULTI))
    for name in ("east", "west"):
        expected = [*PRIMARY, GATEWAY, EXPOSE_SERVICES, SECRET, SETTLE_CNI, SETTLE_GATEWAY]
        assert titles(steps, name) == expected
    assert all(step.outcome is Outcome.DONE for step in steps)
    assert remote_secrets(kubes["east"]) == ["cacerts", "istio-remote-secret-cluster2"]
    assert remote_secrets(kubes["west"]) == ["cacerts", "istio-remote-secret-cluster1"]
    assert not any(name == "istiod-gateway" for _, _, name in kubes["east"].objects)


def test_primary_remote_multi_network(istioctl: Istioctl) -> None:
    """The remote is installed with the primary's address, and only the primary has a remote secret."""
    kubes, steps = installed(preset(PR, MULTI))
    assert titles(steps, "east") == [
        *PRIMARY,
        *(GATEWAY, EXPOSE_ISTIOD, EXPOSE_SERVICES, ADDRESS, SECRET, SETTLE_CNI, SETTLE_GATEWAY),
    ]
    assert titles(steps, "west") == [
        *(*CERTIFICATES, CNI, "Install Istio on the remote cluster", ANNOTATE, WAIT_FOR_CONTROL_PLANE),
        *(GATEWAY, SETTLE_CNI, SETTLE_GATEWAY),
    ]
    whole = [step.title for step in steps]
    assert whole.index(SECRET) < len(whole) - 1 - whole[::-1].index(WAIT_FOR_CONTROL_PLANE)
    assert remote_secrets(kubes["west"]) == ["cacerts"]
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
    kubes, steps = installed(preset(MP, SINGLE))
    assert titles(steps, "east") == [*PRIMARY, SECRET, SETTLE_CNI]
    for kube in kubes.values():
        assert kube.objects["Namespace", "", "istio-system"]["metadata"]["labels"] == {
            "eastwest/run": "run1",
            "topology.istio.io/network": "network1",
        }


def test_primary_remote_single_network(istioctl: Istioctl) -> None:
    """A gateway on the primary, for its control plane alone."""
    _, steps = installed(preset(PR, SINGLE))
    assert titles(steps, "east") == [
        *PRIMARY,
        *(GATEWAY, EXPOSE_ISTIOD, ADDRESS, SECRET, SETTLE_CNI, SETTLE_GATEWAY),
    ]
    assert GATEWAY not in titles(steps, "west")


def test_external_control_plane(istioctl: Istioctl) -> None:
    """The host's gateway first; then the config cluster, whose kubeconfig istiod is given; then the remote."""
    kubes, steps = installed(preset(ControlPlaneModel.EXTERNAL, SINGLE))
    assert titles(steps, "control") == [
        *(CERTIFICATES[0], CERTIFICATES[2], CNI),
        "Create the project of the gateway through which the control plane is reached",
        *("Install Istio on the primary cluster", WAIT_FOR_CONTROL_PLANE, GATEWAY, EXPOSE_ISTIOD, ADDRESS),
        "Install the secret by which the control plane uses the API server of the config cluster as its own",
        *(WAIT_FOR_CONTROL_PLANE, ADDRESS, SETTLE_CNI, SETTLE_GATEWAY),
    ]
    assert titles(steps, "east") == [
        *(*CERTIFICATES, CNI, "Install Istio on the remote cluster", "Install Istio on the primary cluster"),
        *(WAIT_FOR_CONTROL_PLANE, SECRET, SETTLE_CNI),
    ]
    assert "Install Istio on the remote cluster" in titles(steps, "west")
    assert all(step.outcome is Outcome.DONE for step in steps)
    assert remote_secrets(kubes["control"]) == ["cacerts", "istio-kubeconfig"]
    assert remote_secrets(kubes["east"]) == ["cacerts", "istio-remote-secret-cluster2"]
    assert ("Deployment", "external-istiod-gateway", gateways.NAME) in kubes["control"].objects
    assert ("Gateway", "istio-system", "istiod-gateway") in kubes["control"].objects
    assert not any(name == gateways.NAME for _, _, name in kubes["east"].objects)


def test_three_primaries_watch_each_other(istioctl: Istioctl) -> None:
    """A full mesh of remote secrets, each for the address that the others use; of one cluster one after the other."""
    kubes, _ = installed(preset(MP, MULTI, clusters=3))
    for number, name in enumerate(("east", "west", "north"), start=1):
        others = [f"istio-remote-secret-cluster{other}" for other in (1, 2, 3) if other != number]
        assert remote_secrets(kubes[name]) == ["cacerts", *others]
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
    kubes, steps = installed(Topology(name="mixed", clusters=clusters))
    assert remote_secrets(kubes["east"]) == ["cacerts", "istio-remote-secret-cluster2", "istio-remote-secret-cluster3"]
    assert remote_secrets(kubes["west"]) == ["cacerts", "istio-remote-secret-cluster1", "istio-remote-secret-cluster3"]
    assert ADDRESS in titles(steps, "west")
    assert EXPOSE_ISTIOD not in titles(steps, "east")


def test_a_second_run_makes_nothing_new(istioctl: Istioctl) -> None:
    """Get or create: what is there is left as it is, the CA above all."""
    kubes, _ = installed(preset(MP, MULTI))
    secret = kubes["east"].objects["Secret", "istio-system", "cacerts"]
    _, steps = installed(preset(MP, MULTI), kubes)
    assert kubes["east"].objects["Secret", "istio-system", "cacerts"] is secret
    assert [step.title for step in steps if step.outcome is Outcome.SKIPPED and step.cluster == "east"] == [
        CERTIFICATES[0],
        CERTIFICATES[2],
    ]


def test_the_wait_bears_the_title_that_is_judged() -> None:
    """CP-READY finds the step by this title."""
    assert title_of(procedure.await_control_plane) == WAIT_FOR_CONTROL_PLANE


def test_workloads_in_the_chapters_order() -> None:
    """Each cluster its own version; a third one is v1's image under another name."""
    topology = preset(MP, MULTI, clusters=3)
    kubes = {cluster.name: QuickKube(cluster.name) for cluster in topology.clusters}
    mesh = mesh_of(topology, kubes)
    workloads.deploy(mesh)
    assert titles(list(mesh.log.steps), "west") == [
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
    procedure.form(mesh_of(topology, kubes), certificates)
    assert not both.n_waiting
