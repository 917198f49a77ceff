"""Variants without clusters: what they touch is put back, and what the suite says of them is judged."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import BasicConstraints, load_pem_x509_certificates

from harness.base.errors import StepError, UserError
from harness.judge.diagnose.cause import Cause
from harness.judge.judgement import Finding, Judgement, Level, Reservation, Verdict
from harness.mesh import pki
from harness.mesh.pki import Authority, CaFiles, Pki
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation
from harness.model.topology import CHAPTER_MODELS, ControlPlaneModel, NetworkModel, preset
from harness.model.x509 import key_matches
from harness.proof.faults.acts import certificates as ca_acts
from harness.proof.faults.acts import policies as policy_acts
from harness.proof.faults.acts import workloads as workload_acts
from harness.proof.live import waits
from harness.proof.variants import authorities
from harness.proof.variants.acts import certificates, clusters, common, control_planes, gateways
from harness.proof.variants.registry import AREAS, select, variants
from harness.proof.variants.trial import VariantResult, VariantTrial, compare
from reports import variants as report
from reports.detection import Untried
from reports.model import Suite
from suites.selftest.support import sessions
from suites.selftest.support.live_mesh import ca_files, live_mesh, made_object, spec, state

PRESETS = tuple(preset(planes, network) for planes in CHAPTER_MODELS for network in NetworkModel)
VARIANT = variants()["app-protocol"]
CAUSE = Cause(
    id="ports-differ", title="T", cluster="west", object="Service", field="f", expected="e", found="g", repair="r"
)


class BoomError(Exception):
    """What happens while a variant is in force."""


WAITS = (
    "await_true",
    "await_quiet",
    "await_rollout",
    "await_connected",
    "await_injection",
    "await_addresses",
    "restart_sample",
    "renewed",
)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is waited for has happened, and what programs make of clusters is there."""
    for module in (waits, policy_acts, ca_acts, workload_acts, common, *AREAS):
        for name in WAITS:
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(waits, "endpoints", lambda *_: frozenset())
    monkeypatch.setattr(
        pki, "make", lambda topology: Pki({c.name: ca_files(f"next {c.name}") for c in topology.clusters})
    )
    for name in ("behind_policy_ca", "elliptic_curve"):
        monkeypatch.setattr(authorities, name, lambda *_: ca_files("other"))
    monkeypatch.setattr(authorities, "pkcs1", str.upper)
    monkeypatch.setattr(certificates, "_root", lambda *_: None)
    monkeypatch.setattr(clusters, "administrator", lambda *_: {"client-certificate-data": "c", "client-key-data": "k"})
    monkeypatch.setattr(
        control_planes, "tag_webhook", lambda *_: made_object("a/v1", "MutatingWebhookConfiguration", "tag")
    )
    monkeypatch.setattr(
        control_planes,
        "rendered",
        lambda kube, *_: [
            *kube.list("apps/v1", "Deployment"),
            made_object("v1", "ConfigMap", "istio-canary", "istio-system"),
        ],
    )
    monkeypatch.setattr(
        control_planes,
        "run_istiod_as",
        lambda live, cluster, change, **_: live.kube(cluster).merge(
            "apps/v1", "Deployment", "istiod", change, "istio-system"
        ),
    )


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("variant", "topology"),
    [(each.id, topology.name) for topology in PRESETS for each in select(variants(), topology)],
)
def test_what_a_variant_touches_is_put_back(
    variant: str, topology: str, made_observations: Mapping[str, Observation]
) -> None:
    """The same objects exist afterwards, also when something fails while the variant is in force."""
    live, kubes = live_mesh(made_observations[topology])
    before = state(kubes)
    with pytest.raises(BoomError), variants()[variant].act(live):
        changed = state(kubes)
        raise BoomError
    assert any(spec(changed[name]) != spec(before[name]) for name in kubes)
    after = state(kubes)
    assert {name: spec(after[name]) for name in kubes} == {name: spec(before[name]) for name in kubes}


@pytest.mark.usefixtures("at_once")
def test_one_secret_names_every_cluster_it_knows(made_observations: Mapping[str, Observation]) -> None:
    live, kubes = live_mesh(made_observations["multi-primary-multi-network"])
    with clusters.one_secret(live):
        for kube in kubes.values():
            labelled = kube.list("v1", "Secret", "istio-system", label_selector="istio/multiCluster=true")
            assert [found["metadata"]["name"] for found in labelled] == ["clusters"]


