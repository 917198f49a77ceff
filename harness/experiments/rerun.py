"""IDEMPOTENT: the procedure, run again on the mesh that it has made."""

import base64
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from harness.base.parallel import in_parallel
from harness.kube import inventory
from harness.kube.api import KubeApi, Object
from harness.mesh import procedure
from harness.mesh.context import Mesh, environment_faults, run_selector
from harness.mesh.pki import CaFiles, Pki
from harness.model import x509
from harness.model.experiment import Rerun, ResourceChange
from harness.model.step import Outcome, Phase
from harness.model.step_log import StepLog

CA_SECRET, CA_FILES = "cacerts", ("ca-cert.pem", "root-cert.pem")
ROOT_CONFIG_MAP = "istio-ca-root-cert"
ASIDE: tuple[tuple[str, str, str], ...] = (
    ("", r"status(\..*)?", "what controllers report"),
    ("", r"metadata\.(resourceVersion|managedFields|generation)(\..*)?", "bookkeeping of the API server"),
    (
        r"(Mutating|Validating)WebhookConfiguration.*",
        r"webhooks\.\d+\.(clientConfig\.caBundle|failurePolicy)",
        "patched by istiod",
    ),
)
"""Kinds (all where empty), paths of fields, and who writes them: not compared."""
_PATCHED = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
"""Kinds whose generation counts what is patched aside as well."""
_WORKLOADS = ("deployments", "daemonsets")
_WORKERS = 8
Key = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass(frozen=True)
class Snapshot:
    """What stands on one cluster; in memory only, for some of it is secret."""

    objects: Mapping[Key, Object]
    certificates: Mapping[str, str]
    """Where it stands → SHA-256 of a CA's certificate."""


def make(mesh: Mesh, pki: Pki) -> Rerun:
    """Run the procedure and deploy the sample again, and compare what stands before with what stands after.

    Each cluster is given another one's certificates: the chapter creates `cacerts` only where it is not there, and a
    procedure that replaces it could otherwise not be told from one that does not.
    """
    log = mesh.log
    with log.step(Phase.EXPERIMENTS, "Record what the run has applied"), environment_faults():
        before = _snapshots(mesh)
    again, began = StepLog(), time.monotonic()
    with log.step(Phase.EXPERIMENTS, "Run the procedure again"), environment_faults():
        rerun = mesh.restarted(again)
        procedure.form(rerun, exchanged(pki))
    seconds = time.monotonic() - began
    with log.step(Phase.EXPERIMENTS, "Compare what the run has applied with what it was"), environment_faults():
        after = _snapshots(mesh)
    return Rerun(
        seconds=round(seconds, 3),
        failed_steps=tuple(
            f"{step.cluster}: {step.title}: {step.detail}"
            for step in again.steps
            if step.outcome in {Outcome.FAILED, Outcome.ERROR}
        ),
        certificates_before={name: dict(found.certificates) for name, found in before.items()},
        certificates_after={name: dict(found.certificates) for name, found in after.items()},
        compared={name: len(found.objects) for name, found in before.items()},
        changes=tuple(change for name in before for change in changes(name, before[name].objects, after[name].objects)),
        aside=tuple(f"{kinds or 'all'}: {path}: {why}" for kinds, path, why in ASIDE),
    )


def exchanged(pki: Pki) -> Pki:
    """Each cluster with the next one's certificates. Pure."""
    names = list(pki.clusters)
    following: dict[str, CaFiles] = dict(
        zip(names, (pki.clusters[name] for name in [*names[1:], *names[:1]]), strict=True)
    )
    return Pki(following)


def changes(cluster: str, before: Mapping[Key, Object], after: Mapping[Key, Object]) -> Iterator[ResourceChange]:
    """What differs between the objects of one cluster, fields that others write aside. Pure."""
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        kind, namespace, name = key
        what, fields = _change(kind, old, new)
        if not what:
            continue
        yield ResourceChange(
            cluster=cluster,
            kind=kind,
            namespace=namespace,
            name=name,
            change=what,
            fields=fields,
            generations=(_generation(old), _generation(new)),
        )


def _change(kind: str, old: Object | None, new: Object | None) -> tuple[str, tuple[str, ...]]:
    if old is None or new is None:
        return "added" if old is None else "removed", ()
    if old["metadata"].get("uid") != new["metadata"].get("uid"):
        return "made again", ()
    fields = differences(kind, old, new)
    written_aside = kind.partition(".")[0] in _PATCHED
    same = not fields and (written_aside or _generation(old) == _generation(new))
    return ("" if same else "changed"), fields


def differences(kind: str, old: Object, new: Object) -> tuple[str, ...]:
    """The paths of the fields in which two states of an object differ, fields that others write aside. Pure."""
    left, right = dict(_leaves(old)), dict(_leaves(new))
    return tuple(
        path
        for path in sorted(left.keys() | right.keys())
        if left.get(path) != right.get(path) and not _set_aside(kind, path)
    )


def _set_aside(kind: str, path: str) -> bool:
    return any((not kinds or re.fullmatch(kinds, kind)) and re.fullmatch(fields, path) for kinds, fields, _ in ASIDE)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}.{index}")
    else:
        yield path, value


def _generation(seen: Object | None) -> int:
    return int(((seen or {}).get("metadata") or {}).get("generation") or 0)


def _snapshots(mesh: Mesh) -> dict[str, Snapshot]:
    found = in_parallel(lambda cluster: _snapshot(mesh, mesh.kube(cluster)), mesh.topology.every)
    return {cluster.name: snapshot for cluster, snapshot in zip(mesh.topology.every, found, strict=True)}


def _snapshot(mesh: Mesh, kube: KubeApi) -> Snapshot:
    settings = mesh.settings
    kinds = [kind for kind in inventory.discover(kube) if kind.group_kind not in inventory.VOLATILE]
    own = {"labelSelector": run_selector(settings)}
    queries = [(kind.group_kind, kind.path, own) for kind in kinds]
    for kind in kinds:
        if kind.api_version == "apps/v1" and kind.plural in _WORKLOADS:
            queries += [
                (kind.group_kind, f"/apis/apps/v1/namespaces/{namespace}/{kind.plural}", {})
                for namespace in settings.namespaces
            ]
    with ThreadPoolExecutor(_WORKERS) as pool:
        listed = pool.map(lambda query: (query[0], kube.read(query[1], **query[2])), queries)
        objects = {
            (kind, item["metadata"].get("namespace") or "", item["metadata"]["name"]): item
            for kind, answer in listed
            for item in (answer or {}).get("items") or ()
            # What another object owns follows from it: EndpointSlices bear their Service's labels.
            if not item["metadata"].get("ownerReferences")
        }
    return Snapshot(objects, dict(_authorities(mesh, kube)))


def _authorities(mesh: Mesh, kube: KubeApi) -> Iterator[tuple[str, str]]:
    secret = kube.get("v1", "Secret", CA_SECRET, mesh.settings.system_namespace) or {}
    for name in CA_FILES:
        yield f"{CA_SECRET}/{name}", _fingerprint(base64.b64decode((secret.get("data") or {}).get(name) or ""))
    roots = kube.get("v1", "ConfigMap", ROOT_CONFIG_MAP, mesh.settings.sample_namespace) or {}
    yield ROOT_CONFIG_MAP, _fingerprint((roots.get("data") or {}).get("root-cert.pem") or "")


def _fingerprint(pem: bytes | str) -> str:
    try:
        return ", ".join(found.sha256 for found in x509.certificates(pem))
    except ValueError:
        return "not a certificate"
