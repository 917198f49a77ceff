"""Versions of helloworld beside the one that stands for each cluster: a canary of the mesh's owner. Pure."""

from collections.abc import Mapping

from harness.model import expectations
from harness.model.observation import Observation
from harness.model.topology import Cluster


def further_versions(observation: Observation) -> Mapping[str, Cluster]:
    """On a mesh of others, each version that stands for no cluster and runs on one only, with that cluster.

    Its answers tell as well which cluster gave them.
    """
    if observation.asked.mode == "install":
        return {}
    topology = observation.topology
    running: dict[str, set[str]] = {}
    for observed in observation.clusters:
        for pod in expectations.helloworld_pods(observed, observation.asked.sample_namespace):
            running.setdefault(pod.labels.get("version", ""), set()).add(observed.name)
    known = {"", *(cluster.version for cluster in topology.clusters)}
    return {
        version: topology[min(names)] for version, names in running.items() if version not in known and len(names) == 1
    }
