"""Key material that stands in any field of any object is in no artefact of a run."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.observation import progress
from harness.base.container_log import telling_lines
from harness.base.errors import UserError
from harness.base.redaction import HIDDEN, redacted, without_secrets
from harness.model.observation import Asked, Environment, Observation, SuiteVersion
from harness.model.step_log import StepLog
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.observe import api_objects, envoy, istio_objects, observe, proxies, services
from harness.observe.reading import explain
from harness.runs import output_layout as layout
from suites.selftest.observe.test_api_objects import RAW
from suites.selftest.support import sessions
from suites.selftest.support.certificates import OBSERVED
from suites.selftest.support.leaking_cluster import (
    EVERYTHING,
    NAMESPACE,
    PLANTED,
    SAIL,
    LeakingKube,
    answers,
    config_documents,
    config_maps,
    found_in,
    leaves,
)


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
def test_each_kind_of_secret_is_known(planted: str) -> None:
    assert found_in(planted) or planted == PLANTED["an OAuth token"]
    said = without_secrets(f"before {planted}")
    assert said.startswith("before ")
    assert HIDDEN in said
    assert found_in(said) == []
    assert found_in(str(UserError(planted, planted, planted))) == []


@pytest.mark.parametrize("words", [0, 10, 1000])
@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
def test_each_is_known_in_texts_of_any_length(planted: str, words: int) -> None:
    """Short texts, usual ones and long ones are looked through in different ways; each is asked twice."""
    for _ in range(2):
        said = without_secrets(f"{'word ' * words}{planted}{' word' * words}")
        assert found_in(said) == []
        assert HIDDEN in said


@pytest.mark.parametrize(
    "text",
    [
        "failed to fetch token: Unauthorized, the bearer token is missing",
        "sha256:36d1a24ab3a8a9f7b8f5a1c4c8e0a64cbb9f0b7e9a2d1c3f4e5d6c7b8a9f0e1d",
        "spiffe://cluster.local/ns/sample/sa/sleep",
        "https://172.18.0.4:6443/api/v1/namespaces",
        "outbound|5000||helloworld.sample.svc.cluster.local",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_what_a_name_says_is_secret_is_hidden_whatever_it_looks_like() -> None:
    spec = {"env": [{"name": "API_TOKEN", "value": "abc"}, {"name": "LOG", "value": "abc"}], "password": "x", "n": 1}
    assert redacted(spec) == {
        "env": [{"name": "API_TOKEN", "value": HIDDEN}, {"name": "LOG", "value": "abc"}],
        "password": HIDDEN,
        "n": 1,
    }


@contextmanager
def planted_at(value: Any, path: tuple[Any, ...], text: str) -> Iterator[None]:
    """In here the data have a text appended to the text at a path."""
    *way, last = path
    for place in way:
        value = value[place]
    before, value[last] = value[last], f"{value[last]} {text}"
    yield
    value[last] = before


READERS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "pod": (RAW["pod"], api_objects.pod),
    "deployment": (RAW["deployment"], lambda raw: api_objects.workload(raw, "Deployment")),
    "daemonset": (RAW["daemonset"], lambda raw: api_objects.workload(raw, "DaemonSet")),
    "node": (RAW["node"], api_objects.node),
    "namespace": (NAMESPACE, api_objects.namespace),
    "service": (RAW["service"], lambda raw: services.service(raw, {})),
    "event": (RAW["event"], api_objects.event),
    "webhook": (RAW["webhook"], istio_objects.injection_webhook),
    "config maps": (config_documents(), lambda raw: istio_objects.mesh_configs(config_maps(raw))[0]),
    "gateway": (RAW["gateway"], lambda raw: istio_objects.config_object(raw, "v1", "Gateway")),
    "operator": (SAIL, lambda raw: istio_objects.sail_resource(raw, "v1", "Istio")),
    "server info": (
        RAW["server_info"],
        lambda raw: proxies.proxy(api_objects.pod(RAW["pod"]), {proxies.SERVER_INFO: raw}, "sample"),
    ),
    "envoy clusters": (RAW["clusters"], lambda raw: envoy.endpoint_sets(raw, "sample")[0]),
    "envoy listeners": (RAW["listeners"], lambda raw: envoy.listeners(raw)[0]),
    "remote clusters": (RAW["clusterz"], lambda raw: envoy.remote_clusters(raw)[0]),
    "proxy states": (RAW["syncz"], lambda raw: envoy.proxy_syncs(raw)[0]),
    "network gateways": (RAW["networkz"], lambda raw: envoy.network_gateways(raw)[0]),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_secret_in_any_one_field_of_an_object_is_not_kept(reader: str) -> None:
    raw, read = copy.deepcopy(READERS[reader][0]), READERS[reader][1]
    paths = list(leaves(raw))
    assert paths
    kept = 0
    for path in paths:
        with planted_at(raw, path, EVERYTHING):
            try:
                said = read(raw).model_dump_json()
            except Exception as refused:  # noqa: BLE001 - some fields make an object unreadable, which is noted, too
                said = explain(refused)
        assert found_in(said) == [], path
        kept += HIDDEN in said
    assert kept, "no field of this kind is kept at all"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything a run on such clusters leaves behind: its log and its observation; then its reports."""
    directory = tmp_path_factory.mktemp("output")
    topology = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
    answered = answers()
    asked = Asked(
        mode="install",
        installer="istioctl",
        istio_version="1.31",
        cni=True,
        load_balancer="metallb",
        images="local",
        resolved={"values": EVERYTHING},
    )
    with (directory / "terminal.txt").open("w") as terminal, progress(directory, "", 1, terminal) as listener:
        observation = observe(
            topology,
            {cluster.name: LeakingKube(cluster.name, answered) for cluster in topology.clusters},
            asked,
            environment=Environment(platform="kind", images={f"image {EVERYTHING}": EVERYTHING}),
            suite=SuiteVersion(version="0"),
            run_id="test",
            started=OBSERVED,
            deviations=(EVERYTHING,),
            log=StepLog(listener),
            timeout_scale=0.1,
        )
    recorded = directory / "recorded.json"
    observation.save(recorded)
    arguments = ["-v", f"--observation={recorded}", f"--output={directory}"]
    secret_variable = {"EASTWEST_REGISTRY_MIRROR": PLANTED["a password in an address"]}
    status, said = sessions.run(arguments, directory / "pytest.txt", secret_variable)
    assert status in {1, 3}, said
    return directory


