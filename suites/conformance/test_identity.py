"""One version and one mesh: what control planes and proxies of all clusters must agree on."""

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import ca, expectations, revisions, versions
from harness.model.cluster import ClusterObservation, Subject
from harness.model.federation import federated
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane, Proxy
from harness.model.topology import Cluster
from suites.conformance.common import (
    brought_in_by,
    lacking,
    proxies,
    running_control_planes,
    telling_control_planes,
)

AREA = "control plane"


@requirement("CP-VERSION", Level.MUST, area=AREA)
def test_cp_version(observation: Observation, evidence: Evidence) -> None:
    """Control planes and proxies run the version of Istio that was asked for.

    A version left over from earlier makes every other verdict one on another mesh. Compared is what istiod and each
    proxy report of themselves. Where no version was asked for they must agree; on a mesh that the suite did not install
    the versions are then reported, and CP-SKEW judges whether they may meet.

    Source: chapter, `ISTIO_VERSION`.
    """
    found: list[tuple[Cluster, str, str]] = []
    for primary, _ in evidence.readable(observation, Subject.CONTROL_PLANE, among=observation.topology.primaries):
        planes = running_control_planes(observation, evidence, primary)
        found += [(primary, f"istiod {plane.pod}", plane.version) for plane in planes]
    for cluster, _ in evidence.readable(observation, Subject.PROXIES, Subject.PODS):
        names = dict.fromkeys((p.versioned, p.version) for p in proxies(observation, evidence, cluster))
        found += [(cluster, name, version) for name, version in names]
    for cluster, name, version in found:
        if not version and name.startswith("ztunnel "):
            evidence.fact(f"{cluster.name}: the image of {name} says no version (ISTIO_META_ISTIO_VERSION)")
        elif not version:
            evidence.unknown(f"{cluster.name}: {name} did not say its version")
    found = [row for row in found if row[2]]
    if not found:
        return
    wanted = observation.asked.istio_version or found[0][2]
    free = ca.found(observation) and not observation.asked.istio_version
    for cluster, name, version in found:
        holds = free or versions.is_version(version, wanted)
        evidence.expect(holds, cluster=cluster, object=name, field="version", expected=wanted, found=version)


@requirement("CP-SKEW", Level.SHOULD, area=AREA)
def test_cp_skew(observation: Observation, evidence: Evidence) -> None:
    """No control plane serves a proxy of a version that Istio does not support with it.

    A control plane may be one minor version ahead of its proxies, never behind them. Within that, versions differ while
    a mesh is upgraded, cluster by cluster and revision by revision. Compared is the version of each proxy with that of
    the control plane which it is connected to.

    Source: Istio, "Supported Releases", control plane/data plane skew.
    """
    for primary, _ in evidence.readable(observation, Subject.CONTROL_PLANE, among=observation.topology.primaries):
        planes = telling_control_planes(observation, evidence, primary)
        served = observation.topology.served_by(primary) if planes else ()
        for cluster, _ in evidence.readable(observation, Subject.PROXIES, Subject.PODS, among=served):
            for proxy in proxies(observation, evidence, cluster):
                serving = [plane for plane in planes if _serves(plane, cluster, proxy)]
                if not proxy.version:
                    continue  # CP-VERSION says so
                if not serving:
                    name = f"{cluster.name}: {proxy.versioned}"
                    evidence.fact(f"{name}: no control plane of {primary.name} serves it now, which XDS-SYNCED judges")
                for plane in serving:
                    evidence.expect(
                        versions.is_supported(plane.version, proxy.version),
                        cluster=cluster,
                        object=proxy.versioned,
                        field="version",
                        expected=f"that of istiod {plane.pod} ({plane.version}), or one minor version less",
                        found=proxy.version,
                    )


def _serves(plane: ControlPlane, cluster: Cluster, proxy: Proxy) -> bool:
    key = (proxy.connection, cluster.cluster_name)
    return any((row.proxy, row.cluster_id) == key for row in plane.proxies)


