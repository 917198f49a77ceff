"""Which workload is the client: the chapter's, Istio's since 1.24, or what else there is."""

from collections.abc import Mapping

import pytest

from harness.model import clients
from harness.model.cluster import ClusterObservation, Pod
from harness.model.observation import Observation
from harness.proof.faults.edit import on
from suites.selftest.support.breakage import first
from suites.selftest.support.foreign import foreign

NAME = "multi-primary-multi-network"


def _renamed(pod: Pod, name: str, image: str) -> Pod:
    """A client's pod under another name."""
    containers = tuple(
        c.model_copy(update={"name": name, "image": image}) if c.name == "sleep" else c for c in pod.containers
    )
    return pod.model_copy(update={"name": f"{name}-1", "labels": {"app": name}, "containers": containers})


def called(observation: Observation, name: str, image: str) -> Observation:
    """Every cluster's client under another name; its Deployment carries no label, as in Istio's sample."""
    for observed in observation.clusters:
        pods = tuple(_renamed(p, name, image) if p.labels.get("app") == "sleep" else p for p in observed.pods)
        workloads = tuple(
            w.model_copy(update={"name": name, "labels": {}}) if w.name == "sleep" else w for w in observed.workloads
        )
        proxies = tuple(
            p.model_copy(update={"role": name, "pod": f"{name}-1"}) if p.role == "sleep" else p
            for p in observed.proxies
        )
        observation = on(observation, observed.name, pods=pods, workloads=workloads, proxies=proxies)
    return observation


@pytest.mark.parametrize(
    ("name", "image"), [("curl", "curlimages/curl:8.16.0"), ("toolbox", "docker.io/nicolaka/netshoot:v0.13")]
)
def test_another_client_on_a_mesh_of_others(
    name: str, image: str, good_observations: Mapping[str, Observation]
) -> None:
    observation = foreign(called(good_observations[NAME], name, image))
    cluster = first(observation.topology)
    observed = observation[cluster]
    (pod,) = clients.client_pods(observed, observation.asked)
    assert (pod.name, clients.client_container(pod)) == (f"{name}-1", name)
    assert clients.client_available(observation, cluster)
    assert [proxy.pod for proxy in clients.client_proxies(observation, cluster)] == [pod.name]


def test_a_pod_without_a_program_to_ask_with_is_no_client(good_observations: Mapping[str, Observation]) -> None:
    observation = foreign(called(good_observations[NAME], "shop", "registry.example/shop:1"))
    cluster = first(observation.topology)
    assert clients.client_pods(observation[cluster], observation.asked) == ()
    assert not clients.client_available(observation, cluster)


def test_an_installed_mesh_has_the_chapters_client(good_observations: Mapping[str, Observation]) -> None:
    """Whatever else stands there: its absence is a fault."""
    observation = called(good_observations[NAME], "curl", "curlimages/curl:8.16.0")
    observed: ClusterObservation = observation[first(observation.topology)]
    assert clients.client_app(observed, observation.asked) == "sleep"
    assert not clients.client_available(observation, first(observation.topology))


def test_the_client_that_is_ready_is_chosen(good_observations: Mapping[str, Observation]) -> None:
    observation = foreign(good_observations[NAME])
    observed = observation[first(observation.topology)]
    sleep = next(pod for pod in observed.pods if pod.labels.get("app") == "sleep")
    curl = _renamed(sleep, "curl", "curlimages/curl:8.16.0")
    down = sleep.model_copy(update={"ready": False})
    both = observed.model_copy(update={"pods": (sleep, curl)})
    assert clients.client_app(both, observation.asked) == "sleep"
    assert clients.client_app(both.model_copy(update={"pods": (down, curl)}), observation.asked) == "curl"
