"""A mesh that is there already, on clusters that exist: what it was meant to be is found out, then it is observed.

Nothing is installed, stored or changed: what is created are access reviews and a pod as a dry run, which are only
answered, and commands that are run in the sample's pods. With --deploy-sample the sample comes into a namespace of its
own (deployed_sample.py), and the mesh stays as it is.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.errors import UserError
from harness.base.parallel import in_parallel
from harness.clusters import existing
from harness.kube.access import ClusterAccess
from harness.kube.api import KubeApi, unanswered
from harness.kube.client import Kube
from harness.machine.suite_version import suite_version
from harness.model.cluster import ClusterObservation, Subject
from harness.model.data_plane import DataPlane
from harness.model.observation import Asked, Environment, Observation
from harness.model.permissions import Permission
from harness.model.revisions import serving
from harness.model.step import Phase
from harness.model.step_log import StepLog
from harness.model.topology import Topology
from harness.observe import data_plane, discovery, observe, required_permissions
from harness.observe.cluster import read_cluster
from harness.observe.discovery import Names
from harness.observe.observer import CONNECT_SECONDS
from harness.observe.required_permissions import Wanted
from harness.runs import deployed_sample
from harness.runs.options import Options

DOCUMENTATION = "docs/verify-only-clusterrole.yaml"
_WORKERS = 8
_NOT_TOLD_BY = (Subject.CONFIG, Subject.NODES, Subject.EVENTS, Subject.DRY_RUN)
"""What says nothing of what a mesh was meant to be; there may be very much of it."""


def expect(options: Options) -> Topology:
    """The topology of the mesh that the contexts lead to; what may not be done there is found out first.

    Raises:
        UserError: a cluster can't be reached, a permission is missing, or the clusters form no mesh.
    """
    with TemporaryDirectory(prefix="eastwest-") as directory:
        names = [cluster.name for cluster in options.topologies[0].clusters]
        kubes = {access.name: Kube(access) for access in take(options, names, Path(directory))}
        # The namespace of the sample to be deployed has the run's id in its name, and there is no run yet.
        return discover(kubes, placed(options, "run"))


def discover(kubes: Mapping[str, KubeApi], options: Options) -> Topology:
    """The topology of the mesh on these clusters; missing permissions are found first.

    Args:
        kubes: by the names that the clusters are to have.
        options: of the run.

    Raises:
        UserError: a permission is missing, or the clusters form no mesh.
    """
    _require_permissions(kubes, options)
    seen = _read(kubes, options)
    found = discovery.topology(seen, _names(options))
    data_plane.require_known(found, data_plane.data_plane(seen, options.namespace, options.given_data_plane))
    return found


def placed(options: Options, run_id: str) -> Options:
    """The options with the namespace whose traffic is judged: of the user's service, or of the run's own sample."""
    if options.service:
        return replace(options, namespace=options.service.namespace)
    return deployed_sample.placed(options, run_id)


def require_sample(accesses: Sequence[ClusterAccess], options: Options, run_id: str) -> None:
    """See that --deploy-sample can do what it needs; nothing is done where that was not given.

    Raises:
        UserError: a permission is missing, or the sample's namespace exists.
    """
    if not options.deploy_sample:
        return
    kubes = {access.name: Kube(access) for access in accesses}
    options = placed(options, run_id)
    _require_permissions(kubes, options)
    deployed_sample.require_free(kubes, options.namespace)


def _require_permissions(kubes: Mapping[str, KubeApi], options: Options) -> None:
    places = _namespaces(options)
    require(in_parallel(lambda kube: lacking(kube, places), kubes.values()), kubes)
    if options.deploy_sample:
        wanted, own = deployed_sample.needed(options), (options.namespace,)
        lacked = in_parallel(lambda kube: lacking(kube, own, wanted), kubes.values())
        require(lacked, kubes, deployed_sample.DOCUMENTATION)


def take(options: Options, names: Sequence[str], directory: Path) -> tuple[ClusterAccess, ...]:
    """The clusters of the contexts; see `existing.take`."""
    return existing.take(
        names,
        options.contexts,
        kubeconfigs=options.kubeconfigs,
        peer_servers=options.peer_servers,
        directory=directory,
        need_peers=False,
    )


def lacking(
    kube: KubeApi, namespaces: Sequence[str], needed: Sequence[Wanted] = required_permissions.NEEDED
) -> dict[Wanted, tuple[str, ...]]:
    """What one may not do on a cluster, and in which of the namespaces.

    Raises:
        UserError: the API server does not say.
    """
    questions = required_permissions.questions(needed, namespaces)

    def may(question: tuple[Permission, str]) -> bool:
        answer = kube.create(required_permissions.review(*question))
        return bool((answer.get("status") or {}).get("allowed"))

    try:
        with ThreadPoolExecutor(_WORKERS) as pool:
            answers = list(pool.map(may, questions))
    except (ApiException, HTTPError) as failed:
        raise unanswered(kube.access.context, "what may be done there", failed) from None
    allowed = {question for question, answer in zip(questions, answers, strict=True) if answer}
    return required_permissions.missing(allowed, namespaces, needed)


def require(
    lacked: Sequence[Mapping[Wanted, tuple[str, ...]]], kubes: Mapping[str, KubeApi], page: str = DOCUMENTATION
) -> None:
    """See that nothing is missing without which hardly anything can be judged.

    Args:
        lacked: by cluster, what is not permitted.
        kubes: the clusters.
        page: the file with the ClusterRole that permits it.

    Raises:
        UserError: something is; names all of it, cluster by cluster.
    """
    found = [
        f"{kube.access.context}: {words(wanted, places)}"
        for kube, missing in zip(kubes.values(), lacked, strict=True)
        for wanted, places in missing.items()
        if wanted.required
    ]
    if found:
        raise UserError(
            "Permissions are missing; nothing has been done.",
            "; ".join(found),
            f"bind the ClusterRole in {page} to the users of these contexts",
        )


def words(wanted: Wanted, places: Sequence[str]) -> str:
    """A missing permission in words."""
    return str(wanted.permission) + (f" in {', '.join(places)}" if any(places) else "")


def verify(
    topology: Topology,
    accesses: Sequence[ClusterAccess],
    options: Options,
    *,
    environment: Environment,
    run_id: str,
    started: datetime,
    log: StepLog,
) -> Observation:
    """Observe a mesh that is there.

    Args:
        topology: as `expect` has found it.
        accesses: its clusters.
        options: of the run.
        environment: where it runs.
        run_id: id of the run.
        started: when it began.
        log: where every step is recorded.
    """
    kubes = {access.name: Kube(access) for access in accesses}
    options = placed(options, run_id)
    _note_permissions(kubes, options, log)
    seen = _read(kubes, options)
    plane = data_plane.data_plane(seen, options.namespace, options.given_data_plane)
    options = replace(options, given_data_plane=plane)
    asked = _asked(topology, options, seen)

    def observed() -> Observation:
        return observe(
            topology,
            kubes,
            asked,
            environment=environment,
            suite=suite_version(),
            run_id=run_id,
            started=started,
            log=log,
            requests=options.requests,
            timeout_scale=options.timeout_scale,
        )

    if not options.deploy_sample:
        return observed()
    before = deployed_sample.inventories(kubes, options.namespace)
    with deployed_sample.deployed(topology, kubes, seen, options, run_id=run_id, log=log) as sample:
        observation = sample.experimented(observed())
    observation = deployed_sample.compared(observation, kubes, before, log)
    return observation.model_copy(update={"steps": log.steps})


def _note_permissions(kubes: Mapping[str, KubeApi], options: Options, log: StepLog) -> None:
    """Record what may not be read."""
    with log.step(Phase.ENVIRONMENT, "See what may be read on every cluster") as step:
        lacked = in_parallel(lambda kube: lacking(kube, _namespaces(options)), kubes.values())
        missing = [
            f"{name}: {words(wanted, places)} ({wanted.purpose})"
            for name, found in zip(kubes, lacked, strict=True)
            for wanted, places in found.items()
        ]
        step.note(f"not permitted, and left out: {'; '.join(missing)}" if missing else "all there is to see")


def _asked(topology: Topology, options: Options, seen: Sequence[ClusterObservation]) -> Asked:
    """What the observation says it was asked for: in part what was found."""
    return Asked(
        mode="verify-only",
        installer="none",
        istio_version=options.istio_version,
        revision=serving(seen[0], options.namespace),
        system_namespace=options.distribution.namespaces.system,
        cni_namespace=options.distribution.namespaces.cni,
        sample_namespace=options.namespace,
        cni=discovery.cni(seen),
        data_plane=options.data_plane,
        trust_domain=topology.trust_domain,
        load_balancer="the clusters' own",
        distribution=options.distribution.name,
        images="registry",
        service=options.service,
        client=options.client,
        sample="deployed" if options.deploy_sample else "found",
        error_rate=options.error_rate,
    )


def _read(kubes: Mapping[str, KubeApi], options: Options) -> list[ClusterObservation]:
    asked = Asked(
        mode="verify-only",
        installer="none",
        istio_version="",
        system_namespace=options.distribution.namespaces.system,
        cni_namespace=options.distribution.namespaces.cni,
        sample_namespace=options.namespace,
        cni=False,
        data_plane=DataPlane.AMBIENT,  # so that ztunnels are found in whatever namespace
        load_balancer="",
        images="registry",
    )
    connect = CONNECT_SECONDS * options.timeout_scale
    found = in_parallel(lambda kube: read_cluster(kube, asked, connect, _NOT_TOLD_BY), kubes.values())
    return [each.observed for each in found]


def _names(options: Options) -> Names:
    return Names(options.distribution.namespaces.system, options.namespace)


def _namespaces(options: Options) -> tuple[str, ...]:
    """Those that are read; each once."""
    named = options.distribution.namespaces
    client = (options.client.namespace,) if options.client else ()
    return tuple(dict.fromkeys((named.system, options.namespace, named.cni, *client)))
