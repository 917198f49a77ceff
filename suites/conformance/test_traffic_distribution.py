"""How requests are shared out over the clusters."""

from collections import Counter
from collections.abc import Mapping

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import balancing, expectations, odds
from harness.model.cluster import Subject
from harness.model.further_versions import further_versions
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.topology import Cluster
from suites.conformance.sent import good, sequences

ENOUGH_POWER = 0.5
"""With less, a comparison of shares that finds nothing says nothing."""


@requirement("TR-DISTRIBUTION", Level.EXTENDED, area="traffic", needs=(MeshFeature.SAMPLE,))
def test_tr_distribution(observation: Observation, evidence: Evidence) -> None:
    """The versions' shares of the answers match the weights of the endpoints in the client's proxy.

    Equal shares are not what Istio promises: the weights are. Answers are counted over a fixed number of requests on
    fresh connections and compared with the weights by the exact binomial test, for more than two versions each against
    the rest with Bonferroni's correction. A good mesh fails this requirement once in ten thousand runs, all clients
    together; stated are n, p, and how likely the weakest version's odds being halved would have been seen. Where that
    is less likely than not, nothing is judged; the number of requests grows with the number of clusters so that it is
    95 % for up to eight. On a mesh that the suite did not install it is not applicable where a policy decides which
    endpoint answers: failover or weights by locality, consistent hashing, weights of routes. Versions of clusters that
    share another network count together: which of them answers is chosen once for a connection of the client's proxy,
    not for each request.

    Source: Istio, "Deployment models"; harness/model/odds.py, compare_shares.
    """
    clients = observation.topology.clusters
    if observation.asked.mode == "verify-only":
        reasons = {client.name: balancing.decided_otherwise(observation, client) for client in clients}
        for name, why in reasons.items():
            if why:
                evidence.not_applicable(f"{name}: {why}")
        clients = tuple(client for client in clients if not reasons[client.name])
    for client, sent in sequences(observation, evidence, "distribution", among=clients):
        label = {
            target.version: " or ".join(each.version for each in targets)
            for targets in expectations.spread_over(observation.topology, client)
            for target in targets
        }
        label |= {version: label[home.version] for version, home in further_versions(observation).items()}
        promised = _promised_shares(observation, evidence, client, label)
        answers = (request.version for s in sent for request in s.requests if good(request))
        counts = Counter(label.get(version, version) for version in answers)
        if not promised:
            continue
        if not counts:
            evidence.blocked("TR-NO-ERRORS", f"no request of {client.name} was answered")
            continue
        test = odds.compare_shares(counts, promised, odds.DISTRIBUTION_FALSE_ALARM / len(observation.topology.clusters))
        stated = (
            f"n={test.trials}, p={test.p_value:.2g}, false alarms {test.false_alarm:.2g}, power {test.power:.1%} "
            "against halved odds"
        )
        if test.matches and test.power < ENOUGH_POWER:
            evidence.skipped(f"{client.name}: too few requests to tell ({stated})")
            continue
        evidence.expect(
            test.matches,
            cluster=client,
            object="answers of helloworld",
            field="shares of versions",
            expected=", ".join(f"{version} {share:.1%}" for version, share in sorted(promised.items())),
            found=", ".join(f"{version} {counts[version]}" for version in sorted({*counts, *promised}))
            + f" ({stated})",
        )


def _promised_shares(
    observation: Observation, evidence: Evidence, client: Cluster, label: Mapping[str, str]
) -> dict[str, float]:
    """Each label's share by the weights of the healthy endpoints in the client's proxies; `label` is by version."""
    weights: Counter[str] = Counter()
    for _ in evidence.readable(observation, Subject.PROXIES, among=(client,)):
        for version, weight in balancing.promised_weights(observation, client).items():
            weights[label[version]] += weight
    whole = sum(weights.values())
    if not whole:
        evidence.blocked("EP-COMPLETE", f"the endpoints of {client.name}'s client can't be told by cluster")
        return {}
    return {name: weight / whole for name, weight in weights.items()}
