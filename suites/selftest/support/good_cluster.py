"""The clusters of synthetic observations: every object that requirements look at, as a real run records it."""

from harness.model import expectations
from harness.model.certificate import CaSecret
from harness.model.cluster import (
    ClusterObservation,
    DryRun,
    Reading,
    ReadOutcome,
    Subject,
)
from harness.model.topology import Cluster, Topology
from suites.selftest.support import good_istio as istio
from suites.selftest.support import good_objects as objects
from suites.selftest.support.certificates import Pki


def cluster_of(topology: Topology, cluster: Cluster, authority: Pki, installer: str) -> ClusterObservation:
    """What is observed of one cluster of a good mesh."""
    n, pods = objects.number(topology, cluster), objects.pods(topology, cluster)
    owner = objects.owner(topology, cluster)
    proxies = tuple(istio.proxy(pod, cluster, authority) for pod in pods if expectations.has_proxy(pod))
    return ClusterObservation(
        name=cluster.name,
        context=f"kind-{cluster.name}",
        api_server=f"https://172.18.0.{n + 1}:6443",
        readings=tuple(Reading(subject=subject, outcome=ReadOutcome.READ) for subject in Subject),
        nodes=(objects.node(n),),
        namespaces=objects.namespaces(topology, cluster),
        ca_secret=CaSecret(
            exists=True,
            keys=("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"),
            ca_cert=authority.intermediates[owner.name],
            root_cert=authority.root,
            cert_chain=(authority.intermediates[owner.name], authority.root),
            key_matches=True,
        ),
        root_config_map=(authority.root,),
        workloads=tuple(objects.workload(pod) for pod in pods),
        pods=pods,
        services=tuple(objects.services(topology, cluster, pods)),
        sail=istio.sail(topology, cluster) if installer == "sail" else (),
        webhooks=(istio.webhook(cluster, authority),),
        dry_run=DryRun(injected=True),
        config=tuple(istio.config(topology, cluster)),
        mesh_config=(istio.mesh_config(topology, owner),) if cluster.runs_control_plane else (),
        remote_secrets=istio.secrets(topology, cluster),
        control_planes=(istio.control_plane(topology, owner, authority),) if cluster.runs_control_plane else (),
        proxies=proxies,
    )
