"""Configuration: that it reaches every proxy, and says the same on every primary."""

from typing import Any

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import bystanders, captured, clients, expectations, policies, revisions
from harness.model.cluster import ClusterObservation, Pod, Subject
from harness.model.mesh_features import MeshFeature, has_feature
from harness.model.observation import Observation
from harness.model.proxy import ProxySync
from harness.model.topology import Cluster, Feature
from suites.conformance.common import brought_in_by, lacking, telling_control_planes

AREA = "proxies"
ALWAYS_SENT = ("CDS", "LDS")
JUDGED_ELSEWHERE = ("trustDomain", "defaultConfig.meshId")
"""By CP-IDENTITY."""
SETTING = "mesh config "
MOST_SAID = 300
PER_CLUSTER = ("defaultConfig.discoveryAddress",)


@requirement("XDS-SYNCED", Level.SHOULD, area=AREA, for_traffic=True)
def test_xds_synced(observation: Observation, evidence: Evidence) -> None:
    """Every proxy is connected to the control plane that should serve it and has accepted its last configuration.

    A proxy that refused an update goes on with an older one, and nothing shows it in the traffic until an endpoint
    moves. Examined is, for each pod with a proxy, its row in /debug/syncz of its own primary (and that no other primary
    has one): clusters, listeners, endpoints and routes SYNCED, none STALE or REJECTED; and what the proxy itself says
    that it refused. NOT SENT is as it should be where a proxy never asked for a type: gateways without HTTP routes ask
    for no routes and, with nothing behind them, for no endpoints. An istiod whose
    debug interface is off lists no proxies: then only what the proxies say is judged. A ztunnel has a row as well, with
    the workloads and services that it was sent.

    Source: Istio, "Debugging Envoy and Istiod", proxy-status.
    """
    rows: dict[str, list[tuple[str, ProxySync]]] = {}
    for primary, _ in evidence.readable(observation, Subject.CONTROL_PLANE, among=observation.topology.primaries):
        planes = telling_control_planes(observation, evidence, primary)
        if planes:
            rows[primary.name] = [(primary.name, row) for plane in planes for row in plane.proxies]
    for cluster, observed in evidence.readable(observation, Subject.PODS, Subject.PROXIES):
        _judge_accepted(evidence, cluster, observed)
        if cluster.primary not in rows:
            continue
        pods = [pod for pod in observed.lasting_pods if _is_configured(observation, pod)]
        if not pods:
            lacking(observation, evidence, brought_in_by(observation), f"no pod on {cluster.name} has a proxy")
            _note_unused_remote(observation, evidence, cluster, rows[cluster.primary])
        for pod in pods:
            if captured.is_ztunnel(pod) and not pod.ready:
                evidence.blocked("AMB-ZTUNNEL", f"{cluster.name}: ztunnel {pod.name} is not ready")
                continue
            if bystanders.waits_beside(observation, cluster, pod):
                evidence.fact(f"{cluster.name}: {pod.namespace}/{pod.name} is not ready, and nothing judged needs it")
                continue
            mine = [
                (name, row)
                for found in rows.values()
                for name, row in found
                if (row.proxy, row.cluster_id) == (f"{pod.name}.{pod.namespace}", cluster.cluster_name)
            ]
            _judge_sync(evidence, cluster, pod, mine, _needed_types(observation, observed, pod))


def _is_configured(observation: Observation, pod: Pod) -> bool:
    """Whether a control plane must be seen to serve it: a proxy, and where they carry the traffic a ztunnel."""
    return expectations.has_proxy(pod) or (observation.asked.ambient and captured.is_ztunnel(pod))


def _needed_types(observation: Observation, observed: ClusterObservation, pod: Pod) -> tuple[str, ...]:
    """The types that a pod's proxy must have been sent; a ztunnel asks for none of Envoy's."""
    if captured.is_ztunnel(pod):
        return ()
    return (*ALWAYS_SENT, "EDS", "RDS") if _calls_others(observation, observed, pod) else ALWAYS_SENT


def _judge_accepted(evidence: Evidence, cluster: Cluster, observed: ClusterObservation) -> None:
    """Judge that no proxy says of itself that it refused a configuration."""
    for proxy in observed.proxies:
        for error in proxy.rejected:
            evidence.expect(
                False,
                cluster=cluster,
                object=f"proxy {proxy.namespace}/{proxy.pod}",
                field="configuration",
                expected="accepted",
                found=f"rejected: {error}",
            )


def _note_unused_remote(
    observation: Observation, evidence: Evidence, cluster: Cluster, rows: list[tuple[str, ProxySync]]
) -> None:
    """Note that a remote of somebody's mesh has no proxy at all: whether it could be served was then not seen."""
    connected = any(row.cluster_id == cluster.cluster_name for _, row in rows)
    if observation.asked.mode == "verify-only" and not cluster.is_primary and not connected:
        evidence.skipped(f"no proxy of {cluster.name} is connected to a control plane: nothing shows that one could be")


