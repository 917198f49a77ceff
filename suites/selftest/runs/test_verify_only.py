"""--verify-only: what one must be allowed to do is checked first, and nothing is stored."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness.base.errors import UserError
from harness.clusters import existing
from harness.kube.access import ClusterAccess
from harness.kube.api import Object
from harness.model.observation import Asked, Environment, Observation
from harness.model.permissions import Permission
from harness.model.step import Outcome
from harness.model.step_log import StepLog
from harness.observe import required_permissions
from harness.observe.required_permissions import Wanted
from harness.runs import verify_only
from harness.runs.options import OPTIONS, Options, parse
from suites.selftest.support.ambient import ambient
from suites.selftest.support.fake_kube import FakeKube
from suites.selftest.support.good import TOPOLOGIES, good

DOCS = Path(__file__).parents[3] / "docs"
TOPOLOGY = TOPOLOGIES["primary-remote-multi-network"]


class ReviewingKube(FakeKube):
    """Answers access reviews; refuses those of some resources."""

    refused: tuple[str, ...] = ()

    def __init__(self, access: ClusterAccess) -> None:
        super().__init__(access.name)
        self.access = access
        self.asked: list[Mapping[str, str]] = []
        self._lock = threading.Lock()

    def create(self, manifest: Object, **_: Any) -> Object:
        """An answer, which no API server stores."""
        assert manifest["kind"] == "SelfSubjectAccessReview"
        attributes = manifest["spec"]["resourceAttributes"]
        with self._lock:
            self.asked.append(attributes)
        return {"status": {"allowed": attributes["resource"] not in self.refused}}


def _options(**given: Any) -> Options:
    values: dict[str, Any] = {option.name: [] if option.repeatable else option.default for option in OPTIONS}
    values |= {"verify-only": True, "contexts": "a,b"}
    values |= {name.replace("_", "-"): value for name, value in given.items()}
    return parse(lambda name: values[name], {})


@pytest.fixture(autouse=True)
def _clusters(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clusters of a good mesh, of which only access reviews are asked, and in which nothing is written."""
    observation, made = good(TOPOLOGY), list[ReviewingKube]()

    def connect(access: ClusterAccess) -> ReviewingKube:
        made.append(ReviewingKube(access))
        return made[-1]

    monkeypatch.setattr(verify_only, "Kube", connect)
    monkeypatch.setattr(ReviewingKube, "refused", ())
    monkeypatch.setattr(existing, "take", lambda *_, **__: _accesses())
    monkeypatch.setattr(verify_only, "read_cluster", lambda kube, *_: SimpleNamespace(observed=observation[kube.name]))
    yield
    assert not [kube.writes for kube in made if kube.writes]


def _accesses() -> tuple[ClusterAccess, ...]:
    return tuple(ClusterAccess(name, f"ctx-{name}", Path("none"), "https://a") for name in ("east", "west"))


def test_the_topology_is_found_out() -> None:
    assert verify_only.expect(_options()) == TOPOLOGY


def test_missing_permissions_are_named_before_anything_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, cluster by cluster; what may be left out is not."""
    monkeypatch.setattr(ReviewingKube, "refused", ("services", "deployments", "secrets"))
    with pytest.raises(UserError) as error:
        verify_only.expect(_options())
    for named in ("ctx-east: list services in istio-system, sample, istio-cni", "ctx-west: list deployments"):
        assert named in error.value.why
    assert "secrets" not in error.value.why
    assert "verify-only-clusterrole" in error.value.fix


def test_what_is_optional_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReviewingKube, "refused", ("secrets", "nodes"))
    seen: dict[str, Any] = {}

    def observe(topology: object, kubes: object, asked: Asked, **more: Any) -> Observation:
        seen.update(more, asked=asked)
        return good(TOPOLOGY)

    monkeypatch.setattr(verify_only, "observe", observe)
    log = StepLog()
    verify_only.verify(
        verify_only.expect(_options()),
        _accesses(),
        _options(),
        environment=Environment(platform="existing"),
        run_id="run",
        started=datetime.now(UTC),
        log=log,
    )
    (step,) = log.steps
    assert step.outcome is Outcome.DONE
    assert "east: get secrets in istio-system, sample, istio-cni (cacerts and remote secrets" in step.detail
    assert "west: list nodes (" in step.detail
    assert seen["asked"].mode == "verify-only"
    assert seen["asked"].cni


def test_ztunnels_are_found_and_need_not_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on as one of an ambient mesh; an option that says otherwise ends it before anything happens."""
    found, seen = ambient(), dict[str, Any]()
    read = lambda kube, asked, *_: SimpleNamespace(observed=_told(asked, found)[kube.name])  # noqa: E731

    def observe(topology: object, kubes: object, asked: Asked, **_: Any) -> Observation:
        seen.update(asked=asked)
        return found

    monkeypatch.setattr(verify_only, "read_cluster", read)
    monkeypatch.setattr(verify_only, "observe", observe)
    assert verify_only.expect(_options()).networks == found.topology.networks
    with pytest.raises(UserError, match="--data-plane=sidecar contradicts the mesh"):
        verify_only.expect(_options(data_plane="sidecar"))
    environment, started = Environment(platform="existing"), datetime.now(UTC)
    verify_only.verify(
        found.topology, _accesses(), _options(), environment=environment, run_id="run", started=started, log=StepLog()
    )
    assert seen["asked"].ambient


