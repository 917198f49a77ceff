"""Synthetic observations of good meshes, one a topology, for tests that judge and break them.

Everything that requirements look at is there, as a real run records it; certificates are real ones.
"""

from datetime import timedelta
from functools import cache

from harness.model import client_endpoints, expectations, odds, permissions
from harness.model.cluster import ClusterObservation
from harness.model.observation import Asked, Cleanup, Environment, Observation, SuiteVersion
from harness.model.proxy import (
    EndpointSet,
    ProxyEndpoint,
)
from harness.model.step import WAIT_FOR_CONTROL_PLANE, Outcome, Phase, Step
from harness.model.topology import Cluster, ControlPlaneModel, NetworkModel, Role, Topology, preset
from harness.model.traffic import (
    Convergence,
    HostStats,
    PeerIdentity,
    Probe,
    ProbeKind,
    ProbeResult,
    Request,
    Sequence,
    Traffic,
)
from harness.observe import hosting
from suites.selftest.support.certificates import OBSERVED, Pki, pki
from suites.selftest.support.good_cluster import cluster_of
from suites.selftest.support.good_experiments import good_experiments
from suites.selftest.support.good_objects import SAMPLE, SERVER_NAME, SYSTEM, gateway_address


def _place(name: str, number: int, network: str, primary: str) -> Cluster:
    role = Role.PRIMARY if name == primary else Role.REMOTE
    return Cluster(
        name=name, cluster_name=f"cluster{number}", network=network, role=role, primary=primary, version=f"v{number}"
    )


MIXED = Topology(
    name="mixed",
    clusters=(
        _place("east", 1, "network1", "east"),
        _place("west", 2, "network2", "west"),
        _place("north", 3, "network2", "east"),
    ),
)
TOPOLOGIES = {
    topology.name: topology
    for topology in (
        *(preset(planes, network) for planes in ControlPlaneModel for network in NetworkModel),
        *(preset(planes, NetworkModel.MULTI, 3) for planes in ControlPlaneModel),
        MIXED,
    )
}


@cache
def good(topology: Topology, installer: str = "istioctl") -> Observation:
    """An observation in which every requirement holds."""
    authority = pki()
    seen = {cluster.name: cluster_of(topology, cluster, authority, installer) for cluster in topology.every}
    observation = Observation(
        suite=SuiteVersion(version="0"),
        run_id="good",
        started=OBSERVED - timedelta(minutes=3),
        observed=OBSERVED,
        topology=topology,
        asked=Asked(
            mode="install", installer=installer, istio_version="1.31", cni=True, load_balancer="metallb", images="local"
        ),
        environment=Environment(platform="kind"),
        steps=tuple(_wait(cluster) for cluster in topology.clusters),
        clusters=tuple(_with_control_plane(seen, cluster) for cluster in topology.clusters),
        hosts=tuple(seen[host.name] for host in topology.hosts),
        cleanup=Cleanup(
            clusters=tuple(cluster.name for cluster in topology.clusters),
            objects_before={cluster.name: 200 for cluster in topology.clusters},
            changes=(),
        ),
    )
    observation = _with_endpoints(observation)
    observation = observation.model_copy(
        update={"probes": tuple(_probes(observation, authority)), "traffic": _traffic(observation)}
    )
    return observation.model_copy(update={"experiments": good_experiments(observation)})


def _with_control_plane(seen: dict[str, ClusterObservation], cluster: Cluster) -> ClusterObservation:
    own = seen[cluster.name]
    return hosting.with_control_plane(own, seen[cluster.host], SYSTEM) if cluster.host else own


def _wait(cluster: Cluster) -> Step:
    return Step(
        phase=Phase.MESH,
        title=WAIT_FOR_CONTROL_PLANE,
        cluster=cluster.name,
        started=OBSERVED - timedelta(minutes=2),
        seconds=9.5,
        outcome=Outcome.DONE,
    )


def _with_endpoints(observation: Observation) -> Observation:
    """Give every sleep's proxy the endpoints that the topology asks for."""
    clusters = []
    for cluster in observation.topology.clusters:
        observed = observation[cluster]
        endpoints = EndpointSet(
            cluster=f"outbound|5000||helloworld.{SAMPLE}.svc.cluster.local",
            endpoints=tuple(
                ProxyEndpoint(address=address, port=port, weight=1, healthy=True)
                for target in observation.topology.clusters
                for address, port in client_endpoints.addresses_of(observation, cluster, target)
            ),
        )
        proxies = tuple(
            proxy.model_copy(update={"endpoints": (endpoints,)}) if proxy.role == expectations.SLEEP else proxy
            for proxy in observed.proxies
        )
        clusters.append(observed.model_copy(update={"proxies": proxies}))
    return observation.model_copy(update={"clusters": tuple(clusters)})