@pytest.mark.usefixtures("at_once")
def test_the_moved_port_leads_to_the_same_listener(made_observations: Mapping[str, Observation]) -> None:
    live, kubes = live_mesh(made_observations["multi-primary-multi-network"])
    with gateways.gateway_port(live):
        service: Any = kubes["west"].get("v1", "Service", "istio-eastwestgateway", "istio-system")
    ports = {port["name"]: (port["port"], port.get("targetPort")) for port in service["spec"]["ports"]}
    assert ports["tls"] == (443, 15443)
    assert ports["tls-istiod"] == (15012, None)
    assert service["metadata"]["labels"]["networking.istio.io/gatewayPort"] == "443"


def test_a_program_is_not_renamed() -> None:
    """Only what is exactly the old name changes: labels and selectors agree, the command stays."""
    manifest = {"metadata": {"name": "sleep"}, "command": ["/bin/sleep", "1"], "labels": [{"app": "sleep"}]}
    renamed = common.renamed(manifest, "sleep", "curl")
    assert renamed == {"metadata": {"name": "curl"}, "command": ["/bin/sleep", "1"], "labels": [{"app": "curl"}]}


@pytest.mark.parametrize("make", [authorities.behind_policy_ca, authorities.elliptic_curve])
def test_an_authority_of_another_shape_verifies(make: Callable[[Authority, str], CaFiles]) -> None:
    """Every certificate of the chain is signed by the next, which may sign; the key is the first one's."""
    root = pki.make(preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI), bits=2048).root
    assert root is not None
    files = make(root, "west")
    chain = load_pem_x509_certificates(files.cert_chain.encode())
    assert chain[-1] == root.certificate == load_pem_x509_certificates(files.root_cert.encode())[0]
    for position, (issued, issuer) in enumerate(pairwise(chain)):
        issued.verify_directly_issued_by(issuer)
        assert issued.extensions.get_extension_for_class(BasicConstraints).value == BasicConstraints(True, position)
    assert key_matches(files.ca_key, files.ca_cert)


def test_only_the_form_of_a_key_changes() -> None:
    files = pki.make(preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI), bits=2048).clusters["east"]
    other = authorities.pkcs1(files.ca_key)
    assert (files.ca_key[:27], other[:31]) == ("-----BEGIN PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----")
    assert key_matches(other, files.ca_cert)


def test_nodes_of_others_are_not_labelled(made_observations: Mapping[str, Observation]) -> None:
    """Nodes of clusters that the suite has not made stay as they are."""
    live, kubes = live_mesh(made_observations["multi-primary-multi-network"])
    before = state(kubes)
    for kube in kubes.values():
        kube.access = replace(kube.access, nodes=())
    for act in (clusters.failover, gateways.external_ips):
        with pytest.raises(StepError, match="not made by the suite"), act(live):
            pass
    assert state(kubes) == before


def test_variants_are_chosen_by_topology_and_id() -> None:
    single, multi = (
        preset(ControlPlaneModel.MULTI_PRIMARY, network) for network in (NetworkModel.SINGLE, NetworkModel.MULTI)
    )
    own = {variant.id for variant in variants().values() if DataPlane.SIDECAR not in variant.planes}
    assert {variant.id for variant in select(variants(), multi)} == variants().keys() - own
    assert own < {variant.id for variant in select(variants(), multi, plane=DataPlane.AMBIENT)} < variants().keys()
    assert "gateway-port" not in {variant.id for variant in select(variants(), single)}
    assert [variant.id for variant in select(variants(), multi, {"failover"})] == ["failover"]
    with pytest.raises(UserError, match="--variant=no-such"):
        select(variants(), multi, {"no-such"})


def test_every_variant_of_a_topology_comes_before_the_next_topology(tmp_path: Path) -> None:
    """A mesh is installed once for each topology."""
    arguments = ["suites/variants", "--topology=all", "--collect-only", "-q", f"--output={tmp_path}"]
    status, shown = sessions.run(arguments, tmp_path / "said")
    assert status == 0, shown
    presets = [preset(planes, NetworkModel.MULTI) for planes in CHAPTER_MODELS]
    found = re.findall(rf"\[({'|'.join(topology.name for topology in presets)})-([a-z0-9-]+)\]", shown)
    wanted = {topology.name: [variant.id for variant in select(variants(), topology)] for topology in presets}
    for name, rows in groupby(found, key=itemgetter(0)):
        assert [variant for _, variant in rows] == wanted.pop(name)
    assert not wanted


