"""From a distribution profile and where images come from to how the mesh is installed. Pure."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.mesh.distributions.istio_versions import facts
from harness.mesh.distributions.model import Distribution, HelmChart, Manifests, OlmSubscription
from harness.mesh.settings import Images, MeshSettings, Overlay, merged


def resolve(
    distribution: Distribution,
    *,
    istio_version: str,
    istioctl: Path,
    helm: Path | None = None,
    images: Images = "registry",
    built: tuple[str, str] | None = None,
    sample_namespace: str = "sample",
    timeout_scale: float = 1.0,
    run_id: str = "",
) -> MeshSettings:
    """How the mesh is to be installed.

    Args:
        distribution: the profile; its installer is the one that is used.
        istio_version: of the images, without a v.
        istioctl: the program.
        helm: the program, where there is one.
        images: where they come from.
        built: hub and tag of Istio's images where they were built here; the operator, which names others, is told.
        sample_namespace: of the sample workloads.
        timeout_scale: factor for every deadline.
        run_id: written as a label on what the suite applies.

    Raises:
        UserError: the version is too old.
    """
    sail = distribution.installer == "sail"
    hub, tag = _place(distribution, built)
    known, release = facts(istio_version), distribution.release(istio_version)
    return MeshSettings(
        istio_version=istio_version,
        istioctl=istioctl,
        installer=distribution.installer,
        distribution=distribution.name,
        hub=hub,
        tag=tag,
        images=images,
        system_namespace=distribution.namespaces.system,
        cni_namespace=distribution.namespaces.cni,
        sample_namespace=sample_namespace,
        helloworld_image=known.helloworld_image,
        sleep_image=known.sleep_image,
        profile=_overlay(distribution, hub if sail else "", tag if sail else ""),
        operator=distribution.operator_for(istio_version) if sail else None,
        helm=helm,
        api_version=release.api_version or distribution.api_version,
        resource_version=distribution.resource_version,
        resource_profile=distribution.profile,
        platform=distribution.platform,
        pull_secret=distribution.pull_secret,
        cli=distribution.cli,
        timeout_scale=timeout_scale,
        run_id=run_id,
    )


def _place(distribution: Distribution, built: tuple[str, str] | None) -> tuple[str, str]:
    """Hub and tag of Istio's images, empty where they are the installer's own."""
    named = distribution.hub, distribution.tag
    return built if built and distribution.installer == "sail" and not any(named) else named


def _overlay(distribution: Distribution, hub: str, tag: str) -> Overlay:
    """What is added to the chapter's values, each with a line that says so.

    With istioctl hub and tag are settings of their own, and no addition to the chapter, which names none.
    """
    named = {key: value for key, value in (("hub", hub), ("tag", tag)) if value}
    values: Mapping[str, Any] = {"global": named} if named else {}
    if distribution.pull_secret:
        values = merged(values, {"global": {"imagePullSecrets": [distribution.pull_secret.name]}})
    reasons = [f"{line}: where the images are" for line in leaves(values)]
    reasons += [f"{line}: distribution {distribution.name}" for line in leaves(distribution.values)]
    return Overlay(merged(values, distribution.values), tuple(reasons))


def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """`a.b.c=value` for each value that is no mapping."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{path}{key}.")
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield f"{path}{key}={text}"


def described(settings: MeshSettings) -> dict[str, str]:
    """What a profile came to, for the report: key of the profile → value in words; what is as usual is left out."""
    wanted = {
        "operator": _arrival(settings),
        "api_version": settings.api_version if settings.installer == "sail" else "",
        "resource_version": settings.resource_version,
        "profile": settings.resource_profile,
        "hub": settings.hub,
        "tag": settings.tag,
        "pull_secret": settings.pull_secret.name if settings.pull_secret else "",
        "platform": settings.platform,
        "namespaces": f"{settings.system_namespace}, {settings.cni_namespace}",
    }
    return {key: value for key, value in wanted.items() if value}


def _arrival(settings: MeshSettings) -> str:
    operator = settings.operator
    if isinstance(operator, HelmChart):
        # A path says something of the machine, and nothing of the operator.
        words = ["helm chart", Path(operator.chart).name, operator.version, operator.repository]
    elif isinstance(operator, OlmSubscription):
        words = ["olm package", operator.package, "channel", operator.channel, "source", operator.source]
        words += ["approval", operator.approval] if operator.approval == "Manual" else []
    elif isinstance(operator, Manifests):
        words = ["manifests", ", ".join(Path(file).name for file in operator.files)]
    else:
        words = ["present"] if operator or settings.installer == "sail" else []
    return " ".join(word for word in words if word)
