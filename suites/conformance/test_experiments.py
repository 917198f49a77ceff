"""What has to be acted on to be seen: STRICT, authorization, and the procedure run again."""

from collections.abc import Iterable

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import expectations
from harness.model.experiment import Exchange, Policy
from harness.model.observation import Observation
from harness.model.traffic import ProbeResult
from suites.conformance.exchanges import between, expect, in_words, made, pairs, sent

OK, FORBIDDEN = 200, 403


@requirement("MTLS-STRICT", Level.EXTENDED, area="mtls", experiment=True)
def test_mtls_strict(observation: Observation, evidence: Evidence) -> None:
    """Under STRICT plaintext is refused on every cluster, and the loop still passes.

    A PeerAuthentication with mode STRICT stands in the sample namespace of every cluster with a control plane, for
    control planes read policies nowhere else. A pod that is no part of the mesh then requests helloworld's pods in
    plaintext: by sidecars and by ztunnels it must be refused. The same request must have been answered before (positive
    control): what never worked proves nothing when it fails.

    Source: Istio, "PeerAuthentication"; "Mutual TLS Migration".
    """
    for seen in made(observation, evidence, "MTLS-STRICT", lambda seen: seen.strict):
        _note(evidence, seen.policy)
        for target in observation.topology.clusters:
            sent = [exchange for exchange in seen.plaintext if exchange.target == target.name]
            if not sent:
                evidence.unknown(f"{target.name}: no plaintext was sent there")
            for exchange in sent:
                if _refused_before(observation, evidence, seen.control, exchange):
                    continue
                if not _controlled(evidence, seen.control, exchange):
                    continue
                refused = exchange.result is ProbeResult.REFUSED
                expect(evidence, exchange, refused, "plaintext", "refused")
        for client in observation.topology.clusters:
            loops = [sequence for sequence in seen.loop if sequence.client == client.name]
            if not loops or any(sequence.transport_error for sequence in loops):
                evidence.unknown(f"{client.name}: the loop was not sent under STRICT")
                continue
            requests = [request for sequence in loops for request in sequence.requests]
            failed = {request.error or f"status {request.status}" for request in requests if request.status != OK}
            apart = expectations.versions_apart(observation.topology, client)
            missing = expectations.unanswered(apart, {request.version for request in requests})
            wanted = "every version answers, none fails"
            evidence.expect(
                not failed and not missing,
                cluster=client,
                object=f"{len(requests)} requests to helloworld",
                field="under STRICT",
                expected=wanted,
                found="; ".join(sorted(failed | {f"{versions} does not answer" for versions in missing})) or wanted,
            )


@requirement("AUTHZ-IDENTITY", Level.EXTENDED, area="mtls", experiment=True)
def test_authz_identity(observation: Observation, evidence: Evidence) -> None:
    """A policy on the caller's identity is enforced by the destination on another cluster.

    An AuthorizationPolicy on the echo server allows the identity of sleep and so denies every other one. Both callers
    request each other cluster's echo server, which stands nowhere else: without the policy both are answered (positive
    control), with it one is answered and the other denied with status 403. A ztunnel knows no requests: it refuses the
    connection.

    Source: Istio, "AuthorizationPolicy", source.principals; "Istio identity".
    """
    for seen in made(observation, evidence, "AUTHZ-IDENTITY", lambda seen: seen.authorization):
        _note(evidence, seen.policy)
        for account, wanted in ((seen.allowed, OK), (seen.denied, FORBIDDEN)):
            exchanges = [exchange for exchange in seen.exchanges if exchange.account == account]
            for source, target in pairs(observation):
                for exchange in between(evidence, exchanges, source, target):
                    if not _controlled(evidence, seen.control, exchange):
                        continue
                    if observation.asked.ambient and wanted == FORBIDDEN:
                        refused = exchange.result is ProbeResult.REFUSED
                        expect(evidence, exchange, refused, f"connection as {account}", "refused")
                        continue
                    from_there = set(exchange.answers) == {target.version} or wanted == FORBIDDEN
                    holds = exchange.result is ProbeResult.ANSWERED and exchange.status == wanted and from_there
                    expect(evidence, exchange, holds, f"request as {account}", f"status {wanted}")


