"""Causes in which remote secrets there are: one for each cluster, where istiod sees it."""

from collections.abc import Iterator

from harness.judge.diagnose import remote_secret_facts as facts
from harness.judge.diagnose.facts import failed_steps, few, read, taken_name
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import create_remote_secret, kubectl, noted, restart_control_plane, steps
from harness.model import remotes, revisions
from harness.model.cluster import ClusterObservation, RemoteSecret, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster


def _seen(observation: Observation, secret: RemoteSecret) -> bool:
    return secret.labelled and secret.namespace == observation.asked.system_namespace


def _absent(
    observation: Observation,
) -> Iterator[tuple[Cluster, ClusterObservation, Cluster, tuple[RemoteSecret, ...]]]:
    """The clusters that a control plane must watch and does not find a secret for, with those it can't see."""
    for cluster, observed, other in facts.watched(observation):
        holding = tuple(secret for secret in observed.remote_secrets if other.cluster_name in secret.clusters)
        if not any(_seen(observation, secret) for secret in holding) and not taken_name(observation, other):
            yield cluster, observed, other, holding


def _strays(observation: Observation, cluster: Cluster) -> tuple[RemoteSecret, ...]:
    """Secrets that istiod sees and that name no cluster which it must watch."""
    wanted = {other.cluster_name for other in observation.topology.watched_by(cluster)}
    found = observation[cluster].remote_secrets
    return tuple(each for each in found if _seen(observation, each) and not wanted & set(each.clusters))


def _under_other_names(observation: Observation, cluster: Cluster, other: Cluster) -> tuple[RemoteSecret, ...]:
    """Of these the ones that may be meant for this other cluster.

    A mesh of others may have clusters that were not named: there a secret must lead to the cluster.
    """
    install, server = observation.asked.mode == "install", observation[other].api_server
    return tuple(each for each in _strays(observation, cluster) if install or server in each.servers)


@cause("secret-missing", Layer.REMOTE_SECRETS, "RS-PRESENT", "RS-SYNCED")
def secret_missing(observation: Observation) -> Iterator[Found]:
    """A control plane has no remote secret for a cluster it must watch.

    It does not know that cluster's endpoints, and clients it serves never get an answer from there. For a remote it is
    worse: its proxies' tokens are checked at its API server, so without the secret they get no certificate at all.
    """
    for cluster, observed, other, holding in _absent(observation):
        if not holding and not _under_other_names(observation, cluster, other):
            others = ", ".join(f"{s.namespace}/{s.name} ({', '.join(s.clusters)})" for s in observed.remote_secrets)
            yield Found(
                cluster=cluster.name,
                object=f"Secret {observation.asked.system_namespace}/istio-remote-secret-{other.cluster_name}",
                field="exists",
                expected=f"a remote secret for {other.name} ({other.cluster_name})",
                found=f"none; there are: {others}" if others else "none",
                repair=create_remote_secret(observation, cluster, other),
                change=f"Give the control plane of {cluster.name} a remote secret for {other.name}, keyed by "
                f"{other.cluster_name} (istioctl create-remote-secret)",
                evidence=few(facts.sync_lines(observation, observed, other), failed_steps(observation, cluster.name)),
            )


@cause("config-secret-missing", Layer.REMOTE_SECRETS, "RS-PRESENT", breaks=None)
def config_secret_missing(observation: Observation) -> Iterator[Found]:
    """A control plane outside of the mesh has no kubeconfig of its config cluster.

    istiod mounts the secret istio-kubeconfig and takes the API server in it for its own. Without it a restarted istiod
    reads the cluster that it runs on: it knows none of the mesh's services, and refuses the tokens of all its proxies.
    """
    for host in observation.topology.hosts:
        if not observation[host].was_read(Subject.REMOTE_SECRETS) or remotes.has_config_secret(observation, host):
            continue
        config = observation.topology.hosted_by(host)
        yield Found(
            cluster=host.name,
            felt_at=config.name,
            object=f"Secret {observation.asked.system_namespace}/{remotes.CONFIG_SECRET}",
            field="exists",
            expected=f"the kubeconfig of {config.name}",
            found="none",
            repair=steps(
                create_remote_secret(observation, host, config, "--type=config "),
                restart_control_plane(observation, config),
            ),
        )


@cause("secret-misplaced", Layer.REMOTE_SECRETS, "RS-PRESENT", "RS-SYNCED")
def secret_misplaced(observation: Observation) -> Iterator[Found]:
    """A remote secret is in a namespace where istiod does not look.

    istiod reads remote secrets in its own namespace only.
    """
    system = observation.asked.system_namespace
    for cluster, observed, other, holding in _absent(observation):
        for secret in holding[:1]:
            if secret.namespace != system:
                yield Found(
                    cluster=cluster.name,
                    object=f"Secret {secret.namespace}/{secret.name}",
                    field="namespace",
                    expected=system,
                    found=secret.namespace,
                    repair=noted(
                        create_remote_secret(observation, cluster, other),
                        f"then nothing reads {secret.namespace}/{secret.name} any more",
                    ),
                    evidence=facts.sync_lines(observation, observed, other),
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
                    evidence=facts.sync_lines(observation, observed, other),
                )


@cause("secret-wrong-name", Layer.REMOTE_SECRETS, "RS-PRESENT", "RS-SYNCED")
def secret_wrong_name(observation: Observation) -> Iterator[Found]:
    """A remote secret is keyed by another cluster's name.

    istiod takes the key for the cluster's name: endpoints and tokens are looked up under the name that the proxies
    have, and not found.
    """
    for cluster, observed, other, holding in _absent(observation):
        strays = _under_other_names(observation, cluster, other)
        if holding or not strays:
            continue
        secret = next((s for s in strays if observation[other].api_server in s.servers), strays[0])
        yield Found(
            cluster=cluster.name,
            object=f"Secret {secret.namespace}/{secret.name}",
            field="key",
            expected=other.cluster_name,
            found=", ".join(secret.clusters),
            repair=_under_its_name(observation, cluster, other, secret),
            evidence=facts.sync_lines(observation, observed, other),
        )


