"""The clusters of a session: made, or taken, when they are first needed; removed, or kept, at its end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from harness.base.cache import in_use
from harness.base.errors import UserError
from harness.base.locks import locked
from harness.clusters import existing, kind, leftovers, load_balancer
from harness.clusters import run_record as runs
from harness.clusters.kept_clusters import misfit
from harness.mesh import kept_mesh, pki
from harness.mesh.pki import Pki
from harness.model.observation import Observation
from harness.model.step import Phase, Step
from harness.model.step_log import Listener, StepLog
from harness.model.topology import Topology
from harness.runs import environment, verify_only
from harness.runs.environment import Provisions
from harness.runs.kept import Kept
from harness.runs.mesh_run import FormedMesh, MeshRun, Site
from harness.runs.options import Options
from harness.runs.patience import Patience


class Lab:
    """The clusters of a session.

    Args:
        options: what the session is asked to do.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stack = ExitStack()
        self._in_use = ExitStack()
        self._provisions: Provisions | None = None
        self._run: runs.Run | None = None
        self._site: Site | None = None
        self._broken: UserError | None = None
        self._earlier: tuple[Step, ...] = ()
        self._patience = Patience(options.patience, same_machine=not options.existing)

    def prepare(self, listener: Listener) -> None:
        """Find out whether the session can be run at all; builds images where that is needed, creates no cluster.

        Raises:
            UserError: bad input, or an environment that can't work.
        """
        log = StepLog(listener)
        if self._options.pki:
            for topology in self._options.topologies:
                pki.load(self._options.pki, topology)
        if not self._options.existing:
            self._in_use.enter_context(locked(in_use(), shared=True))
        self._provisions = environment.provide(self._options, log)
        self._patience.await_calm(log, Phase.ENVIRONMENT)
        if self._options.existing:
            self._site = self._existing(tuple(cluster.name for cluster in self._options.topologies[0].every))
            verify_only.require_sample(self._site.accesses, self._options, self._site.run.id)
        self._earlier = log.steps

    def observe(self, topology: Topology, listener: Listener) -> Observation:
        """Form the mesh in a topology, observe it, and remove it again unless --keep is given.

        Args:
            topology: the clusters.
            listener: notified of every step.

        Raises:
            UserError: the environment failed, now or when an earlier topology was tried; whatever was made is
                removed by `close`.
        """
        with self._next(listener) as log:
            if self._options.verify_only:
                return self._verified(topology, log)
            form, certificates = self._ready(topology, log)
            return form(certificates)

    @contextmanager
    def formed(self, topology: Topology, listener: Listener) -> Iterator[FormedMesh]:
        """Form the mesh in a topology for whoever observes or changes it, and remove it again.

        Args:
            topology: the clusters.
            listener: notified of every step.

        Raises:
            UserError: as `observe`.
        """
        with self._next(listener) as log:
            form, certificates = self._ready(topology, log)
            with form.formed(certificates) as formed:
                yield formed

    @contextmanager
    def _next(self, listener: Listener) -> Iterator[StepLog]:
        """The log of the next topology; an environment that has failed once is not tried again."""
        if self._broken:
            raise self._broken
        log = StepLog(listener, self._earlier)
        self._earlier = ()
        try:
            yield log
        except UserError as error:
            self._broken = error
            raise

    def _ready(self, topology: Topology, log: StepLog) -> tuple[MeshRun, Pki]:
        """Clusters that are up, and certificates."""
        started = datetime.now(UTC)
        with ThreadPoolExecutor(max_workers=1) as background:
            # RSA keys of 4096 bits take seconds to find: meanwhile clusters start.
            certificates = background.submit(self._certificates, topology, log)
            site = self._site_for(topology, log)
            return MeshRun(
                topology, site, self._provided, self._options, self._patience, log, started
            ), certificates.result()

    @property
    def _provided(self) -> Provisions:
        if self._provisions is None:
            raise RuntimeError("prepare() comes first")
        return self._provisions

    def close(self, listener: Listener) -> Kept | None:
        """Remove the clusters that were made, or keep them with --keep; returns what was kept."""
        log, keep = StepLog(listener), self._options.keep and not self._broken
        with self._in_use:
            kept = self._kept(log) if keep or self._options.existing else None
            self._leave(log, keep=keep)
        return kept

    def _kept(self, log: StepLog) -> Kept | None:
        """What stays: the clusters of this session, with their last mesh."""
        if not (site := self._site) or not self._options.keep:
            return None
        mesh = kept_mesh.read(site.run.directory)
        if self._options.existing and not mesh:
            return None
        removal: tuple[str, ...] = ("make clean",)
        if mesh and self._options.existing:
            run = MeshRun(mesh.topology, site, self._provided, self._options, self._patience, log, datetime.now(UTC))
            removal = run.by_hand(mesh.before)
        return Kept(mesh.topology if mesh else None, site.accesses, self._options, removal)

    def _verified(self, topology: Topology, log: StepLog) -> Observation:
        started = datetime.now(UTC)
        site = self._site_for(topology, log)
        environment = self._provided.environment(existing=True)
        return verify_only.verify(
            topology,
            site.accesses,
            self._options,
            environment=environment,
            run_id=site.run.id,
            started=started,
            log=log,
        )

    def _certificates(self, topology: Topology, log: StepLog) -> Pki:
        title = "Read the certificates" if self._options.pki else "Create the root and intermediate CA certificates"
        with log.step(Phase.CERTIFICATES, title):
            return pki.load(self._options.pki, topology) if self._options.pki else pki.make(topology)

    def _site_for(self, topology: Topology, log: StepLog) -> Site:
        names = tuple(cluster.name for cluster in topology.every)
        if self._site and tuple(access.name for access in self._site.accesses) != names:
            self._leave(log, keep=False)
        if self._site is None:
            self._site = self._made(names, log)
        return self._site

    def _existing(self, names: tuple[str, ...]) -> Site:
        self._run = self._stack.enter_context(runs.begin())
        accesses = existing.take(
            names,
            self._options.contexts,
            kubeconfigs=self._options.kubeconfigs,
            peer_servers=self._options.peer_servers,
            directory=self._run.directory,
            need_peers=not self._options.verify_only,
        )
        return Site(self._run, accesses, None)

    def _made(self, names: tuple[str, ...], log: StepLog) -> Site:
        nodes = replace(self._provided.nodes, count=self._options.nodes)
        if found := leftovers.leftovers():
            with log.step(Phase.ENVIRONMENT, "Look for what earlier runs left") as step:
                step.skip("; ".join(map(str, found)) + ": remove it with make clean")
        wanted = self._options.load_balancer
        reuse = (lambda record: not misfit(record, names, nodes, wanted)) if self._options.reuse else None
        kept = tuple(record for record in runs.records() if record.kept) if reuse else ()
        self._run = run = self._stack.enter_context(runs.begin(reuse=reuse))
        balancer = load_balancer.choose(wanted, run, self._provided.local)
        there = bool(run.record.clusters)
        if kept and not there:
            with log.step(Phase.CLUSTERS, "Look for kept clusters that fit") as step:
                why = (f"run {record.id}: {misfit(record, names, nodes, wanted) or 'in use'}" for record in kept)
                step.skip(f"{'; '.join(why)}. New clusters are made; to remove those that no run uses: make clean")
        accesses = kind.adopt(run, nodes, log) if there else kind.create(names, run=run, nodes=nodes, log=log)
        try:
            balancer.start(accesses, log)
            balancer.wait(accesses, log)
        except BaseException:
            balancer.stop(log)
            raise
        return Site(run, accesses, balancer)

    def _leave(self, log: StepLog, *, keep: bool) -> None:
        site, run, self._site, self._run = self._site, self._run, None, None
        keep = keep or bool(run and run.record.kept)  # what an earlier run kept is not this one's to remove
        try:
            if site and site.balancer:
                site.balancer.stop(log, keep=keep)
            if run and keep:
                run.keep()
            elif run:
                leftovers.remove_clusters(run, log)
        finally:
            self._stack.close()
