"""Everything that stands on a cluster: taken before a run, and compared with what stands after it."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from sys import intern
from typing import Any, Literal

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.kube.api import KubeApi, explain_api_error, listed
from harness.model.observation import InventoryChange

VOLATILE = {
    "Event": "tells what happened, and expires",
    "Event.events.k8s.io": "the same objects under another name",
    "Lease.coordination.k8s.io": "heartbeats and elections, renewed every few seconds",
    "Endpoints": "follows from a Service, and bears no owner",
    "IPAddress.networking.k8s.io": "follows from a Service, and bears no owner",
    "ComponentStatus": "computed when asked for",
    "Node": "comes and goes with autoscaling",
    "CertificateSigningRequest.certificates.k8s.io": "made by nodes, removed hours later",
}
"""Kinds that are left out of an inventory, and why."""
COMPUTED_GROUPS = (
    "metrics.k8s.io",
    "custom.metrics.k8s.io",
    "external.metrics.k8s.io",
    "packages.operators.coreos.com",
)
"""Nothing of them is stored: they follow from what runs, or from what catalogues of OLM hold."""
AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"
"""Label of APIServices that the API server makes for each group by itself."""
NOT_LISTABLE = 405
_LISTS = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_DISCOVERY = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)
"""Aggregated discovery: Kubernetes 1.27 and newer."""
_KEPT = ("labels", "annotations")
_WORKERS = 8


@dataclass(frozen=True)
class Kind:
    """A kind that can be listed."""

    api_version: str
    name: str
    plural: str
    namespaced: bool = field(default=False, compare=False)

    @cached_property
    def group_kind(self) -> str:
        """As users write it: Deployment.apps; ConfigMap for the core group."""
        group, slash, _ = self.api_version.rpartition("/")
        return f"{self.name}.{group}" if slash else self.name

    @property
    def path(self) -> str:
        """Where all its objects are listed."""
        return self.path_in("")

    def path_in(self, namespace: str) -> str:
        """Where its objects in a namespace are listed; those of all namespaces where it is empty."""
        prefix = "apis" if "/" in self.api_version else "api"
        within = f"/namespaces/{namespace}" if namespace else ""
        return f"/{prefix}/{self.api_version}{within}/{self.plural}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One object; a large cluster has tens of thousands."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    managers: tuple[str, ...] = field(default=(), compare=False)
    """Who has written it, but for its status (managedFields)."""
    finalizers: tuple[str, ...] = field(default=(), compare=False)
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Of a namespace only, like its annotations: the run adds some."""
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind with group, namespace, name."""
        return self.kind.group_kind, self.namespace, self.name

    def __str__(self) -> str:
        """Kind namespace/name."""
        return f"{self.kind.name} " + (f"{self.namespace}/" if self.namespace else "") + self.name


@dataclass(frozen=True)
class Inventory:
    """The objects of a cluster but for volatile ones, and for those that another object owns and takes with it."""

    cluster: str
    entries: Mapping[tuple[str, str, str], Entry]
    unread: Mapping[str, str] = field(default_factory=dict)
    """Kind → why its objects could not be listed."""

    def __contains__(self, key: object) -> bool:
        """Whether an object of that kind, namespace and name stood there, or may have: its kind could not be listed."""
        return key in self.entries or (isinstance(key, tuple) and key[0] in self.unread)

    def holds_namespace(self, name: str) -> bool:
        """Whether that namespace stood there, or may have."""
        return ("Namespace", "", name) in self


def take(kube: KubeApi) -> Inventory:
    """List every object of every kind, about a second; of the objects only their metadata is read.

    Raises:
        ApiException: the API server refuses discovery.
        HTTPError: the API server does not answer.
    """
    kinds = [kind for kind in discover(kube) if kind.group_kind not in VOLATILE]
    with ThreadPoolExecutor(_WORKERS) as pool:
        listed = list(pool.map(lambda kind: _list(kube, kind), kinds))
    entries = {entry.key: entry for found, _ in listed for entry in found}
    unread = {kind.group_kind: why for kind, (_, why) in zip(kinds, listed, strict=True) if why}
    return Inventory(kube.name, entries, unread)


def take_namespace(kube: KubeApi, name: str) -> Inventory:
    """A namespace and every object in it; empty where the namespace does not exist: then nothing can be in it.

    Raises:
        ApiException: the API server refuses to say whether the namespace exists, or refuses discovery.
        HTTPError: the API server does not answer.
    """
    found = kube.read(f"/api/v1/namespaces/{name}")
    if found is None:
        return Inventory(kube.name, {})
    kind = Kind("v1", "Namespace", "namespaces")
    entries = {entry.key: entry for entry in _entries(kind, [found])}
    unread: dict[str, str] = {}
    for each in discover(kube):
        if not each.namespaced or each.group_kind in VOLATILE:
            continue
        listed, why = _list(kube, each, name)
        entries |= {entry.key: entry for entry in listed}
        unread |= {each.group_kind: why} if why else {}
    return Inventory(kube.name, entries, unread)


def discover(kube: KubeApi) -> list[Kind]:
    """The kinds that can be listed, each in its group's preferred version."""
    return [kind for path in ("/api", "/apis") for kind in _kinds(kube.read(path, accept=_DISCOVERY) or {})]


