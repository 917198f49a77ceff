"""What a broken mesh looks like from its clients, gateways and remotes: effects that faults have in common. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle

from harness import expected, statistics
from harness.faults.edit import each, gateway_pods, on, pods, probes, with_webhooks
from harness.model.cluster import Condition, DryRun, Pod, SailResource
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane, Listener, Proxy, ProxyEndpoint, ProxySync
from harness.model.traffic import Convergence, HostStats, Probe, ProbeKind, ProbeResult, Request, Sequence, Traffic
from harness.topology import Cluster

BROKEN_OFF = 10
"""Requests after which a sequence that clearly fails is broken off, or that has seen every version ends: the loop."""
GATEWAY_KINDS = frozenset({ProbeKind.TCP, ProbeKind.TLS, ProbeKind.TLS_NO_CERTIFICATE, ProbeKind.CSR_NO_TOKEN})


def endpoints(
    observation: Observation, client: Cluster, change: Callable[[ProxyEndpoint], ProxyEndpoint | None]
) -> Observation:
    """Change helloworld's endpoints in a client's proxies."""

    def changed(proxy: Proxy) -> Proxy:
        if proxy.role != expected.SLEEP:
            return proxy
        sets = tuple(
            found.model_copy(update={"endpoints": each(found.endpoints, change)})
            if "|helloworld." in found.cluster
            else found
            for found in proxy.endpoints
        )
        return proxy.model_copy(update={"endpoints": sets})

    return on(observation, client, proxies=each(observation[client].proxies, changed))


def lose_endpoints(observation: Observation, client: Cluster, *targets: Cluster) -> Observation:
    """A client's proxies no longer know helloworld on these clusters."""
    gone = {address for target in targets for address in expected.addresses_of(observation, client, target)}
    return endpoints(observation, client, lambda found: None if (found.address, found.port) in gone else found)


def pod_endpoints(observation: Observation, client: Cluster, target: Cluster) -> Observation:
    """Istiod knows no gateway of the target's network: its pods stand for themselves, and nothing routes to them."""
    known = expected.addresses_of(observation, client, target)
    ips = [pod.ip for pod in expected.helloworld_pods(observation[target], observation.asked.sample_namespace)]

    def change(found: ProxyEndpoint) -> ProxyEndpoint:
        if (found.address, found.port) not in known or not ips:
            return found
        return found.model_copy(update={"address": ips[0], "port": expected.HELLOWORLD_PORT})

    return endpoints(observation, client, change)


@dataclass(frozen=True)
class Answers:
    """How helloworld's endpoints on one cluster treat a client."""

    share: float = 1.0
    """Its part of the attempts, relative to the others'."""
    failing: float = 0.0
    """The part of the attempts that fail."""
    hidden: bool = True
    """The client's proxy tries elsewhere (a connection refused), instead of waiting until the client gives up."""
    version: str = ""
    """Who answers; default the cluster's own version."""
    versions: tuple[str, ...] = ()


def traffic(observation: Observation, client: Cluster, **targets: Answers) -> Observation:
    """Send the client's requests again, each cluster answering as it is told; unnamed clusters don't answer at all.

    As in a real run, a client that misses a version sends no requests for the distribution any more.
    """
    return _Client(observation, client, targets).sent()


def only_from(observation: Observation, client: Cluster, *sources: Cluster, vain: str = "") -> Observation:
    """Only these clusters answer a client.

    Args:
        observation: the run.
        client: who sends.
        sources: who answers.
        vain: `refused` where the client's proxy tries the others in vain and then elsewhere, `timeout` where it waits
            for them until the client gives up; empty where it does not know them.
    """
    answers = {source.name: Answers() for source in sources}
    if vain:
        for target in observation.topology.clusters:
            answers.setdefault(target.name, Answers(failing=1.0, hidden=vain == "refused"))
    return traffic(observation, client, **answers)


