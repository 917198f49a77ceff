"""What holds while tokens, intermediates and the root are rotated."""

from collections.abc import Iterable

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model.expectations import HELLOWORLD
from harness.model.observation import Observation
from harness.model.resilience import Scenario, TrustReading
from suites.resilience.common import ENDING_BUDGET, expect_served, expect_served_but, played, restarts


@requirement("RES-SECRET-ROTATION", Level.EXTENDED, area="resilience", scenario="secret-rotation")
def test_res_secret_rotation(observation: Observation, evidence: Evidence) -> None:
    """A remote secret gets a new token and the old one is revoked, without a request or an endpoint being lost.

    For every remote secret a new token is made and put into it; when the API server has noted that the new token was
    used, which nobody but istiod has, the former one's Secret is deleted. Then the API server refuses the former token,
    istiod's clusterz says that the cluster is synced, and every client has the endpoints of helloworld that it had
    before, each time one looked.

    Error budget: none. The endpoints do not change, and proxies are not concerned.

    Source: chapter "Install a remote secret"; Istio, pkg/kube/multicluster: the former cluster is stopped when the new
    one has synced; Kubernetes, "Managing Service Accounts", legacy tokens.
    """
    for record in played(observation, evidence, "secret-rotation"):
        expect_served(evidence, record)
        _expect_tokens(observation, evidence, record)
        _expect_synced(observation, evidence, record)
        for cluster in observation.topology.clusters:
            seen = [each for each in record.endpoints if each.client == cluster.name]
            if len(seen) < 2:
                evidence.unknown(f"{cluster.name}: its endpoints were not read before and after")
                continue
            wanted = set(seen[0].endpoints)
            for reading in seen[1:]:
                evidence.expect(
                    bool(wanted) and set(reading.endpoints) == wanted,
                    cluster=cluster,
                    object="endpoints of helloworld",
                    field=f"at {reading.at:.0f} s",
                    expected=", ".join(sorted(wanted)) or "some",
                    found=", ".join(reading.endpoints) or "none",
                )


def _expect_tokens(observation: Observation, evidence: Evidence, record: Scenario) -> None:
    topology = observation.topology
    watched = [c for c in topology.clusters if any(c in topology.watched_by(p) for p in topology.primaries)]
    for cluster in watched:
        readings = [each for each in record.tokens if each.watched == cluster.name]
        if not readings:
            evidence.unknown(f"{cluster.name}: it was not tried which tokens its API server takes")
        for reading in readings:
            for which, wanted, found in (
                ("new token", "used by istiod", "used by istiod" if reading.new_accepted else "never used"),
                ("former token", "refused", "taken" if reading.old_accepted else "refused"),
            ):
                evidence.expect(
                    found == wanted, cluster=cluster, object="API server", field=which, expected=wanted, found=found
                )


def _expect_synced(observation: Observation, evidence: Evidence, record: Scenario) -> None:
    for primary in observation.topology.primaries:
        readings = [each for each in record.syncs if each.cluster == primary.name]
        if not readings:
            evidence.unknown(f"{primary.name}: its control plane did not say which clusters it watches")
            continue
        last = {row.id: row.sync_status for row in readings[-1].clusters}
        for watched in observation.topology.watched_by(primary):
            evidence.expect(
                last.get(watched.cluster_name) == "synced",
                cluster=primary,
                object="istiod /debug/clusterz",
                field=watched.cluster_name,
                expected="synced",
                found=last.get(watched.cluster_name) or "not there",
            )


@requirement("RES-INTERMEDIATE-ROTATION", Level.EXTENDED, area="resilience", scenario="intermediate-rotation")
def test_res_intermediate_rotation(observation: Observation, evidence: Evidence) -> None:
    """The intermediate CAs are rotated under the same root while they serve.

    Every cluster's `cacerts` gets a new intermediate of the same root; istiod takes it over without a restart. The
    sample's workloads are restarted, for a leaf is renewed only half way through its life: then every proxy's leaf is
    signed by the new intermediate of the control plane that serves it, and it trusts the same root as before.

    Error budget: none, for leaves of both intermediates chain to one root; but 3 requests for each client while a
    helloworld is restarted, as in RES-LOCAL-OUT.

    Source: Istio, "Plug in CA Certificates"; pilot/pkg/bootstrap/istio_ca.go, handleEvent.
    """
    for record in played(observation, evidence, "intermediate-rotation"):
        expect_served_but(evidence, record, (ENDING_BUDGET, restarts(record, HELLOWORLD)))
        _expect_trust(observation, evidence, record, _last(record), {"old root"})


@requirement("RES-ROOT-ROTATION", Level.EXTENDED, area="resilience", scenario="root-rotation")
def test_res_root_rotation(observation: Observation, evidence: Evidence) -> None:
    """The root is rotated through a bundle of both, without a restart and without a request being lost.

    With ISTIO_MULTIROOT_MESH and trust bundles sent to the proxies' agents (both set when the mesh is installed for
    this suite, and declared as deviations), every `cacerts` gets in turn: the old intermediate with both roots; an
    intermediate of the new root with both roots; the same with the new root alone. Each step waits until every proxy
    has followed. In the end every leaf is signed by the new intermediate, and the new root alone is trusted.

    Error budget: none at any stage. No proxy ever meets a leaf whose root it does not trust.

    Source: Istio, tests/integration/security/cacert_rotation; pilot/pkg/bootstrap/istio_ca.go, handleEvent: a bundle of
    roots that contains the other is taken over.
    """
    for record in played(observation, evidence, "root-rotation"):
        expect_served(evidence, record)
        _expect_trust(observation, evidence, record, _last(record), {"new root"})
        both = {each.pod for each in record.trust if _names(record, each.roots) == {"old root", "new root"}}
        for reading in _last(record):
            evidence.expect(
                reading.pod in both,
                cluster=reading.cluster,
                object=f"proxy of {reading.pod}",
                field="on the way",
                expected="trusted both roots",
                found="trusted both roots" if reading.pod in both else "never seen to trust both",
            )


def _last(record: Scenario) -> tuple[TrustReading, ...]:
    """The last reading of every pod that is still there at the end."""
    latest = {(each.cluster, each.pod): each for each in record.trust}
    end = max((each.at for each in record.trust), default=0.0)
    return tuple(each for each in latest.values() if each.at > end - 10.0)


def _names(record: Scenario, fingerprints: Iterable[str]) -> set[str]:
    return {record.authorities.get(each, each[:12]) for each in fingerprints}


def _expect_trust(
    observation: Observation,
    evidence: Evidence,
    record: Scenario,
    readings: Iterable[TrustReading],
    roots: set[str],
) -> None:
    """Every proxy's leaf is of the new intermediate, and it trusts these roots."""
    found = list(readings)
    for cluster in observation.topology.clusters:
        if not any(each.cluster == cluster.name for each in found):
            evidence.unknown(f"{cluster.name}: no proxy was asked in the end")
    for reading in found:
        signer = observation.topology[reading.cluster].primary
        for field, wanted, seen in (
            ("issuer", {f"new intermediate of {signer}"}, _names(record, [reading.issuer] if reading.issuer else [])),
            ("trusted roots", roots, _names(record, reading.roots)),
        ):
            evidence.expect(
                seen == wanted,
                cluster=reading.cluster,
                object=f"proxy of {reading.pod}",
                field=field,
                expected=", ".join(sorted(wanted)),
                found=", ".join(sorted(seen)) or "none",
            )
