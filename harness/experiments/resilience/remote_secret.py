"""Remote secrets are rotated: a new token first, then the old one is revoked."""

import base64
import json
import time
from uuid import uuid4

import yaml

from harness.base.errors import StepError
from harness.base.waiting import WaitError, wait_until
from harness.experiments.resilience import readings
from harness.experiments.resilience.stage import Stage
from harness.kube.api import Object
from harness.mesh.remote_secrets import READER, create_remote_secret
from harness.model.resilience import ACTED, MENDED, SyncReading, TokenReading
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

TOKEN_SECONDS = 30.0
BEGIN_SECONDS = 2.0
"""For istiod to begin: until then it tells the state before the change."""
SYNC_SECONDS = 60.0
LINGER_SECONDS = 6.0
_PAUSE = 0.3
_SECRET = ("v1", "Secret")
_LAST_USED = "kubernetes.io/legacy-token-last-used"
"""With this label an API server notes, on the Secret of a token, that it was used (Kubernetes 1.28 and newer)."""
_SECRET_CLAIM = "kubernetes.io/serviceaccount/secret.name"  # noqa: S105 - a claim's name


def rotate(stage: Stage) -> None:
    """Give every control plane a new token for every cluster it watches, and revoke the former one."""
    stage.endpoints += readings.endpoints(stage)
    for watched in stage.clusters:
        watching = [p for p in stage.mesh.topology.primaries if watched in stage.mesh.topology.watched_by(p)]
        if watching:
            _rotate(stage, watching, watched)
    stage.note(MENDED)
    stage.await_whole()
    stage.endpoints += readings.endpoints(stage)


def _rotate(stage: Stage, watching: list[Cluster], watched: Cluster) -> None:
    """Give each control plane that watches a cluster a token of its own, then revoke the former, which they share.

    It is not revoked where one of them has not taken its new one.
    """
    stage.note(ACTED, watched, f"new tokens for {', '.join(primary.name for primary in watching)}")
    taken = [_replaced(stage, primary, watched) for primary in watching]
    used = all(used for _, used in taken)
    revoked = used and all(_revoked(stage, watched, former) for former in {former for former, _ in taken})
    stage.note("revoked" if revoked else "not revoked", watched)
    stage.tokens.append(TokenReading(watched=watched.name, old_accepted=not revoked, new_accepted=used))
    stage.linger(LINGER_SECONDS)
    stage.endpoints += readings.endpoints(stage)
    stage.syncs += [_reading(stage, primary) for primary in watching]


def _replaced(stage: Stage, primary: Cluster, watched: Cluster) -> tuple[str, bool]:
    """Give a control plane a new token for a cluster; its former one, and whether it has used the new one."""
    new = _new_token(stage, watched)
    former = _replace(stage, primary, watched, new)
    return former, _await_used(stage, watched, secret_of(token_of(new)))


def _new_token(stage: Stage, watched: Cluster) -> Object:
    """The remote secret of a cluster with a token that is new."""
    kube, namespace = stage.kube(watched), stage.system_namespace
    with stage.step(f"Make a new token of {READER}", watched) as opened:
        name = f"{READER}-{uuid4().hex[:8]}"
        kube.apply(stage.mesh.labelled(token_secret(name, namespace)))
        timeout = stage.seconds(TOKEN_SECONDS)
        kube.wait(*_SECRET, name, namespace, pending=_token_pending, timeout=timeout, step=opened)
        (secret,) = create_remote_secret(stage.mesh, watched, token_secret=name)
    return secret


def _replace(stage: Stage, primary: Cluster, watched: Cluster, secret: Object) -> str:
    """Give a control plane the new secret; returns the former token."""
    name, namespace = secret["metadata"]["name"], secret["metadata"]["namespace"]
    with stage.step(f"Replace the remote secret {name}", primary) as opened:
        former = token_of(stage.kube(primary).get(*_SECRET, name, namespace))
        stage.mesh.apply(primary, secret)
        _await_synced(stage, primary, watched, opened)
    return former