@dataclass(frozen=True)
class _Client:
    """A client's requests, worked out again."""

    observation: Observation
    client: Cluster
    targets: Mapping[str, Answers]

    def sent(self) -> Observation:
        """The observation with these requests instead of the former ones."""
        old = self.observation.traffic or Traffic(cap=21, false_alarm=statistics.COVERAGE_FALSE_ALARM)
        wanted = frozenset(cluster.version for cluster in self.observation.topology.clusters)
        whole = wanted <= self._answering()
        count = next((len(s.requests) for s in old.distribution if s.client == self.client.name), 0)
        coverage = self._sequence(old.cap, wanted if whole else frozenset())
        changed = old.model_copy(
            update={
                "coverage": self._instead(old.coverage, coverage),
                "distribution": self._instead(old.distribution, self._sequence(count) if whole and count else None),
                "convergence": tuple(
                    self._convergence(found, whole=whole) if found.client == self.client.name else found
                    for found in old.convergence
                ),
            }
        )
        return self.observation.model_copy(update={"traffic": changed})

    def _answering(self) -> set[str]:
        return {
            version
            for name, answers in self.targets.items()
            if answers.failing < 1
            for version in self._versions(name, answers)
        }

    def _versions(self, name: str, answers: Answers) -> tuple[str, ...]:
        return answers.versions or (self.observation.topology[name].version,)

    def _instead(self, old: tuple[Sequence, ...], new: Sequence | None) -> tuple[Sequence, ...]:
        kept = tuple(sequence for sequence in old if sequence.client != self.client.name)
        return (*kept, new) if new else kept

    def _convergence(self, found: Convergence, *, whole: bool) -> Convergence:
        if whole:
            return found
        first = {v: s for v, s in found.first_answer.items() if v in self._answering()}
        return found.model_copy(update={"converged": False, "first_answer": first, "seconds": 30.0})

    def _attempts(self, count: int) -> list[str]:
        """Which cluster each attempt goes to, evenly by their shares."""
        whole = sum(answers.share for answers in self.targets.values())
        due = dict.fromkeys(self.targets, 0.0)
        order = []
        for _ in range(count if whole else 0):
            for name, answers in self.targets.items():
                due[name] += answers.share / whole
            chosen = max(due, key=lambda name: due[name])
            due[chosen] -= 1
            order.append(chosen)
        return order

    def _sequence(self, count: int, until: frozenset[str] = frozenset()) -> Sequence:
        """Requests with their answers, and what the client's proxy counted; no more once all these have answered."""
        turns = {name: cycle(self._versions(name, answers)) for name, answers in self.targets.items()}
        tried: dict[str, list[int]] = {name: [0, 0] for name in self.targets}
        due = dict.fromkeys(self.targets, 0.0)
        sound = [name for name, answers in self.targets.items() if answers.failing < 1]
        requests: list[Request] = []
        for index, chosen in enumerate(self._attempts(count) or [""] * count):
            name, answers = chosen, self.targets.get(chosen)
            if answers is None:
                requests.append(self._failed(index, "Could not resolve host: helloworld.sample", 0))
            else:
                due[name] += answers.failing
                if due[name] >= 1:
                    due[name] -= 1
                    tried[name][1] += 1
                    elsewhere = next((other for other in sound if other != chosen), "")
                    name = elsewhere if answers.hidden else ""
                    tried[chosen][0] += answers.hidden
                if name:
                    tried[name][0] += 1
                    requests.append(self._answered(index, name, next(turns[name])))
                else:
                    requests.append(self._failed(index, "Operation timed out", 0))
            seen = {request.version for request in requests if request.status}
            if len(requests) >= BROKEN_OFF and (not seen or (until and until <= seen)):
                break
        return Sequence(
            client=self.client.name,
            pod=self._pod(),
            command="curl",
            started=self.observation.observed,
            requests=tuple(requests),
            hosts=tuple(self._hosts(tried)),
            hosts_read=True,
        )

    def _pod(self) -> str:
        sleeps = self.observation[self.client].pods_with(self.observation.asked.sample_namespace, app=expected.SLEEP)
        return sleeps[0].name if sleeps else ""

    def _hosts(self, tried: Mapping[str, list[int]]) -> Iterator[HostStats]:
        """Counters of every endpoint that the client's proxy knows, one a cluster."""
        proxies = expected.sleep_proxies(self.observation, self.client)
        known = expected.helloworld_endpoints(proxies[0], self.observation.asked.sample_namespace) if proxies else None
        listed = {(endpoint.address, endpoint.port) for endpoint in known.endpoints} if known else set()
        for target in self.observation.topology.clusters:
            attempts, failures = tried.get(target.name, (0, 0))
            # Connections that the client gave up on are neither requests nor failures to Envoy.
            counted = failures if target.name in tried and self.targets[target.name].hidden else 0
            there = sorted(listed & set(expected.addresses_of(self.observation, self.client, target)))
            for address, port in there[:1]:
                yield HostStats(address=address, port=port, requests=attempts, errors=counted, connect_failures=counted)

    def _answered(self, index: int, name: str, version: str) -> Request:
        seconds = 0.002 if name == self.client.name else 0.005
        return Request(
            sent=index * 0.01, seconds=seconds, status=200, version=version, instance=f"helloworld-{version}-{name}"
        )

    def _failed(self, index: int, error: str, status: int) -> Request:
        return Request(sent=index * 2.0, seconds=2.0, status=status, error=error)


def gateway_probes(
    observation: Observation,
    target: Cluster,
    result: ProbeResult,
    *,
    ports: Iterable[int] = (),
    detail: str = "",
    connects: bool = False,
) -> Observation:
    """Probes of a gateway end otherwise.

    Args:
        observation: the run.
        target: the gateway's cluster.
        result: how they end.
        ports: which ports; default all.
        detail: the words with it.
        connects: the TCP connection is accepted, and only what comes after it fails.
    """
    meant = frozenset(ports)

    def change(probe: Probe) -> Probe:
        of_gateway = probe.target == target.name and probe.kind in GATEWAY_KINDS
        if not of_gateway or (meant and probe.port not in meant) or (connects and probe.kind is ProbeKind.TCP):
            return probe
        return probe.model_copy(update={"result": result, "detail": detail, "certificates": (), "status": 0})

    return probes(observation, change)


