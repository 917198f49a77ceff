"""What OLM must have on a cluster before an operator can be subscribed to, and whose operator stands there already.

Source: Operator Lifecycle Manager, "CatalogSource", "PackageManifest", "OperatorGroups".
"""

import difflib
from collections.abc import Iterable

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.errors import UserError
from harness.kube.api import KubeApi, Object, unanswered
from harness.mesh.distributions.model import OlmSubscription
from harness.mesh.olm import API, CSV, GROUPS_API, status_of
from harness.mesh.sail import API_GROUP

PACKAGES_API = "packages.operators.coreos.com/v1"
_DEFINITION = f"istios.{API_GROUP}"
_RUN_BY = ("sail-operator", "servicemesh-operator3")
"""Label `control-plane` of the operator's Deployment: upstream's, and OpenShift Service Mesh's."""


def require_catalogue(kube: KubeApi, operator: OlmSubscription) -> None:
    """See that OLM can install the operator, before anything is created.

    Raises:
        UserError: OLM, the catalogue, the package or the channel is missing, or somebody's Subscription stands there.
    """
    if not kube.serves(API, "Subscription"):
        raise UserError(
            f"Operator Lifecycle Manager (OLM) is not installed on {kube.name}.",
            f"by the distribution the operator arrives by OLM, and the API server does not serve Subscription of {API}",
            "install OLM, or say in the distribution that the operator arrives otherwise",
        )
    _require_nobodys(kube, operator)
    source = kube.get(API, "CatalogSource", operator.source, operator.source_namespace)
    if source is None:
        there = [_named(found) for found in kube.list(API, "CatalogSource")]
        raise UserError(
            f"There is no CatalogSource {operator.source} in {operator.source_namespace} on {kube.name}.",
            f"there are: {', '.join(sorted(there))}" if there else "there is none at all",
            "correct operator.source and operator.source_namespace in the distribution, or make it",
        )
    if kube.serves(PACKAGES_API, "PackageManifest"):
        _require_package(_packages(kube, operator), source, operator, kube.name)


def abandoned(kube: KubeApi) -> bool:
    """Whether an operator's definitions were left by OLM, which keeps them when an operator is removed."""
    definition = kube.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", _DEFINITION)
    labels = ((definition or {}).get("metadata") or {}).get("labels") or {}
    if not any(key == "olm.managed" or key.startswith("operators.coreos.com/") for key in labels):
        return False
    owned = any(_owns(version) for version in kube.list(API, CSV))
    return not owned and not any(
        kube.list("apps/v1", "Deployment", label_selector=f"control-plane={name}") for name in _RUN_BY
    )


def standing(kube: KubeApi, operator: OlmSubscription) -> str:
    """Of an operator that stands there: which version it is, and what it follows; in words."""
    found = _subscriptions(kube, operator)
    if len(found) != 1:
        return "it is there"
    channel, installed = str(found[0]["spec"].get("channel") or ""), status_of(found[0]).get("installedCSV")
    other = "" if channel == operator.channel else f", not {operator.channel}; nothing is changed"
    return f"it is there: {installed or 'no version'} by Subscription {_named(found[0])}, channel {channel}{other}"


def _require_nobodys(kube: KubeApi, operator: OlmSubscription) -> None:
    if found := _subscriptions(kube, operator):
        raise UserError(
            f"A Subscription of {operator.package} stands on {kube.name} already, and its operator does not run.",
            f"it is {_named(found[0])}, {status_of(found[0]).get('state') or 'without a state'}; "
            "what is not the run's own it leaves alone",
            "see to it that the operator is installed, which the run then uses, or delete the Subscription",
        )
    groups = kube.list(GROUPS_API, "OperatorGroup", operator.namespace)
    if len(groups) > 1:
        raise UserError(
            f"{operator.namespace} on {kube.name} has {len(groups)} OperatorGroups.",
            f"OLM installs nothing into such a namespace: {', '.join(sorted(map(_named, groups)))}",
            "leave one of them, or give another operator.namespace in the distribution",
        )


def _require_package(packages: list[Object], source: Object, operator: OlmSubscription, cluster: str) -> None:
    found = next((package for package in packages if package["metadata"]["name"] == operator.package), None)
    if found is None:
        state = (status_of(source).get("connectionState") or {}).get("lastObservedState") or "not connected"
        near = _nearest(operator.package, (package["metadata"]["name"] for package in packages))
        raise UserError(
            f"CatalogSource {operator.source} on {cluster} has no package {operator.package}.",
            f"packages that it holds: {len(packages)}{near}; its connection: {state}",
            "correct operator.package in the distribution, or wait until the catalogue is served",
        )
    channels = {channel["name"]: channel for channel in status_of(found).get("channels") or []}
    if operator.channel not in channels:
        raise UserError(
            f"Package {operator.package} on {cluster} has no channel {operator.channel}.",
            f"it has: {', '.join(sorted(channels))}",
            "correct operator.channel, or what the distribution's releases say of it",
        )
    versions = [entry["name"] for entry in channels[operator.channel].get("entries") or []]
    if operator.starting_csv and versions and operator.starting_csv not in versions:
        raise UserError(
            f"Channel {operator.channel} of {operator.package} on {cluster} has no {operator.starting_csv}.",
            f"it has: {', '.join(versions)}",
            "correct operator.starting_csv in the distribution",
        )


def _packages(kube: KubeApi, operator: OlmSubscription) -> list[Object]:
    try:
        found = kube.list(
            PACKAGES_API, "PackageManifest", operator.source_namespace, label_selector=f"catalog={operator.source}"
        )
    except (ApiException, HTTPError) as failed:
        refused = "see that OLM's packageserver runs, and that the user of that context may list PackageManifests"
        question = "which packages OLM's catalogues have there"
        raise unanswered(kube.access.context, question, failed, refused) from None
    return [
        package for package in found if status_of(package).get("catalogSourceNamespace") == operator.source_namespace
    ]


def _subscriptions(kube: KubeApi, operator: OlmSubscription) -> list[Object]:
    """Every Subscription of the package, in whatever namespace and under whatever name."""
    return [found for found in kube.list(API, "Subscription") if found["spec"].get("name") == operator.package]


def _owns(version: Object) -> bool:
    owned = (version["spec"].get("customresourcedefinitions") or {}).get("owned") or []
    return any(definition.get("name") == _DEFINITION for definition in owned)


def _named(found: Object) -> str:
    return f"{found['metadata']['namespace']}/{found['metadata']['name']}"


def _nearest(name: str, there: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(there), 1)
    return f", the nearest is {near[0]}" if near else ""
