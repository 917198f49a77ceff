"""A fake cluster with key material in every field of every object, and what gives that away."""

import base64
import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from socket import socket
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from harness.kube.api import ExecResult, Object, TransportError
from harness.observe import proxies
from suites.selftest.observe.test_api_objects import RAW
from suites.selftest.observe.test_secrets import TOKEN, secret
from suites.selftest.support.fake_kube import FakeKube

PEM = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
OPAQUE = "kubeadm-0pen5esame-0123456789abcdef"
KUBECONFIG = yaml.safe_dump(
    {
        "apiVersion": "v1",
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
        "users": [{"name": "u", "user": {"token": OPAQUE, "client-key-data": base64.b64encode(PEM.encode()).decode()}}],
    }
)
PLANTED = {
    "a private key": PEM,
    "a private key in JSON": json.dumps(PEM),
    "a private key in base64": base64.b64encode(PEM.encode()).decode(),
    "a line of a private key": PEM.splitlines()[5],
    "a JSON Web Token": TOKEN,
    "a JSON Web Token in base64": base64.b64encode(TOKEN.encode()).decode(),
    "a bearer token": f"Authorization: Bearer {OPAQUE}",
    "an OAuth token": "sha256~0pen5esameOAuthTokenOfACluster0123456789ab",
    "a kubeconfig": KUBECONFIG,
    "a kubeconfig in JSON": json.dumps(yaml.safe_load(KUBECONFIG)),
    "a kubeconfig in base64": base64.b64encode(KUBECONFIG.encode()).decode(),
    "a password in an address": f"https://admin:{OPAQUE}@registry.example/v2",
}
NEEDLES = (
    *PEM.splitlines()[1:-1],
    TOKEN.split(".")[2],
    OPAQUE,
    "0pen5esame",
    *(base64.b64encode(text.encode()).decode()[8:48] for text in (PEM, TOKEN, KUBECONFIG)),
    base64.b64encode(PEM.encode()).decode()[800:840],
)
"""What gives a secret away: parts of each that stand nowhere else."""
EVERYTHING = "\n".join(PLANTED.values())
SAMPLE = ("/api/v1/namespaces/sample/", "/apis/apps/v1/namespaces/sample/")
STRUCTURE = {
    "name", "namespace", "uid", "kind", "apiVersion", "type", "status", "phase", "creationTimestamp", "podIP",
    "startTime", "lastTransitionTime", "lastTimestamp", "firstTimestamp", "lastProbeTime", "eventTime", "startedAt",
    "address", "ip", "restartPolicy", "targetPort", "caBundle",
}  # fmt: skip
"""Fields without whose own form an object can't be read at all: these are planted in one by one."""


def found_in(text: str) -> list[str]:
    return [needle for needle in NEEDLES if needle in text]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every text in some data."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, each in items:
        if isinstance(each, str):
            yield (*path, place)
        else:
            yield from leaves(each, (*path, place))


SAIL = {
    "metadata": {"name": "default", "creationTimestamp": "2026-11-23T21:50:16Z"},
    "spec": {"values": {"pilot": {"env": {"A": "b"}}, "global": {"imagePullSecrets": ["regcred"]}}},
    "status": {"state": "Healthy", "conditions": [{"type": "Ready", "status": "True", "message": "", "reason": "R"}]},
}
NAMESPACE = {"metadata": {"name": "sample", "labels": {"a": "b"}, "annotations": {"openshift.io/x": "y"}}, "status": {}}


def config_documents() -> list[dict[str, Any]]:
    """The documents in Istio's config maps, by their keys."""
    return [{name: yaml.safe_load(text) for name, text in raw["data"].items()} for raw in RAW["config_maps"]]


def config_maps(documents: list[dict[str, Any]]) -> list[Object]:
    """Istio's config maps with these documents."""
    return [
        {**raw, "data": {name: json.dumps(document) for name, document in found.items()}}
        for raw, found in zip(RAW["config_maps"], documents, strict=True)
    ]


def everywhere(raw: Any) -> Any:
    """An object with key material in every field that does not give it its form."""
    planted = copy.deepcopy(raw)
    for *way, last in leaves(raw):
        inner = planted
        for place in way:
            inner = inner[place]
        if last not in STRUCTURE:
            inner[last] += f" {EVERYTHING}"
    return planted


