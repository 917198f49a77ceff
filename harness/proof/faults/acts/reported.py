"""What public reports describe, made on a live mesh and undone."""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from harness.base.parallel import in_parallel
from harness.kube.api import Object
from harness.model import expectations
from harness.proof.faults import configuration
from harness.proof.faults.acts import gateways, remote_secrets
from harness.proof.faults.acts.network import made_here
from harness.proof.faults.acts.policies import NETWORKING, SECURITY, applied, configured
from harness.proof.live.changes import Reference, changed, existing, present
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.restarts import (
    ISTIOD,
    await_connected,
    restart,
    restart_istiod,
    restart_sample,
    restarting_sample,
)
from harness.proof.live.updates import await_drained, await_quiet, quiet
from harness.proof.live.waits import await_true, felt

REGION = "topology.kubernetes.io/region"


@contextmanager
def gateway_selector(live: LiveMesh) -> Iterator[None]:
    """Let the Gateway of all services on West's primary select pods that do not exist."""
    primary, system = live.signer, live.mesh.settings.system_namespace
    gateway = Reference(NETWORKING, "Gateway", gateways.SERVICES, system)
    closed = [each for each in live.mesh.topology.served_by(primary) if live.mesh.topology.has_gateway(each)]
    with changed(live, primary, gateway, {"spec": {"selector": {"istio": "eastwest"}}}):
        in_parallel(lambda cluster: gateways.await_listening(live, cluster, wanted=False), closed)
        yield
    in_parallel(lambda cluster: gateways.await_listening(live, cluster, wanted=True), closed)


@contextmanager
def chain_glued(live: LiveMesh) -> Iterator[None]:
    """Write West's cert-chain.pem without the line break between its certificates, and restart istiod."""
    own, system = live.certificates.clusters[live.west.name], live.mesh.settings.system_namespace
    secret = Reference("v1", "Secret", "cacerts", system)
    glued = own.ca_cert.rstrip("\n") + own.root_cert
    change = {"data": {"cert-chain.pem": b64encode(glued.encode()).decode()}}
    try:
        with changed(live, live.west, secret, change):
            restart(live, live.west, system, ISTIOD, ready=False)
            await_true(live, live.west, "Wait until istiod has ended", lambda: _not_ended(live))
            yield
    finally:
        restart(live, live.west, system, ISTIOD)
        await_connected(live, live.west)


def _not_ended(live: LiveMesh) -> str:
    pods = live.kube(live.west).list("v1", "Pod", live.mesh.settings.system_namespace, label_selector=f"app={ISTIOD}")
    states = [each for pod in pods for each in pod.get("status", {}).get("containerStatuses") or ()]
    return "" if any(each.get("restartCount") for each in states) else "it has not ended yet"


@contextmanager
def no_mtls(live: LiveMesh) -> Iterator[None]:
    """Take mTLS from helloworld on every primary."""
    topology = live.mesh.topology
    spec = {"selector": {"matchLabels": {"app": expectations.HELLOWORLD}}, "mtls": {"mode": "DISABLE"}}
    with felt(live, topology.clusters, applied(live, topology.primaries, SECURITY, PeerAuthentication=spec)):
        yield
    # Connections that were opened in plaintext live on until their filter chains are drained.
    await_drained(live)


@contextmanager
def mesh_locality(live: LiveMesh) -> Iterator[None]:
    """Put each cluster into a region of its own, whose traffic the mesh's settings keep there."""
    topology = live.mesh.topology
    regions = [f"region-{cluster.name}/*" for cluster in topology.clusters]
    setting = {"enabled": True, "distribute": [{"from": each, "to": {each: 100}} for each in regions]}
    with restarting_sample(live, _kept_in_regions(live, setting)):
        yield


@contextmanager
def _kept_in_regions(live: LiveMesh, setting: Object) -> Iterator[None]:
    with in_regions(live), configured(live, {"localityLbSetting": setting}):
        yield


@contextmanager
def in_regions(live: LiveMesh) -> Iterator[None]:
    """Label the nodes of each cluster with a region of its own.

    Raises:
        StepError: the suite has not made a cluster.
    """
    with ExitStack() as undoing:
        for cluster in live.mesh.topology.clusters:
            made_here(live, cluster)
            label = {"metadata": {"labels": {REGION: f"region-{cluster.name}"}}}
            for node in live.kube(cluster).list("v1", "Node"):
                undoing.enter_context(changed(live, cluster, Reference("v1", "Node", node["metadata"]["name"]), label))
        yield


