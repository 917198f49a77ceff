"""Which logs are read, and what is kept of them: a few lines, of what is not as it should be, without secrets."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.client import ApiException
from urllib3.exceptions import ReadTimeoutError

from harness.kube.api import Object
from harness.model import expectations
from harness.model.cluster import ClusterObservation, Condition, ContainerLog, Pod
from harness.model.observation import Observation
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.model.traffic import HostStats, Request, Sequence, Traffic
from harness.observe.api_objects import pod as distilled
from harness.observe.logs import MOST_LOGS, read_logs
from harness.proof.faults.edit import edit, pods
from harness.proof.faults.mutations import faults
from suites.selftest.observe.test_observer import Stub, observed, pod
from suites.selftest.support.good import good

PRIMARIES = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
TOKEN = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"  # noqa: S105 - of no cluster
LOG = f"2026-11-24T06:00:00Z\tinfo\tfine\n2026-11-24T06:00:00Z\terror\tca\trefused with {TOKEN}\n"


def _read(
    cluster: ClusterObservation, log: str | Exception = LOG, elsewhere: Object | None = None
) -> tuple[ContainerLog, ...]:
    """What is kept of a cluster whose every log is the same; `elsewhere` is a pod outside of the mesh's namespaces."""
    kube = Stub("east", {"/api/v1/pods": {"items": [elsewhere]}} if elsewhere else None)
    kube.log = log
    return read_logs(kube, cluster, None, 1)


def _stuck(cluster: ClusterObservation, **status: Any) -> ClusterObservation:
    """The same with a state of the gateway's container."""
    changed = tuple(
        pod.model_copy(update={"containers": edit(pod.containers, lambda c: c.name == expectations.PROXY, **status)})
        if pod.labels.get("istio") == "eastwestgateway"
        else pod
        for pod in cluster.pods
    )
    return cluster.model_copy(update={"pods": changed})


@pytest.fixture
def east() -> ClusterObservation:
    """A cluster of a good mesh."""
    return good(PRIMARIES, "sail")["east"]


def test_a_mesh_that_is_well_costs_no_read(good_observations: Mapping[str, Observation]) -> None:
    """On recordings of live clusters, too."""
    for observation in good_observations.values():
        for cluster in observation.clusters:
            kube = Stub(cluster.name)
            assert read_logs(kube, cluster, observation.traffic, 1) == ()
            assert not kube.logs_read


@pytest.mark.parametrize(
    ("status", "read"),
    [
        ({"ready": False, "state": "running"}, True),
        ({"ready": False, "state": "waiting", "reason": "CrashLoopBackOff", "restarts": 2}, True),
        ({"ready": False, "state": "terminated", "reason": "Error"}, True),
        # What was never started has no log: its events say why.
        ({"ready": False, "state": "waiting", "reason": "ImagePullBackOff"}, False),
        ({"ready": False, "state": "terminated", "reason": "Completed"}, False),
    ],
)
def test_containers_that_were_started_and_are_not_ready_are_read(
    east: ClusterObservation, status: Mapping[str, Any], read: bool
) -> None:
    found = _read(_stuck(east, **status))
    assert [(log.container, log.lines) for log in found] == (
        [(expectations.PROXY, ("error ca refused with [redacted]",))] if read else []
    )


def test_a_container_that_was_started_again_is_read_from_before() -> None:
    """What it says now is not yet why it ended."""
    kube = Stub("east")
    kube.log = LOG
    cluster = _stuck(good(PRIMARIES)["east"], ready=False, state="running", restarts=1)
    read_logs(kube, cluster, None, 1)
    assert kube.logs_read == [True]


def test_one_that_says_nothing_bad_is_known_by_its_last_lines(east: ClusterObservation) -> None:
    """A program that ends in words of its own."""
    (log,) = _read(_stuck(east, ready=False, state="running"), "starting\nusage: pilot-agent …\n")
    assert log.lines == ("starting", "usage: pilot-agent …")


@pytest.mark.parametrize("failed", [ApiException(status=403, reason="Forbidden"), ReadTimeoutError(None, "", "slow")])  # type: ignore[arg-type]
def test_a_log_that_can_not_be_read_says_so(east: ClusterObservation, failed: Exception) -> None:
    (log,) = _read(_stuck(east, ready=False, state="running"), failed)
    assert log.lines[0].startswith("its log can't be read: ")


def test_the_operator_is_read_where_its_resource_is_not_ready(east: ClusterObservation) -> None:
    """Wherever it runs; the proxy beside it is left out."""
    operator = pod("sail-operator-1", "x", "sail-operator", "kube-rbac-proxy")
    assert _read(east, elsewhere=operator) == ()
    unready = (Condition(type="Ready", status="False", reason="ReconcileError"),)
    broken = east.model_copy(update={"sail": edit(east.sail, lambda r: r.kind == "Istio", conditions=unready)})
    assert [(log.pod, log.container) for log in _read(broken, elsewhere=operator)] == [
        ("sail-operator-1", "sail-operator")
    ]


