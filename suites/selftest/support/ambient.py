"""A good observation of a mesh of ztunnels, made of one with sidecars."""

from functools import cache

from harness.model import captured, expectations, gateways
from harness.model.data_plane import DataPlane
from harness.model.experiment import Experiments
from harness.model.observation import Observation, load
from harness.model.traffic import Probe, ProbeKind, ProbeResult, Sequence
from harness.model.ztunnel import Ztunnel
from harness.observe import ztunnel_log, ztunnels
from suites.selftest.support.ambient_objects import cluster_of
from suites.selftest.support.recordings import RECORDED
from suites.selftest.support.ztunnel_words import access_log, config_dump

TOPOLOGY = "multi-primary-multi-network"


@cache
def ambient() -> Observation:
    """The recorded mesh on several networks as it would be with ztunnels."""
    return load(RECORDED / "ambient" / f"{TOPOLOGY}.json.gz")


def with_ztunnels(seen: Observation) -> Observation:
    """A mesh with sidecars, with ztunnels in their place."""
    asked = seen.asked.model_copy(update={"data_plane": DataPlane.AMBIENT, "cni": True})
    clusters = tuple(cluster_of(seen, seen.topology[observed.name]) for observed in seen.clusters)
    changed = seen.model_copy(update={"asked": asked, "clusters": clusters})
    told = tuple(
        observed.model_copy(update={"ztunnels": _ztunnels(seen, changed, observed.name)}) for observed in clusters
    )
    changed = changed.model_copy(update={"clusters": told})
    return _traffic(changed.model_copy(update={"probes": tuple(_probe(changed, probe) for probe in seen.probes)}))


def _ztunnels(seen: Observation, changed: Observation, name: str) -> tuple[Ztunnel, ...]:
    cluster = changed.topology[name]
    pods = captured.ztunnel_pods(changed, cluster)
    return tuple(ztunnels.ztunnel(pod, config_dump(seen, changed, cluster, pod), ("sample",)) for pod in pods)


def _probe(changed: Observation, probe: Probe) -> Probe:
    if probe.port != gateways.MESH_PORT:
        return probe
    proxies = expectations.gateway_proxies(changed[probe.target])
    shown = proxies[0].chain if probe.kind is ProbeKind.TLS and probe.result is ProbeResult.ANSWERED else ()
    return probe.model_copy(update={"port": gateways.HBONE_PORT, "certificates": shown})


def _traffic(changed: Observation) -> Observation:
    traffic = changed.traffic
    assert traffic

    def without(sequence: Sequence) -> Sequence:
        return sequence.model_copy(update={"hosts": (), "hosts_read": False})

    rows = tuple(
        row
        for cluster in changed.topology.clusters
        for pod in captured.ztunnel_pods(changed, cluster)
        for row in ztunnel_log.connections(cluster.name, pod.name, access_log(changed, cluster, pod), ("sample",))
    )
    names = {
        observed.name: {pod.name for pod in expectations.helloworld_pods(observed, "sample")}
        for observed in changed.clusters
    }
    update = {
        "coverage": tuple(map(without, traffic.coverage)),
        "distribution": tuple(map(without, traffic.distribution)),
        "peers": ztunnel_log.callers(rows, names),
        "connections": rows,
    }
    return changed.model_copy(
        update={"traffic": traffic.model_copy(update=update), "experiments": _experiments(changed.experiments)}
    )


def _experiments(found: Experiments | None) -> Experiments | None:
    """A ztunnel refuses what a policy denies: it knows no requests that it could answer."""
    if found is None or found.authorization is None:
        return found
    exchanges = tuple(
        each.model_copy(update={"result": ProbeResult.REFUSED, "status": 0, "answers": {}})
        if each.account == found.authorization.denied
        else each
        for each in found.authorization.exchanges
    )
    authorization = found.authorization.model_copy(update={"exchanges": exchanges})
    return found.model_copy(update={"authorization": authorization})
