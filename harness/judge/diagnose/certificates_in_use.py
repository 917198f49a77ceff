"""Causes in the certificates that control planes and workloads use."""

from collections.abc import Iterator

from harness.judge.diagnose.ca_secret import brief, istiod_says, secrets
from harness.judge.diagnose.facts import few, logged, read
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, noted, restart_control_plane, restart_workloads, steps
from harness.model import ca, certificate_paths, expectations, x509
from harness.model.certificate import Certificate
from harness.model.cluster import ClusterObservation, Pod, Subject
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane, Proxy
from harness.model.topology import Cluster

_CA_DIRECTORY = "ROOT_CA_DIR"
_MOUNTED = frozenset({"", "./etc/cacerts", "/etc/cacerts", "etc/cacerts"})
_OF_CA = ("CERT-IN-USE", "CERT-ROOT-SHARED", "CERT-WORKLOAD", "GW-DATAPATH")


@cause("ca-directory", Layer.CERTIFICATES, *_OF_CA, breaks=Layer.CONTROL_PLANE)
def ca_directory(observation: Observation) -> Iterator[Found]:
    """A control plane looks for its CA where `cacerts` is not.

    istiod reads its CA from the directory in ROOT_CA_DIR, by default etc/cacerts, where the secret is mounted. With
    another directory it finds nothing there and makes a self-signed CA of its own, whatever the secret holds.
    """
    for cluster, observed, _ in secrets(observation):
        for pod, directory in _elsewhere(observed) if cluster.is_primary else ():
            if _unused(observation, cluster, observed):
                workload = next(iter(expectations.istiod_workloads(observed)), None)
                name = workload.name if workload else "istiod"
                yield Found(
                    cluster=cluster.name,
                    object=f"Deployment {pod.namespace}/{name}",
                    field=f"env {_CA_DIRECTORY}",
                    expected="none, or etc/cacerts, where the secret is mounted",
                    found=directory,
                    repair=noted(
                        kubectl(observed, "-n", pod.namespace, f"get deployment {name} -o yaml"),
                        f"take {_CA_DIRECTORY} out of values.pilot.env",
                    ),
                    change=f"Take {_CA_DIRECTORY} out of values.pilot.env of {cluster.name}",
                    evidence=istiod_says(observed),
                )
                break


def _elsewhere(observed: ClusterObservation) -> Iterator[tuple[Pod, str]]:
    for pod in expectations.istiod_pods(observed):
        container = pod.container("discovery")
        directory = container.env.get(_CA_DIRECTORY, "") if container else ""
        if directory.rstrip("/") not in _MOUNTED:
            yield pod, directory


def _unused(observation: Observation, cluster: Cluster, observed: ClusterObservation) -> bool:
    """Whether a control plane is seen to sign with another CA than that of the secret."""
    authority = observed.ca_secret.ca_cert if observed.ca_secret else None
    return authority is None or any(
        plane.serving_chain and not _from_secret(observation, cluster, plane, authority)
        for plane in observed.control_planes
    )


def secret_is_unused(observation: Observation, cluster: Cluster) -> bool:
    """Whether a cluster's control plane signs with another CA than that in its secret: then that is the cause."""
    found = (*ca_directory.find(observation), *cacerts_late.find(observation))
    return any(each.cluster == cluster.name for each in found)


@cause("cacerts-late", Layer.CERTIFICATES, *_OF_CA, breaks=Layer.CONTROL_PLANE)
def cacerts_late(observation: Observation) -> Iterator[Found]:
    """A control plane does not sign with the CA in `cacerts`.

    The secret was created or replaced after istiod had started, and istiod goes on with the CA it had: a self-signed
    one of its own (its certificates say O=cluster.local) or the former one. A restart takes the new one up; the
    workloads need one too.
    """
    for cluster, observed, secret in secrets(observation):
        authority, system = secret.ca_cert, observation.asked.system_namespace
        if not (authority and cluster.is_primary and authority.basic_constraints and authority.basic_constraints.ca):
            continue
        if any(_elsewhere(observed)):
            continue  # a cause by itself
        for plane in observed.control_planes:
            if not plane.serving_chain or _from_secret(observation, cluster, plane, authority):
                continue
            pod = next((pod for pod in observed.pods if pod.name == plane.pod), None)
            started = f"istiod started {pod.created:%H:%M:%S}" if pod else ""
            created = f"cacerts created {secret.created:%H:%M:%S}" if secret.created else ""
            yield Found(
                cluster=cluster.name,
                object=f"Pod {system}/{plane.pod}",
                field="issuer of its certificates",
                expected=brief(authority),
                found=plane.serving_chain[0].issuer,
                repair=steps(restart_control_plane(observation, cluster), restart_workloads(observation, cluster)),
                change=f"Restart istiod of {cluster.name}, then its gateway and its workloads: they take up the CA in "
                f"its secret {ca.SECRET}",
                evidence=few((", ".join(filter(None, (created, started))),), istiod_says(observed)),
            )