def listed(*objects: Any) -> Object:
    return {"items": list(objects)}


def answers() -> dict[str, Object]:
    """What the API server of the fake cluster answers to each path."""
    pod = everywhere(RAW["pod"])
    istiod = copy.deepcopy(pod)
    istiod["metadata"] |= {"name": "istiod-x", "namespace": "istio-system", "labels": {"app": "istiod"}}
    istiod["spec"]["containers"][0]["name"] = istiod["status"]["containerStatuses"][0]["name"] = "discovery"
    env_filter = copy.deepcopy(RAW["gateway"])
    env_filter["spec"] = {"configPatches": [{"patch": {"value": {"authorization": OPAQUE, "leak": EVERYTHING}}}]}
    system = "namespaces/istio-system"
    remote = secret("istio-remote-secret-cluster2", {"cluster2": KUBECONFIG.encode()}, istio__multiCluster="true")
    remote["metadata"] |= {"uid": "1", "annotations": {"leak": EVERYTHING}}
    return {
        "/api/v1/nodes": listed(everywhere(RAW["node"])),
        "/api/v1/namespaces/sample": everywhere(NAMESPACE),
        "/api/v1/namespaces/sample/pods": listed(pod),
        f"/api/v1/{system}/pods": listed(istiod),
        f"/apis/apps/v1/{system}/deployments": listed(everywhere(RAW["deployment"])),
        "/apis/apps/v1/namespaces/istio-cni/daemonsets": listed(everywhere(RAW["daemonset"])),
        f"/api/v1/{system}/services": listed(everywhere(RAW["service"])),
        f"/api/v1/{system}/events": listed(everywhere(RAW["event"])),
        f"/api/v1/{system}/configmaps": listed(*config_maps(everywhere(config_documents()))),
        f"/api/v1/{system}/secrets/cacerts": secret(
            "cacerts", {"ca-key.pem": PEM.encode(), "ca-cert.pem": EVERYTHING.encode()}
        ),
        f"/api/v1/{system}/secrets": listed(remote),
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations": listed(everywhere(RAW["webhook"])),
        "/apis/networking.istio.io/v1/gateways": listed(everywhere(RAW["gateway"])),
        "/apis/networking.istio.io/v1alpha3/envoyfilters": listed(env_filter),
        "/apis/sailoperator.io/v1/istios": listed(everywhere(SAIL)),
    }


def run(_namespace: str, pod: str, container: str, command: tuple[str, ...], **_: object) -> ExecResult:
    """What a command in a pod of the fake cluster prints."""
    if container == "discovery":
        debug = {"clusterz": everywhere(RAW["clusterz"]), "syncz": everywhere(RAW["syncz"]), "networkz": []}
        return ExecResult(0, json.dumps(next((debug[key] for key in debug if key in command[-1]), None)), EVERYTHING)
    if container == "istio-proxy":
        texts = {
            proxies.SERVER_INFO: everywhere(RAW["server_info"]),
            proxies.clusters(".sample.svc."): everywhere(RAW["clusters"]),
            proxies.SECRETS: RAW["secrets"],
            proxies.REFUSED: {"configs": [{"name": "x", "error_state": {"details": EVERYTHING}}]},
        }
        output = "".join(f"\n@@eastwest@@ {path}\n{json.dumps(text)}" for path, text in texts.items())
        return ExecResult(0, output, EVERYTHING)
    raise TransportError(f"{pod}/{container}: {EVERYTHING}")


class LeakingKube(FakeKube):
    """A cluster of which every answer is full of key material.

    Args:
        name: the cluster's.
        answers: by path.
    """

    def __init__(self, name: str, answers: Mapping[str, Object | Exception]) -> None:
        super().__init__(name)
        self.answers, self.execs = answers, run
        self.log = f"2026-11-23T21:50:16Z\twarn\t{EVERYTHING}"

    def version(self, *_: Any, **__: Any) -> str:
        """Leaks."""
        return f"v1.36.1 {EVERYTHING}"

    def create(self, manifest: Object, **_: Any) -> Object:
        """The object comes back with key material."""
        return everywhere(manifest)  # type: ignore[no-any-return]

    @contextmanager
    def forward(self, *_: Any, **__: Any) -> Iterator[socket]:
        """Every connection fails."""
        raise OSError(EVERYTHING)
        yield
