"""What a mesh that is there was meant to be: from the objects of its clusters to a topology. Pure.

Expectations come from where the mesh is configured (the control plane's values, a remote's injection path), not from
what follows from it: a label or a proxy that says otherwise is then a failure, and not a different expectation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from harness.base.errors import UserError
from harness.mesh.procedure import CONTROL_PLANE_ANNOTATION
from harness.model import expectations, gateways, remote_addresses
from harness.model.cluster import ClusterObservation, MeshConfig
from harness.model.remotes import CONFIG_SECRET, injected_as, is_primary
from harness.model.revisions import serving
from harness.model.topology import Cluster, Role, Topology

TRUST_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Names:
    """What the namespaces of the mesh are called."""

    system: str
    sample: str


def topology(clusters: Sequence[ClusterObservation], names: Names) -> Topology:
    """The topology that the clusters form.

    Args:
        clusters: what was read of each, in the order of the contexts; their names become the topology's.
        names: of the namespaces.

    Raises:
        UserError: no control plane, or one outside of the mesh; a cluster whose name or primary can't be told, or two
            with one name.
    """
    primaries = _primaries(clusters, names)
    istio = {seen.name: cluster_name(seen, names) for seen in clusters}
    configs = [_config(seen, serving(seen, names.sample)) for seen in primaries]
    places = [f"v{number}" for number in range(1, len(clusters) + 1)]
    versions = [version(seen, names) or place for seen, place in zip(clusters, places, strict=True)]
    # Where two clusters run one version, none is told by it; each gets that of its place.
    versions = versions if len(set(versions)) == len(versions) else places
    config = next((found for found in configs if not found.problems), configs[0])
    try:
        found = tuple(
            Cluster(
                name=seen.name,
                cluster_name=istio[seen.name],
                network=network(seen, names),
                role=Role.PRIMARY if seen in primaries else Role.REMOTE,
                primary=seen.name if seen in primaries else primary(seen, primaries, istio, names),
                version=versions[number],
            )
            for number, seen in enumerate(clusters)
        )
        return Topology(
            name=_name(found),
            mesh_id=_mesh_id(config),
            trust_domain=str(config.mesh.get("trustDomain") or TRUST_DOMAIN),
            clusters=found,
        )
    except ValidationError as invalid:
        why = str(invalid.errors()[0]["msg"]).removeprefix("Value error, ")
        raise UserError(
            "The clusters can't be told apart as one mesh.",
            why,
            "give each a name of its own",
        ) from None


def _primaries(clusters: Sequence[ClusterObservation], names: Names) -> list[ClusterObservation]:
    """Refuses a control plane outside of the mesh, which its kubeconfig or its config cluster tells."""
    for seen in clusters:
        signs = [
            f"has its kubeconfig (Secret {secret.namespace}/{secret.name})"
            for secret in seen.remote_secrets
            if (secret.namespace, secret.name) == (names.system, CONFIG_SECRET)
        ]
        if any((config.values.get("global") or {}).get("configCluster") for config in seen.mesh_config):
            signs.append("is the config cluster of one (global.configCluster)")
        if signs:
            raise UserError(
                "A mesh with an external control plane can't be judged by --verify-only.",
                f"{seen.name} ({seen.context}) {signs[0]}",
                "leave --verify-only out, and form a mesh of this kind with --topology=external",
            )
    if found := [seen for seen in clusters if is_primary(seen)]:
        return found
    raise UserError(
        "No cluster has a control plane.",
        f"there is no Deployment istiod in the namespace {names.system} of {', '.join(_told(clusters))}",
        "install a mesh first, or leave --verify-only out; --distribution=FILE says what namespaces are called",
    )


def cluster_name(seen: ClusterObservation, names: Names) -> str:
    """Istio's name of a cluster.

    Raises:
        UserError: nothing there says it.
    """
    configured = str(_values(seen, names).get("multiCluster", {}).get("clusterName") or "")
    given = [pod.containers for pod in expectations.istiod_pods(seen, names.system)]
    own = [container.env.get("CLUSTER_ID", "") for containers in given for container in containers]
    found = [configured, *own, _injection(seen, names).get("cluster", ""), *_proxies_say(seen, "ISTIO_META_CLUSTER_ID")]
    if name := next(filter(None, found), ""):
        return name
    raise UserError(
        f"Istio's name of {seen.name} ({seen.context}) can't be told.",
        "neither a control plane, an injection webhook nor a proxy there says it",
        "is a part of the mesh installed there? See docs/existing-clusters.md",
    )


def network(seen: ClusterObservation, names: Names) -> str:
    """Istio's network of a cluster; empty where nothing names one, as Istio takes it."""
    namespace = seen.namespace(names.system)
    label = namespace.labels.get(expectations.NETWORK_LABEL, "") if namespace else ""
    configured = str(_values(seen, names).get("network") or "")
    found = [configured, _injection(seen, names).get("network", ""), label, *_proxies_say(seen, "ISTIO_META_NETWORK")]
    return next(filter(None, found), "")


