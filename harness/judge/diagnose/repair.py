"""Repairs as one line for a shell: a command that can be pasted, and behind # what must be known or done by hand. Pure.

A `>` redirect, a password or a path of this machine is never in one.
"""

import json
from collections.abc import Mapping
from shlex import quote
from typing import Any

from harness.base.addresses import is_loopback
from harness.mesh.manifests import render
from harness.model import expectations, remote_addresses
from harness.model.cluster import ClusterObservation
from harness.model.observation import Observation
from harness.model.topology import Cluster

_OF_REMOTES = ("global.remotePilotAddress", "istiodRemote.")
"""Values of what is installed on a cluster whose control plane runs elsewhere."""


def kubectl(observed: ClusterObservation, *words: str) -> str:
    """A kubectl command against a cluster."""
    return " ".join(["kubectl", "--context", quote(observed.context or observed.name), *words])


def istioctl(observed: ClusterObservation, *words: str) -> str:
    """An istioctl command against a cluster."""
    return " ".join(["istioctl", "--context", quote(observed.context or observed.name), *words])


def noted(command: str, note: str) -> str:
    """A command with a remark."""
    return f"{command}  # {note}"


def steps(*commands: str) -> str:
    """Commands one after the other, each only if the one before it succeeded."""
    return " && ".join(commands)


def restart(observed: ClusterObservation, namespace: str, *what: str) -> str:
    """The command that makes new pods."""
    return kubectl(observed, "-n", namespace, "rollout restart", *(what or ("deployment",)))


def control_plane(observation: Observation, cluster: Cluster) -> ClusterObservation:
    """The cluster to give commands on a cluster's istiod, its `cacerts` and its mesh configuration to."""
    return observation[observation.topology.control_plane_of(cluster)]


def istiod(observation: Observation, cluster: Cluster) -> tuple[str, ...]:
    """The Deployments of a cluster's control plane as kubectl takes them."""
    found = expectations.istiod_workloads(observation[cluster.primary])
    return tuple(f"deployment/{workload.name}" for workload in found) or ("deployment/istiod",)


def restart_control_plane(observation: Observation, cluster: Cluster) -> str:
    """New istiod pods where a cluster's control plane runs, and wait for them."""
    observed, system = control_plane(observation, cluster), observation.asked.system_namespace
    which = " ".join(istiod(observation, cluster))
    return steps(
        restart(observed, system, which), kubectl(observed, "-n", system, "rollout status", which, "--timeout=3m")
    )


def restart_workloads(observation: Observation, cluster: Cluster) -> str:
    """New pods of the gateway and the sample: on a remote there, on a primary on every cluster that it serves."""
    asked, commands = observation.asked, []
    for served in observation.topology.served_by(cluster) or (cluster,):
        observed = observation[served]
        if gateway := expectations.gateway_workload(observed):
            commands.append(restart(observed, gateway.namespace, f"deployment/{gateway.name}"))
        commands.append(restart(observed, asked.sample_namespace))
    return steps(*commands)


def applied(observed: ClusterObservation, *objects: Mapping[str, Any]) -> str:
    """Objects, applied as they stand in the command."""
    whole = objects[0] if len(objects) == 1 else {"apiVersion": "v1", "kind": "List", "items": objects}
    return f"echo {quote(json.dumps(whole, separators=(',', ':')))} | {kubectl(observed, 'apply -f -')}"


def manifest(observed: ClusterObservation, *names: str, **values: str) -> str:
    """The suite's own manifests, applied."""
    return applied(observed, *(found for name in names for found in render(name, **values)))


def patch(
    observed: ClusterObservation, target: str, change: object, *, namespace: str = "", kind: str = "merge"
) -> str:
    """A patch of an object; a list is a JSON patch.

    Args:
        observed: the cluster.
        target: kind/name.
        change: what is to be merged into it, or a list of operations.
        namespace: empty for what is in none.
        kind: of the patch: merge or strategic.
    """
    where = ("-n", namespace) if namespace else ()
    kind = "json" if isinstance(change, list) else kind
    change_text = quote(json.dumps(change, separators=(",", ":")))
    return kubectl(observed, *where, f"patch {target} --type={kind} -p {change_text}")


def nested(path: str, value: object) -> dict[str, Any]:
    """`{"a": {"b": value}}` for the path a.b."""
    first, _, rest = path.partition(".")
    return {first: nested(rest, value) if rest else value}


def install(observation: Observation, cluster: Cluster, *options: str, why: str = "") -> str:
    """Install a cluster again as it was installed, with further options: where no operator does it."""
    observed = observation[cluster]
    note = f"{cluster.name}.yaml: the file it was installed from; with Helm: helm upgrade --reuse-values"
    return noted(istioctl(observed, f"install -f {cluster.name}.yaml", *options), f"{why}; {note}" if why else note)


def set_value(observation: Observation, cluster: Cluster, path: str, value: object, *then: str) -> str:
    """Give a value of Istio's charts, through whatever installed it.

    Args:
        observation: the run.
        cluster: the cluster.
        path: for instance global.meshID or meshConfig.trustDomain.
        value: the value.
        then: commands that must follow.
    """
    place = cluster if path.startswith(_OF_REMOTES) else observation.topology.home_of(cluster)
    observed = observation[place]
    if resource := expectations.istio_resource(observed):
        change = {"spec": {"values": nested(path, value)}}
        return steps(patch(observed, f"istio/{resource.name}", change), *then)
    option = f"{path if path.startswith('meshConfig') else f'values.{path}'}={_word(value)}"
    again = install(observation, place, "--set", quote(option))
    command, _, note = again.partition("  # ")
    return noted(steps(command, *then), note)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def edit_mesh_config(observation: Observation, cluster: Cluster, note: str) -> str:
    """Open the mesh configuration where it is kept; for what is more than one value."""
    observed, asked = control_plane(observation, cluster), observation.asked
    if resource := expectations.istio_resource(observed):
        return noted(kubectl(observed, f"edit istio/{resource.name}"), f"spec.values.meshConfig: {note}")
    name = "istio" if asked.revision == "default" else f"istio-{asked.revision}"
    return noted(kubectl(observed, "-n", asked.system_namespace, f"edit configmap {name}"), f"mesh: {note}")


def readdress(observation: Observation, cluster: Cluster) -> str:
    """Give a remote an address at which its primary's istiod is reached now."""
    known = remote_addresses.present(observation, observation.topology[cluster.primary])
    address = next(iter(known), "ADDRESS")
    observed, system = observation[cluster], observation.asked.system_namespace
    then = [restart(observed, system)] if expectations.gateway_workload(observed) else []
    then.append(restart(observed, observation.asked.sample_namespace))
    return set_value(observation, cluster, "global.remotePilotAddress", address, *then)


def create_remote_secret(observation: Observation, watching: Cluster | str, watched: Cluster, options: str = "") -> str:
    """Make a remote secret, or make it again, and give it to the control plane that watches."""
    target, asked = observation[watched], observation.asked
    where = "" if asked.system_namespace == "istio-system" else f"--istioNamespace {asked.system_namespace} "
    loopback = is_loopback(target.api_server)
    server = "https://ADDRESS:6443" if loopback else target.api_server
    make = f"create-remote-secret {options}{where}--name {watched.cluster_name} --server {server}"
    apply = kubectl(observation[watching], "-n", asked.system_namespace, "apply -f -")
    command = f"{istioctl(target, make)} | {apply}"
    return noted(command, "ADDRESS: where other clusters reach this API server") if loopback else command
