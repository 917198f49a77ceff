"""A whole run on clusters that are up: form the mesh in one topology, observe it, remove it, compare."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from harness.base.parallel import in_parallel
from harness.clusters import load_balancer, routes
from harness.clusters.load_balancer import LoadBalancer
from harness.clusters.run_record import Run
from harness.experiments import experiment
from harness.experiments.resilience import play
from harness.kube import inventory
from harness.kube.access import ClusterAccess
from harness.kube.api import KubeApi
from harness.kube.client import Kube
from harness.kube.inventory import Inventory
from harness.machine.images import versions
from harness.machine.suite_version import suite_version
from harness.mesh import cleanup, kept_mesh, ownership, procedure, removal, restart, workloads
from harness.mesh.context import Mesh
from harness.mesh.external import with_ingress
from harness.mesh.occupied import require_unoccupied
from harness.mesh.pki import Pki
from harness.mesh.resolve import described, resolve
from harness.mesh.settings import MeshSettings
from harness.model.conditions import Conditions
from harness.model.observation import Asked, Observation
from harness.model.step import Outcome, Phase
from harness.model.step_log import StepLog
from harness.model.topology import Feature, Topology
from harness.observe import observe
from harness.observe.conditions import ConditionsMeter
from harness.runs.environment import Provisions
from harness.runs.options import Options
from harness.runs.patience import Patience

_NOT_DONE = (Outcome.FAILED, Outcome.ERROR)


@dataclass(frozen=True)
class Site:
    """Clusters that are up."""

    run: Run
    accesses: tuple[ClusterAccess, ...]
    balancer: LoadBalancer | None
    """None on existing clusters, which bring their own."""


@dataclass(frozen=True)
class MeshRun:
    """One topology on a site."""

    topology: Topology
    site: Site
    provisions: Provisions
    options: Options
    patience: Patience
    log: StepLog
    started: datetime

    def __call__(self, certificates: Pki) -> Observation:
        """Form the mesh, observe it, remove it and see what is left; with --keep it stays, and nothing is compared.

        Args:
            certificates: of every cluster.
        """
        with self.formed(certificates) as formed:
            observation = formed.experimented(formed.observed(self.log), self.options.experiments, self.log)
            observation = formed.stressed(observation, self._scenarios, self.log)
        return observation if self.options.keep else formed.compared(observation, self.log)

    @contextmanager
    def formed(self, certificates: Pki) -> Iterator["FormedMesh"]:
        """Form the mesh, give it to whoever observes or changes it, and remove it whatever happens.

        With --keep it stays, and the next run on these clusters removes it first: which topology is the last one is
        known only afterwards, because pytest may deselect the others.

        Args:
            certificates: of every cluster.
        """
        kubes = {access.name: Kube(access) for access in self.site.accesses}
        self._remove_kept(kubes)
        with self.log.step(Phase.ENVIRONMENT, "Take an inventory of every cluster"):
            in_parallel(lambda kube: procedure.require_cluster(kube, self._settings), kubes.values())
            before = dict(zip(kubes, in_parallel(inventory.take, kubes.values()), strict=True))
            if self.site.balancer is None:
                for found in before.values():
                    require_unoccupied(found, self._settings)
        if self.options.keep:
            given = self.options
            kept_mesh.write(self.site.run.directory, self.topology, given.namespace, given.data_plane, before)
        try:
            for group in self._routed:
                routes.add(group, self.log)
            mesh = self._mesh(kubes)
            self.patience.await_calm(self.log, Phase.MESH)
            with ConditionsMeter(kubes, lambda _: None, self.site.balancer is not None) as meter:
                procedure.form(mesh, certificates)
            self.patience.await_calm(self.log, Phase.OBSERVE)
            yield FormedMesh(self, mesh.restarted(self.log), certificates, before, meter.conditions)
        finally:
            if not self.options.keep:
                self._removed(kubes, before)

    def _mesh(self, kubes: Mapping[str, KubeApi]) -> Mesh:
        return Mesh(self.topology, kubes, self._settings, self.log)

    @cached_property
    def _settings(self) -> MeshSettings:
        given = self.provisions
        resolved = resolve(
            self.options.distribution,
            istio_version=given.istio_version,
            istioctl=given.istioctl,
            helm=given.helm,
            images=given.images,
            built=(versions.ISTIO_HUB, versions.ISTIO) if given.local else None,
            sample_namespace=self.options.namespace,
            timeout_scale=self.options.timeout_scale,
            run_id=self.site.run.id,
        )
        resolved = with_ingress(resolved, self.topology)
        resolved = replace(resolved, data_plane=self.options.data_plane, gateway_api=given.gateway_api)
        return replace(resolved, experiments=bool(self.options.experiments), resilience=bool(self._scenarios))

    @cached_property
    def _scenarios(self) -> frozenset[str]:
        """The scenarios that are played: those whose requirements are judged."""
        return self.options.played & {row.scenario for row in self.options.judged}

    @property
    def _routed(self) -> list[list[ClusterAccess]]:
        """Groups of clusters made here that share a network, and so need direct routes between their pods."""
        if Feature.SINGLE_NETWORK not in self.topology.features or self.site.balancer is None:
            return []
        groups = [
            [access for access in self.site.accesses if self.topology[access.name].network == network]
            for network in self.topology.networks
        ]
        return [group for group in groups if len(group) > 1]

    @property
    def asked(self) -> Asked:
        """What the run was asked to make."""
        settings, balancer = self._settings, self.site.balancer
        return Asked(
            mode="install",
            installer=settings.installer,
            istio_version=settings.istio_version,
            system_namespace=settings.system_namespace,
            cni_namespace=settings.cni_namespace,
            sample_namespace=settings.sample_namespace,
            cni=settings.cni,
            data_plane=settings.data_plane,
            own_pki=self.options.pki is not None,
            trust_domain=self.topology.trust_domain,
            load_balancer=balancer.name if balancer else "the clusters' own",
            images=settings.images,
            distribution=settings.distribution,
            resolved=described(settings),
            kept=self.options.keep,
        )

    def _remove_kept(self, kubes: Mapping[str, KubeApi]) -> None:
        """Remove the mesh that was kept on these clusters, by an earlier run or in an earlier topology."""
        if kept := kept_mesh.read(self.site.run.directory):
            options = replace(self.options, namespace=kept.sample_namespace, given_data_plane=kept.data_plane)
            earlier = replace(self, topology=kept.topology, options=options)
            earlier._removed(kubes, kept.before)
            kept_mesh.forget(self.site.run.directory)

    def _removed(self, kubes: Mapping[str, KubeApi], before: Mapping[str, Inventory]) -> None:
        """Remove the mesh; where that is cut short on clusters that stay, say how it is done by hand."""
        whole = False
        try:
            removal.remove(self._mesh(kubes), before)
            for group in self._routed:
                routes.remove(group, self.log)
            whole = not any(s.phase is Phase.CLEANUP and s.outcome in _NOT_DONE for s in self.log.steps)
        finally:
            if not whole and self.site.balancer is None:
                with self.log.step(Phase.CLEANUP, "Name what may be left of the mesh") as step:
                    step.skip("\n".join(self.by_hand(before)))

    def by_hand(self, before: Mapping[str, Inventory]) -> tuple[str, ...]:
        """The commands that remove the mesh from clusters that stay, one line a cluster.

        Args:
            before: the inventory of every cluster from before the mesh.
        """
        return tuple(
            ownership.by_hand(access.context, self.options.kubeconfigs, self._settings, before[access.name])
            for access in self.site.accesses
        )


@dataclass(frozen=True)
class FormedMesh:
    """A mesh that stands, with the sample workloads on it; can be observed as often as one likes."""

    run: MeshRun
    mesh: Mesh
    certificates: Pki
    before: Mapping[str, Inventory]
    """Of every cluster, from before the mesh."""
    conditions: Conditions
    """Those under which it was formed."""

    def observed(
        self,
        log: StepLog,
        *,
        requests: int | None = None,
        send: bool | Callable[[Observation], bool] = True,
        changed: bool = False,
    ) -> Observation:
        """What is there now.

        Args:
            log: its steps so far, and those of observing, become part of the observation.
            requests: requests a client for the distribution of answers; default what the run was asked for.
            send: whether probes and requests are sent, or what decides it by what was read; see `observe`.
            changed: something was done to the mesh since; the conditions under which it was formed do not explain it.
        """
        run, mesh = self.run, self.mesh
        observation = observe(
            run.topology,
            mesh.kubes,
            run.asked,
            environment=run.provisions.environment(existing=run.site.balancer is None),
            suite=suite_version(),
            run_id=run.site.run.id,
            started=run.started,
            deviations=mesh.settings.deviations,
            log=log,
            requests=run.options.requests if requests is None else requests,
            send=send,
            timeout_scale=run.options.timeout_scale,
        )
        said = run.site.balancer.complaints() if run.site.balancer else ()
        forming = None if changed else self.conditions
        return observation.model_copy(update={"load_balancer_log": said, "conditions_of_forming": forming})

    def deploy_experiments(self, log: StepLog) -> None:
        """Deploy what experiments need, for they take it away at their end."""
        mesh = self.mesh.restarted(log)
        in_parallel(lambda cluster: workloads.deploy_experiments(mesh, cluster), mesh.topology.clusters)

    def experimented(self, observation: Observation, wanted: frozenset[str], log: StepLog) -> Observation:
        """The observation with the experiments of these requirements, made now."""
        if not wanted:
            return observation
        seen = experiment(self.mesh.restarted(log), pki=self.certificates, observation=observation, wanted=wanted)
        return observation.model_copy(update={"experiments": seen, "steps": log.steps})

    def form_again(self, log: StepLog, *, from_nothing: bool = False) -> None:
        """Run the procedure again, without the workloads for experiments, and restart every pod.

        Args:
            log: where every step is recorded.
            from_nothing: remove the mesh first.
        """
        mesh = self.mesh.restarted(log, experiments=False)
        if from_nothing:
            self.removed(log)
        procedure.form(mesh, self.certificates)
        if not from_nothing:
            restart.everything(mesh.restarted(log))

    def removed(self, log: StepLog) -> None:
        """Remove the mesh from every cluster."""
        removal.remove(self.mesh.restarted(log), self.before)

    def compared(self, observation: Observation, log: StepLog) -> Observation:
        """An observation with what is left on the clusters now, after the mesh was removed."""
        with log.step(Phase.CLEANUP, "Compare with the inventory from before the run"):
            site = self.run.site
            left = load_balancer.load_balancer_containers(site.run) if site.balancer else ()
            found = cleanup.observe_cleanup(self.mesh.kubes, self.before, left)
        return observation.model_copy(update={"cleanup": found, "steps": log.steps})

    def stressed(self, observation: Observation, scenarios: frozenset[str], log: StepLog) -> Observation:
        """The observation with these scenarios, played now."""
        if not scenarios:
            return observation
        seen = play(
            self.mesh,
            self.certificates,
            accesses={access.name: access for access in self.run.site.accesses},
            observation=observation,
            wanted=scenarios,
        )
        return observation.model_copy(update={"resilience": seen, "steps": log.steps})
