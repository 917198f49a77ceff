"""A mesh as it is looked at where nobody has brought a sample: what is then seen of a recorded one."""

from harness.model.cluster import Pod
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind, ProbeResult
from harness.observe import discovery
from reports.conformance import result_of
from reports.model import Result
from reports.result import FailOn
from suites.catalogue import catalogue
from suites.selftest.support.breakage import verdicts
from suites.selftest.support.valid_kinds import without_sample


def looked_at(observation: Observation) -> Observation:
    """The mesh without its sample, with the probes that are sent all the same, from gateways or istiod.

    Their TLS names no service then, which a gateway refuses. Nobody tries ways between pods.
    """
    bare = without_sample(observation)
    sent = (_sent(bare, probe) for probe in observation.probes)
    return rediscovered(bare.model_copy(update={"probes": tuple(probe for probe in sent if probe)}))


def rediscovered(observation: Observation) -> Observation:
    """With the topology and the CNI plugin as they are found in what was observed."""
    names = discovery.Names(observation.asked.system_namespace, observation.asked.sample_namespace)
    asked = observation.asked.model_copy(update={"cni": discovery.cni(observation.clusters)})
    topology = discovery.topology(observation.clusters, names)
    return observation.model_copy(update={"topology": topology, "asked": asked})


def _sent(observation: Observation, probe: Probe) -> Probe | None:
    source = _source(observation, observation.topology[probe.source])
    if source is None or probe.kind is ProbeKind.POD_ROUTE:
        return None
    update: dict[str, object] = {"source_pod": source.name}
    if probe.kind in {ProbeKind.TLS, ProbeKind.TLS_NO_CERTIFICATE} and probe.port not in {15012, 15017}:
        update |= {"result": ProbeResult.REFUSED, "certificates": ()}
    return probe.model_copy(update=update)


def _source(observation: Observation, cluster: Cluster) -> Pod | None:
    pods = observation[cluster].lasting_pods
    proxied = (pod for pod in pods if pod.proxy and pod.proxy.state == "running")
    return next(proxied, next((pod for pod in pods if pod.labels.get("app") == "istiod" and pod.ready), None))


def result(observation: Observation, fail_on: FailOn = "must") -> Result:
    """What a run would come to; experiments and cleanup apart."""
    found = verdicts(observation)
    rows = [row for row in catalogue().values() if row.id in found and not (row.experiment or row.id == "CLEAN")]
    return result_of([(row.level_for(observation), found[row.id]) for row in rows], fail_on)
