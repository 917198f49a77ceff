"""An API server that does not answer, and does again."""

from collections.abc import Iterator
from contextlib import contextmanager

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.clusters.kind import API_SERVER_PORT
from harness.proof.faults.acts.network import dropped
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.waits import await_true

_TRY_SECONDS = 2.0


@contextmanager
def down(live: LiveMesh) -> Iterator[None]:
    """Let West's API server answer nobody but its own node, whose pods go on running."""
    packets = ("!", "--in-interface", "lo", "--protocol", "tcp", "--destination-port", str(API_SERVER_PORT))
    with dropped(live, live.west, "INPUT", *packets):
        _await(live, answering=False)
        yield
    _await(live, answering=True)


def _await(live: LiveMesh, *, answering: bool) -> None:
    def pending() -> str:
        try:
            live.kube(live.west).version(_TRY_SECONDS)
        except (ApiException, HTTPError) as failed:
            return f"it does not answer: {type(failed).__name__}" if answering else ""
        return "" if answering else "it still answers"

    title = f"Wait until the API server {'answers again' if answering else 'does not answer any more'}"
    await_true(live, live.west, title, pending)
