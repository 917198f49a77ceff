"""What --keep leaves in place: how it is reached, looked at, judged again and removed."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from harness.kube.access import ClusterAccess
from harness.mesh.distributions import profile
from harness.model.topology import ControlPlaneModel, NetworkModel, Topology, preset
from harness.runs.options import Options


@dataclass(frozen=True)
class Kept:
    """What a session kept."""

    topology: Topology | None
    """Of the mesh; None where the clusters hold none."""
    clusters: tuple[ClusterAccess, ...]
    options: Options
    """Of the session."""
    removal: tuple[str, ...]
    """The commands that remove it, one line each."""

    @property
    def kubeconfigs(self) -> tuple[str, ...]:
        """The kubeconfigs that reach the clusters; empty where those of the user's shell do."""
        files = self.options.kubeconfigs if self.options.existing else [cluster.kubeconfig for cluster in self.clusters]
        return tuple(dict.fromkeys(str(file.absolute()) for file in files))

    @property
    def looking(self) -> tuple[str, ...]:
        """Commands that show the mesh and change nothing."""
        shown = [f"kubectl --context={shlex.quote(c.context)} get pods --all-namespaces" for c in self.clusters]
        homes = [self.topology.home_of(each).name for each in self.topology.primaries] if self.topology else []
        contexts = {cluster.name: shlex.quote(cluster.context) for cluster in self.clusters}
        for program in ("remote-clusters", "proxy-status"):
            shown += [f"istioctl --context={contexts[home]} {program}" for home in homes]
        files = shlex.quote(":".join(self.kubeconfigs))
        return (*([f"export KUBECONFIG={files}"] if self.kubeconfigs else []), *shown)

    @property
    def judging(self) -> str:
        """The command that judges the mesh as it stands; empty where --verify-only does not know its form."""
        if self.topology and self.topology.hosts:
            return ""
        given = [("contexts", ",".join(cluster.context for cluster in self.clusters))]
        given += [("kubeconfig", file) for file in self.kubeconfigs]
        return _pytest(["--verify-only"], [*given, *self._common])

    @property
    def forming(self) -> str:
        """The command that forms the mesh again on clusters that the suite made; empty on others."""
        if self.options.existing:
            return ""
        return _pytest(["--reuse", "--keep"], [*self._topology, *self._nodes, *self._common, *self._images])

    @property
    def _common(self) -> list[tuple[str, str]]:
        options = self.options
        found = [("namespace", options.namespace)] if options.namespace != "sample" else []
        name = options.distribution.name
        if name != "istio":
            found.append(("distribution", name if name in profile.built_in() else "FILE"))
        return found

    @property
    def _nodes(self) -> list[tuple[str, str]]:
        return [("nodes", str(self.options.nodes))] if self.options.nodes > 1 else []

    @property
    def _images(self) -> list[tuple[str, str]]:
        images, engine = self.options.images, self.options.container_engine
        found: list[tuple[str, str]] = [("container-engine", engine)] if engine != "auto" else []
        if images.source == "auto":
            return found
        return [*found, ("images", f"archive:{images.archive.absolute()}" if images.archive else images.source)]

    @property
    def _topology(self) -> list[tuple[str, str]]:
        if self.options.topology_files:
            return [("topology-file", str(file.absolute())) for file in self.options.topology_files]
        count = len(self.topology.clusters if self.topology else self.clusters)
        found = [
            (model, network)
            for model, network in product(ControlPlaneModel, NetworkModel)
            if self.topology and preset(model, network, count).name == self.topology.name
        ]
        given = [("topology", str(model)) for model, _ in found] + [("network", str(network)) for _, network in found]
        return [*given, *([("clusters", str(count))] if count != 2 else [])]  # noqa: PLR2004 - the default


def markdown(kept: Kept) -> str:
    """The page that tells a user what was kept, in Markdown."""
    where = ", ".join(f"{cluster.name} (context `{cluster.context}`)" for cluster in kept.clusters)
    mesh = f"The mesh {kept.topology.name}" if kept.topology else "No mesh, only the clusters"
    text = f"# What was kept\n\n{mesh}: {where}.\n\n## Look at it\n\n{_block(kept.looking)}"
    if kept.topology and kept.judging:
        text += f"\n## Judge it again\n\nAs it stands; this changes nothing:\n\n{_block([kept.judging])}"
    if kept.forming:
        text += (
            "\nOr form a mesh again on these clusters; this removes the present mesh first. Without `--keep` the new "
            f"mesh is removed at the end, and the clusters stay:\n\n{_block([kept.forming])}"
        )
    what = "" if kept.options.existing else "This removes every cluster that you have kept, also of other runs:\n\n"
    return f"{text}\n## Remove it\n\n{what}{_block(kept.removal)}"


def _block(lines: Iterable[str]) -> str:
    return "".join(f"    {line}\n" for line in lines)


def _pytest(flags: list[str], given: list[tuple[str, str]]) -> str:
    return shlex.join(["pytest", *flags, *(f"--{name}={value}" for name, value in given)])
