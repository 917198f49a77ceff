"""The credentials in remote secrets: how long they last, and whether servers are verified."""

from collections.abc import Iterator

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import credentials
from harness.model.cluster import RemoteAccess, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster

AREA = "remote secrets"


@requirement("RS-HORIZON", Level.SHOULD, area=AREA)
def test_rs_horizon(observation: Observation, evidence: Evidence) -> None:
    """No token or client certificate in a remote secret ends within 30 days.

    When it ends the other cluster's endpoints stay as they were, and a control plane that restarts has none of them.
    What lasts a week or less is renewed by something; it is reported, and fails only when it has ended.

    Source: Kubernetes, "Managing Service Accounts"; istioctl create-remote-secret.
    """
    for cluster, name, access in _accesses(observation, evidence):
        at, ends = observation.observed, access.ends
        left = f"{ends:%Y-%m-%d %H:%M} UTC, {(ends - at).days} days left" if ends else "no end that is known"
        short = credentials.is_short_lived(access)
        if not credentials.ends_soon(access, at) and ends and ends - at < credentials.SOON:
            evidence.fact(f"{cluster.name}: {name}, {access.cluster}: the {access.form} ends on {left}")
        evidence.expect(
            not credentials.ends_soon(access, at),
            cluster=cluster,
            object=name,
            field=f"end of the {access.form or 'credentials'} for {access.cluster}",
            expected="not ended" if short else "more than 30 days left",
            found=left,
        )


@requirement("RS-VERIFIED", Level.SHOULD, area=AREA)
def test_rs_verified(observation: Observation, evidence: Evidence) -> None:
    """The certificate of every API server in a remote secret is verified.

    With insecure-skip-tls-verify whoever stands between the clusters can answer in the API server's place, read the
    token, and give istiod whatever endpoints he likes.

    Source: Kubernetes, "Organizing Cluster Access Using kubeconfig Files"; istioctl create-remote-secret.
    """
    for cluster, name, access in _accesses(observation, evidence):
        evidence.expect(
            not access.insecure,
            cluster=cluster,
            object=name,
            field=f"insecure-skip-tls-verify for {access.cluster}",
            expected="false",
            found=str(access.insecure).lower(),
        )


def _accesses(observation: Observation, evidence: Evidence) -> Iterator[tuple[Cluster, str, RemoteAccess]]:
    """Each kubeconfig in a remote secret of a primary, with the name of its secret."""
    seen = False
    for cluster, observed in evidence.readable(
        observation, Subject.REMOTE_SECRETS, among=observation.topology.primaries
    ):
        for secret in observed.remote_secrets:
            name = f"Secret {secret.namespace}/{secret.name}"
            seen = True
            if not secret.access:
                evidence.skipped(f"{cluster.name}: {name} was recorded before the form of its credentials was read")
            for access in secret.access:
                yield cluster, name, access
    if not seen:
        evidence.not_applicable("there is no remote secret")
