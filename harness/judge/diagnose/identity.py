"""Causes in the version and the identity of control planes."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import few, logged_by_control_planes, mesh, read, taken_name, values
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import (
    control_plane,
    create_remote_secret,
    install,
    kubectl,
    noted,
    patch,
    restart_control_plane,
    restart_workloads,
    set_value,
)
from harness.model import ca, expectations, revisions, versions
from harness.model.cluster import ClusterObservation, Subject
from harness.model.federation import federated
from harness.model.observation import Observation
from harness.model.topology import Cluster


@cause("version-mixed", Layer.CONTROL_PLANE, "CP-VERSION", "CP-SKEW", breaks=None)
def version_mixed(observation: Observation) -> Iterator[Found]:
    """A proxy or a control plane runs another version.

    It was not restarted after an upgrade, or was made with another revision or image. Where no version was asked for
    on a mesh that the suite did not install, only what Istio does not support counts: a proxy newer than its control
    plane, or more than one minor version older.
    """
    wanted = observation.asked.istio_version
    if ca.found(observation) and not wanted:
        yield from _beyond_skew(observation)
        return
    for cluster, observed in read(observation, Subject.CONTROL_PLANE, Subject.PROXIES):
        system = observation.asked.system_namespace
        planes = [(system, plane.pod, plane.version) for plane in observed.control_planes]
        proxies = [(proxy.namespace, proxy.pod, proxy.version) for proxy in observed.proxies]
        for namespace, pod, version in [*planes, *proxies]:
            wanted = wanted or version
            if version and not versions.is_version(version, wanted):
                upgrade = _upgrade(observation, cluster, wanted) if (namespace, pod, version) in planes else ""
                yield _outdated(observed, namespace, pod, version, wanted, upgrade)


def _outdated(  # noqa: PLR0917 - private, and called beside its definition
    observed: ClusterObservation, namespace: str, pod: str, version: str, wanted: str, upgrade: str = ""
) -> Found:
    again = noted(kubectl(observed, "-n", namespace, f"delete pod {pod}"), "a new pod gets the new proxy")
    return Found(
        cluster=observed.name,
        object=f"Pod {namespace}/{pod}",
        field="Istio version",
        expected=wanted,
        found=version,
        repair=upgrade or again,
    )


def _beyond_skew(observation: Observation) -> Iterator[Found]:
    for cluster, observed in read(observation, Subject.PROXIES):
        planes = revisions.control_planes(observation, observation.topology[cluster.primary])
        for proxy in observed.proxies if planes else ():
            if not any(versions.is_supported(plane.version, proxy.version) for plane in planes):
                wanted = f"{planes[0].version}, or one minor version less"
                yield _outdated(observed, proxy.namespace, proxy.pod, proxy.version, wanted)


def _upgrade(observation: Observation, cluster: Cluster, version: str) -> str:
    place = observation.topology.home_of(cluster)
    observed = observation[place]
    if resource := expectations.istio_resource(observed):
        return patch(observed, f"istio/{resource.name}", {"spec": {"version": f"v{version}"}})
    return install(observation, place, why=f"with istioctl {version}")


@cause("mesh-config-unreadable", Layer.CONTROL_PLANE, "CP-IDENTITY", "CONFIG-CONSISTENT", breaks=Layer.POLICIES)
def mesh_config_unreadable(observation: Observation) -> Iterator[Found]:
    """The mesh configuration is no YAML.

    istiod logs "invalid mesh config, using last known state" and goes on with the former one: nothing changes until it
    restarts, and then it does not become ready or takes its defaults.
    """
    system = observation.asked.system_namespace
    for cluster, observed in read(observation, Subject.MESH_CONFIG, among=observation.topology.primaries):
        config = expectations.mesh_config(observed, revisions.revision(observation, cluster))
        for problem in config.problems if config else ():
            where, _, why = problem.partition(": ")
            name, _, key = where.removeprefix("ConfigMap ").partition(", key ")
            yield Found(
                cluster=cluster.name,
                object=f"ConfigMap {system}/{name}",
                field=key,
                expected="YAML",
                found=f"{why}; istiod goes on with the former one",
                repair=noted(
                    kubectl(control_plane(observation, cluster), "-n", system, f"get configmap {name} -o yaml"),
                    "correct that line where the configuration is declared",
                ),
                evidence=few(logged_by_control_planes(observed)),
            )


@cause("trust-domains-differ", Layer.CONTROL_PLANE, "CP-IDENTITY", "CERT-WORKLOAD", "GW-DATAPATH", breaks=Layer.TRAFFIC)
def trust_domains_differ(observation: Observation) -> Iterator[Found]:
    """A control plane has another trust domain.

    Its workloads are called spiffe://OTHER/…, and the other clusters' proxies, who expect the mesh's trust domain in a
    peer's name, refuse them, unless the domain is listed among the aliases.
    """
    wanted = expectations.trust_domain(observation)
    for cluster, observed in read(observation, Subject.MESH_CONFIG, among=observation.topology.primaries):
        if not mesh(observation, observed):
            continue
        seen = str(mesh(observation, observed).get("trustDomain") or "cluster.local")
        alias = ca.found(observation) and all(ca.accepted_everywhere(observation, each) for each in (seen, wanted))
        if seen != wanted and not alias:
            yield _misconfigured(observation, cluster, "meshConfig.trustDomain", wanted, seen)


@cause("mesh-ids-differ", Layer.CONTROL_PLANE, "CP-IDENTITY", breaks=None)
def mesh_ids_differ(observation: Observation) -> Iterator[Found]:
    """A control plane has another mesh id.

    Mostly without a symptom: the id is a label of telemetry, and decides what counts as one's own mesh when meshes are
    federated: then each may have its own.
    """
    primaries, install = observation.topology.primaries, observation.asked.mode == "install"
    wanted = observation.topology.mesh_id if install else ""
    if federated(observation):
        return
    for cluster, observed in read(observation, Subject.MESH_CONFIG, among=primaries):
        seen = str(values(observation, observed).get("meshID") or "")
        if seen and seen != (wanted := wanted or seen):
            yield _misconfigured(observation, cluster, "global.meshID", wanted, seen)


@cause("cluster-names-equal", Layer.CONTROL_PLANE, "CP-IDENTITY", "CP-REMOTE-PROFILE", "RS-PRESENT", "RS-SYNCED")
def cluster_names_equal(observation: Observation) -> Iterator[Found]:
    """Two clusters have one name.

    istiod keeps endpoints, and checks the tokens of proxies, by cluster name: clusters of one name hide each other.
    """
    for cluster in observation.topology.clusters:
        if name := taken_name(observation, cluster):
            owner = next(other.name for other in observation.topology.clusters if other.cluster_name == name)
            seen = f"{name}, the name of {owner}"
            if cluster.is_primary:
                field = "global.multiCluster.clusterName"
                yield _misconfigured(observation, cluster, field, cluster.cluster_name, seen)
            else:
                yield _renamed(observation, cluster, seen)


def _renamed(observation: Observation, cluster: Cluster, seen: str) -> Found:
    """A remote is called by its injection path, and by the key of its primary's remote secret."""
    path = f"/inject/cluster/{cluster.cluster_name}/net/{cluster.network}"
    then = (create_remote_secret(observation, cluster.primary, cluster), restart_workloads(observation, cluster))
    return Found(
        cluster=cluster.name,
        object="MutatingWebhookConfiguration istio-sidecar-injector",
        field="cluster in the injection path, and in the remote secret",
        expected=cluster.cluster_name,
        found=seen,
        repair=set_value(observation, cluster, "istiodRemote.injectionPath", path, *then),
    )


def _misconfigured(observation: Observation, cluster: Cluster, *texts: str) -> Found:
    field, wanted, seen = texts
    place = observation.topology.control_plane_of(cluster)
    resource = expectations.istio_resource(observation[place])
    then = (restart_control_plane(observation, cluster), restart_workloads(observation, cluster))
    return Found(
        cluster=place.name,
        felt_at=cluster.name,
        object=f"Istio {resource.name}" if resource else f"ConfigMap {observation.asked.system_namespace}/istio",
        field=field,
        expected=wanted,
        found=seen,
        repair=set_value(observation, cluster, field, wanted, *then),
    )
