"""The ConformanceReport: what a run comes to, in a form that is published, versioned and has a JSON Schema.

Its models are apart from those of the observation, so that these may change and the published form does not.
"""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from harness.judge.judgement import Level, Verdict
from harness.model.base import Model

SCHEMA_VERSION = 1


class Result(StrEnum):
    """What a topology, or a whole run, comes to."""

    CONFORMANT = "conformant"
    NOT_CONFORMANT = "not conformant"
    UNKNOWN = "unknown"
    NOTHING_JUDGED = "nothing judged"


class Suite(Model):
    """The suite that judged."""

    name: Literal["eastwest"] = "eastwest"
    """The suite's name."""
    version: str
    """Its version."""
    commit: str
    """The commit it was run from; empty where unknown."""


class Counts(Model):
    """How many requirements came to each verdict. Skipped ones are never counted as passed."""

    passed: int = 0
    """Examined and as required."""
    failed: int = 0
    """Examined and not as required."""
    blocked: int = 0
    """Not judged because something they depend on is broken."""
    skipped: int = 0
    """Not judged on purpose, or because a permission was missing."""
    unknown: int = 0
    """Not judged because the suite itself failed."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.passed + self.failed + self.blocked + self.skipped + self.unknown

    def of(self, verdict: Verdict) -> int:
        """How many came to that verdict."""
        return {
            Verdict.PASS: self.passed,
            Verdict.FAIL: self.failed,
            Verdict.BLOCKED: self.blocked,
            Verdict.SKIPPED: self.skipped,
            Verdict.UNKNOWN: self.unknown,
        }[verdict]


class ReportedFinding(Model):
    """One thing that is not as required."""

    cluster: str
    """Name of the cluster; empty where it concerns the mesh as a whole."""
    object: str
    """Kind namespace/name, or what stands in for it."""
    field: str
    """The field or property in question."""
    expected: str
    """What it must be."""
    found: str
    """What it was."""


class ReportedCause(Model):
    """What is at fault, where, and what repairs it."""

    id: str
    """Stable id, for instance gateway-no-address."""
    title: str
    """One line."""
    cluster: str
    """Name of the cluster; empty where it concerns the mesh as a whole."""
    object: str
    """Kind namespace/name."""
    field: str
    """The field or property at fault."""
    expected: str
    """What it must be."""
    found: str
    """What it was."""
    repair: str
    """A command that repairs it; on a mesh that the suite did not install one that only looks."""
    change: str = ""
    """What to change, and where it is declared: on a mesh that the suite did not install."""
    evidence: tuple[str, ...]
    """Events, conditions and log lines that name it."""
    explains: tuple[str, ...]
    """Ids of the requirements that fail or are blocked because of it."""
    definition: str
    """Where the cause is documented."""


class RequirementResult(Model):
    """The verdict on one requirement."""

    id: str
    """Stable id, for instance CERT-ROOT-SHARED."""
    level: Level
    """How binding it is."""
    area: str
    """The part of the mesh it is about."""
    title: str
    """What is required, in one line."""
    verdict: Verdict
    """pass, fail, blocked, skipped or unknown."""
    evidence: tuple[str, ...]
    """What was examined, in short; all of it is in the HTML report and the observation."""
    findings: tuple[ReportedFinding, ...]
    """What is not as required."""
    reasons: tuple[str, ...]
    """Why something was not judged."""
    causes: tuple[str, ...]
    """Ids of the causes that explain it."""
    definition: str
    """Where the requirement is documented."""


class NotRun(Model):
    """A requirement that applies and was left out."""

    requirement: str
    """Its id."""
    reason: str
    """Why it was left out."""


class NotApplicable(Model):
    """A requirement about something that this mesh or this topology does not have."""

    requirement: str
    """Its id."""
    reason: str
    """What it needs and does not find."""


class ReportedCluster(Model):
    """One cluster of the mesh; versions are those observed, not those configured."""

    name: str
    """The suite's name for it."""
    cluster_name: str
    """Istio's name for it."""
    role: Literal["primary", "remote"]
    """With a control plane of its own, or served by another cluster's."""
    primary: str
    """Name of the cluster whose control plane serves it."""
    network: str
    """Istio's network name."""
    workload_version: str
    """The helloworld version that runs there."""
    gateway_addresses: tuple[str, ...]
    """Addresses of its east-west gateway."""
    kubernetes: str
    """Version of its API server."""
    control_planes: tuple[str, ...]
    """Versions that its control planes report."""
    proxies: tuple[str, ...]
    """Istio versions that its proxies report."""
    envoys: tuple[str, ...]
    """Envoy versions that its proxies report."""
    node_os: tuple[str, ...]
    """Operating systems of its nodes."""
    architectures: tuple[str, ...]
    """Processor architectures of its nodes."""
    container_runtimes: tuple[str, ...]
    """Container runtimes of its nodes."""


