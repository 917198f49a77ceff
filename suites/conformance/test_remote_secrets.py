"""Remote secrets: there, usable from where they are used, in use, and no mightier than needed."""

from collections.abc import Iterator

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import expectations, permissions, revisions
from harness.model.cluster import ClusterObservation, ReadOutcome, RemoteSecret, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind, ProbeResult
from suites.conformance import common
from suites.conformance.common import answered, missing, outcome, telling_control_planes, timed_out, tried

AREA = "remote secrets"


@requirement("RS-PRESENT", Level.MUST, area=AREA)
def test_rs_present(observation: Observation, evidence: Evidence) -> None:
    """There is a remote secret for every cluster that a control plane must watch, and for no other.

    Each primary watches every other cluster; a remote watches none. A secret counts where istiod looks for it: in the
    system namespace, with the label istio/multiCluster=true, keyed by the other cluster's name. One whose key names a
    cluster and whose server is another cluster's API server mixes their endpoints up. Under verify-only the form is
    free: several clusters in one secret, and its own among them, are reported, and so are clusters that are not looked
    at; a cluster that istiod reports as synced without any secret is known to it from a file. A control plane outside
    of the mesh has the kubeconfig of its config cluster, in the secret istio-kubeconfig.

    Source: chapter, "Install a remote secret"; istioctl create-remote-secret.
    """
    system = observation.asked.system_namespace
    for cluster, observed in evidence.readable(observation, Subject.REMOTE_SECRETS):
        seen = [secret for secret in observed.remote_secrets if _seen(secret, system)]
        unseen = [
            f"{secret.namespace}/{secret.name}{'' if secret.labelled else ' without its label'}"
            for secret in observed.remote_secrets
            if secret not in seen
        ]
        note = f" (not seen by istiod: {', '.join(unseen)})" if unseen else ""
        if observation.asked.mode == "verify-only":
            _judge_substance(observation, evidence, cluster, seen, note)
        else:
            wanted = sorted(other.cluster_name for other in observation.topology.watched_by(cluster))
            found = sorted(name for secret in seen for name in secret.clusters)
            evidence.expect(
                found == wanted,
                cluster=cluster,
                object=f"remote secrets in {system}",
                field="clusters",
                expected=", ".join(wanted) or "none",
                found=(", ".join(found) or "none") + note,
            )
        _judge_servers(observation, evidence, cluster, seen)
    common.judge_config_secrets(observation, evidence)


def _judge_substance(
    observation: Observation, evidence: Evidence, cluster: Cluster, seen: list[RemoteSecret], note: str
) -> None:
    """Judge that every other cluster is watched, by whatever secret, or without one; report what else there is."""
    system, watched = observation.asked.system_namespace, observation.topology.watched_by(cluster)
    held = [(name, secret) for secret in seen for name in secret.clusters]
    for target in watched:
        holding = [secret.name for name, secret in held if name == target.cluster_name]
        synced = _synced(observation, cluster, target)
        evidence.expect(
            bool(holding) or synced,
            cluster=cluster,
            object=f"remote secrets in {system}",
            field=f"cluster {target.cluster_name}",
            expected="held by a secret that istiod sees",
            found=", ".join(holding) or ("no secret, but istiod reports it as synced" if synced else f"none{note}"),
        )
        if len(holding) > 1:
            evidence.fact(f"{cluster.name}: of {', '.join(holding)} istiod uses one for {target.cluster_name}")
    known = {other.cluster_name for other in watched}
    for name, secret in held:
        if name == cluster.cluster_name:
            evidence.fact(f"{cluster.name}: Secret {system}/{secret.name} holds its own cluster; istiod ignores that")
        elif name not in known:
            evidence.fact(f"{cluster.name}: Secret {system}/{secret.name} holds {name}, which is not looked at here")


def _judge_servers(observation: Observation, evidence: Evidence, cluster: Cluster, seen: list[RemoteSecret]) -> None:
    """Judge that no name leads to the API server of another cluster."""
    system = observation.asked.system_namespace
    names = {other.cluster_name: other for other in observation.topology.clusters}
    rows = [row for secret in seen for row in zip(secret.clusters, secret.servers, [secret] * len(secret.clusters))]  # noqa: B905
    # Private API servers of one address are told apart by the proxy before them, or by the name that TLS asks for.
    ways = {each.cluster: (each.proxy_url, each.tls_server_name) for secret in seen for each in secret.access}
    for name, server, secret in rows:
        apart = {other for other, way in ways.items() if way != ways.get(name, way)}
        alike = [row[0] for row in rows if row[1] == server != "" and row[0] not in apart]
        owners = [o.name for o in observation.clusters if server and o.api_server == server]
        others = sorted({other for other in alike if other != name and other in names})
        if owners and name in names and names[name].name not in owners:
            wanted, found = observation[names[name]].api_server, f"{server}, the API server of {owners[0]}"
        elif observation.asked.mode == "verify-only" and others and name != cluster.cluster_name:
            wanted, found = "an API server of its own", f"{server}, as {', '.join(others)}"
        else:
            continue
        evidence.expect(
            False,
            cluster=cluster,
            object=f"Secret {system}/{secret.name}",
            field=f"server of {name}",
            expected=wanted,
            found=found,
        )


def _synced(observation: Observation, cluster: Cluster, target: Cluster) -> bool:
    """Whether every control plane in use reports a cluster as synced."""
    planes = revisions.control_planes(observation, cluster)
    rows = [{row.id: row.sync_status for row in plane.clusters} for plane in planes]
    return bool(rows) and all(row.get(target.cluster_name, "").lower() == "synced" for row in rows)