@contextmanager
def gateway_selects_others(live: LiveMesh) -> Iterator[None]:
    """Let the Service of West's gateway lead 15443 to istiod's webhook."""
    service = gateways.gateway_service(live, live.west)
    before = existing(live, live.west, service)["spec"]
    selector = {**dict.fromkeys(before["selector"]), "app": ISTIOD}
    ports = [
        {**port, "targetPort": expectations.WEBHOOK_PORT} if port["port"] == expectations.MESH_PORT else port
        for port in before["ports"]
    ]
    with changed(live, live.west, service, {"spec": {"selector": selector, "ports": ports}}):
        restart_sample(live, live.mesh.topology.others(live.west))
        await_quiet(live)
        yield


@contextmanager
def network_value(live: LiveMesh) -> Iterator[None]:
    """Take the network from the values of West's injector, and restart West's sample."""
    reference = Reference("v1", "ConfigMap", "istio-sidecar-injector", live.mesh.settings.system_namespace)
    values = json.loads(existing(live, live.west, reference)["data"]["values"])
    values["global"]["network"] = ""
    try:
        with changed(live, live.west, reference, {"data": {"values": json.dumps(values)}}):
            restart_istiod(live, live.west)
            restart_sample(live, [live.west])
            await_connected(live, live.west)
            await_quiet(live)
            yield
    finally:
        restart_istiod(live, live.west)
        restart_sample(live, [live.west])
        await_connected(live, live.west)
        await_quiet(live)


def subset_unknown(live: LiveMesh) -> AbstractContextManager[None]:
    """Route East's requests to subsets of helloworld that only East declares."""
    topology, sample = live.mesh.topology, live.mesh.settings.sample_namespace
    host = configuration.helloworld_host(sample)
    share = 100 // len(topology.clusters)
    weights = [100 - share * (len(topology.clusters) - 1), *[share] * (len(topology.clusters) - 1)]
    route = [
        {"destination": {"host": host, "subset": cluster.version}, "weight": weight}
        for cluster, weight in zip(topology.clusters, weights, strict=True)
    ]
    specs = {
        "DestinationRule": configuration.versions(topology, sample),
        "VirtualService": {"hosts": [host], "http": [{"route": route}]},
    }
    return quiet(live, applied(live, [live.east], NETWORKING, **specs))


def injector_left(live: LiveMesh) -> AbstractContextManager[None]:
    """Create an injection webhook on West whose Service does not exist."""
    system = live.mesh.settings.system_namespace
    webhook: Object = {
        "name": "sidecar-injector.istio.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "clientConfig": {"service": {"name": "istiod-1-7-0", "namespace": system, "path": "/inject", "port": 443}},
        "namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    }
    metadata = {"name": "istio-sidecar-injector-1-7-0", "labels": {"app": "sidecar-injector", "istio.io/rev": "1-7-0"}}
    manifest = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": metadata,
        "webhooks": [webhook],
    }
    return present(live, live.west, manifest)


def gateway_left_out(live: LiveMesh) -> AbstractContextManager[None]:
    """Let discoverySelectors admit only namespaces that are injected."""
    selectors = {"discoverySelectors": [{"matchLabels": {"istio-injection": "enabled"}}]}
    return felt(live, live.mesh.topology.clusters, configured(live, selectors))


def gateway_port_moved(live: LiveMesh) -> AbstractContextManager[None]:
    """Move the port 15443 of West's gateway to 443."""
    service = gateways.gateway_service(live, live.west)
    ports = [
        {**port, "port": 443, "targetPort": expectations.MESH_PORT} if port["port"] == expectations.MESH_PORT else port
        for port in existing(live, live.west, service)["spec"]["ports"]
    ]
    return changed(live, live.west, service, {"spec": {"ports": ports}})


@contextmanager
def unreachable_after_restart(live: LiveMesh) -> Iterator[None]:
    """Let East's remote secret for West name a server that does not answer, and restart East's istiod."""
    with remote_secrets.unreachable(live):
        restart_istiod(live, live.east)
        yield


@contextmanager
def config_no_yaml(live: LiveMesh) -> Iterator[None]:
    """Write the mesh configuration of West's primary so that it is no YAML."""
    reference = Reference("v1", "ConfigMap", "istio", live.mesh.settings.system_namespace)
    before = existing(live, live.server, reference)["data"]["mesh"]
    text = f"{before.rstrip()}\noutboundTrafficPolicy: mode: REGISTRY_ONLY\n"
    with changed(live, live.server, reference, {"data": {"mesh": text}}):
        yield
