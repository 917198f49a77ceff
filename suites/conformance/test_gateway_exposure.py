"""East-west gateways: what they must not lead other networks to."""

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import expectations, plain_istiod
from harness.model.cluster import Subject
from harness.model.observation import Observation
from harness.model.topology import Feature


@requirement("GW-ISTIOD-PLAIN", Level.SHOULD, Feature.MULTI_NETWORK, Feature.PRIMARY_REMOTE, area="gateways")
def test_gw_istiod_plain(observation: Observation, evidence: Evidence) -> None:
    """No east-west gateway leads to a port of istiod that has no TLS.

    On 15010 istiod gives every caller the configuration of any proxy, on 15014 and 8080 it answers with metrics and
    debug pages. Remotes need 15012 and 15017, with TLS passed through or ended at the gateway. Examined are the
    Gateways that select an east-west gateway, of either API (a server for 15010 or 15014 fails, wherever it leads),
    the VirtualServices behind them, and where the filter chains of the gateway's Envoy lead.

    Source: Istio, "Security best practices", expose-istiod.yaml.
    """
    among = expectations.gateways(observation.topology)
    primaries = tuple(cluster for cluster in observation.topology.primaries)
    read = {cluster.name for cluster, _ in evidence.readable(observation, Subject.CONFIG, among=primaries)}
    subjects = (Subject.SERVICES, Subject.PODS, Subject.PROXIES)
    for cluster, _ in evidence.readable(observation, *subjects, among=among):
        if cluster.primary not in read:
            continue
        found = plain_istiod.exposed(observation, cluster)
        for each in found:
            evidence.expect(
                False, cluster=each.cluster, object=each.object, field=each.field,
                expected="only 15012 and 15017 of istiod", found=each.found,
            )  # fmt: skip
        if not found:
            names = [f"{service.namespace}/{service.name}" for service in plain_istiod.services(observation, cluster)]
            evidence.fact(f"{cluster.name}: nothing leads to istiod without TLS by {', '.join(names) or 'a gateway'}")
