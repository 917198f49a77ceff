"""Clusters made with kind, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.command import CommandError, run
from harness.base.container_engine import DOCKER, ContainerEngine
from harness.base.errors import StepError, UserError
from harness.base.parallel import in_parallel
from harness.clusters import containers, node_network, ranges
from harness.clusters.kind_config import CONTROL_PLANE, explain, kind_config
from harness.clusters.leftovers import remove_clusters
from harness.clusters.run_record import ClusterRecord, Run, add_images, kind_name, reserve, update_cluster
from harness.kube.access import ClusterAccess
from harness.kube.api import Object, condition
from harness.kube.client import Kube
from harness.machine.images import LocalImages, hosts_toml
from harness.model.step import Phase
from harness.model.step_log import OpenStep, StepLog, ignore

CREATE_SECONDS = 300.0
READY_SECONDS = 120.0
API_SERVER_PORT = 6443


@dataclass(frozen=True)
class Nodes:
    """What the nodes of clusters are made of."""

    kind: str | Path = "kind"
    """kind's program."""
    image: str = ""
    """Node image; empty for the one that kind publishes with its release."""
    own_network: bool = False
    """The image brings its pod network, instead of kind: that of its own node, and what others need to be connected."""
    count: int = 1
    """Of each cluster."""
    hosts_toml: str = ""
    """containerd's configuration of where images come from; empty for each image's own registry."""
    engine: ContainerEngine = DOCKER
    images: Mapping[str, str] = field(default_factory=dict)
    """Reference to digest of the images that they pull from the suite's own registry."""

    @property
    def connected_here(self) -> bool:
        """Whether the suite must set up the pod network between a cluster's nodes."""
        return self.own_network and self.count > 1


def nodes_of(images: LocalImages | None) -> Nodes:
    """Nodes for images that were built here, or, without any, kind's published ones."""
    if images is None:
        return Nodes()
    mirror, engine = hosts_toml(images.registry), images.registry.engine
    return Nodes(
        images.tools.kind,
        images.node_image,
        own_network=True,
        hosts_toml=mirror,
        engine=engine,
        images=images.images,
    )


def create(names: Sequence[str], *, run: Run, nodes: Nodes, log: StepLog) -> tuple[ClusterAccess, ...]:
    """Make clusters; all of them or none.

    Their names carry the run's id, their address ranges are used by no other cluster of this machine, their API
    servers listen on 127.0.0.1 at ports that kind chooses, and their kubeconfigs are files of the run.

    Args:
        names: the topology's names: east, west.
        run: recorded before anything is made, so that a crash leaves nothing unknown.
        nodes: what they are made of.
        log: where each cluster is recorded, phase clusters.

    Raises:
        UserError: a cluster could not be made; those that were are gone again.
    """
    _names_free(run, names, nodes.engine)
    reserved = reserve(run, tuple(names), nodes.image, _taken(nodes.engine), nodes.count, engine=nodes.engine.name)
    add_images(run, nodes.images)
    mounts = _write_hosts(run, nodes)
    try:
        return tuple(in_parallel(lambda cluster: _create(cluster, run, nodes, mounts, log), reserved))
    except BaseException as broken:
        _clear_away(run)
        first = next(_user_errors(broken), None)
        if first and not isinstance(broken, KeyboardInterrupt):
            raise first from None
        raise


def adopt(run: Run, nodes: Nodes, log: StepLog) -> tuple[ClusterAccess, ...]:
    """Take the clusters of a kept run, if they are as they were left.

    Raises:
        UserError: a node does not run, has another address, or its API server does not answer.
    """
    add_images(run, nodes.images)
    record = run.record

    def check(cluster: ClusterRecord) -> ClusterAccess:
        with log.step(Phase.CLUSTERS, "Take the kept cluster", cluster.name) as step:
            if why := unchanged(cluster, containers.running_addresses(nodes.engine, tuple(cluster.addresses))):
                raise UserError(
                    f"The kept cluster {cluster.name} (run {run.id}) can't be used again.",
                    why,
                    "remove it with make clean, then run again",
                )
            access = access_of(cluster, run)
            # A node that was stopped meanwhile has lost its routes.
            _wait_until_ready(access, step, timeout=20, connect=nodes.connected_here)
            return access

    return tuple(in_parallel(check, record.clusters))


def unchanged(cluster: ClusterRecord, addresses: dict[str, str]) -> str:
    """Why a kept cluster is not what it was, "" where it is: pure.

    Args:
        cluster: as it was recorded.
        addresses: node container → its address now, "" where it does not run, absent where it is gone.
    """
    if not cluster.addresses:
        return "its creation was never finished"
    for node, before in cluster.addresses.items():
        now = addresses.get(node)
        if now is None:
            return f"its node container {node} is gone"
        if not now:
            return f"its node container {node} does not run; the container engine was restarted, most likely"
        if now != before:
            return (
                f"the address of {node} was {before} and is {now}: restarting the container engine changes them, "
                "and certificates and remote secrets name the old one"
            )
    return ""


def control_plane_first(nodes: Sequence[str]) -> tuple[str, ...]:
    """Names of a cluster's node containers: the control plane's, then the workers' by number. Pure."""
    return tuple(sorted(nodes, key=lambda name: (not name.endswith(f"-{CONTROL_PLANE}"), len(name), name)))


