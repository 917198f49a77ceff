"""--deploy-sample: refused before anything is created, announced, and always removed."""
# ruff: noqa: ARG002 - the signatures are those of KubeApi

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.judge.judgement import Verdict
from harness.judge.requirement import judge
from harness.kube.access import ClusterAccess
from harness.kube.api import Object
from harness.mesh import guest_sample
from harness.model import scopes
from harness.model.cluster import ClusterObservation
from harness.model.observation import Asked, Environment, Observation
from harness.model.step_log import StepLog
from harness.runs import deployed_sample, verify_only
from harness.runs.options import OPTIONS, Options, parse
from suites.catalogue import catalogue
from suites.selftest.mesh.test_guest_sample import Cluster
from suites.selftest.observe.test_data_plane import without_sample
from suites.selftest.support.ambient import ambient
from suites.selftest.support.good import TOPOLOGIES, good

TOPOLOGY = TOPOLOGIES["multi-primary-multi-network"]
NAMESPACE = "eastwest-sample-r1"


class Reviewed(Cluster):
    """A cluster that answers access reviews, too."""

    refused = ""

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Allowed, but for one resource."""
        if manifest["kind"] == "SelfSubjectAccessReview":
            asked = manifest["spec"]["resourceAttributes"]
            return {"status": {"allowed": f"{asked['verb']} {asked['resource']}" != self.refused}}
        if dry_run:
            containers = [*manifest["spec"]["containers"], {"name": "istio-proxy"}]
            return {**manifest, "spec": {"containers": containers}}
        return super().create(manifest)

    def read(self, path: str, *, accept: str = "application/json", **_query: str) -> Object | None:
        """Namespaces only."""
        return self.get("v1", "Namespace", path.rpartition("/")[2])


KUBES: dict[str, Reviewed] = {}


def _options(**given: Any) -> Options:
    values: dict[str, Any] = {option.name: option.not_given for option in OPTIONS}
    values |= {"verify-only": True, "contexts": "a,b", "deploy-sample": True, "timeout-scale": "0.1"}
    return parse(lambda name: (values | given)[name], catalogue())


def _accesses() -> tuple[ClusterAccess, ...]:
    return tuple(ClusterAccess(c.name, f"ctx-{c.name}", Path("none"), "https://a") for c in TOPOLOGY.clusters)


@pytest.fixture(autouse=True)
def _clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    KUBES.clear()
    KUBES.update({cluster.name: Reviewed(cluster.name) for cluster in TOPOLOGY.clusters})
    monkeypatch.setattr(Reviewed, "refused", "")
    monkeypatch.setattr(verify_only, "Kube", lambda access: KUBES[access.name])
    monkeypatch.setattr(verify_only, "_read", lambda *_: list(good(TOPOLOGY).clusters))


def _written() -> list[str]:
    return [line for kube in KUBES.values() for line in kube.writes]


def test_a_missing_permission_is_named_before_anything_is_created(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reviewed, "refused", "create deployments")
    with pytest.raises(UserError) as error:
        verify_only.require_sample(_accesses(), _options(), "r1")
    assert f"create deployments in {NAMESPACE}" in error.value.why
    assert "deploy-sample-clusterrole" in error.value.fix
    assert not _written()


def test_a_namespace_that_exists_is_refused() -> None:
    KUBES["west"].objects["Namespace", "", NAMESPACE] = {"metadata": {"name": NAMESPACE}, "kind": "Namespace"}
    with pytest.raises(UserError) as error:
        verify_only.require_sample(_accesses(), _options(), "r1")
    assert f"namespace {NAMESPACE} exists on west" in error.value.what
    assert not _written()


def test_without_the_option_nothing_is_asked() -> None:
    verify_only.require_sample((), _options(**{"deploy-sample": False}), "r1")


EXPERIMENTS = frozenset({"TR-TCP", "TR-PAYLOAD", "TR-GRPC", "MTLS-STRICT", "AUTHZ-IDENTITY"})


def _verify(
    monkeypatch: pytest.MonkeyPatch, observe: Any, log: StepLog, experiments: frozenset[str] = EXPERIMENTS
) -> Observation:
    def experiment(_mesh: object, *, pki: object, wanted: frozenset[str], **_more: object) -> None:
        assert pki is None
        assert wanted == experiments

    monkeypatch.setattr(verify_only, "observe", observe)
    monkeypatch.setattr(deployed_sample, "experiment", experiment)
    return verify_only.verify(
        TOPOLOGY,
        _accesses(),
        _options(),
        environment=Environment(platform="existing"),
        run_id="r1",
        started=datetime.now(UTC),
        log=log,
    )


def test_the_sample_is_there_while_it_is_observed_and_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    def observe(_topology: object, kubes: Mapping[str, Reviewed], asked: Asked, **_more: Any) -> Observation:
        assert all(("Deployment", NAMESPACE, "sleep") in kube.objects for kube in kubes.values())
        assert (asked.mode, asked.sample, asked.sample_namespace) == ("verify-only", "deployed", NAMESPACE)
        return good(TOPOLOGY).model_copy(update={"asked": asked})

    log = StepLog()
    seen = _verify(monkeypatch, observe, log)
    assert all(("Namespace", "", NAMESPACE) not in kube.objects for kube in KUBES.values())
    assert seen.cleanup
    assert not seen.cleanup.changes
    clean = judge(catalogue()["CLEAN"], seen)
    assert clean.verdict is Verdict.PASS
    assert any(NAMESPACE in fact for fact in clean.facts)
    planned = next(step for step in log.steps if step.title == "Plan what is created and sent")
    assert f"namespace {NAMESPACE}" in planned.detail
    assert "requests from each cluster's client" in planned.detail
    order = [step.title for step in log.steps]
    assert order.index(planned.title) < order.index(
        "Create a namespace for the sample, labelled as this mesh takes workloads in"
    )


@pytest.mark.parametrize(
    "selectors",
    [
        {"servicesSelector": {"matchLabels": {"istio.io/global": "true"}}},
        {"namespaceSelector": {"matchLabels": {"team": "global"}}},
        {"servicesSelector": {"matchExpressions": [{"key": "reach", "operator": "Exists"}]}},
    ],
)
def test_in_a_mesh_of_ztunnels_the_sample_is_taken_in_by_them(
    selectors: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its namespace is labelled for ambient, its Services are global, and nobody waits for an injector."""
    scope = {**selectors, "scope": "GLOBAL"}
    bare = [_with_scopes(without_sample(seen), scope) for seen in ambient().clusters]

    def observe(_topology: object, kubes: Mapping[str, Reviewed], asked: Asked, **_more: Any) -> Observation:
        assert asked.ambient
        for kube in kubes.values():
            namespace = kube.objects["Namespace", "", NAMESPACE]["metadata"]["labels"]
            assert namespace["istio.io/dataplane-mode"] == "ambient"
            for name in ("helloworld", "echo-v1", "echo-v2"):
                service = kube.objects["Service", NAMESPACE, name]["metadata"]["labels"]
                assert scopes.is_global([scope], namespace, service), name
        return ambient().model_copy(update={"asked": asked})

    monkeypatch.setattr(verify_only, "_read", lambda *_: bare)
    log = StepLog()
    _verify(monkeypatch, observe, log, experiments=EXPERIMENTS - {"TR-GRPC"})
    assert not [step for step in log.steps if "sidecar" in step.title]