@requirement("RS-USABLE", Level.SHOULD, area=AREA, for_traffic=True)
def test_rs_usable(observation: Observation, evidence: Evidence) -> None:
    """With a remote secret's kubeconfig the other API server answers from inside, and lets istiod read what it needs.

    An address that only the runner reaches, or a token that was revoked, leaves the control plane without the other
    cluster's endpoints. Tried from a pod of the watching cluster: the request, and for each resource that istiod
    watches, and for the token reviews by which it authenticates a remote's proxies, whether it is allowed. What only
    istiod can use (client certificates, exec, a proxy) is not tried; under verify-only istiod's own report counts then.

    A pod may also be kept from the other API server (NetworkPolicy, egress rules) where istiod is not: a request that
    got no answer is then no finding as long as istiod reports the cluster as synced, and logs no trouble with it.

    Source: istioctl create-remote-secret; cluster role istio-reader-clusterrole.
    """
    for cluster, target, probe in _probes(observation, evidence, untried=True):
        name = f"remote secret of {target.cluster_name}"
        if probe.result is ProbeResult.NO_TOOL:
            evidence.fact(
                f"{cluster.name}: {name}: not tried from {probe.source_pod} ({probe.detail}); istiod reports synced"
            )
            continue
        if _kept_from_it(observation, cluster, target, probe):
            evidence.skipped(
                f"{cluster.name}: {name}: {outcome(probe)} from {probe.source_pod}; istiod reports it as synced"
            )
            continue
        if not evidence.expect(
            answered(probe),
            cluster=cluster,
            object=name,
            field=f"API server {probe.address}:{probe.port}",
            expected="answered",
            found=f"{outcome(probe)}, from the pod {probe.source_pod}",
            timed=timed_out(probe),
        ):
            continue
        _judge_permissions(evidence, cluster, name, probe, permissions.NEEDED, allowed=True)


def _kept_from_it(observation: Observation, cluster: Cluster, target: Cluster, probe: Probe) -> bool:
    """Whether on a mesh of others only the probe's pod does not reach an API server, and istiod does."""
    planes = revisions.control_planes(observation, cluster)
    trouble = any(probe.address in line for plane in planes for line in plane.log_lines)
    own = {pod.name for pod in expectations.istiod_pods(observation[cluster])}
    silent = probe.result in {ProbeResult.TIMEOUT, ProbeResult.UNREACHABLE, ProbeResult.REFUSED} and not probe.status
    return (
        observation.asked.mode == "verify-only"
        and silent
        and not trouble
        and _synced(observation, cluster, target)
        and probe.source_pod not in own
    )


@requirement("RS-SYNCED", Level.SHOULD, area=AREA, for_traffic=True)
def test_rs_synced(observation: Observation, evidence: Evidence) -> None:
    """Every control plane reports every cluster that it watches as synced.

    Until the first synchronisation a cluster's endpoints are missing, and istiod does not say so to anyone who doesn't
    ask. Examined is /debug/clusterz of every istiod pod, unless its debug interface is off.

    Source: Istio, "Debugging multicluster", remote-clusters.
    """
    for cluster, observed in evidence.readable(
        observation, Subject.CONTROL_PLANE, among=observation.topology.primaries
    ):
        secrets_read = observed.was_read(Subject.REMOTE_SECRETS)
        for plane in telling_control_planes(observation, evidence, cluster):
            status = {row.id: row.sync_status for row in plane.clusters}
            for target in observation.topology.watched_by(cluster):
                unknown = target.cluster_name not in status
                if unknown and secrets_read and not _has(observation, observed, target):
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
                    timed=found.lower() in {"syncing", "timeout"},
                )


@requirement("RS-LEAST", Level.EXTENDED, area=AREA)
def test_rs_least(observation: Observation, evidence: Evidence) -> None:
    """A remote secret's token may not create pods, exec into them, bind roles or delete namespaces.

    The token lies in every watching cluster: with these rights, whoever reads secrets there owns the other cluster.

    Source: cluster role istio-reader-clusterrole; Kubernetes, "Role Based Access Control Good Practices".
    """
    for cluster, target, probe in _probes(observation, evidence):
        if _kept_from_it(observation, cluster, target, probe):
            evidence.skipped(f"{cluster.name}: {target.name}'s API server said {outcome(probe)} to {probe.source_pod}")
        elif answered(probe):
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


def _probes(
    observation: Observation, evidence: Evidence, *, untried: bool = False
) -> Iterator[tuple[Cluster, Cluster, Probe]]:
    """The probe of each remote secret that should be there; the last one where it was tried again.

    Args:
        observation: the run.
        evidence: where it is noted what can't be judged.
        untried: on a mesh of others also those which only istiod could try, and did with success.
    """
    foreign = observation.asked.mode == "verify-only"
    for cluster, observed in evidence.readable(
        observation, Subject.REMOTE_SECRETS, among=observation.topology.primaries
    ):
        for target in observation.topology.watched_by(cluster):
            if not _has(observation, observed, target):
                if foreign and _synced(observation, cluster, target):
                    evidence.fact(f"{cluster.name}: {target.cluster_name} is not in a secret; istiod reports synced")
                    continue
                evidence.blocked("RS-PRESENT", f"{cluster.name} has no remote secret of {target.cluster_name}")
                continue
            way = (ProbeKind.API_SERVER, observation.topology.control_plane_of(cluster).name, target.name)
            sent = [probe for probe in observation.probes if (probe.kind, probe.source, probe.target) == way]
            accepted = untried and foreign and _synced(observation, cluster, target)
            if not sent:
                missing(observation, evidence, cluster, f"the API server of {target.name}")
            elif not answered(sent[-1]) and _lost(observation, target):
                evidence.unknown(f"{target.name}: its API server went away while it was observed")
            elif (accepted and sent[-1].result is ProbeResult.NO_TOOL) or tried(evidence, sent[-1]):
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
