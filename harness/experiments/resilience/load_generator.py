"""Requests that go on while a mesh is changed: from sleep in every cluster, at a fixed rate, in one exec each."""

import shlex
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from harness.base.parallel import check_interrupted
from harness.experiments.testbed import ready_pods
from harness.kube.api import KubeApi, TransportError
from harness.mesh.context import ENVIRONMENT_ERRORS
from harness.model import expectations
from harness.model.resilience import Interruption, Stream
from harness.model.traffic import Request
from harness.observe.reading import explain
from harness.observe.sequence import MARK, WRITE_OUT, request

RATE = 5.0
"""Requests a second from each cluster: enough to see a gap of a second, little enough not to be the load itself."""
LIMIT_SECONDS = 5
LONGEST_SECONDS = 900
"""After which the sending script ends by itself, should it be orphaned."""
_RETRY = 0.2
_WATCH_SECONDS = 10.0
# Each request is sent in the background, so that one that hangs delays none of those after it.
_LOOP = """
set -f
printf '@@ begin %s %s\\n' "$$" "$(cat /proc/uptime)"
sent=0
while [ "$sent" -lt "$most" ]; do
  sent=$((sent + 1))
  read -r up idle </proc/uptime
  (
    set -- $(curl -s --noproxy '*' --max-time "$limit" -H 'Connection: close' -w "$format" "$url")
    printf '@@ sent %s %s\\n' "$up" "$*"
  ) &
  sleep "$pause"
done
wait
"""


def script(url: str, rate: float, limit: int) -> str:
    """The shell script that sends. Pure."""
    settings = {
        "url": url,
        "limit": limit,
        "pause": f"{1 / rate:.2f}",
        "most": int(LONGEST_SECONDS * rate),
        "format": WRITE_OUT,
    }
    return "\n".join(f"{name}={shlex.quote(str(value))}" for name, value in settings.items()) + _LOOP


@dataclass
class OutputParser:
    """Reads the script's output. Pure.

    Args:
        now: seconds on the scenario's clock, at which the script's first line came.
    """

    now: Callable[[], float]
    process: str = ""
    """Id of the script's process in its container."""
    _offset: float = 0.0

    def __call__(self, line: str) -> Request | None:
        """The request that a line tells of; None where it tells of none."""
        words = line.split(maxsplit=3)
        if words[:2] == [MARK, "begin"]:
            self.process = words[2]
            self._offset = self.now() - float(words[3].split()[0])
        if words[:2] != [MARK, "sent"]:
            return None
        body, _, told = words[3].partition(f"{MARK} ")
        return request(f"{MARK} {told}", body.strip(), float(words[2]) + self._offset)


@dataclass
class LoadClient:
    """One cluster's sleep, and what it has sent."""

    cluster: str
    kube: KubeApi
    requests: list[Request] = field(default_factory=list)
    interruptions: list[Interruption] = field(default_factory=list)
    pod: str = ""
    process: str = ""

    def interrupted(self, now: float, reason: str, *, intended: bool = False) -> None:
        """Note that nothing has been sent since the last request: one interruption, however often it is retried."""
        at = max((request.sent for request in self.requests), default=0.0)
        if self.interruptions and self.interruptions[-1].at == at:
            self.interruptions.pop()
        seconds = round(now - at, 3)
        self.interruptions.append(Interruption(at=at, seconds=seconds, pod=self.pod, reason=reason, intended=intended))


