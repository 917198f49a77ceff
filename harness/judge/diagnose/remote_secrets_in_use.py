"""Causes in what remote secrets hold: an address that does not answer, credentials that are refused or too mighty."""

from collections.abc import Iterator
from dataclasses import replace

from harness.judge.diagnose import remote_secret_facts as facts
from harness.judge.diagnose.facts import few
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import create_remote_secret, kubectl, noted
from harness.model import credentials, permissions, revisions
from harness.model.cluster import ClusterObservation, RemoteAccess, RemoteSecret
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind, ProbeResult


@cause("secret-loopback", Layer.REMOTE_SECRETS, "RS-USABLE", "RS-SYNCED")
def secret_loopback(observation: Observation) -> Iterator[Found]:
    """A remote secret holds an address that means something else inside the cluster.

    The kubeconfig's server is 127.0.0.1: right for whoever made the cluster on this machine, of no use to a control
    plane in another one. Make the secret with `--server` and the address of the node or the load balancer.
    """
    for cluster, observed, other in facts.watched(observation):
        for secret, server in facts.servers(observed, other):
            if facts.is_loopback(server):
                yield Found(
                    cluster=cluster.name,
                    object=f"Secret {secret.namespace}/{secret.name}",
                    field="kubeconfig server",
                    expected=facts.address_inside(observation, other, but=server),
                    found=server,
                    repair=create_remote_secret(observation, cluster, other),
                    evidence=facts.sync_lines(observation, observed, other),
                )


def _probes(observation: Observation) -> Iterator[tuple[Probe, ClusterObservation, Cluster]]:
    """The probes of API servers with a control plane's credentials; with the primary that has these credentials."""
    topology = observation.topology
    holders = {topology.control_plane_of(primary).name: observation[primary] for primary in topology.primaries}
    for probe in observation.probes:
        # A secret keyed by a name that is none of the mesh's leads nowhere.
        if probe.kind is ProbeKind.API_SERVER and probe.target in {c.name for c in topology.clusters}:
            yield probe, holders.get(probe.source, observation[probe.source]), topology[probe.target]


def _unusable(
    observation: Observation, probe: Probe, observed: ClusterObservation, other: Cluster, *values: str, repair: str = ""
) -> Found:
    field, wanted, seen = values
    secret, server = next(iter(facts.servers(observed, other)), (None, f"{probe.address}:{probe.port}"))
    name = f"{secret.namespace}/{secret.name}" if secret else f"istio-remote-secret-{other.cluster_name}"
    tried = f"{probe.source} {probe.source_pod} → {server}: {probe.result} {probe.status or ''} {probe.detail}"
    return Found(
        cluster=observed.name,
        object=f"Secret {name}",
        field=field,
        expected=wanted,
        found=seen,
        repair=repair or create_remote_secret(observation, observed.name, other),
        change=f"Secret {name} on {observed.name}: {field} {wanted}, and not {seen}",
        evidence=few([tried], facts.sync_lines(observation, observed, other)),
    )


def _rights(found: Found, other: Cluster, binding: str, change: str) -> Found:
    """What an account may do is said on its own cluster, and not in the secret that holds its token."""
    return replace(
        found,
        cluster=other.name,
        felt_at=found.cluster,
        object=binding,
        field=f"{found.field} of the account in {found.object} on {found.cluster}",
        change=f"On {other.name} {change}",
    )


@cause("secret-unreachable", Layer.REMOTE_SECRETS, "RS-USABLE", "RS-SYNCED", effect=True)
def secret_unreachable(observation: Observation) -> Iterator[Found]:
    """The API server in a remote secret does not answer from inside the watching cluster.

    The address is wrong, or a firewall stands between: from where the secret was made it may well answer.
    """
    silent = {ProbeResult.TIMEOUT, ProbeResult.UNREACHABLE, ProbeResult.REFUSED}
    for probe, observed, other in _probes(observation):
        if probe.result in silent and not probe.status:
            server = next((server for _, server in facts.servers(observed, other)), probe.address)
            right = facts.address_inside(observation, other, but=server)
            wanted = f"{server} answers" if server == observation[other].api_server else right
            yield _unusable(
                observation,
                probe,
                observed,
                other,
                "kubeconfig server",
                wanted,
                f"{server}: {probe.result} {probe.detail}",
            )


@cause("secret-revoked", Layer.REMOTE_SECRETS, "RS-USABLE", "RS-SYNCED")
def secret_revoked(observation: Observation) -> Iterator[Found]:
    """The token in a remote secret is no longer valid.

    The API server answers 401: the token was revoked or has expired, or its service account was created again.
    """
    for probe, observed, other in _probes(observation):
        if probe.status == 401:  # noqa: PLR2004
            yield _unusable(observation, probe, observed, other, "token", "accepted", f"401 {probe.detail}".strip())


@cause("secret-powerless", Layer.REMOTE_SECRETS, "RS-USABLE", "RS-SYNCED")
def secret_powerless(observation: Observation) -> Iterator[Found]:
    """The account behind a remote secret may not read what istiod needs.

    The API server answers 403, or denies a permission: the role or its binding is gone, or was cut down.
    """
    needed = {str(permission) for permission in permissions.NEEDED}
    for probe, observed, other in _probes(observation):
        denied = sorted(name for name, allowed in probe.permissions.items() if name in needed and not allowed)
        if not denied and probe.status != 403:  # noqa: PLR2004
            continue
        target, system = observation[other], observation.asked.system_namespace
        revision = revisions.revision(observation, other)
        role = f"istio-reader-clusterrole-{'' if revision == revisions.DEFAULT else f'{revision}-'}{system}"
        account = f"{system}:istio-reader-service-account"
        binding = f"create clusterrolebinding istio-reader-eastwest --clusterrole={role} --serviceaccount={account}"
        seen = f"denied: {', '.join(denied)}" if denied else f"403 {probe.detail}"
        found = _unusable(
            observation, probe, observed, other, "permissions", "list and watch endpoints, create token reviews", seen,
            repair=noted(kubectl(target, binding), "the role itself comes with the installation of Istio"),
        )  # fmt: skip
        change = (
            f"bind the account in that secret to the ClusterRole {role} again, which holds what Istio's chart gives it"
        )
        yield _rights(found, other, f"ClusterRoleBinding {role}", change)