class Distribution(Model):
    """What was installed and how, as resolved."""

    name: str
    """Name of the distribution profile."""
    mode: Literal["install", "verify-only"]
    """Whether the run installed the mesh or found it."""
    installer: str
    """istioctl, sail or none."""
    istio_version: str
    """The version asked for; empty where any is right."""
    revision: str
    """Istio revision."""
    cni: bool
    """Whether the mesh uses Istio's CNI plugin."""
    own_certificates: bool
    """Whether a site's own certificates were used."""
    resolved: dict[str, str] = {}  # noqa: RUF012 - pydantic copies defaults
    """What its profile came to: the profile's keys, with values in words."""


class ReportedEnvironment(Model):
    """Where it ran."""

    platform: Literal["kind", "existing"]
    """Clusters made by the suite, or clusters that were there."""
    load_balancer: str
    """What gives Services their addresses."""
    container_engine: str
    """Engine and version; empty on existing clusters."""
    kind_version: str
    """Version of kind; empty on existing clusters."""
    node_image: str
    """kind's node image; empty on existing clusters."""
    image_source: str
    """registry, local or archive."""
    data_plane: str
    """A remark where the data plane is not Istio's own build."""


class TopologyReport(Model):
    """What one topology comes to."""

    name: str
    """Stable name, for instance primary-remote-multi-network."""
    result: Result
    """conformant, not conformant, unknown or nothing judged."""
    partial: bool
    """Whether less than everything that applies was judged."""
    observed: datetime
    """When it was observed."""
    run_id: str
    """Id of the run that made the observation."""
    clusters: tuple[ReportedCluster, ...]
    """The clusters, in the topology's order."""
    distribution: Distribution
    """What was installed."""
    environment: ReportedEnvironment
    """Where the clusters came from, and what served them."""
    images: dict[str, str]
    """Image reference → digest, as the nodes resolved them."""
    counts: Counts
    """Verdicts on all requirements."""
    counts_by_level: dict[Level, Counts]
    """Verdicts by level."""
    requirements: tuple[RequirementResult, ...]
    """Every requirement that was run."""
    causes: tuple[ReportedCause, ...]
    """What is at fault, the most fundamental first."""
    not_run: tuple[NotRun, ...]
    """What applies and was left out."""
    not_applicable: tuple[NotApplicable, ...] = ()
    """What does not apply here; it counts neither as passed nor as left out."""
    deviations: tuple[str, ...]
    """What was added to the chapter's procedure."""
    conditions: str = ""
    """How busy the runner was and how fast the clusters answered while they were observed; empty where not measured."""
    strain: str = ""
    """Why no verdict rests on time here: what was overloaded. Empty where nothing was."""
    errors: tuple[str, ...]
    """Failures of the suite itself while observing."""


class Unobserved(Model):
    """A topology that was asked for and could not be observed."""

    name: str
    """The topology's name."""
    reason: str
    """Why there is no observation of it."""


class ConformanceReport(Model):
    """Whether a distribution of Istio forms one mesh over several clusters."""

    kind: Literal["ConformanceReport"] = "ConformanceReport"
    """What this document is."""
    schema_version: Literal[1] = 1
    """Version of its schema."""
    suite: Suite
    """Who judged."""
    date: datetime
    """When the judging session began."""
    seconds: float
    """How long it took."""
    result: Result
    """conformant only where every topology is."""
    partial: bool
    """Whether less than everything that applies was judged in some topology."""
    fail_on: Literal["must", "should", "any"]
    """What must pass: MUST; SHOULD, too; or everything, with nothing blocked or unknown."""
    summary: str
    """One line that can be quoted."""
    reproduce: str
    """One command that makes this report again."""
    options: dict[str, str]
    """The options that were given, on the command line or by their environment variables."""
    topologies: tuple[TopologyReport, ...]
    """One for each topology that was observed."""
    unobserved: tuple[Unobserved, ...]
    """Topologies that were asked for and could not be observed: their result is unknown."""
