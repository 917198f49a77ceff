"""A live mesh of nothing but objects, for acts that change some and must put them back."""

import base64
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from harness.kube.api import KubeApi, Object
from harness.mesh import manifests
from harness.mesh.context import Mesh
from harness.mesh.external import with_ingress
from harness.mesh.pki import CaFiles, Pki
from harness.mesh.remote_secrets import READER
from harness.mesh.settings import MeshSettings
from harness.model.observation import Observation
from harness.model.remotes import CONFIG_SECRET
from harness.model.step_log import StepLog
from harness.proof.live.live_mesh import LiveMesh
from suites.selftest.support.fake_kube import FakeKube

RBAC = "rbac.authorization.k8s.io/v1"
SYSTEM, SAMPLE = "istio-system", "sample"
SETTINGS = MeshSettings(istio_version="1.31.0", istioctl=Path("istioctl"), run_id="r1")


def ca_files(cluster: str) -> CaFiles:
    """What stands in for a cluster's certificates."""
    return CaFiles(f"{cluster} ca", f"{cluster} key", "root", f"{cluster} chain")


def made_object(api_version: str, kind: str, name: str, namespace: str = "", **fields: Any) -> Object:
    """An object with a label of somebody else."""
    metadata = {"name": name, "labels": {"team": "a"}, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def encoded(text: str) -> str:
    """Text as a Secret holds it."""
    return base64.b64encode(text.encode()).decode()


def _istiod() -> Object:
    containers = [{"name": "discovery", "image": "pilot", "resources": {"requests": {"cpu": "500m"}}}]
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "istiod"}},
        "template": {"spec": {"containers": containers}},
    }
    return made_object("apps/v1", "Deployment", "istiod", SYSTEM, spec=spec)


@cache
def objects(cluster: str, network: str, version: str, gateway: str) -> list[Object]:
    """What an act may touch, as it stands on a cluster, its gateway in a namespace; whoever changes it takes a copy."""
    service = manifests.render("east-west-gateway-service", namespace=gateway, network=network)[0]
    for port, number in zip(service["spec"]["ports"], range(30000, 30010), strict=False):
        port["nodePort"] = number
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}
    kubeconfig = yaml.safe_dump(
        {"clusters": [{"cluster": {"server": "https://west:6443"}}], "users": [{"user": {"token": "t"}}]}
    )
    other = "cluster2" if cluster == "east" else "cluster1"
    remote_secret = made_object(
        "v1", "Secret", f"istio-remote-secret-{other}", SYSTEM, data={other: encoded(kubeconfig)}
    )
    remote_secret["metadata"]["labels"] = {"istio/multiCluster": "true"}
    reader = {"kind": "ServiceAccount", "name": READER, "namespace": SYSTEM}
    echo = [
        {**found, "spec": {**found["spec"], "clusterIP": "10.0.0.5"}}
        for each in ("v1", "v2")
        for found in manifests.render("echo-service", namespace=SAMPLE, version=each)
        + manifests.render("echo", namespace=SAMPLE, version=each, image="echo")
        if found["kind"] == "Service"
    ]
    return [
        service,
        *manifests.render("east-west-gateway", namespace=gateway, network=network),
        _istiod(),
        *manifests.render("expose-services", namespace=SYSTEM),
        *manifests.render("expose-istiod", namespace=SYSTEM),
        *manifests.render("helloworld-service", namespace=SAMPLE),
        *echo,
        *manifests.render("sleep", namespace=SAMPLE, image="sleep"),
        *manifests.render("helloworld-deployment", namespace=SAMPLE, version=version, image="helloworld"),
        {
            **made_object("v1", "Namespace", SAMPLE),
            "metadata": {"name": SAMPLE, "labels": {"istio-injection": "enabled"}},
        },
        made_object("v1", "Namespace", SYSTEM),
        {
            **made_object("v1", "Node", f"{cluster}-node"),
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.77"}]},
        },
        made_object(
            "v1",
            "Secret",
            "cacerts",
            SYSTEM,
            data={name: encoded(text) for name, text in ca_files(cluster).entries.items()},
        ),
        made_object(
            "v1", "ConfigMap", "istio", SYSTEM, data={"mesh": "# as istioctl writes it\nrootNamespace: istio-system"}
        ),
        made_object(
            "v1", "ConfigMap", "istio-sidecar-injector", SYSTEM, data={"values": '{"global": {"network": "n"}}'}
        ),
        remote_secret,
        made_object("v1", "Secret", CONFIG_SECRET, SYSTEM, data={"config": encoded("c")}),
        made_object("v1", "Secret", "reader-token", SYSTEM, data={"token": encoded("t")}),
        made_object(RBAC, "ClusterRoleBinding", "reader", subjects=[reader]),
        made_object(RBAC, "ClusterRoleBinding", "other", subjects=[{**reader, "name": "other"}]),
        made_object(
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            "istio-sidecar-injector",
            webhooks=[{"name": "namespace.sidecar-injector.istio.io"}],
        ),
    ]


def live_mesh(observation: Observation) -> tuple[LiveMesh, Mapping[str, FakeKube]]:
    """A mesh of API servers that keep objects, with the API servers by the clusters' names."""
    topology = observation.topology
    hosts, settings = {host.name for host in topology.hosts}, with_ingress(SETTINGS, topology)
    gateways = {c.name: settings.ingress_namespace if c.name in hosts else SYSTEM for c in topology.every}
    kubes = {c.name: FakeKube(c.name, *objects(c.name, c.network, c.version, gateways[c.name])) for c in topology.every}
    mesh = Mesh(topology, cast(Mapping[str, KubeApi], kubes), settings, StepLog())
    return LiveMesh(mesh, Pki({c.name: ca_files(c.name) for c in topology.clusters}), observation), kubes


def state(kubes: Mapping[str, FakeKube]) -> dict[str, Any]:
    """A copy of every object, by cluster."""
    return {
        name: {key: json.loads(json.dumps(found)) for key, found in kube.objects.items()}
        for name, kube in kubes.items()
    }


def spec(objects: Mapping[Any, Object]) -> dict[Any, Object]:
    """The objects without their status."""
    return {
        key: {field: value for field, value in found.items() if field != "status"} for key, found in objects.items()
    }
