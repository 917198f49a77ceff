"""Pods that can't become ready by themselves: a wait for them need not run its whole time.

Conservative: registries hiccup, a ConfigMap may come a moment later, and a program that crashed may run when it is
started again. So a state must last, or a container must have ended several times, before it is given up.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.container_log import last_words
from harness.base.redaction import redact
from harness.kube.api import KubeApi, Object

LEAST_PATIENCE = 30.0
"""Seconds for which a state must last; a sixth of the whole wait where that is longer."""
IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
LASTING = IMAGE | {"CreateContainerConfigError"}
CRASHED = "CrashLoopBackOff"
MOST_RESTARTS = 3
MOST_RESTARTS_OVER_CERTIFICATES = 2
_LOG_LINES = 40
_CERTIFICATE = re.compile(r"x509|certificate|cacerts|failed to create (an istiod )?CA|private key", re.IGNORECASE)
_REVISION_LABELS = ("pod-template-hash", "controller-revision-hash")


@dataclass(frozen=True)
class Trouble:
    """A container that waits, and not only for its turn."""

    namespace: str
    pod: str
    container: str
    reason: str
    message: str
    restarts: int

    @property
    def kind(self) -> str:
        """What counts as the same trouble: a pull goes back and forth between ErrImagePull and ImagePullBackOff."""
        return "image" if self.reason in IMAGE else self.reason

    def __str__(self) -> str:
        """In one line."""
        # Of a crash kubelet says only for how long it will not try again.
        message = f": {self.message}" if self.message and self.reason != CRASHED else ""
        return f"pod {self.pod}: container {self.container}: {self.reason}{message}"


class StuckPods:
    """Tells, asked again and again, whether a workload's pods have got stuck.

    Args:
        kube: the cluster.
        pods: reads the workload's pods.
        timeout: seconds of the whole wait.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        kube: KubeApi,
        pods: Callable[[], Iterable[Object]],
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube, self._pods, self._clock = kube, pods, clock
        self._patience = max(LEAST_PATIENCE, timeout / 6)
        self._since: dict[tuple[str, str, str], float] = {}

    def __call__(self) -> str:
        """Why they can't become ready by themselves; empty while they may."""
        try:
            found = [trouble for pod in newest_revision(self._pods()) for trouble in troubles(pod)]
        except (ApiException, HTTPError):
            return ""  # while it can't be found out whether there is hope, there is
        now = self._clock()
        keys = [(trouble.pod, trouble.container, trouble.kind) for trouble in found]
        self._since = {key: self._since.get(key, now) for key in keys}
        lasted = [now - self._since[key] for key in keys]
        return next(filter(None, map(self._hopeless, found, lasted)), "")

    def _hopeless(self, trouble: Trouble, seconds: float) -> str:
        if trouble.reason in LASTING and seconds >= self._patience:
            return f"{trouble} (for {seconds:.0f} s)"
        if trouble.reason != CRASHED or trouble.restarts < MOST_RESTARTS_OVER_CERTIFICATES:
            return ""
        said = crash_log(self._kube, trouble)
        if trouble.restarts >= MOST_RESTARTS or any(map(_CERTIFICATE.search, said)):
            return "; ".join([f"{trouble} ({trouble.restarts} restarts)", *said[-1:]])
        return ""


def newest_revision(pods: Iterable[Object]) -> list[Object]:
    """The pods of the newest template: what is left of an older one is about to go. Pure."""
    there = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    newest = max(there, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""), default=None)
    return [pod for pod in there if newest and _revision(pod) == _revision(newest)]


def _revision(pod: Object) -> str:
    labels = pod["metadata"].get("labels") or {}
    return next((str(labels[key]) for key in _REVISION_LABELS if key in labels), "")


def troubles(pod: Object) -> list[Trouble]:
    """The containers of a pod that wait with a reason. Pure."""
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return [
        Trouble(
            namespace=pod["metadata"].get("namespace", ""),
            pod=pod["metadata"]["name"],
            container=container["name"],
            reason=waiting["reason"],
            message=redact(waiting.get("message") or ""),
            restarts=int(container.get("restartCount") or 0),
        )
        for container in containers
        if (waiting := (container.get("state") or {}).get("waiting") or {}).get("reason")
    ]


def crash_log(kube: KubeApi, trouble: Trouble) -> tuple[str, ...]:
    """What a container that has crashed said at last; nothing where its log can't be read."""
    try:
        text = kube.logs(trouble.namespace, trouble.pod, trouble.container, lines=_LOG_LINES)
    except (ApiException, HTTPError):
        return ()
    return last_words(text)