@requirement("CONFIG-CONSISTENT", Level.SHOULD, Feature.MULTI_PRIMARY, area=AREA)
def test_config_consistent(observation: Observation, evidence: Evidence) -> None:
    """The primaries agree on mesh configuration, policies and helloworld's ports.

    Every primary configures its own clusters from its own API server only. A policy that stands on one of them holds in
    one half of the mesh. Compared are the mesh configuration of the revision (without trust domain and mesh id, which
    CP-IDENTITY judges, and the discovery address), the policies and routes of the sample and the root namespace that
    can hold for the sample or an east-west gateway (without routes of gateways, which differ where a primary serves
    remotes), and the ports of helloworld on every cluster: name, number and the protocol that Istio takes them for. On
    a mesh that the suite did not install only those settings of the mesh are compared that decide about traffic between
    clusters; that others differ is reported. What is written out as it holds without it is left aside, and so are
    discovery selectors that leave out no namespace of the control planes, gateways, services and clients.

    Source: chapter, "Each control plane observes the API servers in all of the other clusters for services and
    endpoints"; Istio, "Deployment models", multiple primaries; Istio, "Protocol Selection".
    """
    configs: dict[str, dict[str, str]] = {}
    for primary, observed in evidence.readable(
        observation, Subject.CONFIG, Subject.MESH_CONFIG, among=observation.topology.primaries
    ):
        config = expectations.mesh_config(observed, revisions.revision(observation, primary))
        if config is None:
            evidence.blocked("CP-READY", f"{primary.name} has no mesh configuration")
            continue
        if config.problems:
            evidence.blocked("CP-IDENTITY", f"{primary.name}: {'; '.join(config.problems)}")
            continue
        compared = policies.traffic_policies(observation, observed)
        configs[primary.name] = _flat(policies.written(observation, config.mesh)) | {
            name: str(item.spec) for name, item in compared.items()
        }
    if observation.asked.mode == "verify-only":
        configs = _about_traffic(evidence, configs)
    _agree(evidence, configs)
    ports: dict[str, dict[str, str]] = {}
    for cluster, observed in evidence.readable(observation, Subject.SERVICES):
        name = f"{observation.asked.sample_namespace}/{expectations.HELLOWORLD}"
        service = observed.service(*name.split("/"))
        if service is None and not has_feature(observation, MeshFeature.SAMPLE):
            continue
        if service is None:
            evidence.blocked("WL-PLACED", f"{cluster.name} has no Service {name}")
        else:
            ports[cluster.name] = {f"Service {name} ports": ", ".join(policies.ports(service))}
    _agree(evidence, ports)


def _calls_others(observation: Observation, observed: ClusterObservation, pod: Pod) -> bool:
    """Whether a pod's proxy must have clusters and routes of other services.

    On a mesh of others only a client's: a Sidecar may give proxies that nobody calls from none of them.
    """
    asked = observation.asked
    if asked.mode == "install":
        return pod.namespace == asked.sample_namespace and not pod.is_gateway
    return pod in clients.client_pods(observed, asked)


def _about_traffic(evidence: Evidence, configs: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Leave settings aside that do not decide about traffic between clusters, and report those that differ."""

    def compared(key: str) -> bool:
        setting = key.removeprefix(SETTING).partition(".")[0]
        return not key.startswith(SETTING) or setting in policies.SETTINGS

    keys = sorted({key for values in configs.values() for key in values if not compared(key)})
    for key in keys:
        if len({values.get(key, "none") for values in configs.values()}) > 1:
            told = ", ".join(f"{name}: {values.get(key, 'none')}" for name, values in configs.items())
            evidence.fact(f"{key} differs, which does not concern traffic between the clusters ({told})"[:MOST_SAID])
    return {name: {k: v for k, v in values.items() if compared(k)} for name, values in configs.items()}


def _judge_sync(
    evidence: Evidence, cluster: Cluster, pod: Pod, rows: list[tuple[str, ProxySync]], needed: tuple[str, ...]
) -> None:
    name = f"{'ztunnel' if captured.is_ztunnel(pod) else 'proxy'} {pod.namespace}/{pod.name}"
    servers = sorted({server for server, _ in rows})
    connected = evidence.expect(
        servers == [cluster.primary],
        cluster=cluster,
        object=name,
        field="connected to",
        expected=f"the control plane of {cluster.primary}",
        found=", ".join(servers) or "no control plane",
    )
    for _, row in rows if connected else ():
        wrong = [
            f"{kind} {status}"
            for kind, status in sorted(row.types.items())
            if status not in {"SYNCED", "NOT SENT", "IGNORED"} or (status != "SYNCED" and kind in needed)
        ]
        wrong += [f"{kind} unreported" for kind in needed if kind not in row.types]
        evidence.expect(
            not wrong,
            cluster=cluster,
            object=name,
            field="configuration",
            expected="SYNCED",
            timed=not any(status in {"REJECTED", "ERROR"} for status in row.types.values()),
            found=", ".join(wrong) or ", ".join(f"{kind} {status}" for kind, status in sorted(row.types.items())),
        )


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """A nested configuration as path → value, without what may or must differ."""
    if path in JUDGED_ELSEWHERE + PER_CLUSTER:
        return {}
    if not isinstance(value, dict):
        return {f"{SETTING}{path}": str(value)}
    found: dict[str, str] = {}
    for key in sorted(value):
        found |= _flat(value[key], f"{path}.{key}" if path else key)
    return found


def _agree(evidence: Evidence, found: dict[str, dict[str, str]]) -> None:
    """Compare everything with the first cluster's."""
    if len(found) < 2:
        return
    first, reference = next(iter(found.items()))
    for name, values in list(found.items())[1:]:
        differing = [key for key in sorted({*reference, *values}) if values.get(key) != reference.get(key)]
        for key in differing:
            evidence.expect(
                False,
                cluster=name,
                object=key,
                field=f"against {first}",
                expected=reference.get(key, "none"),
                found=values.get(key, "none"),
            )
        if not differing:
            evidence.fact(f"{name} agrees with {first} on {', '.join(values) or 'everything that is compared'}")
