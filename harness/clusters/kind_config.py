"""What kind is told about a cluster, and what it means when kind fails: pure."""

import re
from pathlib import Path

import yaml

from harness.clusters.run_record import ClusterRecord
from harness.kube.api import Object

CONTROL_PLANE = "control-plane"
"""kind's name for the role; the name of the node's container ends with it."""


def _arguments(**values: str) -> Object:
    return {"extraArgs": [{"name": name.replace("_", "-"), "value": value} for name, value in values.items()]}


_FAST_START: Object = {
    "apiVersion": "kubeadm.k8s.io/v1beta4",
    "kind": "ClusterConfiguration",
    "controllerManager": _arguments(leader_elect="false", kube_api_qps="500", kube_api_burst="1000"),
    "scheduler": _arguments(leader_elect="false"),
    "etcd": {"local": _arguments(unsafe_no_fsync="true")},
}
"""Takes seconds off the start. There is one of each component, so none has to wait to be elected; the controller
manager is not slowed down by its own limit on requests; and what etcd stores need not outlive the machine."""


_TAKES_PODS: Object = {"kind": "InitConfiguration", "nodeRegistration": {"taints": []}}
"""kind leaves the control plane's node to pods where it is the only one. It matches the patch by its kind: the version
of kubeadm's configuration depends on that of Kubernetes."""


def kind_config(cluster: ClusterRecord, *, own_network: bool, hosts_directory: Path | None, nodes: int = 1) -> str:
    """The configuration of one cluster for kind (kind.x-k8s.io/v1alpha4): pure.

    Args:
        cluster: its name and ranges.
        own_network: the node image brings its pod network, instead of kind.
        hosts_directory: directory of this machine for /etc/containerd/certs.d, if any.
        nodes: how many. All take pods; with several the cluster is a region, and each of them a zone.
    """
    node: Object = {}
    if hosts_directory:
        mount = {"hostPath": str(hosts_directory), "containerPath": "/etc/containerd/certs.d", "readOnly": True}
        node["extraMounts"] = [mount]
    networking: Object = {
        "ipFamily": "ipv4",
        "apiServerAddress": "127.0.0.1",
        "podSubnet": cluster.pods,
        "serviceSubnet": cluster.services,
    }
    if own_network:
        networking["disableDefaultCNI"] = True
    config = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": networking,
        "nodes": [
            {"role": "worker" if number else CONTROL_PLANE, **node, **(_place(cluster, number) if nodes > 1 else {})}
            for number in range(nodes)
        ],
        "kubeadmConfigPatches": [
            yaml.safe_dump(patch, sort_keys=False) for patch in (_FAST_START, *([_TAKES_PODS] if nodes > 1 else []))
        ],
    }
    return yaml.safe_dump(config, sort_keys=False)


def _place(cluster: ClusterRecord, number: int) -> Object:
    region, zone = cluster.name, f"{cluster.name}-{number + 1}"
    return {"labels": {"topology.kubernetes.io/region": region, "topology.kubernetes.io/zone": zone}}


CAUSES = (
    (
        r"port is already allocated|address already in use",
        "a port it was given is taken by another program",
        "run again: other ports are chosen",
    ),
    (r"no space left on device", "the disk is full", "free some space where the container engine keeps its data"),
    (
        r"too many open files|inotify",
        "the kernel grants too few inotify instances",
        "sysctl fs.inotify.max_user_instances=512",
    ),
    (
        r"could not find a log line|failed to get kubernetes version from node|is not running",
        "its node ended right after it was started",
        "see what is short on this machine: --preflight names memory, disk and inotify instances",
    ),
    (
        r"failed to pull image|manifest unknown|pull access denied",
        "its node image can't be pulled",
        "see that the registry answers, or use --images=local",
    ),
    (
        r"unable to apply caps|operation not permitted",
        "the machine refuses privileged containers",
        "run where privileged containers are permitted",
    ),
)
"""What kind or the engine says → why, what to do."""


def explain(output: str) -> tuple[str, str]:
    """Why kind failed and what to do about it, from what it wrote: pure."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "kind wrote nothing")
    for pattern, why, fix in CAUSES:
        if re.search(pattern, output, re.IGNORECASE):
            return f"{why} ({said})", fix
    return said, "see that the machine has memory and disk to spare (--preflight), and that kind works by itself"
