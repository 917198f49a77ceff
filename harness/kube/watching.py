"""Waits for an object by watching it."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from kubernetes.client import ApiException
from kubernetes.watch import Watch
from urllib3.exceptions import HTTPError

from harness.base.errors import StepError
from harness.base.parallel import check_interrupted
from harness.base.waiting import pause
from harness.kube.api import READ_TIMEOUT, Object
from harness.model.step_log import OpenStep

RETRY_SECONDS = 0.5
WATCH_SECONDS = 5
"""A watch lasts so long and is then repeated: nobody waits longer for an interrupted run to end."""


class Watching:
    """What follows an object over time."""

    def _resource(self, api_version: str, kind: str) -> Any:
        """The dynamic client's resource of a kind."""
        raise NotImplementedError

    def watch(
        self, api_version: str, kind: str, name: str, namespace: str | None, timeout: float
    ) -> Iterator[Object | None]:
        """The object now, after each change and at least every `WATCH_SECONDS`, None while it does not exist.

        Ends when `timeout` seconds are over.
        """
        resource, deadline = self._resource(api_version, kind), time.monotonic() + timeout
        which = {"namespace": namespace, "field_selector": f"metadata.name={name}", "serialize": False}
        known = False
        while not known or time.monotonic() < deadline:
            try:
                # The list's version is where the watch begins: nothing that happens in between is missed.
                found = json.loads(resource.get(**which, _request_timeout=READ_TIMEOUT).data)
                items = found["items"]
                yield {"apiVersion": api_version, "kind": kind, **items[0]} if items else None
                known = True
                check_interrupted()
                # One second at least: 0 would mean "no limit" to the API server.
                left = min(WATCH_SECONDS, max(1, int(deadline - time.monotonic())))
                events = Watch().stream(
                    resource.get,
                    **which,
                    resource_version=found["metadata"]["resourceVersion"],
                    timeout_seconds=left,
                    _request_timeout=(READ_TIMEOUT[0], left + READ_TIMEOUT[1]),
                )
                for event in events:
                    yield None if event["type"] == "DELETED" else cast(Object, event["raw_object"])
            except (ApiException, HTTPError):
                # A watch may break off at any time (Kubernetes API concepts, "410 Gone"): look again, watch again.
                if not known:
                    raise
                pause(RETRY_SECONDS)  # while the API server does not answer there is nothing to watch

    def wait(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        pending: Callable[[Object | None], str],
        timeout: float,
        step: OpenStep,
        explain: Callable[[], str] = str,
        hopeless: Callable[[], str] | None = None,
    ) -> Object | None:
        """Watch an object until nothing is pending; returns it as it then is.

        Args:
            api_version: group/version.
            kind: the kind.
            name: its name.
            namespace: None for a cluster-scoped kind.
            pending: says in a few words what is still missing, "" when nothing is; given None where it does not exist.
            timeout: seconds.
            step: told what is being waited for.
            explain: asked on expiry for the reason; its words are added to the error.
            hopeless: asked now and then why it can no longer happen, "" while it can; an answer ends the wait.

        Raises:
            StepError: the time is over, or there is no hope; says what was last seen and why.
        """
        missing = f"{kind} {name} does not exist"
        for seen in self.watch(api_version, kind, name, namespace, timeout):
            missing = pending(seen)
            if not missing:
                return seen
            step.waiting(missing)
            if hopeless and (why := hopeless()):
                raise StepError(f"{missing}, and can't by itself: {why}")
        why = explain()
        raise StepError(f"{missing} after {timeout:.0f} s" + (f": {why}" if why else ""))
