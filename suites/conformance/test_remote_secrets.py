"""Remote secrets: there, usable from where they are used, in use, and no mightier than needed."""

from collections.abc import Iterator

from harness.judge.requirement import Evidence, Level, requirement
from harness.model import permissions
from harness.model.cluster import ClusterObservation, ReadOutcome, RemoteSecret, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind
from suites.conformance.common import answered, missing, outcome, running_control_planes, tried

AREA = "remote secrets"


@requirement("RS-PRESENT", Level.MUST, area=AREA)
def test_rs_present(observation: Observation, evidence: Evidence) -> None:
    """There is a remote secret for every cluster that a control plane must watch, and for no other.

    Each primary watches every other cluster; a remote watches none. A secret counts where istiod looks for it: in the
    system namespace, with the label istio/multiCluster=true, keyed by the other cluster's name. One whose key names a
    cluster and whose server is another cluster's API server mixes their endpoints up.

    Source: chapter, "Install a remote secret"; istioctl create-remote-secret.
    """
    system = observation.asked.system_namespace
    names = {cluster.cluster_name: cluster for cluster in observation.topology.clusters}
    for cluster, observed in evidence.readable(observation, Subject.REMOTE_SECRETS):
        wanted = {other.cluster_name for other in observation.topology.watched_by(cluster)}
        seen = [secret for secret in observed.remote_secrets if _seen(secret, system)]
        found = sorted(name for secret in seen for name in secret.clusters)
        unseen = [
            f"{secret.namespace}/{secret.name}{'' if secret.labelled else ' without its label'}"
            for secret in observed.remote_secrets
            if secret not in seen
        ]
        evidence.expect(
            found == sorted(wanted),
            cluster=cluster,
            object=f"remote secrets in {system}",
            field="clusters",
            expected=", ".join(sorted(wanted)) or "none",
            found=(", ".join(found) or "none") + (f" (not seen by istiod: {', '.join(unseen)})" if unseen else ""),
        )
        for secret in seen:
            for name, server in zip(secret.clusters, secret.servers, strict=False):
                owners = [o.name for o in observation.clusters if server and o.api_server == server]
                if owners and name in names and names[name].name not in owners:
                    evidence.expect(
                        False,
                        cluster=cluster,
                        object=f"Secret {system}/{secret.name}",
                        field=f"server of {name}",
                        expected=observation[names[name]].api_server,
                        found=f"{server}, the API server of {owners[0]}",
                    )


@requirement("RS-USABLE", Level.SHOULD, area=AREA)
def test_rs_usable(observation: Observation, evidence: Evidence) -> None:
    """With a remote secret's kubeconfig the other API server answers from inside, and lets istiod read what it needs.

    An address that only the runner reaches, or a token that was revoked, leaves the control plane without the other
    cluster's endpoints. Tried from a pod of the watching cluster: the request, and for each resource that istiod
    watches, and for the token reviews by which it authenticates a remote's proxies, whether it is allowed.

    Source: istioctl create-remote-secret; cluster role istio-reader-clusterrole.
    """
    for cluster, target, probe in _probes(observation, evidence):
        name = f"remote secret of {target.cluster_name}"
        if not evidence.expect(
            answered(probe),
            cluster=cluster,
            object=name,
            field=f"API server {probe.address}:{probe.port}",
            expected="answered",
            found=outcome(probe),
        ):
            continue
        _judge_permissions(evidence, cluster, name, probe, permissions.NEEDED, allowed=True)


