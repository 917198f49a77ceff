"""The Kubernetes API of one cluster: apply, read, watch, run a command in a pod."""

import atexit
import copy
import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache, cached_property
from http import HTTPStatus
from math import ceil
from pathlib import Path
from typing import Any, cast

from kubernetes import client
from kubernetes.client import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError

from harness.base import command as programs
from harness.kube.access import ClusterAccess
from harness.kube.api import READ_TIMEOUT, REQUEST_TIMEOUT, Object
from harness.kube.exec import PodConnections
from harness.kube.retries import despite_a_bad_line, patiently
from harness.kube.watching import Watching

FIELD_MANAGER = "eastwest"


class _TimedClient(DynamicClient):
    """Gives every request a timeout that has none."""

    def request(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """As the client's own."""
        return super().request(method, path, body, **{"_request_timeout": REQUEST_TIMEOUT, **params})


@cache
def _caches() -> Path:
    """A directory for what API servers say they serve, removed when the process ends."""
    directory = Path(tempfile.mkdtemp(prefix="eastwest-discovery-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


class Kube(PodConnections, Watching):
    """One cluster's API server. Safe to use from several threads.

    Args:
        access: how the cluster is reached.
    """

    def __init__(self, access: ClusterAccess) -> None:
        self.access = access
        self.name = access.name

    @cached_property
    def _dynamic(self) -> DynamicClient:
        # A cache file of its own: the default one is named for the server's address, and kind gives addresses again.
        file = Path(tempfile.mkdtemp(dir=_caches())) / "resources.json"
        return _TimedClient(self.access.api, cache_file=str(file))  # type: ignore[no-untyped-call]

    def _resource(self, api_version: str, kind: str) -> Any:
        """The dynamic client's resource of a kind."""
        return self._dynamic.resources.get(api_version=api_version, kind=kind)

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the API server knows this kind, now: what it knew before may have been removed since."""
        listed = self.read(f"/{'apis' if '/' in api_version else 'api'}/{api_version}") or {}
        return any(found["kind"] == kind for found in listed.get("resources") or ())

    def apply(self, manifest: Object) -> Object:
        """Server-side apply; returns the object as it then is.

        A webhook that does not serve yet, a namespace whose kinds are only just known, or a connection that broke is
        tried again for 20 s: applied twice, an object is the same.
        """
        resource = self._resource(manifest["apiVersion"], manifest["kind"])
        metadata = manifest["metadata"]
        applied = patiently(
            lambda: resource.server_side_apply(
                body=manifest,
                name=metadata["name"],
                namespace=metadata.get("namespace"),
                field_manager=FIELD_MANAGER,
                force_conflicts=True,
                serialize=False,
            )
        )
        return _parsed(applied)

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Create an object; with `dry_run` the API server does all but store it.

        What stores nothing, a dry run or a review, is asked again when the connection breaks.

        Raises:
            ApiException: as the API server refused it; status 409 where it exists.
        """
        resource = self._resource(manifest["apiVersion"], manifest["kind"])
        options = {"dry_run": "All"} if dry_run else {}
        namespace = manifest["metadata"].get("namespace")

        def create() -> Any:
            return resource.create(
                body=manifest, namespace=namespace, field_manager=FIELD_MANAGER, serialize=False, **options
            )

        stores = not dry_run and not manifest["kind"].endswith("Review")
        return _parsed(create() if stores else despite_a_bad_line(create))

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None where it, or its kind, does not exist."""
        try:
            return _parsed(self._resource(api_version, kind).get(name=name, namespace=namespace, serialize=False))
        except (NotFoundError, ResourceNotFoundError):
            return None

    def list(self, api_version: str, kind: str, namespace: str | None = None, **selectors: str) -> list[Object]:
        """The objects of a kind; none where the kind does not exist.

        Args:
            api_version: group/version.
            kind: the kind.
            namespace: default all.
            selectors: `label_selector`, `field_selector`.
        """
        try:
            found = _parsed(self._resource(api_version, kind).get(namespace=namespace, serialize=False, **selectors))
        except (NotFoundError, ResourceNotFoundError):
            return []
        # In a list the items' own apiVersion and kind are left out.
        return [{"apiVersion": api_version, "kind": kind, **item} for item in found["items"]]

    def version(self, timeout: float) -> str:
        """The API server's version, for instance v1.36.1: one question, asked once.

        Args:
            timeout: seconds to connect, and again to be answered.

        Raises:
            ApiException: it answered with an error.
            urllib3.exceptions.HTTPError: it did not answer.
        """
        answer = client.VersionApi(self._unretried).get_code(_request_timeout=(timeout, timeout))
        return str(answer.git_version)

    @cached_property
    def _unretried(self) -> client.ApiClient:
        """A client that asks once: where time is short, another try is no help."""
        configuration = copy.deepcopy(self.access.api.configuration)
        configuration.retries = False
        return client.ApiClient(configuration)

    def read(self, path: str, *, accept: str = "application/json", **query: str) -> Object | None:
        """The JSON behind a path of the API server, None where there is nothing.

        Needs no discovery: for reading many kinds, some of which may not be served.

        Args:
            path: for instance /api/v1/nodes.
            accept: the media type, where it is to be another than plain JSON.
            query: for instance labelSelector.

        Raises:
            ApiException: as the API server refused it.
            urllib3.exceptions.HTTPError: it did not answer.
        """
        api = cast(Any, self.access.api)
        request = api.param_serialize(
            "GET",
            path,
            query_params=list(query.items()),
            header_params={"Accept": accept},
            auth_settings=["BearerToken"],
        )
        answer = api.call_api(*request, _request_timeout=READ_TIMEOUT)
        body = answer.read()
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status != HTTPStatus.OK:
            raise ApiException(status=answer.status, reason=answer.reason, body=body.decode(errors="replace"))
        return cast(Object, json.loads(body))

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        lines: int,
        since: float | None = None,
        previous: bool = False,
        timeout: float = READ_TIMEOUT[1],
    ) -> str:
        """The end of a container's log, asked for once.

        Args:
            namespace: the pod's.
            pod: its name.
            container: the container's name.
            lines: how many of its last lines.
            since: only those of so many last seconds.
            previous: of the container that ran before it was started again.
            timeout: seconds between two bytes of the answer.

        Raises:
            ApiException: as the API server refused it.
            urllib3.exceptions.HTTPError: it did not answer.
        """
        core = cast(Any, client.CoreV1Api(self._unretried))
        answer = core.read_namespaced_pod_log(
            pod,
            namespace,
            container=container,
            tail_lines=lines,
            previous=previous,
            _preload_content=False,
            _request_timeout=(READ_TIMEOUT[0], timeout),
            **({} if since is None else {"since_seconds": max(1, ceil(since))}),
        )
        return bytes(answer.data).decode(errors="replace")

    def merge(self, api_version: str, kind: str, name: str, change: Object, namespace: str | None = None) -> Object:
        """Change an object with a JSON merge patch; None takes a field away."""
        resource = self._resource(api_version, kind)
        changed = despite_a_bad_line(
            lambda: resource.patch(
                body=change,
                name=name,
                namespace=namespace,
                content_type="application/merge-patch+json",
                serialize=False,
            )
        )
        return _parsed(changed)

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Delete an object and what it owns; whether it was there. Does not wait for it to be gone."""
        try:
            body = client.V1DeleteOptions(propagation_policy="Background")
            self._resource(api_version, kind).delete(name=name, namespace=namespace, body=body)
        except (NotFoundError, ResourceNotFoundError):
            return False
        return True

    def delete_pods(self, namespace: str, grace: int, labels: str | None = None) -> None:
        """Delete a namespace's pods, or those that a label selector selects. Does not wait for them to be gone.

        Args:
            namespace: of the pods.
            grace: seconds in which they may end by themselves.
            labels: which; default all.
        """
        client.CoreV1Api(self.access.api).delete_collection_namespaced_pod(
            namespace, label_selector=labels, grace_period_seconds=grace, _request_timeout=REQUEST_TIMEOUT
        )

    def run(
        self,
        command: Sequence[str | Path],
        *,
        input: str | None = None,  # noqa: A002 - the name subprocess uses
        timeout: float | None = None,
    ) -> str:
        """Run a program that works on, or for, this cluster; as `harness.base.command.run`."""
        return programs.run(command, input=input, timeout=timeout)


def _parsed(answer: Any) -> Object:
    """The object in an answer that the client was told not to turn into its own classes: those are slow to make."""
    return cast(Object, json.loads(answer.data))
