"""Sends the probes: all of one cluster in one exec, all clusters side by side."""

from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.base.parallel import in_parallel
from harness.kube.api import KubeApi, TransportError
from harness.model.traffic import Probe, ProbeKind, ProbeResult
from harness.observe import probe_output
from harness.observe.probe_plan import PlannedProbe, ProbeSource
from harness.observe.probe_script import AT_ONCE, script
from harness.observe.proxies import no_program
from harness.observe.reading import explain

SECONDS = 4.0
"""For one probe."""


def send(
    kubes: Mapping[str, KubeApi],
    planned: tuple[PlannedProbe, ...],
    sources: Mapping[str, ProbeSource],
    trust_domain: str,
    timeout_scale: float,
) -> tuple[Probe, ...]:
    """Send every probe that has a source; what could not be sent says so in its result.

    Args:
        kubes: the clusters by name.
        planned: the probes.
        sources: where each cluster's probes are sent from; a cluster without one sends none.
        trust_domain: for the certificate request that must be refused.
        timeout_scale: factor for the time of each probe.
    """
    body = signing_request(f"spiffe://{trust_domain}/ns/default/sa/default")
    limit = SECONDS * timeout_scale

    def of_cluster(name: str) -> list[Probe]:
        mine = tuple(probe for probe in planned if probe.source == name)
        return _send_from(kubes[name], sources[name], mine, body, limit) if mine else []

    return tuple(probe for found in in_parallel(of_cluster, sources) for probe in found)


def _send_from(
    kube: KubeApi, source: ProbeSource, planned: tuple[PlannedProbe, ...], body: bytes, limit: float
) -> list[Probe]:
    senseless = [probe for probe in planned if _senseless(probe)]
    sensible = [probe for probe in planned if not _senseless(probe)]
    found = [probe_output.not_sent(probe, source.pod, *_why(probe)) for probe in senseless]
    rounds = 1 + len(sensible) // AT_ONCE
    try:
        answer = kube.exec(
            source.namespace,
            source.pod,
            source.container,
            ("sh",),
            stdin=script(sensible, limit, body),
            # An API server is asked several questions one after the other; each but the first is answered at once.
            timeout=rounds * (limit + 2) + 10,
        )
    except TransportError as failed:
        result = ProbeResult.NO_TOOL if no_program(failed) else ProbeResult.TRANSPORT
        return found + [probe_output.not_sent(probe, source.pod, result, explain(failed)) for probe in sensible]
    lines = probe_output.by_probe(answer.stdout)
    return found + [probe_output.probe(probe, lines.get(number), source.pod) for number, probe in enumerate(sensible)]


def _senseless(probe: PlannedProbe) -> bool:
    """Whether a remote secret's credentials can't be tried at all."""
    credential = probe.credential
    return probe.kind is ProbeKind.API_SERVER and not (credential and probe.address and not credential.untried)


def _why(probe: PlannedProbe) -> tuple[ProbeResult, str]:
    if not probe.address:
        return ProbeResult.UNREACHABLE, "the kubeconfig in the remote secret names no server"
    return ProbeResult.NO_TOOL, probe.credential.untried if probe.credential else ""


def signing_request(identity: str) -> bytes:
    """A gRPC message that asks istiod to sign a certificate for a SPIFFE identity; its key is thrown away.

    Source: gRPC over HTTP/2, length-prefixed message; istio.v1.auth.IstioCertificateRequest, field 1 is the PEM.
    """
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    pem = request.public_bytes(serialization.Encoding.PEM)
    message = b"\x0a" + _varint(len(pem)) + pem
    return b"\x00" + len(message).to_bytes(4, "big") + message


def _varint(number: int) -> bytes:
    """A number as protocol buffers write it: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
