"""An API server that does not answer what a run must know: one error, wherever it is asked."""
# ruff: noqa: ARG002 - the signatures are those of KubeApi

from collections.abc import Callable
from http.client import HTTPException

import pytest
from kubernetes.client import ApiException
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError, ReadTimeoutError

from harness.base.errors import UserError
from harness.kube.api import KubeApi, Object, unanswered
from harness.mesh import olm_catalogue
from harness.runs import deployed_sample, verify_only
from suites.selftest.mesh.test_olm_catalogue import CATALOGUE, OLM, OlmKube

POOL = HTTPConnectionPool("192.0.2.1", 6443)
REFUSED = MaxRetryError(POOL, "/version", ConnectionRefusedError(111, "Connection refused"))
SILENT = ReadTimeoutError(POOL, "/version", "Read timed out.")


@pytest.mark.parametrize(
    ("failed", "says", "why", "fix"),
    [
        (REFUSED, "does not answer", "192.0.2.1:6443: [Errno 111] Connection refused", "kubectl --context c version"),
        (SILENT, "does not answer", "Read timed out.", "kubectl --context c version"),
        (ProtocolError("broken", HTTPException()), "does not answer", "broken", "kubectl --context c version"),
        (ApiException(status=0, reason="SSLError\nno trust"), "does not answer", "SSLError no trust", "c version"),
        (ApiException(status=401, reason="Unauthorized"), "answers 401", "Unauthorized", "log in again"),
        (ApiException(status=503, reason="Unavailable"), "answers 503", "503 Unavailable", "--context c get --raw"),
    ],
)
def test_what_why_and_what_to_do(failed: ApiException | HTTPError, says: str, why: str, fix: str) -> None:
    """Each in one line; who refuses is told from who is silent."""
    error = unanswered("c", "what stands there", failed)
    assert error.what == f"The API server of the context c {says}: it can't be found out what stands there."
    assert why in error.why
    assert fix in error.fix
    assert not any("\n" in line for line in (error.what, error.why, error.fix))


def test_what_else_to_do_where_it_refuses() -> None:
    """Not where the reason is one of the API server itself: it is silent, or does not know the user."""
    for failed, taken in ((ApiException(status=403), True), (ApiException(status=401), False), (SILENT, False)):
        assert (unanswered("c", "it", failed, "let the user list them").fix == "let the user list them") is taken


class Silent(OlmKube):
    """A cluster of which nothing is heard."""

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Nothing."""
        raise REFUSED

    def read(self, path: str, *, accept: str = "application/json", **_query: str) -> Object | None:
        """Nothing."""
        raise REFUSED


def _asked_for_packages(_silent: KubeApi) -> None:
    kube = OlmKube(CATALOGUE)
    kube.refused = REFUSED
    olm_catalogue.require_catalogue(kube, OLM)


@pytest.mark.parametrize(
    "ask",
    [
        lambda kube: verify_only.lacking(kube, ("istio-system",)),
        lambda kube: deployed_sample.require_free({"east": kube}, "eastwest-sample-1"),
        _asked_for_packages,
    ],
    ids=["permissions", "the sample's namespace", "OLM's packages"],
)
def test_it_is_the_same_error_wherever_it_is_asked(ask: Callable[[KubeApi], None]) -> None:
    """Only the question differs."""
    with pytest.raises(UserError) as error:
        ask(Silent())
    expected = unanswered("east", error.value.what.rpartition("found out ")[2].removesuffix("."), REFUSED)
    assert str(error.value) == str(expected)
