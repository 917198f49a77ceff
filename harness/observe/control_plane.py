"""Asks each istiod what it knows: of other clusters, of its proxies, of gateways; and looks at what it serves with."""

import json
import socket
import ssl
import time
from typing import Any

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.container_log import telling_lines
from harness.base.parallel import in_parallel
from harness.base.redaction import redact
from harness.base.waiting import pause
from harness.kube.api import ExecResult, KubeApi, TransportError
from harness.model import x509
from harness.model.certificate import Certificate
from harness.model.cluster import ClusterObservation, Pod
from harness.model.proxy import ControlPlane, ProxySync
from harness.observe import envoy

CONTAINER = "discovery"
_SYNCS = "/debug/syncz"
_PATHS = ("/version", "/debug/clusterz", _SYNCS, "/debug/networkz")
_NO_SUCH_PATH = "404 page not found"
"""What an istiod answers to every debug path with ENABLE_DEBUG_ON_HTTP=false; `pilot-discovery request` ends with 0.

Source: Istio, pilot/pkg/request/command.go; Go, net/http, NotFound.
"""
ACKNOWLEDGED_SECONDS = 3.0
"""For a proxy to acknowledge what it is sent: endpoints change all the time, and a push takes milliseconds."""
_PAUSE = 0.5
_XDS_PORT = 15012
_LOG_TAIL = 500
_LOG_KEPT = 12


def istiod_pods(observed: ClusterObservation) -> tuple[Pod, ...]:
    """The control planes of a cluster that run."""
    return tuple(
        pod
        for pod in observed.pods
        if pod.labels.get("app") == "istiod"
        and not pod.deleting
        and any(c.name == CONTAINER and c.state == "running" for c in pod.containers)
    )


def read_control_plane(kube: KubeApi, pod: Pod, timeout: float) -> ControlPlane:
    """What one istiod pod says of itself.

    Raises:
        TransportError: the pod could not be asked.
        ApiException: it may not be asked.
    """
    answers = in_parallel(lambda path: _request(kube, pod, path, timeout), _PATHS)
    version, clusters, proxies, gateways = (_whole(pod, *each) for each in zip(_PATHS, answers, strict=True))
    return ControlPlane(
        pod=pod.name,
        revision=pod.labels.get("istio.io/rev") or "default",
        version=envoy.istiod_version(version),
        clusters=envoy.remote_clusters(_json(clusters)),
        proxies=_acknowledged(kube, pod, envoy.proxy_syncs(_json(proxies)), timeout),
        network_gateways=envoy.network_gateways(_json(gateways)),
        debug_off=all(text.strip() == _NO_SUCH_PATH for text in (clusters, proxies, gateways)),
        serving_chain=serving_chain(kube, pod.namespace, pod.name, timeout),
        log_lines=_log_lines(kube, pod),
    )


def _log_lines(kube: KubeApi, pod: Pod) -> tuple[str, ...]:
    """What its log tells; nothing where it can't be read, which must not take away what the pod itself has said."""
    try:
        return telling_lines(kube.logs(pod.namespace, pod.name, CONTAINER, lines=_LOG_TAIL), _LOG_KEPT)
    except (ApiException, HTTPError):
        return ()


def _acknowledged(kube: KubeApi, pod: Pod, proxies: tuple[ProxySync, ...], timeout: float) -> tuple[ProxySync, ...]:
    """What proxies have acknowledged, those that were sent something just now being given a moment for it."""
    deadline = time.monotonic() + ACKNOWLEDGED_SECONDS
    while any("STALE" in row.types.values() for row in proxies) and time.monotonic() < deadline:
        pause(_PAUSE)  # istiod can't be watched
        proxies = envoy.proxy_syncs(_json(_whole(pod, _SYNCS, _request(kube, pod, _SYNCS, timeout))))
    return proxies


def _request(kube: KubeApi, pod: Pod, path: str, timeout: float) -> ExecResult:
    command = ("pilot-discovery", "request", "GET", path)
    answer = kube.exec(pod.namespace, pod.name, CONTAINER, command, timeout=timeout)
    if answer.status and pod.ready:
        raise TransportError(f"{pod.name}: {' '.join(command)}: {redact(answer.stderr or answer.stdout, 200)}")
    return answer


def _whole(pod: Pod, path: str, answer: ExecResult) -> str:
    """What was answered; of a control plane that is ready nothing, or half of something, is no answer.

    Raises:
        TransportError: it is none.
    """
    text = answer.stdout.strip()
    if pod.ready and (not text or (text[0] in "[{" and _json(text) is None)):
        raise TransportError(f"{pod.name}: {path}: {'the answer was cut short' if text else 'answered nothing'}")
    return answer.stdout


def _json(text: str) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return None


def serving_chain(kube: KubeApi, namespace: str, pod: str, timeout: float) -> tuple[Certificate, ...]:
    """What istiod presents on 15012, leaf first; empty where the handshake fails.

    Raises:
        TransportError: the port could not be forwarded.
    """
    with kube.forward(namespace, pod, _XDS_PORT) as connection:
        connection.settimeout(timeout)
        try:
            return presented_chain(connection, f"istiod.{namespace}.svc")
        except (OSError, ValueError):
            return ()


def presented_chain(connection: socket.socket, server_name: str) -> tuple[Certificate, ...]:
    """Do a TLS handshake over a connection, trusting anyone, and return the peer's certificates, leaf first.

    Raises:
        OSError: the handshake failed.
        ValueError: what was presented is not a certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # What is presented is judged later, by the observation; here it is only looked at.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            connection.sendall(outgoing.read())
            received = connection.recv(65536)
            if not received:
                raise ConnectionResetError("closed during the handshake") from None
            incoming.write(received)
    return tuple(x509.certificate(ssl.DER_cert_to_PEM_cert(der)) for der in _chain(tls))


def _chain(tls: Any) -> list[bytes]:
    # Python has a public method from 3.13 on; before, the object behind it has the same one.
    found = (tls if hasattr(tls, "get_unverified_chain") else tls._sslobj).get_unverified_chain() or []
    return [entry if isinstance(entry, bytes) else ssl.PEM_cert_to_DER_cert(entry.public_bytes()) for entry in found]