def primary(
    seen: ClusterObservation, primaries: Sequence[ClusterObservation], istio: Mapping[str, str], names: Names
) -> str:
    """The name of the cluster whose control plane serves a remote: as its namespace says, else the only one there is.

    The namespace may name several, or `*` for all: then the one that the remote calls at an address of its own, else
    the first.

    Raises:
        UserError: several may, and the namespace names none of them.
    """
    namespace = seen.namespace(names.system)
    annotation = namespace.annotations.get(CONTROL_PLANE_ANNOTATION, "") if namespace else ""
    said = {name.strip() for name in annotation.split(",") if name.strip()}
    named = [other for other in primaries if said & {istio[other.name], "*"}]
    if not named and len(primaries) == 1:
        _require_no_other(seen, primaries[0], said, names)
        named = [primaries[0]]
    if named:
        return next((other for other in named if _calls(seen, other, names)), named[0]).name
    raise UserError(
        f"It can't be told which control plane serves {seen.name} ({seen.context}).",
        f"the annotation {CONTROL_PLANE_ANNOTATION} of {names.system} there names none of the primaries",
        "annotate the namespace with the cluster name of the primary that serves it",
    )


def _require_no_other(seen: ClusterObservation, primary: ClusterObservation, said: set[str], names: Names) -> None:
    """Refuse a remote that names another control plane and calls at another address: neither is this primary's.

    Where only one of the two is another's, it is a fault of this mesh, and is judged.
    """
    if (
        said
        and any(found.address for found in remote_addresses.calls(seen, names.system))
        and not _calls(seen, primary, names)
    ):
        raise UserError(
            f"The control plane that serves {seen.name} ({seen.context}) is not among the contexts.",
            f"its namespace {names.system} names {', '.join(sorted(said))}, and it calls no address of {primary.name}",
            "add the context of that cluster, or leave this one out",
        )


def _calls(seen: ClusterObservation, primary: ClusterObservation, names: Names) -> bool:
    """Whether the remote's webhook or its Service istiod leads to an address of a primary's."""
    hosts = {found.address for found in remote_addresses.calls(seen, names.system)}
    fronts = [found for found in primary.services if gateways.has_port(found, gateways.XDS_PORT)]
    return not hosts.isdisjoint(name for found in fronts for name in remote_addresses.names(found))


def version(seen: ClusterObservation, names: Names) -> str:
    """The version of helloworld that runs there; empty where none does."""
    pods = seen.pods_with(names.sample, app=expectations.HELLOWORLD)
    versions = [pod.labels["version"] for pod in sorted(pods, key=lambda pod: not pod.ready) if "version" in pod.labels]
    return versions[0] if versions else ""


def cni(clusters: Sequence[ClusterObservation]) -> bool:
    """Whether the mesh uses Istio's CNI plugin, or needs it and has lost it."""
    return any(map(expectations.needs_cni, clusters))


def _config(seen: ClusterObservation, of: str) -> MeshConfig:
    return expectations.mesh_config(seen, of) or MeshConfig(revision=of, mesh={}, values={})


def _values(seen: ClusterObservation, names: Names) -> Mapping[str, Any]:
    """The values under `global` that a control plane was installed with; none on a remote, whose names are its own."""
    if not is_primary(seen):
        return {}
    found: Mapping[str, Any] = _config(seen, serving(seen, names.sample)).values.get("global") or {}
    return found


def _injection(seen: ClusterObservation, names: Names) -> dict[str, str]:
    """What the path of the mesh's own injection webhooks says, as far as it does."""
    for webhook in expectations.injection_webhooks(seen, serving(seen, names.sample)):
        for rule in webhook.webhooks:
            if said := injected_as(rule):
                return said
    return {}


def _proxies_say(seen: ClusterObservation, variable: str) -> list[str]:
    proxies = [pod.proxy for pod in seen.pods]
    return [proxy.env.get(variable, "") for proxy in proxies if proxy]


def _mesh_id(config: MeshConfig) -> str:
    """Istio's mesh id; without one it is the trust domain (Istio, mesh configuration `defaultConfig.meshId`)."""
    given = (config.mesh.get("defaultConfig") or {}).get("meshId") or (config.values.get("global") or {}).get("meshID")
    return str(given or config.mesh.get("trustDomain") or TRUST_DOMAIN)


def _name(clusters: Sequence[Cluster]) -> str:
    """As the presets are called; `mixed` where it is none of them."""
    networks = len({cluster.network for cluster in clusters})
    primaries = sum(cluster.is_primary for cluster in clusters)
    model = {len(clusters): "multi-primary", 1: "primary-remote"}.get(primaries, "")
    kind = {1: "single", len(clusters): "multi"}.get(networks, "")
    suffix = f"-{len(clusters)}-clusters" if len(clusters) > 2 else ""  # noqa: PLR2004
    return (f"{model}-{kind}-network" if model and kind else "mixed") + suffix


def _told(clusters: Sequence[ClusterObservation]) -> list[str]:
    return [seen.context or seen.name for seen in clusters]
