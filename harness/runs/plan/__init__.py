"""What a run would do, from the procedure itself: no cluster, no engine and no program is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.errors import UserError
from harness.base.parallel import in_order
from harness.kube.inventory import Entry, Inventory, Kind
from harness.machine.images import versions
from harness.mesh import procedure, removal
from harness.mesh.context import Mesh, title_of
from harness.mesh.distributions.model import OlmSubscription
from harness.mesh.external import with_ingress
from harness.mesh.gateway_api import install_gateway_api
from harness.mesh.gateway_api import shell as gateway_api_commands
from harness.mesh.pki import Pki
from harness.mesh.resolve import resolve
from harness.mesh.settings import MeshSettings
from harness.model.step import Phase
from harness.model.step_log import StepLog
from harness.model.topology import Topology
from harness.runs.options import Options
from harness.runs.plan import certificates
from harness.runs.plan.actions import Lines
from harness.runs.plan.recorder import PlannedKube, PlannedStep, Recorder

CREATE_CERTIFICATES = "Create the root and intermediate CA certificates"
READ_CERTIFICATES = "Read the certificates"
SEND = "Send 10 requests to the helloworld service"
_ORDER = tuple(Phase)


@dataclass(frozen=True)
class Plan:
    """What a run would do in one topology."""

    topology: Topology
    settings: MeshSettings
    variables: Mapping[str, str]
    """The script's variables that the user may set, with what the options say of them."""
    steps: tuple[PlannedStep, ...]
    """In the chapter's order: certificates on every cluster, the mesh, the sample, requests, removal."""


def plan(topology: Topology, options: Options, *, experiments: bool = True) -> Plan:
    """What a run would do in a topology: every step that changes something, and the chapter's own requests.

    Args:
        topology: the clusters.
        options: of the run.
        experiments: whether what experiments need is a part of it, where the run would make any.

    Raises:
        UserError: the procedure could not be gone through, for instance because the operator's manifests can't be read.
    """
    settings = with_ingress(_settings(options, experiments=experiments), topology)
    recorder = Recorder()
    kubes = {cluster.name: PlannedKube(cluster, settings, recorder) for cluster in topology.every}
    pki = Pki({cluster.name: certificates.paths(cluster.name) for cluster in topology.clusters})
    mesh = Mesh(topology, kubes, settings, StepLog(recorder))
    with in_order():
        procedure.form(mesh, pki)
        formed = len(recorder.steps)
        removal.remove(mesh, {name: Inventory(name, _standing(settings)) for name in kubes})
    for failed in recorder.failed:
        raise UserError(f"{failed.title}: this can't be planned.", failed.detail, "correct the distribution")
    for step in recorder.steps:
        if step.title == title_of(install_gateway_api):
            step.actions.append(Lines(gateway_api_commands(f'{settings.cli} --context="{_context(kubes, step)}"')))
    steps = [_certificates(topology, options.pki)]
    steps += sorted(recorder.steps[:formed], key=lambda step: _ORDER.index(step.phase))
    steps += _requests(topology, settings, kubes)
    return Plan(topology, settings, _variables(options, kubes), (*steps, *recorder.steps[formed:]))


def _context(kubes: Mapping[str, PlannedKube], step: PlannedStep) -> str:
    return kubes[str(step.cluster)].access.context


def _settings(options: Options, *, experiments: bool) -> MeshSettings:
    # Whether a registry answers is found out by a run: a plan takes for granted that it does, unless it is told.
    images = "registry" if options.images.source == "auto" else options.images.source
    resolved = resolve(
        options.distribution,
        istio_version=options.istio_version or versions.ISTIO,
        istioctl=Path("istioctl"),
        helm=Path("helm"),
        images=images,
        built=None if images == "registry" else (versions.ISTIO_HUB, versions.ISTIO),
        sample_namespace=options.namespace,
        timeout_scale=options.timeout_scale,
    )
    wanted = experiments and bool(options.experiments)
    return replace(resolved, experiments=wanted, resilience=options.resilience, data_plane=options.data_plane)


def _standing(settings: MeshSettings) -> dict[tuple[str, str, str], Entry]:
    """What a script never removes: others may use the namespace of an operator that OLM installs."""
    if not isinstance(settings.operator, OlmSubscription):
        return {}
    entry = Entry(Kind("v1", "Namespace", "namespaces"), "", settings.operator.namespace, "")
    return {entry.key: entry}


def _variables(options: Options, kubes: Mapping[str, PlannedKube]) -> dict[str, str]:
    contexts = dict(zip(kubes, options.contexts, strict=False))
    found = {}
    for name, kube in kubes.items():
        context = contexts.get(name, "")
        found[f"CTX_{kube.variable}"] = context or name
        found[f"API_SERVER_{kube.variable}"] = options.peer_servers.get(context, "")
    return found | {"CERTS": str(options.pki or "certificates")}


def _certificates(topology: Topology, directory: Path | None) -> PlannedStep:
    if directory:
        return PlannedStep(Phase.CERTIFICATES, READ_CERTIFICATES, None, [Lines(f'ls "{certificates.DIRECTORY}"')])
    commands = certificates.commands(cluster.name for cluster in topology.clusters)
    return PlannedStep(Phase.CERTIFICATES, CREATE_CERTIFICATES, None, [Lines(commands)])


def _requests(topology: Topology, settings: MeshSettings, kubes: Mapping[str, PlannedKube]) -> list[PlannedStep]:
    """Chapter: "send 10 requests to the helloworld service"; answers of every version are to be seen."""
    namespace = settings.sample_namespace
    return [
        PlannedStep(
            Phase.OBSERVE,
            SEND,
            cluster.name,
            [
                Lines(
                    "for _ in {0..9}; do\n"
                    f'  {settings.cli} --context="{kubes[cluster.name].access.context}" exec -n {namespace} '
                    f"deploy/sleep -c sleep -- curl -sS --max-time 5 helloworld.{namespace}:5000/hello\n"
                    "done"
                )
            ],
        )
        for cluster in topology.clusters
    ]
