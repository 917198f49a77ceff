"""Causes in the remote secrets: how control planes reach other clusters' API servers."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from harness.judge.diagnose.facts import failed_steps, few, read, readiness, taken_name
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import create_remote_secret, kubectl, noted, steps
from harness.model import permissions
from harness.model.cluster import ClusterObservation, RemoteSecret, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind, ProbeResult

LOOPBACK = ("127.", "localhost", "0.0.0.0", "::1", "[::1]")  # noqa: S104 - recognised, not bound


def _watched(observation: Observation) -> Iterator[tuple[Cluster, ClusterObservation, Cluster]]:
    """Every primary with each cluster its control plane must watch."""
    for cluster, observed in read(observation, Subject.REMOTE_SECRETS, among=observation.topology.primaries):
        for other in observation.topology.watched_by(cluster):
            yield cluster, observed, other


def _seen(observation: Observation, secret: RemoteSecret) -> bool:
    return secret.labelled and secret.namespace == observation.asked.system_namespace


def _absent(
    observation: Observation,
) -> Iterator[tuple[Cluster, ClusterObservation, Cluster, tuple[RemoteSecret, ...]]]:
    """The clusters that a control plane must watch and does not find a secret for, with those it can't see."""
    for cluster, observed, other in _watched(observation):
        holding = tuple(secret for secret in observed.remote_secrets if other.cluster_name in secret.clusters)
        if not any(_seen(observation, secret) for secret in holding) and not taken_name(observation, other):
            yield cluster, observed, other, holding


def _strays(observation: Observation, cluster: Cluster, observed: ClusterObservation) -> tuple[RemoteSecret, ...]:
    """Secrets that istiod sees and that name no cluster which it must watch."""
    wanted = {other.cluster_name for other in observation.topology.watched_by(cluster)}
    return tuple(s for s in observed.remote_secrets if _seen(observation, s) and not wanted & set(s.clusters))


@cause("secret-missing", Layer.REMOTE_SECRETS, "RS-PRESENT", "RS-SYNCED")
def secret_missing(observation: Observation) -> Iterator[Found]:
    """A control plane has no remote secret for a cluster it must watch.

    It does not know that cluster's endpoints, and clients it serves never get an answer from there. For a remote it is
    worse: its proxies' tokens are checked at its API server, so without the secret they get no certificate at all.
    """
    for cluster, observed, other, holding in _absent(observation):
        if not holding and not _strays(observation, cluster, observed):
            others = ", ".join(f"{s.namespace}/{s.name} ({', '.join(s.clusters)})" for s in observed.remote_secrets)
            yield Found(
                cluster=cluster.name,
                object=f"Secret {observation.asked.system_namespace}/istio-remote-secret-{other.cluster_name}",
                field="exists",
                expected=f"a remote secret for {other.name} ({other.cluster_name})",
                found=f"none; there are: {others}" if others else "none",
                repair=create_remote_secret(observation, cluster, other),
                evidence=few(_sync(observation, observed, other), failed_steps(observation, cluster.name)),
            )


def _sync(observation: Observation, observed: ClusterObservation, other: Cluster) -> tuple[str, ...]:
    """What the control planes report of that cluster, and log of it; what the operator says of it."""
    rows = [
        f"{plane.pod} clusterz: {row.id} {row.sync_status}"
        for plane in observed.control_planes
        for row in plane.clusters
        if row.id == other.cluster_name
    ]
    logs = [
        f"log {plane.pod}: {line}"
        for plane in observed.control_planes
        for line in plane.log_lines
        if other.cluster_name in line
    ]
    return few(rows, logs, readiness(observation[other]))