def _with_scopes(seen: ClusterObservation, scope: dict[str, Any]) -> ClusterObservation:
    scopes_told = {"serviceScopeConfigs": [scope]}
    told = (each.model_copy(update={"mesh": {**each.mesh, **scopes_told}}) for each in seen.mesh_config)
    return seen.model_copy(update={"mesh_config": tuple(told)})


@pytest.mark.parametrize("failed", [KeyboardInterrupt, RuntimeError])
def test_the_sample_is_removed_whatever_happens(failed: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def observe(*_args: object, **_more: object) -> Observation:
        raise failed

    with pytest.raises(failed):
        _verify(monkeypatch, observe, StepLog())
    assert all(("Namespace", "", NAMESPACE) not in kube.objects for kube in KUBES.values())
    assert all(f"create Namespace//{NAMESPACE}" in kube.writes for kube in KUBES.values())


def test_images_may_be_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_only, "observe", lambda *_, **__: good(TOPOLOGY))
    options = deployed_sample.placed(_options(**{"sample-image": ["helloworld=r.example/hello-{version}:2"]}), "r1")
    seen = list(good(TOPOLOGY).clusters)
    with deployed_sample.deployed(TOPOLOGY, dict(KUBES), seen, options, run_id="r1", log=StepLog()):
        found = KUBES["east"].objects["Deployment", NAMESPACE, "helloworld-v1"]
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "r.example/hello-v1:2"
    assert guest_sample.namespace_of("r1") == NAMESPACE


@pytest.mark.parametrize(
    "given",
    [
        {"verify-only": False, "contexts": ""},
        {"namespace": "mine"},
        {"service": "a.b:80"},
        {"deploy-sample": False, "sample-image": ["sleep=x"]},
        {"sample-image": ["nothing=x"]},
        {"deploy-sample": False, "client": "a/app=x"},
        {"error-rate": "1"},
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        _options(**given)