def _from_secret(observation: Observation, cluster: Cluster, plane: ControlPlane, authority: Certificate) -> bool:
    """Whether a control plane is seen to use the CA in its secret, or serves with a certificate from elsewhere."""
    if x509.signed_by(plane.serving_chain[0], authority):
        return True
    if not ca.found(observation):
        return False
    roots = ca.bundle(observation[cluster])
    if any(cluster.name in {each.trust.cluster, each.signed.cluster} for each in ca.distrusted(observation)):
        # Another cluster does not trust it: then a CA that only istiod's own bundle knows is none of the secret's.
        secret = observation[cluster].ca_secret
        roots = (secret.roots or tuple(filter(None, [secret.root_cert]))) if secret else ()
    return bool(certificate_paths.paths(plane.serving_chain, roots)) or ca.has_own_tls(observation, cluster, plane)


@cause("leaf-not-yet-valid", Layer.PROXIES, "CERT-WORKLOAD", "GW-DATAPATH", breaks=Layer.TRAFFIC)
def leaf_not_yet_valid(observation: Observation) -> Iterator[Found]:
    """A workload's certificate is not valid now: clocks differ.

    istiod dates certificates back by two minutes. A certificate that begins in the future comes from a control plane
    whose clock is ahead by more than that, and its peers refuse it; one that has expired was not renewed in time.
    """
    for cluster, observed in read(observation, Subject.PROXIES):
        for proxy in observed.proxies:
            leaf = next(iter(proxy.chain), None)
            if leaf is None or x509.valid_at(leaf, observation.observed):
                continue
            early, signer = leaf.not_before > observation.observed, observation.topology.control_plane_of(cluster)
            yield Found(
                cluster=cluster.name,
                object=f"Pod {proxy.namespace}/{proxy.pod}",
                field="validity of its certificate",
                expected=f"valid at {observation.observed:%Y-%m-%d %H:%M:%S}",
                found=f"{leaf.not_before:%Y-%m-%d %H:%M:%S} to {leaf.not_after:%Y-%m-%d %H:%M:%S}",
                repair=noted(
                    kubectl(observed, "-n", proxy.namespace, f"delete pod {proxy.pod}"),
                    f"after timedatectl set-ntp true on the nodes of {signer.name}, whose istiod signs"
                    if early
                    else f"and see why it could not renew it: {proxy.connected_to or 'istiod'} must answer",
                ),
                evidence=few(_logged_by(observed, proxy), istiod_says(observation[cluster.primary])),
                title="" if early else "A workload's certificate has expired and was not renewed",
            )
            break


@cause("istiod-name", Layer.CONTROL_PLANE, "CERT-ISTIOD")
def istiod_name(observation: Observation) -> Iterator[Found]:
    """Istiod serves a certificate for another name than its clients use.

    Proxies check the name in their discovery address against istiod's certificate. With another name in it they never
    connect, or not again.
    """
    for primary, observed in read(observation, Subject.CONTROL_PLANE, among=observation.topology.primaries):
        wanted = f"istiod.{observation.asked.system_namespace}.svc"
        for plane in observed.control_planes:
            if plane.serving_chain and not x509.covers_name(plane.serving_chain[0], wanted):
                yield Found(
                    cluster=primary.name,
                    object=f"Pod {observation.asked.system_namespace}/{plane.pod}:{expectations.XDS_PORT}",
                    field="subjectAltName",
                    expected=wanted,
                    found=", ".join(plane.serving_chain[0].dns_names) or "none",
                    repair=noted(
                        restart_control_plane(observation, primary),
                        f"if it comes back so: a certificate of its own (Secret istiod-tls) must have {wanted}, too",
                    ),
                    evidence=istiod_says(observed),
                )


def _logged_by(observed: ClusterObservation, proxy: Proxy) -> Iterator[str]:
    return logged(observed, (pod for pod in observed.pods if (pod.namespace, pod.name) == (proxy.namespace, proxy.pod)))
