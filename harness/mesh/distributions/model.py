"""What a distribution profile may say, key by key. Pure."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from harness.mesh.distributions.istio_versions import minor_of
from harness.model.base import Model

Installer = Literal["istioctl", "sail"]
ApiVersion = Literal["auto", "v1", "v1alpha1"]
Platform = Literal["kubernetes", "openshift"]


class HelmChart(Model):
    """The operator arrives as a Helm chart."""

    arrival: Literal["helm"]
    """How the operator arrives on the clusters."""
    chart: str
    """Name of the chart in `repository`; without one a path (relative to the profile) or an `oci://` reference."""
    repository: str = ""
    """URL of the chart's repository."""
    version: str = ""
    """Version of the chart; default its newest."""
    release: str = "sail-operator"
    """Name of the Helm release."""
    namespace: str = "sail-operator"
    """Where the operator runs; created if it is not there."""
    values: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies defaults
    """Values of the chart, for instance `image`."""


class OlmSubscription(Model):
    """The operator arrives by a Subscription of the Operator Lifecycle Manager (OLM)."""

    arrival: Literal["olm"]
    """How the operator arrives on the clusters."""
    package: str
    """Name of the operator's package in the catalogue."""
    channel: str
    """The channel that is followed."""
    source: str
    """Name of the CatalogSource."""
    source_namespace: str = "openshift-marketplace"
    """Namespace of the CatalogSource."""
    namespace: str = "openshift-operators"
    """Where the Subscription is made; made with an OperatorGroup for all namespaces, where either is not there."""
    starting_csv: str = ""
    """The ClusterServiceVersion to be installed first, and with `Manual` last; default the channel's newest."""
    approval: Literal["Automatic", "Manual"] = "Automatic"
    """Of InstallPlans. With `Manual` the run approves the one that installs its operator and nothing else."""


class Manifests(Model):
    """The operator arrives as manifests that are applied."""

    arrival: Literal["manifests"]
    """How the operator arrives on the clusters."""
    files: tuple[str, ...] = Field(min_length=1)
    """YAML files, applied in their order; paths relative to the profile."""
    namespace: str = "sail-operator"
    """Where the operator runs; created if it is not there."""


class Present(Model):
    """The operator is there already."""

    arrival: Literal["present"]
    """How the operator arrives on the clusters."""
    namespace: str = ""
    """Where it runs; only reported."""


Operator = Annotated[HelmChart | OlmSubscription | Manifests | Present, Field(discriminator="arrival")]


class PullSecret(Model):
    """Credentials of the registry that the images come from."""

    name: str
    """Name of the Secret that is made in every namespace of the mesh and of the sample."""
    file: str
    """A `config.json` of Docker or Podman; a path relative to the profile. It is never shown nor recorded."""


class Namespaces(Model):
    """What the distribution's namespaces are called."""

    system: str = "istio-system"
    """The control plane's."""
    cni: str = "istio-cni"
    """The CNI plugin's."""


class Release(Model):
    """What is different for one version of Istio."""

    api_version: ApiVersion | None = None
    """In place of the profile's."""
    channel: str = ""
    """In place of the subscription's channel."""
    chart_version: str = ""
    """In place of the Helm chart's version."""


class Distribution(Model):
    """A distribution of Istio: how it is installed, and with what."""

    name: str = Field(min_length=1)
    """As reports name it."""
    description: str = ""
    """One line."""
    installer: Installer = "istioctl"
    """`istioctl`, or `sail`: the resources of the Sail operator. `--installer` wins."""
    istio_version: str = ""
    """Version of Istio that is installed, without a v; default that of istioctl. `--istio-version` wins."""
    resource_version: str = ""
    """`spec.version` of the operator's resources; default `v` and the version of Istio."""
    api_version: ApiVersion = "auto"
    """API version of the operator's resources; auto takes v1 where the API server serves it, else v1alpha1."""
    profile: str = ""
    """`spec.profile` of a primary's Istio resource; default none, as in the chapter."""
    hub: str = ""
    """Registry and path of Istio's images; default those of the charts or of the operator."""
    tag: str = ""
    """Tag of Istio's images; default likewise."""
    pull_secret: PullSecret | None = None
    """Where the registry wants credentials."""
    values: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies defaults
    """Values of Istio's Helm charts that are added to the chapter's on primaries; reported as deviations."""
    operator: Operator | None = None
    """How the operator arrives; needed with the installer sail."""
    platform: Platform = "kubernetes"
    """On `openshift` istioctl is told so; the operator finds out by itself."""
    cli: str = "kubectl"
    """The kubectl-compatible command that shown commands use."""
    namespaces: Namespaces = Namespaces()
    """What the distribution's namespaces are called."""
    releases: dict[str, Release] = {}  # noqa: RUF012
    """Version of Istio (`1.24.1`), or a minor version (`"1.24"`) → what is different for it; an exact version wins."""

    @field_validator("istio_version")
    @classmethod
    def _without_v(cls, version: str) -> str:
        return version.removeprefix("v")

    @property
    def needs_helm(self) -> bool:
        """Whether the operator arrives as a Helm chart."""
        return self.installer == "sail" and isinstance(self.operator, HelmChart)

    def release(self, istio_version: str) -> Release:
        """What is different for a version, else for its minor version; nothing where the profile names neither."""
        minor = ".".join(map(str, minor_of(istio_version)))
        return self.releases.get(istio_version) or self.releases.get(minor, Release())

    def operator_for(self, istio_version: str) -> Operator | None:
        """How the operator arrives for a version."""
        release = self.release(istio_version)
        if isinstance(self.operator, OlmSubscription) and release.channel:
            return self.operator.model_copy(update={"channel": release.channel})
        if isinstance(self.operator, HelmChart) and release.chart_version:
            return self.operator.model_copy(update={"version": release.chart_version})
        return self.operator

    def anchored(self, directory: Path) -> "Distribution":
        """The same, with every relative path that is there taken from a directory."""

        def path(given: str) -> str:
            found = directory / given
            return str(found.resolve()) if given and "://" not in given and found.exists() else given

        update: dict[str, Any] = {}
        if isinstance(self.operator, HelmChart) and not self.operator.repository:
            update["operator"] = self.operator.model_copy(update={"chart": path(self.operator.chart)})
        if isinstance(self.operator, Manifests):
            update["operator"] = self.operator.model_copy(update={"files": tuple(map(path, self.operator.files))})
        if self.pull_secret:
            update["pull_secret"] = self.pull_secret.model_copy(update={"file": path(self.pull_secret.file)})
        return self.model_copy(update=update)
