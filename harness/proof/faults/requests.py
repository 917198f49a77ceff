"""What clients of a broken mesh get for an answer. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle

from harness.model import client_endpoints, clients, expectations, odds, requested
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import Convergence, HostStats, Request, Sequence, Traffic

BROKEN_OFF = 10
"""Requests after which a sequence that clearly fails is broken off, or that has seen every version ends: the loop."""


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
    return _ClientRequests(observation, client, targets).sent()


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
class _ClientRequests:
    """A client's requests, worked out again."""

    observation: Observation
    client: Cluster
    targets: Mapping[str, Answers]

    def sent(self) -> Observation:
        """The observation with these requests instead of the former ones."""
        old = self.observation.traffic or Traffic(cap=21, false_alarm=odds.COVERAGE_FALSE_ALARM)
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
        seen: set[str] = set()
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
            seen |= {request.version for request in requests[-1:] if request.status}
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
        sleeps = self.observation[self.client].pods_with(
            self.observation.asked.sample_namespace, app=expectations.SLEEP
        )
        return sleeps[0].name if sleeps else ""

    def _hosts(self, tried: Mapping[str, list[int]]) -> Iterator[HostStats]:
        """Counters of every endpoint that the client's proxy knows, one a cluster."""
        proxies = clients.client_proxies(self.observation, self.client)
        known = requested.endpoints(proxies[0], self.observation.asked) if proxies else None
        listed = {(endpoint.address, endpoint.port) for endpoint in known.endpoints} if known else set()
        for target in self.observation.topology.clusters:
            attempts, failures = tried.get(target.name, (0, 0))
            # Connections that the client gave up on are neither requests nor failures to Envoy.
            counted = failures if target.name in tried and self.targets[target.name].hidden else 0
            there = sorted(listed & set(client_endpoints.addresses_of(self.observation, self.client, target)))
            for address, port in there[:1]:
                yield HostStats(address=address, port=port, requests=attempts, errors=counted, connect_failures=counted)

    def _answered(self, index: int, name: str, version: str) -> Request:
        seconds = 0.002 if name == self.client.name else 0.005
        return Request(
            sent=index * 0.01, seconds=seconds, status=200, version=version, instance=f"helloworld-{version}-{name}"
        )

    def _failed(self, index: int, error: str, status: int) -> Request:
        return Request(sent=index * 2.0, seconds=2.0, status=status, error=error)