def _told(asked: Asked, found: Observation) -> Observation:
    """Ztunnels outside of the mesh's namespaces are read where ambient is asked for."""
    assert asked.ambient
    return found


def test_every_permission_is_asked_for_where_it_is_needed() -> None:
    kube = ReviewingKube(_accesses()[0])
    assert not verify_only.lacking(kube, ("istio-system", "sample"))
    dry_run = {"verb": "create", "resource": "pods", "namespace": "sample"}
    assert dry_run in kube.asked
    assert {"verb": "list", "resource": "nodes"} in kube.asked
    assert {"verb": "list", "resource": "pods"} in kube.asked
    assert {"verb": "list", "resource": "gateways", "group": "gateway.networking.k8s.io"} in kube.asked
    assert {"verb": "create", "resource": "pods", "subresource": "exec", "namespace": "sample"} in kube.asked


def _granted(text: str) -> set[tuple[str, ...]]:
    return {
        (verb, *resource.partition("/")[::2], group)
        for rule in yaml.safe_load(text)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _asked_for(needed: Sequence[Wanted]) -> set[tuple[str, ...]]:
    wanted = (found.permission for found in needed)
    return {(found.verb, found.resource, found.subresource, found.group) for found in wanted}


def test_the_role_in_the_documentation_is_current() -> None:
    """It grants what is asked for, and nothing that stores or changes."""
    text = (DOCS / "verify-only-clusterrole.yaml").read_text()
    assert text == required_permissions.cluster_role(), (
        "run: python -m harness.observe.required_permissions > docs/verify-only-clusterrole.yaml"
    )
    assert _granted(text) == _asked_for(required_permissions.NEEDED)
    wanted = [found.permission for found in required_permissions.NEEDED]
    writing = {found for found in wanted if found.verb not in ("get", "list")}
    assert writing == {Permission("create", "pods", subresource=sub) for sub in ("", "exec", "portforward")}


def test_the_role_for_a_deployed_sample_is_current() -> None:
    """It grants what is asked for; what it changes is of the sample's kinds."""
    text = (DOCS / "deploy-sample-clusterrole.yaml").read_text()
    assert text == required_permissions.sample_cluster_role(), (
        "run: python -m harness.observe.required_permissions deploy-sample > docs/deploy-sample-clusterrole.yaml"
    )
    assert _granted(text) == _asked_for(required_permissions.FOR_SAMPLE)
    changed = {found[1] for found in _granted(text) if found[0] in {"delete", "patch"}}
    policies = {"peerauthentications", "authorizationpolicies", "destinationrules"}
    assert changed == {"namespaces", "serviceaccounts", "services", "deployments", *policies}


@pytest.mark.parametrize(
    "given",
    [
        {"contexts": ""},
        {"contexts": "a"},
        {"topology": "multi-primary"},
        {"topology_file": ["mixed.yaml"]},
        {"pki": "certificates"},
        {"keep": True},
        {"plan": "text"},
    ],
)
def test_what_makes_no_sense_with_it_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        _options(**given)
