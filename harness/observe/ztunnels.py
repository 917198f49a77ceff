"""Asks every ztunnel over its admin interface what it is, which certificates it holds, and what it knows of others."""

import base64
import binascii
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from harness.kube.api import KubeApi, TransportError
from harness.model.certificate import Certificate
from harness.model.cluster import ClusterObservation, Pod
from harness.model.kubernetes import PROXY
from harness.model.ztunnel import WorkloadCertificate, Ztunnel, ZtunnelEndpoint, ZtunnelService, ZtunnelWorkload
from harness.observe.istio_objects import readable_certificates
from harness.observe.proxies import no_program

APP = "ztunnel"
"""The label app of its pods."""
_PORT = 15000
_PATH = "/config_dump"
_NO_CURL = 127
_SCRIPT = (
    f"command -v curl >/dev/null || exit {_NO_CURL}\n"
    f"curl -s --noproxy '*' --max-time 10 http://localhost:{_PORT}{_PATH}\n"
)
_GATEWAY = "NetworkGateway:"
"""How the uid of the workload begins that stands for a network's gateway (Istio, pilot, ambient's workloads)."""
_CHUNK = 65536
Json = Mapping[str, Any]


def ztunnel_pods(observed: ClusterObservation) -> tuple[Pod, ...]:
    """The ztunnels of a cluster that run."""

    def runs(pod: Pod) -> bool:
        found = pod.container(PROXY)
        return found is not None and found.state == "running"

    return tuple(pod for pod in observed.lasting_pods if pod.labels.get("app") == APP and runs(pod))


def read_ztunnel(kube: KubeApi, pod: Pod, namespaces: Collection[str], timeout: float) -> Ztunnel | None:
    """What one ztunnel says; None where it runs and does not answer yet.

    Args:
        kube: its cluster.
        pod: its pod.
        namespaces: those of the sample and the clients, about which its view is kept: a mesh may be large.
        timeout: seconds.

    Raises:
        TransportError: it could not be asked, or its answer is no whole JSON.
    """
    text = _config_dump(kube, pod, timeout)
    if not text.strip():
        return None
    try:
        dump = json.loads(text)
    except ValueError:
        raise TransportError(f"{pod.name}: {_PATH}: the answer was cut short") from None
    return ztunnel(pod, dump, namespaces)


def _config_dump(kube: KubeApi, pod: Pod, timeout: float) -> str:
    """Asked by curl; where the image has none, over a forwarded port."""
    try:
        answer = kube.exec(pod.namespace, pod.name, PROXY, ("sh", "-c", _SCRIPT), timeout=timeout)
    except TransportError as failed:
        if not no_program(failed):
            raise
    else:
        if answer.status != _NO_CURL:
            return answer.stdout
    return _forwarded(kube, pod, timeout)


def _forwarded(kube: KubeApi, pod: Pod, timeout: float) -> str:
    # HTTP/1.0: the answer comes in one piece, and ends with the connection.
    request = f"GET {_PATH} HTTP/1.0\r\nHost: localhost\r\n\r\n"
    received = bytearray()
    with kube.forward(pod.namespace, pod.name, _PORT) as connection:
        try:
            connection.settimeout(timeout)
            connection.sendall(request.encode())
            while part := connection.recv(_CHUNK):
                received += part
        except OSError as broken:
            raise TransportError(f"{pod.name}:{_PORT}: {broken}") from None
    return received.partition(b"\r\n\r\n")[2].decode(errors="replace")