@cause("secret-misplaced", Layer.REMOTE_SECRETS, "RS-PRESENT", "RS-SYNCED")
def secret_misplaced(observation: Observation) -> Iterator[Found]:
    """A remote secret is in a namespace where istiod does not look.

    istiod reads remote secrets in its own namespace only.
    """
    system = observation.asked.system_namespace
    for cluster, observed, other, holding in _absent(observation):
        for secret in holding[:1]:
            if secret.namespace != system:
                delete = kubectl(observed, "-n", secret.namespace, f"delete secret {secret.name}")
                yield Found(
                    cluster=cluster.name,
                    object=f"Secret {secret.namespace}/{secret.name}",
                    field="namespace",
                    expected=system,
                    found=secret.namespace,
                    repair=steps(create_remote_secret(observation, cluster, other), delete),
                    evidence=_sync(observation, observed, other),
                )


@cause("secret-unlabelled", Layer.REMOTE_SECRETS, "RS-PRESENT", "RS-SYNCED")
def secret_unlabelled(observation: Observation) -> Iterator[Found]:
    """A remote secret lacks the label by which istiod finds it.

    istiod watches secrets labelled istio/multiCluster=true.
    """
    for cluster, observed, other, holding in _absent(observation):
        for secret in holding[:1]:
            if secret.namespace == observation.asked.system_namespace and not secret.labelled:
                label = f"label secret {secret.name} istio/multiCluster=true"
                yield Found(
                    cluster=cluster.name,
                    object=f"Secret {secret.namespace}/{secret.name}",
                    field="label istio/multiCluster",
                    expected="true",
                    found="none",
                    repair=kubectl(observed, "-n", secret.namespace, label),
                    evidence=_sync(observation, observed, other),
                )


@cause("secret-wrong-name", Layer.REMOTE_SECRETS, "RS-PRESENT", "RS-SYNCED")
def secret_wrong_name(observation: Observation) -> Iterator[Found]:
    """A remote secret is keyed by another cluster's name.

    istiod takes the key for the cluster's name: endpoints and tokens are looked up under the name that the proxies
    have, and not found.
    """
    for cluster, observed, other, holding in _absent(observation):
        strays = _strays(observation, cluster, observed)
        if holding or not strays:
            continue
        secret = next((s for s in strays if observation[other].api_server in s.servers), strays[0])
        yield Found(
            cluster=cluster.name,
            object=f"Secret {secret.namespace}/{secret.name}",
            field="key",
            expected=other.cluster_name,
            found=", ".join(secret.clusters),
            repair=steps(
                kubectl(observed, "-n", secret.namespace, f"delete secret {secret.name}"),
                create_remote_secret(observation, cluster, other),
            ),
            evidence=_sync(observation, observed, other),
        )


@cause("secret-extra", Layer.REMOTE_SECRETS, "RS-PRESENT", "RS-SYNCED", fallback=True)
def secret_extra(observation: Observation) -> Iterator[Found]:
    """There is a remote secret for a cluster that is none of the mesh's.

    Left from an earlier mesh, or made for the cluster itself, or on a remote, where no control plane reads it.
    """
    for cluster, observed in read(observation, Subject.REMOTE_SECRETS):
        for secret in _strays(observation, cluster, observed):
            if any(taken_name(observation, other) in secret.clusters for other in observation.topology.others(cluster)):
                continue
            yield Found(
                cluster=cluster.name,
                object=f"Secret {secret.namespace}/{secret.name}",
                field="key",
                expected=", ".join(c.cluster_name for c in observation.topology.watched_by(cluster))
                or "no remote secret",
                found=", ".join(secret.clusters),
                repair=kubectl(observed, "-n", secret.namespace, f"delete secret {secret.name}"),
            )


@cause("secret-loopback", Layer.REMOTE_SECRETS, "RS-USABLE", "RS-SYNCED")
def secret_loopback(observation: Observation) -> Iterator[Found]:
    """A remote secret holds an address that means something else inside the cluster.

    The kubeconfig's server is 127.0.0.1: right for whoever made the cluster on this machine, of no use to a control
    plane in another one. Make the secret with `--server` and the address of the node or the load balancer.
    """
    for cluster, observed, other in _watched(observation):
        for secret, server in _servers(observed, other):
            if (urlsplit(server).hostname or "").startswith(LOOPBACK):
                yield Found(
                    cluster=cluster.name,
                    object=f"Secret {secret.namespace}/{secret.name}",
                    field="kubeconfig server",
                    expected=observation[other].api_server,
                    found=server,
                    repair=create_remote_secret(observation, cluster, other),
                    evidence=_sync(observation, observed, other),
                )


