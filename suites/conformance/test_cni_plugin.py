"""Istio's CNI plugin: ready wherever pods need it."""

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import expectations
from harness.model.cluster import ClusterObservation, Subject
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.starting_pods import only_starting
from suites.conformance.common import condition_ready

AREA = "control plane"


@requirement("CP-CNI-READY", Level.MUST, area=AREA, needs=(MeshFeature.CNI,))
def test_cp_cni_ready(observation: Observation, evidence: Evidence) -> None:
    """Istio's CNI plugin is ready on every schedulable node.

    A pod on a node without it starts with its traffic not redirected, or, where the plugin repairs pods, never starts.
    Examined are the resource `IstioCNI`, where there is an operator, and that a ready pod of the DaemonSet
    istio-cni-node runs on every node that takes pods. Under verify-only the plugin may be used on some of the clusters
    only, in whatever namespace, and a node that has none is reported where no pod runs on it that has a sidecar and no
    istio-init.

    Source: chapter, "You have created an Istio Container Network Interface (CNI) resource"; Istio, "Install the Istio
    CNI node agent".
    """
    if not (observation.asked.cni or observation.asked.ambient):
        evidence.skipped("the mesh does not use Istio's CNI plugin")
        return
    for cluster, observed in evidence.readable(observation, Subject.NODES, Subject.WORKLOADS, Subject.PODS):
        if not expectations.uses_cni(observation, observed):
            evidence.fact(f"{cluster.name}: its pods have the init container istio-init, and need no CNI plugin")
            continue
        plugin = expectations.cni_pods(observed)
        if observation.asked.mode == "verify-only" and not plugin:
            _judge_plugin_elsewhere(evidence, observed)
            continue
        resource = next((resource for resource in observed.sail if resource.kind == "IstioCNI"), None)
        if resource or observation.asked.installer == "sail":
            name = "default" if resource is None else resource.name
            condition_ready(evidence, observed, "IstioCNI", name, waited=only_starting(plugin))
        covered = {pod.node for pod in plugin if pod.ready}
        bare = sorted(node.name for node in observed.nodes if node.schedulable and node.name not in covered)
        if observation.asked.mode == "verify-only":
            hosts = {pod.node for pod in observed.lasting_pods if expectations.relies_on_cni(pod)}
            for name in (name for name in bare if name not in hosts):
                evidence.fact(f"{cluster.name}: node {name} has no CNI plugin, and no pod of the sample that needs it")
            bare = [name for name in bare if name in hosts]
        starting = {pod.node for pod in plugin if only_starting([pod])}
        evidence.expect(
            bool(covered) and not bare,
            waited=bool(bare) and starting.issuperset(bare),
            cluster=cluster,
            object=f"DaemonSet {expectations.CNI_PLUGIN}",
            field="nodes with a ready pod",
            expected="every schedulable node",
            found=f"none on {', '.join(bare)}" if bare else ", ".join(sorted(covered)) or "none",
        )


def _judge_plugin_elsewhere(evidence: Evidence, observed: ClusterObservation) -> None:
    """Judge the CNI plugin's DaemonSets, whose pods stand in a namespace that is not read."""
    named = tuple(each for each in observed.workloads if each.name == expectations.CNI_PLUGIN)
    if observed.cni_plugins is None and not named:
        evidence.skipped(f"{observed.name}: its CNI plugin may stand in a namespace that was not read")
        return
    for found in observed.cni_plugins or named or (None,):
        evidence.expect(
            # That a node lacks one is reported: whether a pod there needs it is not known.
            found is not None and found.ready > 0,
            cluster=observed,
            object=f"DaemonSet {found.namespace}/{found.name}" if found else f"DaemonSet {expectations.CNI_PLUGIN}",
            field="ready pods",
            expected="at least one",
            found=f"{found.ready} of {found.desired}" if found else "none in any namespace",
        )