def ztunnel(pod: Pod, dump: Json, namespaces: Collection[str]) -> Ztunnel:
    """Distil a ztunnel's config dump. Pure.

    Source: ztunnel, src/admin.rs, src/state.rs, src/state/workload.rs and src/state/service.rs.
    """
    config = dump.get("config") or {}
    services = tuple(_service(raw) for raw in dump.get("services") or () if raw["namespace"] in namespaces)
    policies = {f"{raw['namespace']}/{raw['name']}" for raw in dump.get("policies") or ()}
    needed = {endpoint.uid for service in services for endpoint in service.endpoints}
    return Ztunnel(
        pod=pod.name,
        namespace=pod.namespace,
        node=pod.node,
        version=_version(dump.get("version") or {}),
        cluster_id=str(config.get("clusterId") or ""),
        network=str(config.get("network") or ""),
        connected_to=str(config.get("xdsAddress") or ""),
        certificates=tuple(_certificates(dump.get("certificates") or (), namespaces)),
        workloads=tuple(
            found
            for found in (_workload(raw, policies) for raw in dump.get("workloads") or ())
            if found.namespace in namespaces or found.uid in needed or found.uid.startswith(_GATEWAY)
        ),
        services=services,
    )


def _version(build: Json) -> str:
    """The version of Istio that the image says it is of; a ztunnel that was built by hand has none."""
    found = str(build.get("istioVersion") or "")
    return "" if found == "unknown" else found


def _certificates(found: Iterable[Json], namespaces: Collection[str]) -> Iterator[WorkloadCertificate]:
    for raw in found:
        identity = str(raw["identity"])
        if any(f"/ns/{name}/sa/" in identity for name in namespaces):
            yield WorkloadCertificate(
                identity=identity,
                state=str(raw.get("state") or ""),
                chain=_chain(raw.get("certChain") or ()),
                roots=_chain(raw.get("rootCerts") or ()),
            )


def _chain(found: Iterable[Json]) -> tuple[Certificate, ...]:
    return tuple(certificate for raw in found for certificate in readable_certificates(_pem(raw.get("pem") or "")))


def _pem(encoded: str) -> bytes:
    """A certificate in PEM, which ztunnel encodes a second time."""
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return b""


def _workload(raw: Json, policies: Collection[str]) -> ZtunnelWorkload:
    gateway = raw.get("networkGateway") or {}
    return ZtunnelWorkload(
        uid=_plain(raw.get("uid") or ""),
        name=_plain(raw.get("name") or ""),
        namespace=raw["namespace"],
        cluster_id=raw.get("clusterId") or "",
        network=raw.get("network") or "",
        protocol=raw.get("protocol") or "",
        addresses=tuple(raw.get("workloadIps") or ()),
        gateway=str(gateway.get("destination") or "").partition("/")[2],
        gateway_port=int(gateway.get("hboneMtlsPort") or 0),
        healthy=raw.get("status", "Healthy") == "Healthy",
        capacity=int(raw.get("capacity", 1)),
        node=raw.get("node") or "",
        service_account=raw.get("serviceAccount") or "",
        # The reference may come before the policy, which is passed over until then.
        policies=tuple(_plain(name) for name in raw.get("authorizationPolicies") or () if name in policies),
    )


def _service(raw: Json) -> ZtunnelService:
    return ZtunnelService(
        name=raw["name"],
        namespace=raw["namespace"],
        hostname=raw["hostname"],
        vips=tuple(sorted(filter(_is_vip, raw.get("vips") or ()))),
        ports=tuple(sorted(map(int, raw.get("ports") or ()))),
        endpoints=tuple(
            ZtunnelEndpoint(
                uid=_plain(each["workloadUid"]),
                ports={int(port): int(target) for port, target in (each.get("port") or {}).items()},
                healthy=each.get("status", "Healthy") == "Healthy",
            )
            for _, each in sorted((raw.get("endpoints") or {}).items())
        ),
        identities=tuple(sorted(raw.get("subjectAltNames") or ())),
    )


def _plain(uid: str) -> str:
    """A uid with colons for slashes: a long one would be hidden as key material, for base64 has slashes, too."""
    return uid.replace("/", ":")


def _is_vip(text: str) -> bool:
    """Whether it is NETWORK/ADDRESS; a headless service has none."""
    try:
        ip_address(text.partition("/")[2])
    except ValueError:
        return False
    return True
