"""Which options exclude each other, and which need another."""

from collections.abc import Iterable, Mapping, Sequence

from harness.base.errors import UserError
from harness.judge.requirement import Requirement
from harness.mesh.distributions import Distribution
from harness.model.topology import Topology
from harness.runs import topology_file
from harness.runs.options import values
from harness.runs.options.sections import OPTIONS, AllOptions


def require_consistent(given: AllOptions, catalogue: Mapping[str, Requirement]) -> None:
    """See that the options can be used together.

    Raises:
        UserError: they can't; names the first two that exclude each other.
    """
    if given.contexts and given.reuse:
        raise UserError(
            "--reuse and --contexts exclude each other.",
            "--reuse takes kind clusters that an earlier run kept, --contexts names clusters that exist anyway",
            "leave one of them out",
        )
    if given.contexts and is_set(given, "nodes"):
        raise UserError(
            "--nodes and --contexts exclude each other.",
            "--nodes says how many nodes a new kind cluster has, --contexts names clusters that exist",
            "leave one of them out",
        )
    _require_verify_only(given)
    _require_found_mesh(given)
    _require_resilience(given)
    _require_images(given)
    _require_free_namespace(given)
    values.require_known("requirement", sorted(given.requirements), sorted(catalogue))
    values.require_known("area", sorted(given.areas), sorted({row.area for row in catalogue.values()}))
    values.require_known("skip-requirement", given.skipped, sorted(catalogue))


def is_set(given: AllOptions, name: str) -> bool:
    """Whether an option has another value than its default."""
    option = next(option for option in OPTIONS if option.name == name)
    return bool(getattr(given, option.field) != option.convert(option.name, option.not_given))


def with_installer(distribution: Distribution, installer: str) -> Distribution:
    """A distribution, installed by what --installer names.

    Raises:
        UserError: it can't be installed by that.
    """
    if not installer or installer == distribution.installer:
        return distribution
    if installer == "sail" and distribution.operator is None:
        raise UserError(
            f"--installer=sail can't be used with the distribution {distribution.name}.",
            "the distribution does not say how the operator arrives",
            "use --distribution=sail, or a file of your own with the key operator",
        )
    return distribution.model_copy(update={"installer": installer})


def require_resilience_known(given: AllOptions, topologies: Iterable[Topology]) -> None:
    """See that --resilience can play its scenarios on these topologies.

    Raises:
        UserError: one has a control plane outside of the mesh.
    """
    if given.resilience and (outside := next((each for each in topologies if each.hosts), None)):
        raise UserError(
            f"--resilience can't be used with {outside.name}.",
            "its scenarios act on a control plane in the mesh, and this one runs outside of it",
            "leave --resilience out, or choose another --topology",
        )


def described(given: AllOptions) -> tuple[Topology, ...]:
    """The topologies of --topology-file.

    Raises:
        UserError: a file can't be used, or not with the other options.
    """
    for other in ("topology", "network", "clusters") if given.topology_files else ():
        if is_set(given, other):
            raise UserError(
                f"--topology-file and --{other} exclude each other.",
                "the file describes the whole topology",
                "leave one of them out",
            )
    topologies = topology_file.load_all(given.topology_files)
    for topology in topologies if given.contexts else ():
        if len(topology.every) != len(given.contexts):
            raise UserError(
                f"{topology.name} has {len(topology.every)} clusters, and --contexts names {len(given.contexts)}.",
                "the contexts are those of the file's clusters, in its order",
                "correct --contexts or --topology-file",
            )
    return topologies


def require_same_clusters(given: AllOptions, topologies: Sequence[Topology]) -> None:
    """See that every topology gives the contexts the same names.

    Raises:
        UserError: one does not.
    """
    names = [tuple(cluster.name for cluster in topology.every) for topology in topologies]
    if given.contexts and (other := next((n for n, each in enumerate(names) if each != names[0]), 0)):
        raise UserError(
            f"{topologies[other].name} and {topologies[0].name} give their clusters different names.",
            "each of the contexts has one name in a run",
            "give the clusters the same names in every file, or run the topologies one by one",
        )


def _require_verify_only(given: AllOptions) -> None:
    """With --verify-only nothing is installed: what would describe the mesh is refused."""
    if not given.verify_only:
        return
    if not given.contexts:
        raise UserError(
            "--verify-only needs --contexts.",
            "it judges a mesh that is there, on clusters that exist",
            "name their kubeconfig contexts: --contexts=east,west",
        )
    for other in ("topology", "network", "clusters", "topology-file", "pki", "keep", "reuse", "plan"):
        if is_set(given, other):
            raise UserError(
                f"--verify-only and --{other} exclude each other.",
                "nothing is installed, and the topology is read from the mesh",
                f"leave --{other} out",
            )


def _require_found_mesh(given: AllOptions) -> None:
    """What says whose traffic is judged needs --verify-only: a mesh that the run installs brings the sample."""
    found = [name for name in ("deploy-sample", "service", "client", "error-rate") if is_set(given, name)]
    if found and not given.verify_only:
        raise UserError(
            f"--{found[0]} needs --verify-only.",
            "a mesh that the run installs is judged by the sample, and none of its requests may fail",
            f"add --verify-only, or leave --{found[0]} out",
        )
    for name, needed in (("sample-image", "deploy-sample"), ("client", "service")):
        if is_set(given, name) and not is_set(given, needed):
            raise UserError(f"--{name} needs --{needed}.", "alone it has no meaning", f"add --{needed}")
    for name in ("service", "namespace"):
        if given.deploy_sample and is_set(given, name):
            raise UserError(
                f"--deploy-sample and --{name} exclude each other.",
                "the sample comes into a namespace of its own",
                "leave one of them out",
            )


def _require_resilience(given: AllOptions) -> None:
    if given.scenarios and not given.resilience:
        raise UserError(
            "--scenario needs --resilience.",
            "scenarios change the mesh while it serves, which only --resilience allows",
            "add --resilience, or leave --scenario out",
        )
    if given.resilience and given.verify_only:
        raise UserError(
            "--resilience and --verify-only exclude each other.",
            "--resilience changes the mesh, --verify-only changes nothing",
            "leave one of them out",
        )


def _require_images(given: AllOptions) -> None:
    source = given.images.source
    if source == "archive" and given.contexts:
        raise UserError(
            "--images=archive and --contexts exclude each other.",
            "existing clusters pull their images from the registries they know",
            "put the images there (docs/disconnected.md), and leave --images out",
        )
    for option, value in (("node-image", given.node_image), ("registry-mirror", given.registry_mirror)):
        if value and source in ("local", "archive"):
            raise UserError(
                f"--{option} can't be used with --images={source}.",
                "nodes and images are then those that the suite brings",
                f"leave --{option} out, or use --images=registry",
            )


def _require_free_namespace(given: AllOptions) -> None:
    namespaces = given.distribution.namespaces
    taken = (namespaces.system, namespaces.cni)
    if given.namespace in taken or given.namespace.startswith("kube-"):
        raise UserError(
            f"--namespace={given.namespace} can't hold the sample.",
            f"Kubernetes reserves kube-* for itself, and the mesh uses {' and '.join(taken)}",
            "choose another --namespace",
        )