def leftovers(before: Inventory, after: Inventory) -> list[Entry]:
    """What stands after and certainly did not stand before, by kind, namespace and name."""
    return [entry for key, entry in after.entries.items() if key not in before]


def changes(before: Inventory, after: Inventory) -> tuple[InventoryChange, ...]:
    """What differs between two inventories of a cluster. Pure.

    Kinds that could not be listed on one of both occasions are left out. An object that was removed and made again is
    missing: what stood there before is gone.
    """
    unread = {*before.unread, *after.unread}
    return tuple(
        change
        for change in sorted(_changes(before, after), key=lambda c: (c.kind, c.namespace, c.name))
        if change.kind not in unread
    )


def _changes(before: Inventory, after: Inventory) -> Iterator[InventoryChange]:
    for entry in leftovers(before, after):
        held = f"held by finalizers {', '.join(entry.finalizers)}; " if entry.finalizers else ""
        yield _change(before, entry, "left behind", f"{held}written by {', '.join(entry.managers) or 'unknown'}")
    for key, entry in before.entries.items():
        now = after.entries.get(key)
        if now is None:
            yield _change(before, entry, "missing", "")
        elif now.uid != entry.uid:
            yield _change(before, entry, "missing", "another object stands under its name")


def _change(
    inventory: Inventory, entry: Entry, what: Literal["left behind", "missing"], detail: str
) -> InventoryChange:
    return InventoryChange(
        cluster=inventory.cluster,
        change=what,
        kind=entry.kind.group_kind,
        namespace=entry.namespace,
        name=entry.name,
        detail=detail,
    )


def _kinds(discovery: Mapping[str, Any]) -> Iterator[Kind]:
    for group in discovery.get("items") or []:
        name = group["metadata"].get("name") or ""
        if name in COMPUTED_GROUPS or not group.get("versions"):
            continue
        preferred = group["versions"][0]
        api_version = f"{name}/{preferred['version']}" if name else preferred["version"]
        for resource in preferred.get("resources") or []:
            if "list" in resource.get("verbs") or []:
                kind, namespaced = resource["responseKind"]["kind"], resource.get("scope") == "Namespaced"
                yield Kind(api_version, kind, resource["resource"], namespaced)


def _list(kube: KubeApi, kind: Kind, namespace: str = "") -> tuple[list[Entry], str]:
    try:
        return list(_entries(kind, listed(kube, kind.path_in(namespace), accept=_LISTS) or ())), ""
    except ApiException as refused:
        return [], "" if refused.status == NOT_LISTABLE else explain_api_error(refused)
    except HTTPError as broken:
        return [], str(broken)


def _entries(kind: Kind, items: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    for item in items:
        metadata = item["metadata"]
        if metadata.get("ownerReferences") or AUTOMANAGED in (metadata.get("labels") or {}):
            continue
        # istiod and operators write the status of what users make.
        written = (entry for entry in metadata.get("managedFields") or [] if not entry.get("subresource"))
        managers = (entry.get("manager") or "" for entry in written)
        yield Entry(
            kind,
            intern(metadata.get("namespace") or ""),
            metadata["name"],
            metadata.get("uid") or "",  # an aggregated API may compute its objects
            tuple(dict.fromkeys(managers)),
            tuple(metadata.get("finalizers") or ()),
            **({part: metadata.get(part) or {} for part in _KEPT} if kind.group_kind == "Namespace" else {}),
        )