@requirement("RS-SYNCED", Level.SHOULD, area=AREA)
def test_rs_synced(observation: Observation, evidence: Evidence) -> None:
    """Every control plane reports every cluster that it watches as synced.

    Until the first synchronisation a cluster's endpoints are missing, and istiod does not say so to anyone who doesn't
    ask. Examined is /debug/clusterz of every istiod pod.

    Source: Istio, "Debugging multicluster", remote-clusters.
    """
    for cluster, observed in evidence.readable(
        observation, Subject.CONTROL_PLANE, Subject.REMOTE_SECRETS, among=observation.topology.primaries
    ):
        for plane in running_control_planes(observation, evidence, cluster):
            status = {row.id: row.sync_status for row in plane.clusters}
            for target in observation.topology.watched_by(cluster):
                if target.cluster_name not in status and not _has(observation, observed, target):
                    evidence.blocked("RS-PRESENT", f"{cluster.name} has no remote secret of {target.cluster_name}")
                    continue
                found = status.get(target.cluster_name, "not reported")
                evidence.expect(
                    found.lower() == "synced",
                    cluster=cluster,
                    object=f"istiod {plane.pod}",
                    field=f"cluster {target.cluster_name}",
                    expected="synced",
                    found=found,
                )


@requirement("RS-LEAST", Level.EXTENDED, area=AREA)
def test_rs_least(observation: Observation, evidence: Evidence) -> None:
    """A remote secret's token may not create pods, exec into them, bind roles or delete namespaces.

    The token lies in every watching cluster: with these rights, whoever reads secrets there owns the other cluster.

    Source: cluster role istio-reader-clusterrole; Kubernetes, "Role Based Access Control Good Practices".
    """
    for cluster, target, probe in _probes(observation, evidence):
        if answered(probe):
            name = f"remote secret of {target.cluster_name}"
            _judge_permissions(evidence, cluster, name, probe, permissions.FORBIDDEN, allowed=False)
        else:
            evidence.blocked("RS-USABLE", f"{cluster.name}: {target.name}'s API server said {outcome(probe)}")


def _seen(secret: RemoteSecret, system_namespace: str) -> bool:
    """Whether istiod looks at the secret."""
    return secret.labelled and secret.namespace == system_namespace


def _has(observation: Observation, observed: ClusterObservation, target: Cluster) -> bool:
    return any(
        target.cluster_name in secret.clusters and _seen(secret, observation.asked.system_namespace)
        for secret in observed.remote_secrets
    )


def _probes(observation: Observation, evidence: Evidence) -> Iterator[tuple[Cluster, Cluster, Probe]]:
    """The probe of each remote secret that should be there; the last one where it was tried again."""
    for cluster, observed in evidence.readable(
        observation, Subject.REMOTE_SECRETS, among=observation.topology.primaries
    ):
        for target in observation.topology.watched_by(cluster):
            if not _has(observation, observed, target):
                evidence.blocked("RS-PRESENT", f"{cluster.name} has no remote secret of {target.cluster_name}")
                continue
            sent = [
                probe
                for probe in observation.probes
                if (probe.kind, probe.source, probe.target) == (ProbeKind.API_SERVER, cluster.name, target.name)
            ]
            if not sent:
                missing(observation, evidence, cluster, f"the API server of {target.name}")
            elif not answered(sent[-1]) and _lost(observation, target):
                evidence.unknown(f"{target.name}: its API server went away while it was observed")
            elif tried(evidence, sent[-1]):
                yield cluster, target, sent[-1]


def _lost(observation: Observation, target: Cluster) -> bool:
    """Whether an API server answered at first, and then not any more."""
    reading = observation[target].reading(Subject.API_SERVER)
    return reading is not None and reading.outcome is ReadOutcome.LOST


def _judge_permissions(
    evidence: Evidence,
    cluster: Cluster,
    name: str,
    probe: Probe,
    asked: tuple[permissions.Permission, ...],
    *,
    allowed: bool,
) -> None:
    unasked = [str(permission) for permission in asked if str(permission) not in probe.permissions]
    if unasked:
        evidence.unknown(f"{cluster.name}: {name}: not asked whether it may {', '.join(unasked)}")
    wrong = [str(permission) for permission in asked if probe.permissions.get(str(permission)) is (not allowed)]
    if wrong or not unasked:
        evidence.expect(
            not wrong,
            cluster=cluster,
            object=name,
            field="permissions",
            expected=f"{'may' if allowed else 'may not'} {', '.join(map(str, asked))}",
            found=f"{'may not' if allowed else 'may'} {', '.join(wrong)}" if wrong else "as expected",
        )
