"""East's remote secret for West, and what stands behind its token: taken away, changed, and put back."""

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import yaml

from harness.base.errors import StepError
from harness.clusters import containers
from harness.kube.api import Object
from harness.mesh.context import environment_faults
from harness.mesh.remote_secrets import READER
from harness.proof.faults.acts.network import made_here
from harness.proof.live.changes import Reference, absent, bare, changed, existing, present
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.restarts import restart_istiod
from harness.proof.live.updates import await_drained, quiet
from harness.proof.live.waits import await_true, control_planes, felt

LABEL = "istio/multiCluster"
NOWHERE = "https://192.0.2.1:6443"
"""An address of RFC 5737, which nobody has."""
OTHER_NAME = "cluster9"
_RBAC = "rbac.authorization.k8s.io/v1"


def missing(live: LiveMesh) -> AbstractContextManager[None]:
    """Delete the remote secret."""
    return _unwatched(live, absent(live, live.east, _secret(live)))


def misplaced(live: LiveMesh) -> AbstractContextManager[None]:
    """Move the remote secret into the namespace default."""
    return _unwatched(live, _moved(live, "default"))


def unlabelled(live: LiveMesh) -> AbstractContextManager[None]:
    """Take the label by which istiod finds it from the remote secret."""
    change = {"metadata": {"labels": {LABEL: None}}}
    return _unwatched(live, changed(live, live.east, _secret(live), change))


@contextmanager
def unreachable(live: LiveMesh) -> Iterator[None]:
    """Let the remote secret name a server that does not answer.

    Afterwards the control plane is restarted: it would take notice of one more change of the secret and of none after
    that (seen with Istio 1.31, whose secret controller waits in informerFactory.Shutdown for watches of the server that
    never answered, and does nothing else meanwhile).
    """
    key, kubeconfig = _kubeconfig(live)
    for entry in kubeconfig["clusters"]:
        entry["cluster"]["server"] = NOWHERE
    with changed(live, live.east, _secret(live), {"data": {key: _encoded(yaml.safe_dump(kubeconfig))}}):
        _await_status(live, live.west.cluster_name, "timeout")
        yield
    restart_istiod(live, live.east)
    _await_status(live, live.west.cluster_name, "synced")


@contextmanager
def unverified(live: LiveMesh) -> Iterator[None]:
    """Let the remote secret accept whatever certificate the server shows."""
    key, kubeconfig = _kubeconfig(live)
    for entry in kubeconfig["clusters"]:
        del entry["cluster"]["certificate-authority-data"]  # clients refuse both at once
        entry["cluster"]["insecure-skip-tls-verify"] = True
    with quiet(live, changed(live, live.east, _secret(live), {"data": {key: _encoded(yaml.safe_dump(kubeconfig))}})):
        _await_status(live, live.west.cluster_name, "synced")
        yield
    _await_status(live, live.west.cluster_name, "synced")


@contextmanager
def ends_soon(live: LiveMesh) -> Iterator[None]:
    """Let the remote secret hold a client certificate of ten days in place of the reader's token.

    West's kubeadm issues it, in the name and the groups of the reader: what it may do stays as it was. The sample's pod
    can't try it (RS-USABLE, RS-LEAST are skipped).

    Raises:
        StepError: the suite has not made West, or no certificate was issued there.
    """
    west = made_here(live, live.west)
    namespace, accounts = live.mesh.settings.system_namespace, "system:serviceaccounts"
    name, groups = f"system:serviceaccount:{namespace}:{READER}", f"{accounts},{accounts}:{namespace}"
    command = ["kubeadm", "kubeconfig", "user", "--config=/kind/kubeadm.conf", "--validity-period=240h"]
    command += [f"--client-name={name}", f"--org={groups}"]
    with environment_faults():
        issued = yaml.safe_load(containers.execute(west.engine, west.nodes[0], *command))
    key, kubeconfig = _kubeconfig(live)
    for entry in kubeconfig["users"]:
        entry["user"] = issued["users"][0]["user"]
    with quiet(live, changed(live, live.east, _secret(live), {"data": {key: _encoded(yaml.safe_dump(kubeconfig))}})):
        _await_status(live, live.west.cluster_name, "synced")
        yield
    _await_status(live, live.west.cluster_name, "synced")


@contextmanager
def revoked(live: LiveMesh) -> Iterator[None]:
    """Delete the Secret on West that makes the token valid."""
    token = _token(live)
    with absent(live, live.west, _token_secret(live, token)):
        _await_token(live, token, valid=False)
        yield
    _await_token(live, token, valid=True)


@contextmanager
def powerless(live: LiveMesh) -> Iterator[None]:
    """Delete the role bindings of the account behind the token."""
    with environment_faults():
        bindings = [found for found in live.kube(live.west).list(_RBAC, "ClusterRoleBinding") if _binds(live, found)]
    with ExitStack() as mending:
        for found in bindings:
            binding = Reference(_RBAC, "ClusterRoleBinding", found["metadata"]["name"])
            mending.enter_context(absent(live, live.west, binding))
        _await_permission(live, "list", allowed=False)
        yield
    _await_permission(live, "list", allowed=True)