def test_the_load_balancers_controller_is_read_where_an_address_is_missing(east: ClusterObservation) -> None:
    """Why it gives none stands nowhere else."""
    services = edit(east.services, lambda s: s.name == expectations.GATEWAY, ingress=(), resolved=())
    found = _read(
        east.model_copy(update={"services": services}),
        '{"level":"error","msg":"allocation failed","error":"no available IPs"}',
        elsewhere=pod("controller-1", "metallb", "controller"),
    )
    assert [log.lines for log in found] == [("error allocation failed: no available IPs",)]


def test_the_cni_agent_is_read_where_a_pod_is_not_started() -> None:
    """That of the same node."""
    observation = good(PRIMARIES)

    def unstarted(found: Pod) -> Pod:
        if found.labels.get("k8s-app") == "istio-cni-node":
            return found.model_copy(update={"containers": edit(found.containers, lambda _: True, state="running")})
        waits = {"ready": False, "state": "waiting", "reason": "ContainerCreating"}
        return found.model_copy(update={"containers": edit(found.containers, lambda _: True, **waits)})

    broken = pods(observation, observation.topology["east"], unstarted)["east"]
    assert [log.container for log in _read(broken)] == ["install-cni"]


def test_proxies_of_clients_and_gateways_are_read_where_requests_went_wrong(
    good_observations: Mapping[str, Observation],
) -> None:
    """Their access logs say where a request was sent."""
    observation = good_observations[PRIMARIES.name]
    broken = faults()["gateway-filtered-15443"].apply(observation)
    kube = Stub("east")
    kube.log = (
        '{"authority":"helloworld:5000","response_code":503,"response_flags":"UF","upstream_host":"10.0.0.9:15443",'
        '"upstream_cluster":"outbound|5000||helloworld.sample.svc.cluster.local"}'
    )
    found = read_logs(kube, broken["east"], broken.traffic, 1)
    assert {log.pod.partition("-")[0] for log in found} == {"sleep", "istio"}
    assert "503 UF, 10.0.0.9:15443 of outbound|5000||helloworld" in found[0].lines[0]


def test_no_more_than_a_few_are_read(east: ClusterObservation) -> None:
    """However many pods are broken."""
    one = next(
        pod for pod in _stuck(east, ready=False, state="running").pods if pod.name.startswith(expectations.GATEWAY)
    )
    many = tuple(one.model_copy(update={"name": f"pod-{n}"}) for n in range(50))
    assert len(_read(east.model_copy(update={"pods": many}))) == MOST_LOGS


def test_an_observation_ends_soon_though_logs_hang() -> None:
    """They are read side by side, each for its own short time."""
    raw = pod("sleep-x", "sleep", "sleep", "istio-proxy")
    raw["status"]["conditions"] = []
    for status in raw["status"]["containerStatuses"]:
        status["ready"] = False

    class Hanging(Stub):
        def logs(self, *_: Any, timeout: float = 15, **__: Any) -> str:
            time.sleep(timeout)
            raise ReadTimeoutError(None, "", "slow")  # type: ignore[arg-type]

    west = Hanging("west", {"/api/v1/namespaces/sample/pods": {"items": [raw]}})
    began = time.monotonic()
    found = observed(Stub("east"), west)
    assert time.monotonic() - began < 5
    assert {log.container for log in found["west"].logs} == {"sleep", "istio-proxy"}
    assert found["east"].logs == ()


def test_how_a_container_ended_before_it_was_started_again_is_kept() -> None:
    raw = pod("istiod-1", "istiod", "discovery")
    last = {"terminated": {"reason": "Error", "exitCode": 255, "message": f"no CA for {TOKEN}"}}
    raw["status"]["containerStatuses"][0] |= {"lastState": last, "restartCount": 3}
    (container,) = distilled(raw).containers
    assert container.last_end == "Error, exit code 255: no CA for [redacted]"


@pytest.mark.parametrize(("failures", "read"), [(0, False), (3, True)])
def test_requests_that_were_answered_only_after_another_try_went_wrong(failures: int, read: bool) -> None:
    """What Envoy hides by trying again is worth a look, too."""
    answered = Request(sent=0, seconds=0.1, status=200, version="v1")
    host = HostStats(address="10.0.0.9", port=15443, requests=9, errors=0, connect_failures=failures)
    sequence = Sequence(
        client="east", pod="sleep-1", command="", started=datetime.now(UTC), requests=(answered,), hosts=(host,)
    )
    kube = Stub("east")
    kube.log = LOG
    traffic = Traffic(coverage=(sequence,), cap=1, false_alarm=0)
    assert bool(read_logs(kube, good(PRIMARIES)["east"], traffic, 1)) is read