class LoadGenerator:
    """Requests under way from every cluster, between `start` and `stop`.

    Args:
        kubes: the clusters, in the topology's order.
        namespace: the sample namespace.
        timeout_scale: factor for the seconds that one request may take.
    """

    def __init__(self, kubes: Sequence[KubeApi], namespace: str, timeout_scale: float = 1.0) -> None:
        self._namespace, self.limit = namespace, max(1, round(LIMIT_SECONDS * timeout_scale))
        self._url = f"http://{expectations.HELLOWORLD}.{namespace}:{expectations.HELLOWORLD_PORT}/hello"
        self._clients = [LoadClient(kube.name, kube) for kube in kubes]
        self._threads = [threading.Thread(target=self._send, args=(client,), daemon=True) for client in self._clients]
        self._stopping, self._paused = threading.Event(), threading.Event()
        self._came = threading.Condition()
        self._began = time.monotonic()

    def start(self) -> None:
        """Begin to send; the scenario's clock begins with it."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more; waits for answers that are still to come."""
        self._stopping.set()
        for client in self._clients:
            self._end(client)
        for thread in self._threads:
            thread.join(timeout=self.limit + 10)

    def pause(self) -> None:
        """Send nothing until `resume`."""
        self._paused.set()
        for client in self._clients:
            self._end(client)

    def resume(self) -> None:
        """Send again."""
        self._paused.clear()

    @property
    def now(self) -> float:
        """Seconds since the first request."""
        return round(time.monotonic() - self._began, 3)

    def streams(self) -> tuple[Stream, ...]:
        """What has come so far, one for each cluster."""
        with self._came:
            return tuple(
                Stream(
                    client=client.cluster,
                    requests=tuple(sorted(client.requests, key=lambda each: each.sent)),
                    interruptions=tuple(client.interruptions),
                )
                for client in self._clients
            )

    def wait(self, holds: Callable[[tuple[Stream, ...], float], bool], timeout: float) -> bool:
        """Wait until something holds of the streams and the present time; whether it came to hold in time."""
        deadline = time.monotonic() + timeout
        while not holds(self.streams(), self.now):
            check_interrupted()
            if time.monotonic() > deadline:
                return False
            with self._came:
                self._came.wait(timeout=_RETRY)
        return True

    def _end(self, client: LoadClient) -> None:
        if client.process:
            try:
                client.kube.exec(self._namespace, client.pod, expectations.SLEEP, ("kill", client.process))
            except TransportError:
                return  # the pod is gone, and the script with it

    def _send(self, client: LoadClient) -> None:
        while not self._stopping.is_set():
            if self._paused.is_set():
                client.interrupted(self.now, "paused by the scenario", intended=True)
                self._stopping.wait(_RETRY)
                continue
            try:
                self._send_from_pod(client)
                reason = "the script ended"
            except (TransportError, *ENVIRONMENT_ERRORS) as broken:
                reason = explain(broken)
            if self._stopping.is_set():
                return
            if self._paused.is_set():
                continue
            self._stopping.wait(_RETRY)  # the next pod is ready before this one is gone, as Deployments go
            client.interrupted(self.now, reason)

    def _send_from_pod(self, client: LoadClient) -> None:
        pods = ready_pods(client.kube, self._namespace, expectations.SLEEP)
        newest = max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)
        if newest is None:
            raise TransportError(f"no pod of {expectations.SLEEP} is ready on {client.cluster}")
        client.pod = newest["metadata"]["name"]
        read, going, over = OutputParser(lambda: self.now), threading.Event(), threading.Event()
        threading.Thread(target=self._watch, args=(client.kube, client.pod, going, over), daemon=True).start()
        command = ("sh", "-c", script(self._url, RATE, self.limit))
        timeout = LONGEST_SECONDS + self.limit
        try:
            for line in client.kube.exec_lines(
                self._namespace, client.pod, expectations.SLEEP, command, timeout=timeout
            ):
                if going.is_set():
                    # What comes from now on tells of the end of this pod's proxy, and nothing of the mesh.
                    raise TransportError(f"{client.pod} was deleted")
                found = read(line)
                client.process = read.process
                if found:
                    with self._came:
                        client.requests.append(found)
                        self._came.notify_all()
        finally:
            over.set()

    def _watch(self, kube: KubeApi, pod: str, going: threading.Event, over: threading.Event) -> None:
        """See when a client's pod is deleted."""
        while not over.is_set():
            with suppress(*ENVIRONMENT_ERRORS):  # an API server that does not answer says nothing about the pod
                for seen in kube.watch("v1", "Pod", pod, self._namespace, _WATCH_SECONDS):
                    if seen is None or seen["metadata"].get("deletionTimestamp"):
                        going.set()
                        return
            over.wait(_RETRY)