def access_of(cluster: ClusterRecord, run: Run) -> ClusterAccess:
    """How a cluster of the run's record is reached."""
    return ClusterAccess(
        name=cluster.name,
        context=f"kind-{cluster.kind_name}",
        kubeconfig=kubeconfig_path(cluster, run),
        peer_server=f"https://{next(iter(cluster.addresses.values()))}:{API_SERVER_PORT}",
        nodes=tuple(cluster.addresses),
        engine=run.record.container_engine,
    )


def kubeconfig_path(cluster: ClusterRecord, run: Run) -> Path:
    """The cluster's kubeconfig: mode 0600, in the run's directory."""
    return run.directory / f"{cluster.name}.kubeconfig"


def _create(cluster: ClusterRecord, own: Run, nodes: Nodes, hosts: Path | None, log: StepLog) -> ClusterAccess:
    kubeconfig = kubeconfig_path(cluster, own)
    command = [nodes.kind, "create", "cluster", "--name", cluster.kind_name, "--kubeconfig", kubeconfig]
    command += ["--config", "-", *(("--image", nodes.image) if nodes.image else ())]
    config = kind_config(cluster, own_network=nodes.own_network, hosts_directory=hosts, nodes=nodes.count)
    with log.step(Phase.CLUSTERS, "Create the cluster", cluster.name) as step:
        step.waiting("kind create cluster")
        try:
            run(command, input=config, env=nodes.engine.environment(), timeout=CREATE_SECONDS)
            kubeconfig.chmod(0o600)
            found = containers.labelled(nodes.engine, containers.CLUSTER_LABEL, cluster.kind_name)
            addresses = containers.running_addresses(nodes.engine, control_plane_first(found))
        except CommandError as failed:
            raise _creation_failed(cluster, nodes.engine, failed) from None
        if not (addresses and all(addresses.values())):
            raise UserError(
                f"The nodes of the cluster {cluster.name} are not to be found.",
                f"kind has made it, and no container of it runs on the container network {containers.NETWORK}",
                f"see `{nodes.engine.name} ps --all` and `{nodes.engine.name} network inspect {containers.NETWORK}`",
            )
        update_cluster(own, cluster.name, addresses=addresses)
        access = access_of(cluster.model_copy(update={"addresses": addresses}), own)
        _wait_until_ready(access, step, READY_SECONDS, connect=nodes.connected_here)
        size = f"{len(addresses)} nodes, " if len(addresses) > 1 else ""
        step.note(f"{cluster.kind_name}, {size}API server {access.peer_server}, pods {cluster.pods}")
        return access


def _creation_failed(cluster: ClusterRecord, engine: ContainerEngine, failed: CommandError) -> UserError:
    if not engine.version():
        return UserError(
            f"The cluster {cluster.name} could not be made.",
            "the container engine stopped answering meanwhile",
            "see why it stopped (its log), start it, and run again; what was made so far is removed by make clean",
        )
    if failed.status is None:
        why, fix = f"kind did not end within {CREATE_SECONDS:.0f} s", "see that the machine is not overloaded"
    else:
        why, fix = explain(failed.output)
    return UserError(f"The cluster {cluster.name} could not be made.", why, fix)


def _wait_until_ready(access: ClusterAccess, step: OpenStep, timeout: float, *, connect: bool = False) -> None:
    """Wait until every node is ready; with `connect` their pod network is set up first."""

    def pending(node: Object | None) -> str:
        ready = condition(node, "Ready")
        return "" if ready.get("status") == "True" else f"node not ready: {ready.get('message', 'no status yet')}"

    logs = f"{access.engine.name} logs {' '.join(access.nodes)}"
    try:
        kube = Kube(access)
        if connect:
            node_network.connect(kube, access, timeout, step)
        in_parallel(
            lambda node: kube.wait("v1", "Node", node, pending=pending, timeout=timeout, step=step), access.nodes
        )
    except StepError as failed:
        raise UserError(f"The cluster {access.name} did not get ready.", str(failed), logs) from None
    except (ApiException, HTTPError, OSError) as failed:
        raise UserError(
            f"The API server of the cluster {access.name} does not answer.",
            f"{type(failed).__name__}: {str(failed).splitlines()[0] if str(failed) else ''}",
            logs,
        ) from None


def _names_free(own: Run, names: Sequence[str], engine: ContainerEngine) -> None:
    there = containers.names(engine)
    for name in (kind_name(own.id, name) for name in names):
        if f"{name}-{CONTROL_PLANE}" in there:
            raise UserError(
                f"The name {name} is taken.",
                "a kind cluster of that name exists, and this run has not made it",
                f"remove it (kind delete cluster --name {name}), or choose another run name",
            )


def _write_hosts(own: Run, nodes: Nodes) -> Path | None:
    if not nodes.hosts_toml:
        return None
    file = own.directory / "certs.d" / "_default" / "hosts.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(nodes.hosts_toml)
    return file.parent.parent


def _taken(engine: ContainerEngine) -> tuple[str, ...]:
    routes = Path("/proc/net/route")
    return (*containers.subnets(engine), *(ranges.routed(routes.read_text()) if routes.exists() else ()))


def _clear_away(own: Run) -> None:
    """Remove what was made. Where that fails too the record stays, and with it a leftover for the next run."""
    try:
        remove_clusters(own, StepLog(ignore))
    except (UserError, CommandError):
        return


def _user_errors(broken: BaseException) -> Iterator[UserError]:
    if isinstance(broken, UserError):
        yield broken
    if isinstance(broken, BaseExceptionGroup):
        for inner in broken.exceptions:
            yield from _user_errors(inner)
