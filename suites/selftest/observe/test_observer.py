"""A whole observation against clusters that are stubs: what can't be read is classed, and nothing is raised."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.client import ApiException
from urllib3.exceptions import MaxRetryError, ReadTimeoutError

from harness.kube.api import KubeApi, Object, TransportError, explain_api_error
from harness.kube.exec import exit_status
from harness.model.cluster import ReadOutcome, Subject
from harness.model.observation import Asked, Environment, Observation, SuiteVersion
from harness.model.step import Phase
from harness.model.step_log import StepLog
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.observe import observe
from harness.observe.proxies import no_program
from harness.observe.reading import Reader, classify, explain
from suites.selftest.support.fake_kube import FakeKube, played

ASKED = Asked(
    mode="install", installer="istioctl", istio_version="1.31", cni=True, load_balancer="metallb", images="local"
)
SILENT = MaxRetryError(None, "/version", None)  # type: ignore[arg-type]
MATERIAL = "c2VjcmV0LWtleS1tYXRlcmlhbA"


class Stub(FakeKube):
    """A cluster that answers with what it is given, to everything else with nothing, and whose execs break.

    Args:
        name: the cluster's.
        answers: by path, and under `version` the API server's version.
    """

    def __init__(self, name: str, answers: Mapping[str, Object | Exception] | None = None) -> None:
        super().__init__(name)
        self.answers = answers or {}
        self.execs = TransportError("sleep-x/sleep: the connection broke")

    def version(self, *_: Any, **__: Any) -> str:
        """Of the answers."""
        return str(played(self.answers.get("version")))


def pod(name: str, app: str, *containers: str) -> Object:
    """A ready pod."""
    return {
        "metadata": {
            "name": name,
            "namespace": "sample",
            "labels": {"app": app},
            "creationTimestamp": "2026-11-23T21:32:19Z",
        },
        "spec": {"containers": [{"name": container, "image": "image"} for container in containers]},
        "status": {
            "phase": "Running",
            "podIP": "10.10.0.7",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": name, "ready": True, "state": {"running": {}}} for name in containers],
        },
    }


def observed(east: KubeApi, west: KubeApi, send: bool | Callable[[Observation], bool] = True) -> Observation:
    """An observation of these two."""
    return observe(
        preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI),
        {"east": east, "west": west},
        ASKED,
        environment=Environment(platform="kind"),
        suite=SuiteVersion(version="0"),
        run_id="test",
        started=datetime.now(UTC),
        log=StepLog(),
        send=send,
        timeout_scale=0.1,
    )


def test_an_api_server_that_never_answers_is_unreachable_with_all_that_depends_on_it() -> None:
    found = observed(Stub("east"), Stub("west", {"version": SILENT}))
    assert {reading.outcome for reading in found["east"].readings} == {ReadOutcome.READ}
    assert {reading.outcome for reading in found["west"].readings} == {ReadOutcome.UNREACHABLE}
    of_ambient = {Subject.ZTUNNELS, Subject.API_GATEWAYS}
    for name, left_out in (("east", of_ambient), ("west", set[Subject]())):
        assert {reading.subject for reading in found[name].readings} == {*Subject} - left_out
    assert found.errors == ()
    assert found.traffic is not None
    assert not found.traffic.coverage


@pytest.mark.parametrize("wanted", [True, False])
def test_whether_requests_are_sent_can_follow_from_what_was_read(wanted: bool) -> None:
    read = list[Observation]()

    def decide(so_far: Observation) -> bool:
        read.append(so_far)
        return wanted

    found = observed(Stub("east"), Stub("west"), decide)
    assert [each["east"].readings for each in read] == [found["east"].readings]
    assert read[0].traffic is None
    assert (found.traffic is not None) is wanted
    assert any(step.title == "Time until every version answers" for step in found.steps) is wanted


def test_one_that_stops_answering_is_lost_and_what_is_forbidden_is_forbidden() -> None:
    sample = "/api/v1/namespaces/sample"
    answers = {
        f"{sample}/pods": ReadTimeoutError(None, "", "timed out"),  # type: ignore[arg-type]
        "/api/v1/nodes": ApiException(status=403, reason="Forbidden"),
        "/api/v1/namespaces/istio-system/configmaps": ApiException(status=500, reason="Oops"),
    }
    found = observed(Stub("east", answers), Stub("west"))["east"]

    def outcome(subject: Subject) -> ReadOutcome:
        reading = found.reading(subject)
        assert reading is not None
        return reading.outcome

    assert outcome(Subject.PODS) is ReadOutcome.LOST
    assert outcome(Subject.NODES) is ReadOutcome.FORBIDDEN
    assert outcome(Subject.MESH_CONFIG) is ReadOutcome.LOST
    assert outcome(Subject.SERVICES) is ReadOutcome.READ


def test_nonsense_is_lost_and_an_error_of_the_suite_that_does_not_quote_it() -> None:
    path = "/api/v1/namespaces/istio-system/secrets"
    raw = {"metadata": {"name": "istio-remote-secret-a", "uid": "1"}, "data": {"a": MATERIAL}}
    found = observed(Stub("east", {path: {"items": [raw]}}), Stub("west"))
    reading = found["east"].reading(Subject.REMOTE_SECRETS)
    assert reading is not None
    assert reading.outcome is ReadOutcome.LOST
    assert found.errors
    assert MATERIAL not in found.model_dump_json()


def test_a_broken_exec_is_transport_and_ends_soon() -> None:
    pods = {"/api/v1/namespaces/sample/pods": {"items": [pod("sleep-x", "sleep", "sleep", "istio-proxy")]}}
    began = time.monotonic()
    found = observed(Stub("east", pods), Stub("west"))
    assert time.monotonic() - began < 5
    assert found.traffic is not None
    (sequence,) = found.traffic.coverage
    assert sequence.transport_error
    assert not sequence.hosts_read
    (convergence,) = found.traffic.convergence
    assert not convergence.converged
    reading = found["east"].reading(Subject.PROXIES)
    assert reading is not None
    assert reading.outcome is ReadOutcome.LOST


def test_its_steps_are_those_of_observing() -> None:
    found = observed(Stub("east"), Stub("west"))
    assert {step.phase for step in found.steps} == {Phase.OBSERVE}
    assert found.steps[0].title == "Read the objects of every cluster"
    assert found == Observation.model_validate_json(found.model_dump_json())


@pytest.mark.parametrize(
    ("failed", "answered", "outcome"),
    [
        (SILENT, False, ReadOutcome.UNREACHABLE),
        (SILENT, True, ReadOutcome.LOST),
        (OSError("reset"), True, ReadOutcome.LOST),
        (ApiException(status=0, reason="Handshake failed"), False, ReadOutcome.UNREACHABLE),
        (ApiException(status=401), False, ReadOutcome.FORBIDDEN),
        (ApiException(status=503), False, ReadOutcome.LOST),
        (TransportError("exec", 403), True, ReadOutcome.FORBIDDEN),
        (TransportError("exec"), True, ReadOutcome.LOST),
        (KeyError("metadata"), True, ReadOutcome.LOST),
    ],
)
def test_how_a_failed_read_is_classed(failed: Exception, answered: bool, outcome: ReadOutcome) -> None:
    assert classify(failed, answered) is outcome
    assert explain(failed)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ('{"metadata":{},"status":"Success"}', 0),
        (
            '{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}',
            7,
        ),
    ],
)
def test_the_exit_status_of_a_command(answer: str, status: int) -> None:
    assert exit_status(answer) == status


def test_a_command_that_does_not_exist_is_no_exit_status() -> None:
    message = f"error executing command in container: {'x' * 200}: executable file not found in $PATH"
    cause = {"reason": "", "message": message}
    answer = json.dumps({"status": "Failure", "message": message, "details": {"causes": [cause]}})
    with pytest.raises(ValueError, match="executable file not found") as raised:
        exit_status(answer)
    assert no_program(TransportError(str(raised.value)))
    with pytest.raises(ValueError, match="ended before"):
        exit_status("")


def test_a_refused_handshake_is_explained_by_its_body() -> None:
    reason = 'Handshake status 404 Not Found -+-+- {} -+-+- {"kind":"Status","message":"pods \\"x\\" not found"}'
    assert explain_api_error(ApiException(status=0, reason=reason)) == 'pods "x" not found'


def test_a_part_that_failed_is_not_made_good_by_another_that_did_not() -> None:
    reader = Reader("east")
    reader.read(Subject.PROXIES, lambda: None, None)
    reader.failed(Subject.PROXIES, TransportError("sleep-x: broke"))
    reader.read(Subject.PROXIES, lambda: None, None)
    (reading,) = reader.readings
    assert (reading.outcome, reading.detail) == (ReadOutcome.LOST, "sleep-x: broke")


def test_reads_side_by_side_that_fail_together_say_each_why() -> None:
    """Four commands that a busy machine did not end in time are the cluster's, not an error of the suite."""
    late = [TransportError(f"istiod-x/discovery: the command did not end within {limit} s") for limit in (15, 15, 16)]
    reader = Reader("east")
    reader.failed(Subject.CONTROL_PLANE, ExceptionGroup("3 of 4 failed", late))
    (reading,) = reader.readings
    assert (reading.outcome, reading.detail) == (ReadOutcome.LOST, f"{late[0]}; {late[2]}")
    assert reader.errors == ()
    forbidden = ExceptionGroup("both", [ApiException(status=403), ExceptionGroup("one", [ApiException(status=401)])])
    assert classify(forbidden, answered=True) is ReadOutcome.FORBIDDEN
    assert classify(ExceptionGroup("both", [ApiException(status=403), *late]), answered=True) is ReadOutcome.LOST
    broken = Reader("west")
    broken.failed(Subject.CONTROL_PLANE, ExceptionGroup("2 of 4 failed", [late[0], KeyError("metadata")]))
    assert [error.rpartition(": ")[2] for error in broken.errors] == ["'metadata'"]
