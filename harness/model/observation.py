"""The observation of one run in one topology."""

import gzip
import zlib
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from harness.base.errors import UserError
from harness.model import odds
from harness.model.base import Model
from harness.model.cluster import ClusterObservation
from harness.model.conditions import Conditions
from harness.model.data_plane import DataPlane
from harness.model.experiment import Experiments
from harness.model.resilience import Resilience
from harness.model.service import OwnClient, OwnService, ServiceTraffic
from harness.model.step import Step
from harness.model.topology import Cluster, Topology
from harness.model.traffic import Probe, Traffic

SCHEMA_VERSION = 1


class SuiteVersion(Model):
    """Which suite made this."""

    version: str
    commit: str = ""


class Asked(Model):
    """What the run was asked to make or, under verify-only, to find."""

    mode: Literal["install", "verify-only"]
    """`install`: the run configured the mesh. `verify-only`: it was there, and expectations are discovered."""
    installer: str
    """istioctl, sail, or `none`."""
    istio_version: str
    """Empty where any version is as asked."""
    revision: str = "default"
    system_namespace: str = "istio-system"
    cni_namespace: str = "istio-cni"
    sample_namespace: str = "sample"
    service: OwnService | None = None
    """Under verify-only: what requests are sent to in place of the sample; its namespace is `sample_namespace`."""
    client: OwnClient | None = None
    """Under verify-only: the pods that requests are sent from, where they were named."""
    sample: Literal["found", "deployed"] = "found"
    """Under verify-only: whether the sample was there, or the run deployed it into a namespace of its own."""
    cni: bool
    """Whether the mesh uses Istio's CNI plugin."""
    data_plane: DataPlane = DataPlane.SIDECAR
    """What carries the traffic of the sample."""
    own_pki: bool = False
    """Certificates that someone has made available, instead of made ones."""
    trust_domain: str = "cluster.local"
    load_balancer: str
    distribution: str = "istio"
    resolved: dict[str, str] = {}
    """What the distribution profile came to: its keys, with values in words."""
    images: str
    """registry, local or archive."""
    error_rate: float = odds.ERROR_RATE
    """Under verify-only: share of requests that may fail without anything being wrong between the clusters."""
    kept: bool = False
    """Whether the mesh was left in place (--keep): nothing is removed, so nothing can be compared."""

    @property
    def ambient(self) -> bool:
        """Whether ztunnels carry the traffic, and no sidecars."""
        return self.data_plane is DataPlane.AMBIENT

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Those of the sample, or of the service in its place, and of its clients."""
        return tuple(dict.fromkeys((self.sample_namespace, *((self.client.namespace,) if self.client else ()))))


class Environment(Model):
    """Where it ran."""

    platform: Literal["kind", "existing"]
    container_engine: str = ""
    kind_version: str = ""
    node_image: str = ""
    images: dict[str, str] = {}
    """Image reference → digest, where the suite provided them."""
    data_plane: str = ""
    """A remark where the data plane is not Istio's own build."""


class InventoryChange(Model):
    """An object that is there after cleanup and was not before, or the other way round."""

    cluster: str
    change: Literal["left behind", "missing"]
    kind: str
    namespace: str
    name: str
    detail: str = ""
    """Why it is still there, where that is known: finalizers, owner."""


class Cleanup(Model):
    """What was found after cleanup (chapter: "remove the multi-cluster topology")."""

    clusters: tuple[str, ...]
    """Clusters whose inventory was taken before and after."""
    objects_before: dict[str, int]
    """Cluster → number of objects in the inventory before the run."""
    changes: tuple[InventoryChange, ...]
    containers_left: tuple[str, ...] = ()
    """Load balancer containers on this machine that belonged to the mesh."""
    unread: tuple[str, ...] = ()
    """`cluster: reason` where an inventory could not be taken."""


class Observation(Model):
    """All that is known of one run in one topology: the only thing that verdicts are made from."""

    schema_version: Literal[1] = 1
    suite: SuiteVersion
    run_id: str
    started: datetime
    observed: datetime
    """When reading began; certificates' validity is judged at this time."""
    topology: Topology
    asked: Asked
    environment: Environment
    deviations: tuple[str, ...] = ()
    """What was done that the chapter does not say, one line each."""
    steps: tuple[Step, ...] = ()
    clusters: tuple[ClusterObservation, ...]
    """In the topology's order; with a primary goes its control plane, also one that runs outside of the mesh."""
    hosts: tuple[ClusterObservation, ...] = ()
    """The clusters outside of the mesh that run its control planes."""
    load_balancer_log: tuple[str, ...] = ()
    """Warnings and errors of a load balancer that runs beside the clusters; a few lines."""
    probes: tuple[Probe, ...] = ()
    traffic: Traffic | None = None
    service_traffic: ServiceTraffic | None = None
    """In place of `traffic`, where the run was given a service of somebody's own."""
    experiments: Experiments | None = None
    """None where the run made none: under verify-only, or because none was asked for."""
    resilience: Resilience | None = None
    """None where the mesh was not changed while it served: unless --resilience asks for it."""
    cleanup: Cleanup | None = None
    """None until cleanup has been observed, and where it was not asked for."""
    errors: tuple[str, ...] = ()
    """Failures of the suite itself while observing, one line each."""
    conditions: Conditions | None = None
    """How busy the machine was and how fast the clusters answered meanwhile; None in observations made before this was
    measured."""
    conditions_of_forming: Conditions | None = None
    """The same while the mesh was formed: waits for it rest on that. None where the run has not formed it."""

    def __getitem__(self, cluster: Cluster | str) -> ClusterObservation:
        """What was observed of that cluster.

        Raises:
            KeyError: there is none of that name.
        """
        name = cluster if isinstance(cluster, str) else cluster.name
        for observed in (*self.clusters, *self.hosts):
            if observed.name == name:
                return observed
        raise KeyError(name)

    def save(self, path: Path) -> None:
        """Write it as JSON, compressed where the name ends in .gz; the file is whole, or not there.

        Raises:
            UserError: it can't be written, for instance because the disk is full.
        """
        unfinished = path.with_name(f".{path.name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            data = (self.model_dump_json(indent=1) + "\n").encode()
            unfinished.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
            unfinished.replace(path)
        except OSError as failed:
            unfinished.unlink(missing_ok=True)
            raise UserError(
                f"The observation could not be written to {path}.",
                failed.strerror or str(failed),
                "make room, or choose another directory with --output",
            ) from None


def load(path: Path) -> Observation:
    """Read a recorded observation; one that was compressed with gzip, too.

    Raises:
        UserError: no such file, not JSON, or of another schema version.
    """
    try:
        data = path.read_bytes()
        return Observation.model_validate_json(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (OSError, EOFError, zlib.error) as missing:
        raise UserError(
            f"The observation {path} can't be read.",
            getattr(missing, "strerror", None) or str(missing),
            "check the path, and that the file is whole",
        ) from None
    except ValidationError as invalid:
        first = invalid.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(
            f"{path} is not an observation of this suite.",
            f"{where}: {first['msg']} ({invalid.error_count()} problem(s) in all)",
            f"record it with schema version {SCHEMA_VERSION}: pytest --observe-only",
        ) from None