def _under_its_name(observation: Observation, cluster: Cluster, other: Cluster, secret: RemoteSecret) -> str:
    """A secret with the right key: in the place of one of the same name, else beside it; nothing is without meanwhile.

    What was applied is merged: a key that was not applied before would stay.
    """
    made = create_remote_secret(observation, cluster, other)
    if secret.name == f"istio-remote-secret-{other.cluster_name}":
        return made.replace(" apply -f -", " replace -f -")
    return noted(made.partition("  # ")[0], f"then nobody needs {secret.namespace}/{secret.name} any more")


@cause("secret-other-cluster", Layer.REMOTE_SECRETS, "RS-PRESENT", "RS-SYNCED")
def secret_other_cluster(observation: Observation) -> Iterator[Found]:
    """A remote secret leads to another cluster than the one that it is keyed by.

    It was made with the wrong context, or two were exchanged. istiod reports the cluster as synced, and takes the
    endpoints of one cluster for those of the other; a remote's proxies are refused, as their tokens are checked there.
    """
    for cluster, observed, other in facts.watched(observation):
        for secret, server in facts.servers(observed, other):
            owners = [each.name for each in observation.clusters if server and each.api_server == server]
            if not owners or other.name in owners or facts.is_loopback(server):
                continue
            if _seen(observation, secret) and _is_used(observed, other, secret):
                yield Found(
                    cluster=cluster.name,
                    object=f"Secret {secret.namespace}/{secret.name}",
                    field=f"kubeconfig server of {other.cluster_name}",
                    expected=facts.address_inside(observation, other, but=server),
                    found=f"{server}, the API server of {owners[0]}",
                    repair=_under_its_name(observation, cluster, other, secret),
                    change=f"Make {secret.namespace}/{secret.name} on {cluster.name} again from {other.name} "
                    f"(istioctl create-remote-secret --name {other.cluster_name}, with the context of {other.name})",
                    evidence=facts.sync_lines(observation, observed, other),
                )


def _is_used(observed: ClusterObservation, other: Cluster, secret: RemoteSecret) -> bool:
    """Whether a control plane has a cluster from a secret, or does not say from which one."""
    rows = [row for plane in observed.control_planes for row in plane.clusters if row.id == other.cluster_name]
    named = {row.secret_name for row in rows if row.secret_name}
    return not named or f"{secret.namespace}/{secret.name}" in named


@cause("secret-extra", Layer.REMOTE_SECRETS, "RS-PRESENT", "RS-SYNCED", fallback=True)
def secret_extra(observation: Observation) -> Iterator[Found]:
    """There is a remote secret for a cluster that is none of the mesh's.

    Left from an earlier mesh, or made for the cluster itself, or on a remote, where no control plane reads it.
    """
    for cluster, observed in read(observation, Subject.REMOTE_SECRETS):
        for secret in _strays(observation, cluster):
            if any(taken_name(observation, other) in secret.clusters for other in observation.topology.others(cluster)):
                continue
            if observation.asked.mode == "verify-only" and not _twice(observed, secret):
                continue  # of a cluster that none of the contexts leads to
            yield Found(
                cluster=cluster.name,
                object=f"Secret {secret.namespace}/{secret.name}",
                field="key",
                expected=", ".join(c.cluster_name for c in observation.topology.watched_by(cluster))
                or "no remote secret",
                found=", ".join(secret.clusters),
                repair=noted(
                    kubectl(observed, "-n", secret.namespace, f"describe secret {secret.name}"),
                    "whose is it? Remove it if nobody needs it",
                ),
            )


def _twice(observed: ClusterObservation, secret: RemoteSecret) -> bool:
    """Whether a secret leads where another one does already."""
    others = {server for other in observed.remote_secrets if other != secret for server in other.servers}
    return bool(others & set(secret.servers))


@cause("secret-passed-over", Layer.REMOTE_SECRETS, "RS-PRESENT", "RS-SYNCED", "RS-USABLE")
def secret_passed_over(observation: Observation) -> Iterator[Found]:
    """Istiod passes a remote secret over, because another one has registered the cluster.

    Of several secrets for a cluster istiod takes the first that it sees, and logs "cluster has already been registered"
    for the others. Here it has taken one that does not work; after a restart it may take another.
    """
    for cluster, observed, other in facts.watched(observation):
        holding = [s for s in observed.remote_secrets if _seen(observation, s) and other.cluster_name in s.clusters]
        names = [f"{secret.namespace}/{secret.name}" for secret in holding]
        for plane in revisions.control_planes(observation, cluster):
            row = next((row for row in plane.clusters if row.id == other.cluster_name and row.secret_name), None)
            passed = [name for name in names if row and name != row.secret_name]
            if row is None or not passed or row.secret_name not in names or row.sync_status == "synced":
                continue
            yield Found(
                cluster=cluster.name,
                object=f"Secret {row.secret_name}",
                field=f"key {other.cluster_name}",
                expected="one secret for each cluster, which works",
                found=f"istiod uses it ({row.sync_status}) and passes over {', '.join(passed)}",
                repair=noted(
                    kubectl(
                        observed, "-n", observation.asked.system_namespace, "get secrets -l istio/multiCluster=true"
                    ),
                    f"keep the one for {other.cluster_name} that works, then restart istiod",
                ),
                evidence=facts.sync_lines(observation, observed, other),
            )
            break