@cause("secret-powerful", Layer.REMOTE_SECRETS, "RS-LEAST", breaks=None)
def secret_powerful(observation: Observation) -> Iterator[Found]:
    """The account behind a remote secret may do more than it must.

    Whoever reads the secret in one cluster can then take the other over.
    """
    forbidden = {str(permission) for permission in permissions.FORBIDDEN}
    for probe, observed, other in _probes(observation):
        allowed = sorted(name for name, allowed in probe.permissions.items() if name in forbidden and allowed)
        if allowed:
            target = observation[other]
            repair = noted(
                f"{kubectl(target, 'get clusterrolebindings -o wide')} | grep istio-reader-service-account",
                "delete those of another role than istio-reader-clusterrole-…",
            )
            seen = f"also allowed: {', '.join(allowed)}"
            found = _unusable(observation, probe, observed, other, "permissions", "to read only", seen, repair=repair)
            change = "take the further ClusterRoleBindings away from the account in that secret"
            # The account's name stands in the token, which is not read.
            yield _rights(found, other, f"ClusterRoleBinding of the account for {probe.source}", change)


@cause("secret-ends-soon", Layer.REMOTE_SECRETS, "RS-HORIZON", breaks=None)
def secret_ends_soon(observation: Observation) -> Iterator[Found]:
    """The credentials in a remote secret end soon, or have ended.

    Then the control plane learns nothing more of the other cluster, and after a restart it knows none of its endpoints.
    Secrets that istioctl makes hold a token without an end; one of `kubectl create token`, or a client certificate, has
    an end. From Istio 1.30 up to 1.30.3 restart istiod after the secret was renewed (istio/istio#61043, #60612).
    """
    for cluster, observed, other, secret, access in _held(observation):
        if credentials.ends_soon(access, observation.observed):
            yield Found(
                cluster=cluster.name,
                object=f"Secret {secret.namespace}/{secret.name}",
                field=f"end of the {access.form} for {access.cluster}",
                expected="more than 30 days left",
                found=f"{access.ends:%Y-%m-%d %H:%M} UTC",
                repair=create_remote_secret(observation, cluster, other),
                change=f"Renew the {access.form} in {secret.namespace}/{secret.name}, and have it renewed regularly",
                evidence=facts.sync_lines(observation, observed, other),
            )


@cause("secret-unverified", Layer.REMOTE_SECRETS, "RS-VERIFIED", breaks=None)
def secret_unverified(observation: Observation) -> Iterator[Found]:
    """A remote secret has its API server's certificate not verified.

    Its kubeconfig says insecure-skip-tls-verify: whoever stands between the clusters can answer in the API server's
    place. certificate-authority-data of the other cluster belongs there instead.
    """
    for cluster, _, other, secret, access in _held(observation):
        if access.insecure:
            yield Found(
                cluster=cluster.name,
                object=f"Secret {secret.namespace}/{secret.name}",
                field=f"insecure-skip-tls-verify for {access.cluster}",
                expected="false, and certificate-authority-data",
                found="true",
                repair=create_remote_secret(observation, cluster, other),
                change=f"Put {other.name}'s certificate-authority-data into {secret.namespace}/{secret.name}, and take "
                "insecure-skip-tls-verify out",
            )


def _held(
    observation: Observation,
) -> Iterator[tuple[Cluster, ClusterObservation, Cluster, RemoteSecret, RemoteAccess]]:
    """Each kubeconfig in a remote secret for a cluster that its control plane must watch."""
    for cluster, observed, other in facts.watched(observation):
        for secret in observed.remote_secrets:
            for access in secret.access:
                if access.cluster == other.cluster_name:
                    yield cluster, observed, other, secret, access


@cause("cluster-not-synced", Layer.REMOTE_SECRETS, "RS-SYNCED", effect=True, fallback=True)
def cluster_not_synced(observation: Observation) -> Iterator[Found]:
    """A control plane has not synchronised with a cluster it watches.

    Its API server answers to the secret's credentials, yet istiod reports it as not synced: it is still reading, or
    its log says why not.
    """
    for cluster, observed, other in facts.watched(observation):
        for plane in revisions.control_planes(observation, cluster):
            if plane.debug_off:
                continue
            row = next((row for row in plane.clusters if row.id == other.cluster_name), None)
            if row is None or row.sync_status != "synced":
                yield Found(
                    cluster=cluster.name,
                    object=f"Pod {observation.asked.system_namespace}/{plane.pod}",
                    field=f"/debug/clusterz {other.cluster_name}",
                    expected="synced",
                    found=row.sync_status if row else "not listed",
                    repair=kubectl(
                        observed,
                        "-n",
                        observation.asked.system_namespace,
                        f"logs {plane.pod} | grep {other.cluster_name}",
                    ),
                    evidence=facts.sync_lines(observation, observed, other),
                )