@requirement("CP-IDENTITY", Level.MUST, area=AREA)
def test_cp_identity(observation: Observation, evidence: Evidence) -> None:
    """Mesh id and trust domain are the same on all clusters, cluster names are as asked and different.

    The cluster name is the key under which istiod keeps another cluster's endpoints and accepts its proxies; two
    clusters with one name hide each other. Different trust domains refuse each other's identities; different mesh ids
    mostly have no symptom. Examined are each primary's configuration, which must be readable, and what its injection
    gave the proxies of each cluster. Under verify-only ids are discovered and must agree;
    a trust domain may differ where every other control plane accepts it (trustDomainAliases, or trustDomains of its
    caCertificates), and then the mesh ids may differ as well.

    Source: chapter, `meshID` and `multiCluster.clusterName`; Istio, "Install Multicluster".
    """
    found: dict[str, dict[str, dict[str, str]]] = {}
    for cluster, observed in evidence.readable(observation, Subject.PODS):
        found[cluster.name] = _injected_identity(observed)
    for cluster, observed in evidence.readable(observation, Subject.MESH_CONFIG, among=observation.topology.primaries):
        for problem in _problems(observation, observed):
            where, _, why = problem.partition(": ")
            evidence.expect(
                False,
                cluster=cluster,
                object=where.partition(", ")[0].replace(" ", f" {observation.asked.system_namespace}/", 1),
                field=where.partition(", key ")[2],
                expected="YAML that istiod can read",
                found=f"{why}; istiod goes on with the former one",
            )
        for field, values in _configured_identity(observation, observed).items():
            found.setdefault(cluster.name, {}).setdefault(field, {}).update(values)
    for name, fields in found.items():
        if not any(fields.values()):
            lacking(
                observation,
                evidence,
                brought_in_by(observation),
                f"no proxy and no configuration on {name} says who it is",
            )
    install = observation.asked.mode == "install"
    wanted = {"mesh id": observation.topology.mesh_id, "trust domain": expectations.trust_domain(observation)}
    for field, asked in wanted.items():
        seen = [(name, where, value) for name, at in found.items() for where, value in at.get(field, {}).items()]
        if field == "trust domain" and len({value for _, _, value in seen}) > 1 and ca.found(observation):
            _expect_aliases(observation, evidence, seen)
        elif field == "mesh id" and federated(observation):
            _expect_own_mesh_ids(observation, evidence, seen)
        else:
            _expect_values(observation, evidence, field, seen, asked if install or not seen else seen[0][2])
    for cluster in observation.topology.clusters:
        names = [(cluster.name, *row) for row in found.get(cluster.name, {}).get("cluster name", {}).items()]
        _expect_values(observation, evidence, "cluster name", names, cluster.cluster_name)


def _expect_aliases(observation: Observation, evidence: Evidence, domains: list[tuple[str, str, str]]) -> None:
    """Where trust domains differ, every control plane must have each of them as its own or as an alias."""
    for cluster, where, domain in domains:
        accepted = ca.accepted_everywhere(observation, domain)
        wanted = "one that every control plane accepts (trustDomain, trustDomainAliases, caCertificates)"
        evidence.expect(
            accepted,
            cluster=observation.topology[cluster],
            object=where,
            field="trust domain",
            expected=wanted,
            found=domain or "none",
        )


def _expect_own_mesh_ids(observation: Observation, evidence: Evidence, values: list[tuple[str, str, str]]) -> None:
    """Where trust domains are federated, each control plane and what it serves must have one mesh id."""
    for primary in observation.topology.primaries:
        served = {cluster.name for cluster in observation.topology.served_by(primary)}
        own = [row for row in values if row[0] in served]
        for _, _, value in own[:1]:
            evidence.fact(f"{primary.name}: mesh id {value}; it may have one of its own, as it has a trust domain")
            _expect_values(observation, evidence, "mesh id", own, value)


def _injected_identity(observed: ClusterObservation) -> dict[str, dict[str, str]]:
    """What injection gave the proxies: property → where it was found → value."""
    variables = {
        "mesh id": "ISTIO_META_MESH_ID",
        "trust domain": "TRUST_DOMAIN",
        "cluster name": "ISTIO_META_CLUSTER_ID",
    }
    containers = [(pod, pod.proxy) for pod in observed.lasting_pods]
    return {
        field: {
            f"Pod {pod.namespace}/{pod.name} {variable}": container.env[variable]
            for pod, container in containers
            if container and container.env.get(variable)
        }
        for field, variable in variables.items()
    }


def _problems(observation: Observation, observed: ClusterObservation) -> tuple[str, ...]:
    config = expectations.mesh_config(observed, revisions.revision(observation, observed))
    return config.problems if config else ()


def _configured_identity(observation: Observation, observed: ClusterObservation) -> dict[str, dict[str, str]]:
    """The same from a primary's configuration; a mesh without an id has its trust domain's name."""
    config = expectations.mesh_config(observed, revisions.revision(observation, observed))
    if config is None or config.problems:
        return {}
    values = config.values.get("global") or {}
    domain = str(config.mesh.get("trustDomain") or "cluster.local")
    cluster_name = str((values.get("multiCluster") or {}).get("clusterName") or "")
    system = observation.asked.system_namespace
    return {
        "trust domain": {f"ConfigMap {system}/istio mesh.trustDomain": domain},
        "mesh id": {f"ConfigMap {system}/istio-sidecar-injector global.meshID": str(values.get("meshID") or domain)},
        "cluster name": {f"ConfigMap {system}/istio-sidecar-injector global.multiCluster.clusterName": cluster_name},
    }


def _expect_values(
    observation: Observation, evidence: Evidence, field: str, values: list[tuple[str, str, str]], wanted: str
) -> None:
    for cluster, where, value in values:
        evidence.expect(
            value == wanted,
            cluster=observation.topology[cluster],
            object=where,
            field=field,
            expected=wanted,
            found=value or "none",
        )
