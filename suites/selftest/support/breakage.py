"""Breaks one thing in a good observation, and says which requirements must notice."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import Requirement, judge
from harness.model import expectations
from harness.model.base import Model
from harness.model.certificate import Certificate
from harness.model.cluster import ClusterObservation
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.topology import Cluster, Feature, Topology
from harness.model.traffic import Probe
from suites.catalogue import catalogue

Item = TypeVar("Item", bound=Model)
Names = Callable[[Topology], Iterable[str]]


def nothing(_topology: Topology) -> tuple[str, ...]:
    """No further requirement."""
    return ()


@dataclass(frozen=True)
class Breakage:
    """One change of a good observation."""

    requirement: str
    """The id of the requirement that must fail because of it."""
    name: str
    change: Callable[[Observation], Observation]
    also_fail: Names = nothing
    """Which others fail as well, and rightly."""
    blocked: Names = nothing
    """Which can't be judged any more."""
    when: Callable[[Topology], bool] = lambda _topology: True
    """The topologies in which it can be done, beside those that the requirement applies to."""

    def __str__(self) -> str:
        """A test's id."""
        return f"{self.requirement}-{self.name}"

    def applies_to(self, topology: Topology) -> bool:
        """Whether it can be done in a topology."""
        return catalogue()[self.requirement].applies_to(topology) and self.when(topology)


def verdicts(observation: Observation) -> dict[str, Verdict]:
    """The verdict on every requirement that applies to the topology and to what carries the traffic."""
    return {row.id: judge(row, observation).verdict for row in catalogue().values() if concerns(row, observation)}


def concerns(row: Requirement, observation: Observation) -> bool:
    """Whether a requirement is about such a mesh: of its topology, and of sidecars or of ztunnels."""
    planes = {MeshFeature.SIDECARS.value, MeshFeature.AMBIENT.value}
    return row.applies_to(observation.topology) and row.lacks(observation) not in planes


def judged(id: str, observation: Observation) -> Judgement:  # noqa: A002 - the catalogue's word
    """What one requirement comes to."""
    return judge(catalogue()[id], observation)


def check(breakage: Breakage, observations: Iterable[Observation]) -> None:
    """Assert that exactly what is declared does not pass any more, wherever the breakage applies.

    Raises:
        AssertionError: another verdict differs, a declared one does not, or the breakage applies nowhere.
    """
    applying = [observation for observation in observations if breakage.applies_to(observation.topology)]
    assert applying, f"{breakage} applies to none of the observations"
    for observation in applying:
        _check(breakage, observation)


def _check(breakage: Breakage, observation: Observation) -> None:
    topology = observation.topology
    found = verdicts(breakage.change(observation))
    fails = {breakage.requirement, *breakage.also_fail(topology)} & found.keys()
    blocked = set(breakage.blocked(topology)) & found.keys()
    wanted = dict.fromkeys(fails, Verdict.FAIL) | dict.fromkeys(blocked, Verdict.BLOCKED)
    # What only a thing that is gone could show does not apply any more: nothing of it is judged.
    whole = {Verdict.PASS, Verdict.NOT_APPLICABLE}
    assert {row: verdict for row, verdict in found.items() if verdict not in whole} == wanted, topology.name


def first(topology: Topology) -> Cluster:
    """The first cluster: a primary, and with a gateway wherever there is one."""
    return topology.clusters[0]


def gateway_of_istiod(topology: Topology) -> Cluster:
    """The first cluster through whose gateway others reach istiod, in the mesh or outside; else the first one."""
    return next(iter(expectations.serving_primaries(topology)), first(topology))


def last(topology: Topology) -> Cluster:
    """The last cluster: a remote wherever there is one."""
    return topology.clusters[-1]


def last_is_remote(topology: Topology) -> bool:
    """Whether the last cluster is a remote."""
    return not last(topology).is_primary


def multi_network(topology: Topology) -> bool:
    """Whether there are several networks."""
    return Feature.MULTI_NETWORK in topology.features


def on(observation: Observation, cluster: Cluster, **update: object) -> Observation:
    """Replace fields of what was observed of a cluster."""

    def changed(all_observed: tuple[ClusterObservation, ...]) -> tuple[ClusterObservation, ...]:
        return tuple(
            observed.model_copy(update=update) if observed.name == cluster.name else observed
            for observed in all_observed
        )

    return observation.model_copy(
        update={"clusters": changed(observation.clusters), "hosts": changed(observation.hosts)}
    )


def edit(items: Sequence[Item], which: Callable[[Item], bool], **update: object) -> tuple[Item, ...]:
    """Replace fields of those items that are meant, of which there must be one."""
    assert any(which(item) for item in items)
    return tuple(item.model_copy(update=update) if which(item) else item for item in items)


def with_probes(observation: Observation, which: Callable[[Probe], bool], **update: object) -> Observation:
    """Replace fields of some probes."""
    return observation.model_copy(update={"probes": edit(observation.probes, which, **update)})


def with_ca(observation: Observation, cluster: Cluster, ca: Certificate) -> Observation:
    """Put another intermediate into a cluster's secret, and nowhere else."""
    secret = observation[cluster].ca_secret
    assert secret
    chain = (ca, *secret.cert_chain[1:])
    return on(observation, cluster, ca_secret=secret.model_copy(update={"ca_cert": ca, "cert_chain": chain}))


def with_root(observation: Observation, clusters: Iterable[Cluster], root: Certificate) -> Observation:
    """Put another root into secrets, and into the trust bundles of the clusters that are served from there."""
    names = {cluster.name for cluster in clusters}
    for cluster in observation.topology.clusters:
        secret = observation[cluster].ca_secret
        assert secret
        if cluster.name in names:
            chain = (*secret.cert_chain[:-1], root)
            changed = secret.model_copy(update={"root_cert": root, "cert_chain": chain})
            observation = on(observation, cluster, ca_secret=changed)
        if cluster.primary in names:
            observation = on(observation, cluster, root_config_map=(root,))
    return observation


def with_sleep_proxy(observation: Observation, cluster: Cluster, **update: object) -> Observation:
    """Replace fields of the client's proxy."""
    proxies = edit(observation[cluster].proxies, lambda proxy: proxy.role == expectations.SLEEP, **update)
    return on(observation, cluster, proxies=proxies)


def gateway_is(observation: Observation, cluster: Cluster, **update: object) -> Observation:
    """Replace fields of the gateway's Service."""
    gateway = expectations.gateway_service(observation[cluster])
    return on(
        observation, cluster, services=edit(observation[cluster].services, lambda item: item == gateway, **update)
    )