def _judgement(row: str, verdict: Verdict, *facts: str) -> Judgement:
    finding = Finding(cluster="west", object="o", field="f", expected="e", found="g")
    reserved = Reservation(verdict=verdict, reason="because")
    return Judgement(
        id=row,
        level=Level.MUST,
        area="a",
        title="t",
        verdict=verdict,
        facts=facts,
        findings=(finding,) if verdict is Verdict.FAIL else (),
        reservations=() if verdict in {Verdict.FAIL, Verdict.PASS} else (reserved,),
    )


def _compared(
    *after: Judgement, causes: tuple[Cause, ...] = (), reported: frozenset[str] = frozenset()
) -> VariantTrial:
    before = (_judgement("A", Verdict.PASS, "old"), _judgement("S", Verdict.SKIPPED))
    return compare(replace(VARIANT, reported=reported), "multi-primary", before, after, causes)


def test_a_green_mesh_is_green_and_what_is_new_is_told() -> None:
    trial = _compared(_judgement("A", Verdict.PASS, "old", "new"), _judgement("S", Verdict.SKIPPED))
    assert (trial.result, trial.alarms, trial.news) == (VariantResult.GREEN, (), ("A: new",))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "proxy sample/sleep-5c879679fc-np87x: 398 requests, p50 3.4 ms",
            "proxy sample/sleep-7c7c94bf-mnk4v: 401 requests, p50 3 ms",
        ),
        ("Pod istio-cni/istio-cni-node-npc8k is ready", "Pod istio-cni/istio-cni-node-9x2bz is ready"),
        ("without a certificate: refused: connection reset", "without a certificate: refused: unexpected eof"),
    ],
)
def test_another_pod_number_or_way_to_be_refused_is_no_news(before: str, after: str) -> None:
    judged = compare(
        VARIANT, "multi-primary", (_judgement("A", Verdict.PASS, before),), (_judgement("A", Verdict.PASS, after),), ()
    )
    assert judged.news == ()


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.BLOCKED, Verdict.UNKNOWN, Verdict.SKIPPED])
def test_every_other_verdict_is_a_false_alarm(verdict: Verdict) -> None:
    trial = _compared(_judgement("A", verdict))
    assert trial.result is VariantResult.FALSE_ALARM
    assert trial.alarms[0].startswith(f"A {verdict}: ")


def test_what_may_be_reported_may_be_skipped_but_not_fail() -> None:
    reported = frozenset({"A"})
    assert _compared(_judgement("A", Verdict.SKIPPED), reported=reported).result is VariantResult.GREEN
    assert _compared(_judgement("A", Verdict.FAIL), reported=reported).result is VariantResult.FALSE_ALARM


def test_a_cause_is_a_false_alarm() -> None:
    trial = _compared(_judgement("A", Verdict.PASS, "old"), causes=(CAUSE,))
    assert trial.result is VariantResult.FALSE_ALARM
    assert trial.causes == ("ports-differ",)


def test_a_mesh_that_does_not_recover_is_unknown_but_hides_no_false_alarm() -> None:
    green = _compared(_judgement("A", Verdict.PASS, "old"))
    assert green.model_copy(update={"recovered": False}).result is VariantResult.UNKNOWN
    alarm = _compared(_judgement("A", Verdict.FAIL))
    assert alarm.model_copy(update={"recovered": False}).result is VariantResult.FALSE_ALARM


def test_the_table_says_what_was_not_green(tmp_path: Path) -> None:
    green, alarm = _compared(_judgement("A", Verdict.PASS, "old", "a|b")), _compared(_judgement("A", Verdict.FAIL))
    matrix = report.VariantMatrix(
        suite=Suite(version="1", commit="abc"),
        date=datetime(2026, 1, 1, tzinfo=UTC),
        seconds=60,
        reproduce="pytest suites/variants",
        trials=(green, alarm),
    )
    assert report.summary(matrix) == "1 of 2 variants stayed green; 1 false alarm"
    assert report.exit_code(matrix) == 1
    assert report.exit_code(matrix.model_copy(update={"trials": (green,)})) == 0
    assert report.exit_code(matrix.model_copy(update={"trials": ()})) == 5
    left = matrix.model_copy(update={"trials": (green,), "untried": (Untried(name="x", reason="y"),)})
    assert report.exit_code(left) == 3
    report.write(matrix, tmp_path / "variants.json")
    text = (tmp_path / "variants.md").read_text()
    assert "A fail: west: o f: expected e, found g" in text and "a\\|b" in text