def test_the_objects_were_read(output: Path) -> None:
    """What follows would mean nothing on an empty observation."""
    east = Observation.model_validate_json((output / "recorded.json").read_text())["east"]
    assert east.pods
    assert east.nodes
    assert east.namespaces
    assert east.workloads
    assert east.services
    assert east.events
    assert east.webhooks
    assert east.mesh_config
    assert east.sail
    assert len(east.config) == 2
    assert east.remote_secrets[0].has_token
    assert east.ca_secret
    assert east.ca_secret.exists
    assert east.proxies[0].rejected


def test_no_artefact_holds_key_material(output: Path) -> None:
    said = {str(path.relative_to(output)): path.read_text() for path in output.rglob("*") if path.is_file()}
    assert set(said) >= {
        layout.REPORT_JSON, layout.REPORT_YAML, layout.REPORT_HTML, layout.SUMMARY, layout.BADGE, layout.JUNIT,
        layout.LOG, "recorded.json", "terminal.txt", "pytest.txt", "observations/multi-primary-multi-network.json",
    }  # fmt: skip
    assert any(name.startswith("allure/") and name.endswith("-result.json") for name in said)
    assert {name: found for name, text in said.items() if (found := found_in(text))} == {}
    assert HIDDEN in said["recorded.json"]


def test_a_foreign_observation_with_key_material_is_cleaned_when_it_is_read(output: Path) -> None:
    """A recording of an older suite, or one that was tampered with."""
    recorded = json.loads((output / "recorded.json").read_text())
    recorded["errors"].append(EVERYTHING)
    recorded["clusters"][0]["events"][0]["message"] = EVERYTHING
    assert found_in(json.dumps(recorded))
    assert found_in(Observation.model_validate(recorded).model_dump_json()) == []


def test_logs_are_kept_without_secrets() -> None:
    kept = telling_lines("\n".join(f"t\terror\t{text}" for text in PLANTED.values()))
    assert kept
    assert found_in("\n".join(kept)) == []