def _servers(observed: ClusterObservation, other: Cluster) -> Iterator[tuple[RemoteSecret, str]]:
    for secret in observed.remote_secrets:
        for name, server in zip(secret.clusters, secret.servers, strict=False):
            if name == other.cluster_name:
                yield secret, server


def _probes(observation: Observation) -> Iterator[tuple[Probe, ClusterObservation, Cluster]]:
    """The probes of API servers with a control plane's credentials."""
    for probe in observation.probes:
        # A secret keyed by a name that is none of the mesh's leads nowhere.
        if probe.kind is ProbeKind.API_SERVER and probe.target in {c.name for c in observation.topology.clusters}:
            yield probe, observation[probe.source], observation.topology[probe.target]


def _unusable(
    observation: Observation, probe: Probe, observed: ClusterObservation, other: Cluster, *values: str, repair: str = ""
) -> Found:
    field, wanted, seen = values
    secret, server = next(iter(_servers(observed, other)), (None, f"{probe.address}:{probe.port}"))
    name = f"{secret.namespace}/{secret.name}" if secret else f"istio-remote-secret-{other.cluster_name}"
    tried = f"{probe.source} {probe.source_pod} → {server}: {probe.result} {probe.status or ''} {probe.detail}"
    return Found(
        cluster=probe.source,
        object=f"Secret {name}",
        field=field,
        expected=wanted,
        found=seen,
        repair=repair or create_remote_secret(observation, probe.source, other),
        evidence=few([tried], _sync(observation, observed, other)),
    )


@cause("secret-unreachable", Layer.REMOTE_SECRETS, "RS-USABLE", "RS-SYNCED", effect=True)
def secret_unreachable(observation: Observation) -> Iterator[Found]:
    """The API server in a remote secret does not answer from inside the watching cluster.

    The address is wrong, or a firewall stands between: from where the secret was made it may well answer.
    """
    silent = {ProbeResult.TIMEOUT, ProbeResult.UNREACHABLE, ProbeResult.REFUSED}
    for probe, observed, other in _probes(observation):
        if probe.result in silent and not probe.status:
            server = next((server for _, server in _servers(observed, other)), probe.address)
            right = observation[other].api_server
            wanted = right if server != right else f"{right} answers"
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
        target = observation[other]
        system = observation.asked.system_namespace
        revision = "" if observation.asked.revision == "default" else f"{observation.asked.revision}-"
        binding = (
            "create clusterrolebinding istio-reader-eastwest --clusterrole=istio-reader-clusterrole-"
            f"{revision}{system} --serviceaccount={system}:istio-reader-service-account"
        )
        seen = f"denied: {', '.join(denied)}" if denied else f"403 {probe.detail}"
        yield _unusable(
            observation, probe, observed, other, "permissions", "list and watch endpoints, create token reviews", seen,
            repair=noted(kubectl(target, binding), "the role itself comes with the installation of Istio"),
        )  # fmt: skip


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
            yield _unusable(observation, probe, observed, other, "permissions", "to read only", seen, repair=repair)


@cause("cluster-not-synced", Layer.REMOTE_SECRETS, "RS-SYNCED", effect=True, fallback=True)
def cluster_not_synced(observation: Observation) -> Iterator[Found]:
    """A control plane has not synchronised with a cluster it watches.

    Its API server answers to the secret's credentials, yet istiod reports it as not synced: it is still reading, or
    its log says why not.
    """
    for cluster, observed, other in _watched(observation):
        for plane in observed.control_planes:
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
                    evidence=_sync(observation, observed, other),
                )