@requirement("IDEMPOTENT", Level.SHOULD, area="procedure", experiment=True)
def test_idempotent(observation: Observation, evidence: Evidence) -> None:
    """Running the procedure again changes nothing.

    The chapter creates project and certificates only where they are not there (`get || create`), and applies the rest.
    So the same procedure is run a second time, with the clusters' certificates exchanged: they must not be used. Then
    the certificates of the CAs are the same, and so is every object that the run applies, and every workload of its
    namespaces: not made again, no new generation, no field of another value. Fields that others write are left aside,
    and named.

    Source: chapter, `oc get secret cacerts || oc create`; Kubernetes API conventions, metadata.generation.
    """
    for seen in made(observation, evidence, "IDEMPOTENT", lambda seen: seen.rerun):
        for failed in seen.failed_steps:
            evidence.expect(
                False, object="the procedure", field="second run", expected="every step done", found=f"failed: {failed}"
            )
        for cluster in observation.topology.clusters:
            before, after = seen.certificates_before.get(cluster.name), seen.certificates_after.get(cluster.name)
            if not before or not after or not seen.compared.get(cluster.name):
                evidence.unknown(f"{cluster.name}: nothing was recorded before or after the second run")
                continue
            for place in before:
                evidence.expect(
                    before[place] == after.get(place),
                    cluster=cluster,
                    object=place,
                    field="SHA-256 after the second run",
                    expected=before[place],
                    found=after.get(place) or "nothing",
                )
            changes = [change for change in seen.changes if change.cluster == cluster.name]
            for change in changes:
                namespaced = f"{change.namespace}/{change.name}" if change.namespace else change.name
                fields = f" in {', '.join(change.fields)}" if change.fields else ""
                evidence.expect(
                    False,
                    cluster=cluster,
                    object=f"{change.kind} {namespaced}",
                    field="after the second run",
                    expected="as before",
                    found=f"{change.change}{fields}, generation {change.generations[0]} → {change.generations[1]}",
                )
            if not changes:
                evidence.fact(
                    f"{cluster.name}: the same {seen.compared[cluster.name]} objects as before the second run"
                )
        for aside in seen.aside:
            evidence.fact(f"not compared: {aside}")


def _controlled(evidence: Evidence, control: Iterable[Exchange], exchange: Exchange) -> bool:
    """Whether a request was sent, and the same one was answered without the policy; blocked where it was not."""
    same = [
        other
        for other in control
        if (other.source, other.account, other.url) == (exchange.source, exchange.account, exchange.url)
    ]
    answered = bool(same) and all(other.result is ProbeResult.ANSWERED and other.status == OK for other in same)
    if not answered:
        found = in_words(same[0]) if same else "not sent"
        evidence.blocked("its positive control", f"{exchange.source} → {exchange.url} without the policy: {found}")
    return answered and sent(evidence, exchange)


def _refused_before(
    observation: Observation, evidence: Evidence, control: Iterable[Exchange], exchange: Exchange
) -> bool:
    """Whether a mesh that was found refuses plaintext without the policy: STRICT is its own setting."""
    same = [other for other in control if (other.source, other.url) == (exchange.source, exchange.url)]
    refused = {ProbeResult.REFUSED} == {other.result for other in (*same, exchange)} and bool(same)
    strict = observation.asked.mode == "verify-only" and refused
    if strict:
        evidence.not_applicable(f"{exchange.source} → {exchange.url}: refused without the policy, too")
    return strict


def _note(evidence: Evidence, policy: Policy) -> None:
    where = f"{policy.kind} {policy.namespace}/{policy.name} on {', '.join(policy.clusters)}"
    pending = f"; not in {', '.join(policy.pending)}" if policy.pending else ""
    evidence.fact(f"{where}: in force after {policy.seconds:.1f} s{pending}")