def listeners(observation: Observation, cluster: Cluster, *closed: int) -> Observation:
    """A gateway's Envoy does not listen on these ports."""
    names = gateway_pods(observation[cluster])

    def change(proxy: Proxy) -> Proxy:
        left: tuple[Listener, ...] = tuple(found for found in proxy.listeners if found.port not in closed)
        return proxy.model_copy(update={"listeners": left}) if proxy.pod in names else proxy

    return on(observation, cluster, proxies=each(observation[cluster].proxies, change))


def disconnected(observation: Observation, *clusters: Cluster) -> Observation:
    """The proxies of these clusters have lost their control plane; they go on with what they have."""
    for cluster in clusters:

        def without(plane: ControlPlane, name: str = cluster.cluster_name) -> ControlPlane:
            rows: tuple[ProxySync, ...] = tuple(row for row in plane.proxies if row.cluster_id != name)
            return plane.model_copy(update={"proxies": rows})

        planes = each(observation[cluster.primary].control_planes, without)
        observation = on(observation, cluster.primary, control_planes=planes)
        proxies = each(observation[cluster].proxies, lambda proxy: proxy.model_copy(update={"connected_to": ""}))
        observation = on(observation, cluster, proxies=proxies)
    return observation


def injection_fails(observation: Observation, *clusters: Cluster, why: str) -> Observation:
    """Pods are refused on these clusters; where there is an operator, it does not report a remote Ready."""
    for cluster in clusters:
        said = f'Internal error occurred: failed calling webhook "namespace.sidecar-injector.istio.io": {why}'
        observation = on(observation, cluster, dry_run=DryRun(injected=False, error=said))
        if cluster.is_primary or not observation[cluster].sail:
            continue
        observation = with_webhooks(
            observation,
            cluster,
            lambda webhook: webhook.model_copy(update={"annotations": {"sailoperator.io/readinessProbe.message": why}}),
        )
        not_ready = (Condition(type="Ready", status="False", reason="RemoteIstiodNotReady", message=why),)

        def change(resource: SailResource, conditions: tuple[Condition, ...] = not_ready) -> SailResource:
            return resource.model_copy(update={"conditions": conditions}) if resource.kind == "Istio" else resource

        observation = on(observation, cluster, sail=each(observation[cluster].sail, change))
    return observation


def sidecars_fail(observation: Observation, cluster: Cluster, why: str) -> Observation:
    """The sample's pods on a cluster were created again, and their sidecars do not become ready."""
    sample = observation.asked.sample_namespace

    def change(pod: Pod) -> Pod:
        if pod.namespace != sample or not expected.has_proxy(pod):
            return pod
        containers = tuple(
            c.model_copy(
                update={"ready": False, "state": "running", "message": why if c.name == expected.PROXY else ""}
            )
            for c in pod.containers
        )
        return pod.model_copy(update={"ready": False, "containers": containers})

    unavailable = (Condition(type="Available", status="False", reason="MinimumReplicasUnavailable"),)
    observation = pods(observation, cluster, change)
    observed = observation[cluster]
    observation = on(
        observation,
        cluster,
        workloads=each(
            observed.workloads,
            lambda w: w.model_copy(update={"ready": 0, "conditions": unavailable}) if w.namespace == sample else w,
        ),
        proxies=tuple(proxy for proxy in observed.proxies if proxy.namespace != sample),
        services=each(
            observed.services,
            lambda s: s.model_copy(update={"ready_endpoints": ()}) if s.namespace == sample else s,
        ),
    )
    names = {f"{pod.name}.{sample}" for pod in observed.pods if pod.namespace == sample}

    def without(plane: ControlPlane) -> ControlPlane:
        rows = tuple(r for r in plane.proxies if r.proxy not in names or r.cluster_id != cluster.cluster_name)
        return plane.model_copy(update={"proxies": rows})

    planes = each(observation[cluster.primary].control_planes, without)
    return silent_client(on(observation, cluster.primary, control_planes=planes), cluster)


def silent_client(observation: Observation, cluster: Cluster) -> Observation:
    """A cluster has no client: nothing was sent from there."""
    observation = probes(observation, lambda probe: None if probe.source == cluster.name else probe)
    old = observation.traffic
    if old is None:
        return observation
    changed = {
        field: tuple(found for found in getattr(old, field) if found.client != cluster.name)
        for field in ("coverage", "distribution", "convergence")
    }
    peers = tuple(peer for peer in old.peers or () if peer.destination != cluster.name)
    return observation.model_copy(update={"traffic": old.model_copy(update={**changed, "peers": peers})})