@contextmanager
def powerful(live: LiveMesh) -> Iterator[None]:
    """Bind the account behind the token to cluster-admin."""
    binding = {
        "apiVersion": _RBAC,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "eastwest-reader-is-admin"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [_subject(live)],
    }
    with present(live, live.west, binding):
        _await_permission(live, "create", allowed=True)
        yield
    _await_permission(live, "create", allowed=False)


@contextmanager
def wrong_name(live: LiveMesh) -> Iterator[None]:
    """Key the remote secret by another cluster's name; the proxies lose the endpoints there, and have them again.

    Clients' connections to a remote's helloworld go on by the configuration that its proxy had when they were made,
    until they are drained: only then is what it has now what requests meet.
    """
    key, _ = _kubeconfig(live)
    value = existing(live, live.east, _secret(live))["data"][key]
    with changed(live, live.east, _secret(live), {"data": {key: None, OTHER_NAME: value}}):
        _await_status(live, OTHER_NAME, "synced")
        await_drained(live)
        yield
    _await_status(live, live.west.cluster_name, "synced")
    await_drained(live)


def _unwatched(live: LiveMesh, change: AbstractContextManager[None]) -> AbstractContextManager[None]:
    """A change by which East's clients lose the endpoints on West."""
    return felt(live, live.mesh.topology.served_by(live.east), change)


@contextmanager
def _moved(live: LiveMesh, namespace: str) -> Iterator[None]:
    before = existing(live, live.east, _secret(live))
    copy = bare(before)
    copy["metadata"]["namespace"] = namespace
    with present(live, live.east, copy), absent(live, live.east, _secret(live)):
        yield


def _secret(live: LiveMesh) -> Reference:
    """East's remote secret for West, as it was when the mesh was good.

    Raises:
        StepError: there was none.
    """
    name = live.west.cluster_name
    for found in live.good[live.east].remote_secrets:
        if name in found.clusters:
            return Reference("v1", "Secret", found.name, found.namespace)
    raise StepError(f"{live.east.name} has no remote secret for {name}")


def _kubeconfig(live: LiveMesh) -> tuple[str, Any]:
    """The key of the remote secret, and the kubeconfig that it holds."""
    key = live.west.cluster_name
    data = existing(live, live.east, _secret(live))["data"]
    return key, yaml.safe_load(base64.b64decode(data[key]))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _token(live: LiveMesh) -> str:
    _, kubeconfig = _kubeconfig(live)
    return str(kubeconfig["users"][0]["user"]["token"])


def _token_secret(live: LiveMesh, token: str) -> Reference:
    """The Secret on West that holds this token; it is valid as long as that stands (Kubernetes, "Secrets").

    Raises:
        StepError: there is none: the token is a short-lived one.
    """
    system = live.mesh.settings.system_namespace
    with environment_faults():
        for found in live.kube(live.west).list("v1", "Secret", system):
            if (found.get("data") or {}).get("token") == _encoded(token):
                return Reference("v1", "Secret", found["metadata"]["name"], system)
    raise StepError(f"no Secret on {live.west.name} holds the token of the remote secret")


def _subject(live: LiveMesh) -> Object:
    return {"kind": "ServiceAccount", "name": READER, "namespace": live.mesh.settings.system_namespace}


def _binds(live: LiveMesh, binding: Object) -> bool:
    return any(
        all(subject.get(field) == value for field, value in _subject(live).items())
        for subject in binding.get("subjects") or ()
    )


def _await_status(live: LiveMesh, name: str, wanted: str) -> None:
    """Wait until East's control planes report a remote cluster so."""

    def pending() -> str:
        reported = [
            next((row.sync_status for row in plane.clusters if row.id == name), "unknown")
            for plane in control_planes(live, live.east)
        ]
        return "" if reported and set(reported) == {wanted} else f"{name} is {', '.join(reported) or 'not reported'}"

    await_true(live, live.east, f"Wait until the control plane reports {name} {wanted}", pending)


def _await_token(live: LiveMesh, token: str, *, valid: bool) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    # The API server remembers a token that it has accepted for ten seconds.
    title = f"Wait until the token is {'valid' if valid else 'not valid any more'}"
    _await_review(live, title, review, lambda status: bool(status.get("authenticated")) is valid)


def _await_permission(live: LiveMesh, verb: str, *, allowed: bool) -> None:
    system = live.mesh.settings.system_namespace
    spec = {
        "user": f"system:serviceaccount:{system}:{READER}",
        "groups": ["system:serviceaccounts", f"system:serviceaccounts:{system}", "system:authenticated"],
        "resourceAttributes": {"verb": verb, "resource": "pods", "namespace": system},
    }
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    title = f"Wait until the account {'may' if allowed else 'may not'} {verb} pods"
    _await_review(live, title, review, lambda status: bool(status.get("allowed")) is allowed)


def _await_review(live: LiveMesh, title: str, review: Object, settled: Callable[[Object], bool]) -> None:
    """Ask West's API server until it answers so."""

    def pending() -> str:
        answer = live.kube(live.west).create({**review, "metadata": {}})
        return "" if settled(answer.get("status") or {}) else "the API server still answers as before"

    await_true(live, live.west, title, pending)
