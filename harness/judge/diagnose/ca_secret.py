"""What causes in the certificates have in common: which secrets are judged, and what repairs them. Pure."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import container_lines, events, few, logged, read
from harness.judge.diagnose.registry import Found
from harness.judge.diagnose.repair import kubectl, noted, restart_control_plane, restart_workloads, steps
from harness.model import ca, expectations
from harness.model.certificate import CHAPTER_FILES, CaSecret, Certificate
from harness.model.cluster import ClusterObservation, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster

NEW_INTERMEDIATE = "a new intermediate of the shared root, made as the chapter says (intermediate.conf)"


def judged(observation: Observation) -> Iterator[tuple[Cluster, ClusterObservation, CaSecret]]:
    """The clusters whose `cacerts` is judged and was read, also where it is not there."""
    for cluster, observed in read(observation, Subject.CA_SECRET):
        if ca.needs_secret(observation, cluster):
            yield cluster, observed, observed.ca_secret or CaSecret(exists=False)


def secrets(observation: Observation) -> Iterator[tuple[Cluster, ClusterObservation, CaSecret]]:
    """Those of them that are there."""
    return (each for each in judged(observation) if each[2].exists)


def site_pki(observation: Observation) -> bool:
    """Whether somebody else made the certificates."""
    return observation.asked.own_pki or ca.found(observation)


def brief(cert: Certificate) -> str:
    """What tells one certificate from another, in one line."""
    return f"{cert.subject}, serial {cert.serial}, until {cert.not_after:%Y-%m-%d}, SHA-256 {cert.sha256[:16]}…"


def fault(
    observation: Observation,
    cluster: Cluster,
    file: str,
    field: str,
    *,
    wanted: str,
    seen: str,
    files: str = NEW_INTERMEDIATE,
    repair: str = "",
) -> Found:
    """A fault in a cluster's `cacerts`.

    Args:
        observation: the run.
        cluster: the cluster.
        file: the entry; empty for the secret as a whole.
        field: what of it.
        wanted: as it should be.
        seen: as it is.
        files: what must be put in.
        repair: another repair than to put that in.
    """
    name = f"Secret {observation.asked.system_namespace}/{ca.SECRET}"
    return Found(
        cluster=cluster.name,
        object=f"{name} {file}".rstrip(),
        field=field,
        expected=wanted,
        found=seen,
        repair=repair or replace(observation, cluster, files),
        evidence=istiod_says(observation[cluster]),
        harmless=not cluster.is_primary,
    )


def replace(observation: Observation, cluster: Cluster, files: str) -> str:
    """Put the right files in, and let istiod and the workloads take them up; a remote's secret signs nothing.

    Where the mesh is not the suite's own its owner has to do it, from where the secret is made (cert-manager, GitOps).
    """
    if ca.found(observation):
        return look(
            observation, cluster, f"whoever made it must give it {files}; then restart istiod and the workloads"
        )
    observed, system = observation[observation.topology.home_of(cluster)], observation.asked.system_namespace
    options = " ".join(f"--from-file={cluster.name}/{name}" for name in CHAPTER_FILES.all)
    # One write: there is no moment without the secret, and nothing changes where a file is missing.
    create = kubectl(observed, "-n", system, f"create secret generic {ca.SECRET} {options} --dry-run=client -o yaml")
    apply = kubectl(observed, "apply --server-side --force-conflicts -f -")
    then = []
    if cluster.is_primary:
        then = [restart_control_plane(observation, cluster), restart_workloads(observation, cluster)]
    return noted(steps(f"{create} | {apply}", *then), f"the files in {cluster.name}/: {files}")


def look(observation: Observation, cluster: Cluster, note: str) -> str:
    """Show the secret's entries and their sizes, not their contents."""
    observed = observation[observation.topology.home_of(cluster)]
    return noted(kubectl(observed, "-n", observation.asked.system_namespace, f"describe secret {ca.SECRET}"), note)


def replace_root(observation: Observation, cluster: Cluster) -> str:
    """A new root concerns the whole mesh: given to one cluster alone it would separate it."""
    return look(
        observation,
        cluster,
        "all clusters together need a new root with intermediates of it, in three steps: both roots in every bundle; "
        "then the new intermediates; then the new root alone (RES-ROOT-ROTATION)",
    )


def istiod_says(observed: ClusterObservation) -> tuple[str, ...]:
    """What the control plane logs of its CA."""
    words = ("cacert", "ca cert", "root-ca", "plug-in ca", "signing", "x509", "pem ", "cert chain")
    said = (
        f"log {plane.pod}: {line}"
        for plane in observed.control_planes
        for line in plane.log_lines
        if any(word in line.lower() for word in words)
    )
    crashed = expectations.istiod_pods(observed)
    return few(said, container_lines(crashed), logged(observed, crashed), events(observed, "Pod/istiod"))