def _probes(observation: Observation, authority: Pki) -> list[Probe]:
    topology = observation.topology
    found: list[Probe] = []
    for target in topology.every:
        owner = topology.hosted_by(target) if target in topology.hosts else target
        server = observation[target].api_server.removeprefix("https://").removesuffix(":6443")
        chain = (authority.intermediates[owner.primary], authority.root)
        helloworld = (
            authority.workload(owner.primary, expectations.spiffe_id("cluster.local", SAMPLE, "default")),
            *chain,
        )
        istiod = (authority.istiod(owner.primary), *chain)
        may = {str(permission): permission in permissions.NEEDED for permission in permissions.ALL}
        for source in topology.others(target):
            if target in topology.watched_by(source):
                watching = topology.control_plane_of(source)
                found.append(_probe(ProbeKind.API_SERVER, watching, target, server, 6443, permissions=may))
            if source.network == target.network:
                ip = expectations.helloworld_pods(observation[target], SAMPLE)[0].ip
                found.append(_probe(ProbeKind.POD_ROUTE, source, target, ip, 5000))
                found.append(_probe(ProbeKind.PACKETS, source, target, ip, 15021, status=200))
        for port, sources in expectations.needed_ports(topology, target).items():
            kinds: dict[ProbeKind, dict[str, object]] = {ProbeKind.TCP: {}}
            if port == expectations.MESH_PORT:
                kinds[ProbeKind.TLS] = {"certificates": helloworld, "server_name": SERVER_NAME}
                kinds[ProbeKind.TLS_NO_CERTIFICATE] = {"result": ProbeResult.REFUSED}
            if port == expectations.XDS_PORT:
                kinds[ProbeKind.TLS] = {"certificates": istiod, "server_name": f"istiod.{SYSTEM}.svc"}
                kinds[ProbeKind.CSR_NO_TOKEN] = {"result": ProbeResult.REFUSED, "status": 401}
            address = gateway_address(topology, target)
            found += [_probe(ProbeKind.PACKETS, source, target, address, 15021, status=200) for source in sources]
            found += [
                _probe(kind, source, target, address, port, **more)
                for source in sources
                for kind, more in kinds.items()
            ]
    return found


def _probe(kind: ProbeKind, source: Cluster, target: Cluster, address: str, port: int, **more: object) -> Probe:
    return Probe.model_validate(
        {
            "kind": kind,
            "source": source.name,
            "source_pod": "sleep-1",
            "target": target.name,
            "address": address,
            "port": port,
            "result": ProbeResult.ANSWERED,
            **more,
        }
    )


def _traffic(observation: Observation) -> Traffic:
    topology = observation.topology
    count = len(topology.clusters)
    cap = odds.coverage_cap(odds.equal_shares(count))
    return Traffic(
        convergence=tuple(
            Convergence(
                client=cluster.name,
                seconds=2.0,
                first_answer={other.version: 1.0 for other in topology.clusters},
                converged=True,
                requests=4,
            )
            for cluster in topology.clusters
        ),
        coverage=tuple(_sequence(observation, cluster, 2 * LOOP) for cluster in topology.clusters),
        cap=cap,
        false_alarm=odds.COVERAGE_FALSE_ALARM,
        distribution=tuple(_sequence(observation, cluster, 200 * count) for cluster in topology.clusters),
        peers=tuple(
            PeerIdentity(
                destination=cluster.name,
                pod=f"helloworld-{cluster.version}-1",
                evidence="access log",
                principal=expectations.spiffe_id("cluster.local", SAMPLE, "sleep"),
                mutual_tls=True,
                requests=100,
            )
            for cluster in topology.clusters
        ),
    )


LOOP = 10


def _sequence(observation: Observation, client: Cluster, count: int) -> Sequence:
    """Requests that every version answers in turn."""
    clusters = observation.topology.clusters
    answers = [clusters[index % len(clusters)] for index in range(count)]
    return Sequence(
        client=client.name,
        pod="sleep-1",
        command="curl",
        started=OBSERVED,
        requests=tuple(
            Request(
                sent=index * 0.01,
                seconds=0.002 if cluster is client else 0.005,
                status=200,
                version=cluster.version,
                instance=f"helloworld-{cluster.version}-1",
            )
            for index, cluster in enumerate(answers)
        ),
        hosts=tuple(
            HostStats(address=address, port=port, requests=answers.count(target), errors=0, connect_failures=0)
            for target in clusters
            for address, port in client_endpoints.addresses_of(observation, client, target)
        ),
        hosts_read=True,
    )