def token_secret(name: str, namespace: str) -> Object:
    """The Secret to which Kubernetes adds a token of the account that remote secrets are made of. Pure."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"kubernetes.io/service-account.name": READER},
        },
    }


def token_of(remote_secret: Object | None) -> str:
    """The token in a remote secret. Pure.

    Raises:
        StepError: there is none.
    """
    secret = remote_secret or {}
    texts = [*(secret.get("stringData") or {}).values()]
    texts += [base64.b64decode(data).decode() for data in (secret.get("data") or {}).values()]
    for text in texts:
        for user in (yaml.safe_load(text) or {}).get("users") or ():
            if token := user["user"].get("token"):
                return str(token)
    raise StepError("the remote secret holds no token")


def secret_of(token: str) -> str:
    """The name of the Secret that a token belongs to, from its claims. Pure.

    Raises:
        StepError: it belongs to none, and so can't be revoked.
    """
    claims = token.split(".")[1]
    name = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))).get(_SECRET_CLAIM)
    if not name:
        raise StepError("the former token is not one of a Secret: it ends by itself, and can't be revoked")
    return str(name)


def _token_pending(seen: Object | None) -> str:
    return "" if seen and (seen.get("data") or {}).get("token") else "Kubernetes has not made the token"


def _reading(stage: Stage, primary: Cluster) -> SyncReading:
    clusters = readings.remote_clusters(stage, primary)
    return SyncReading(at=stage.load.now, cluster=primary.name, clusters=clusters)


def _await_synced(stage: Stage, primary: Cluster, watched: Cluster, opened: OpenStep) -> None:
    """Wait until the control plane has taken the new secret in: first it is at it, then synced again."""
    quick = time.monotonic() + BEGIN_SECONDS

    def pending() -> str:
        reading = _reading(stage, primary)
        states = {row.id: row.sync_status for row in reading.clusters}
        state = states.get(watched.cluster_name) or "unknown"
        if state == readings.SYNCED and time.monotonic() > quick:
            stage.syncs.append(reading)
            return ""
        return f"{watched.cluster_name} is {state} to istiod"

    wait_until(pending, stage.seconds(SYNC_SECONDS), pause_seconds=_PAUSE, waiting=opened.waiting)
    stage.note("synced", primary, watched.cluster_name)


def _await_used(stage: Stage, watched: Cluster, secret: str) -> bool:
    """Wait until a control plane, which alone has the token, has used it; returns whether it has."""

    def pending(seen: Object | None) -> str:
        return "" if seen and _LAST_USED in (seen["metadata"].get("labels") or {}) else "istiod has not used the token"

    timeout = stage.seconds(TOKEN_SECONDS)
    try:
        with stage.step("Wait until istiod has used the new token", watched) as opened:
            kube, namespace = stage.kube(watched), stage.system_namespace
            kube.wait(*_SECRET, secret, namespace, pending=pending, timeout=timeout, step=opened)
    except StepError:
        return False
    return True


def _revoked(stage: Stage, watched: Cluster, token: str) -> bool:
    """Revoke a token; whether the API server then refuses it."""
    with stage.step("Revoke the former token", watched):
        # A token of a Secret is valid for as long as the Secret is there (Kubernetes, "Service account tokens").
        stage.kube(watched).delete(*_SECRET, secret_of(token), stage.system_namespace)
        return _await_refused(stage, watched, token)


def _await_refused(stage: Stage, watched: Cluster, token: str) -> bool:
    """Wait until an API server refuses a token, which it caches for 10 s; returns whether it does."""
    try:
        wait_until(
            lambda: "the token is accepted" if _accepted(stage, watched, token) else "",
            stage.seconds(TOKEN_SECONDS),
            pause_seconds=_PAUSE,
        )
    except WaitError:
        return False
    return True


def _accepted(stage: Stage, watched: Cluster, token: str) -> bool:
    """Whether an API server takes a token (Kubernetes, TokenReview)."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "metadata": {},
        "spec": {"token": token},
    }
    answer = stage.kube(watched).create(review)
    return bool((answer.get("status") or {}).get("authenticated"))
