"""The cause in what becomes of remotes' TLS on its way through the gateway to istiod."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import few, logged_by_control_planes, read
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, noted
from harness.model import expectations, policies
from harness.model.cluster import ConfigObject, Subject
from harness.model.observation import Observation
from harness.model.service import OwnService

ORIGINATES = frozenset({"SIMPLE", "MUTUAL", "ISTIO_MUTUAL"})
"""The modes in which a client's Envoy begins TLS (Istio, "Destination Rule", ClientTLSSettings.TLSmode)."""


@cause("istiod-tls-originated", Layer.GATEWAYS, "CERT-ISTIOD", "CP-INJECTION-WEBHOOK")
def istiod_tls_originated(observation: Observation) -> Iterator[Found]:
    """A DestinationRule makes the gateway wrap what it passes through to istiod in TLS of its own.

    Remotes' proxies and API servers begin TLS themselves, and the gateway passes it through. A rule with a TLS mode
    whose host takes istiod in (`*.local`) makes it begin TLS once more: istiod reads TLS where it expects a request,
    and resets every new connection. Those that stand go on until they are renewed, within half an hour.
    """
    istiod = OwnService(name="istiod", namespace=observation.asked.system_namespace, port=expectations.XDS_PORT)
    for primary, observed in read(
        observation, Subject.CONFIG, among=expectations.serving_primaries(observation.topology)
    ):
        domain = expectations.cluster_domain(observed)
        full = f"{istiod.name}.{istiod.namespace}.svc.{domain}"
        for item in observed.config:
            mode, host = _mode(item), str(item.spec.get("host") or "")
            meant = policies.is_host_of(host, istiod, item.namespace, (domain,))
            if item.kind != "DestinationRule" or mode not in ORIGINATES or not meant:
                continue
            otherwise = f"narrow its host, or add a rule for {full} with tls.mode DISABLE"
            yield Found(
                cluster=primary.name,
                object=f"DestinationRule {item.namespace}/{item.name}",
                field="spec.trafficPolicy.tls.mode",
                expected=f"not for {full}, which remotes reach through the gateway",
                found=f"{mode} for {host}",
                repair=noted(kubectl(observed, "-n", item.namespace, f"edit destinationrule {item.name}"), otherwise),
                change=f"DestinationRule {item.namespace}/{item.name}: {otherwise}",
                evidence=few(logged_by_control_planes(observed)),
            )


def _mode(item: ConfigObject) -> str:
    return str(((item.spec.get("trafficPolicy") or {}).get("tls") or {}).get("mode") or "")
