"""Which revision serves the sample, by the selectors of Istio's own webhooks and without them."""

from collections.abc import Mapping
from typing import Any

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Verdict
from harness.model import admission, revisions
from harness.model.cluster import ClusterObservation, DryRun, InjectionWebhook, WebhookRule
from harness.model.label_selector import selects
from harness.model.observation import Observation
from harness.proof.faults.edit import edit, on
from suites.selftest.support.ambient import ambient
from suites.selftest.support.breakage import first, verdicts
from suites.selftest.support.judgements import judged

NAME = "multi-primary-multi-network"
OPTED_IN = {"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}


def _rule(service: str, key: str, value: str, *, pod: bool = False) -> WebhookRule:
    """A rule that selects a label of the namespace, or of the pod in a namespace without one."""
    chosen = {"key": key, "operator": "In", "values": [value]}
    unlabelled = [{"key": other, "operator": "DoesNotExist"} for other in ("istio-injection", "istio.io/rev")]
    others = [row for row in unlabelled if row["key"] == "istio-injection" and key != "istio-injection"]
    namespace: list[dict[str, Any]] = unlabelled if pod else [chosen, *others]
    return WebhookRule(
        name="namespace.sidecar-injector.istio.io",
        service=f"istio-system/{service}:443",
        failure_policy="Fail",
        namespace_selector={"matchExpressions": namespace},
        object_selector={"matchExpressions": [OPTED_IN, *([chosen] if pod else [])]},
    )


def _webhook(revision: str, *, tag: str = "", service: str = "istiod", default: bool = False) -> InjectionWebhook:
    label = tag or revision
    rules = [_rule(service, "istio.io/rev", label), _rule(service, "istio.io/rev", label, pod=True)]
    if default:
        rules.append(_rule(service, "istio-injection", "enabled"))
    name = f"istio-revision-tag-{tag}" if tag else f"istio-sidecar-injector-{revision}"
    return InjectionWebhook(name=name, revision=revision, tag=tag, webhooks=tuple(rules))


def _foreign(good: Observation) -> Observation:
    return good.model_copy(update={"asked": good.asked.model_copy(update={"mode": "verify-only"})})


def _labelled(seen: ClusterObservation, namespace: Mapping[str, str], pod: Mapping[str, str]) -> ClusterObservation:
    namespaces = edit(seen.namespaces, lambda found: found.name == "sample", labels=dict(namespace))
    pods = tuple(
        found.model_copy(update={"labels": found.labels | dict(pod)}) if found.namespace == "sample" else found
        for found in seen.pods
    )
    return seen.model_copy(update={"namespaces": namespaces, "pods": pods})


@pytest.mark.parametrize("recorded", [True, False], ids=["selectors", "no selectors"])
@pytest.mark.parametrize(
    ("namespace", "pod", "wanted"),
    [
        ({"istio-injection": "enabled"}, {}, "1-30"),
        ({"istio-injection": "enabled", "istio.io/rev": "1-31"}, {}, "1-30"),
        ({"istio.io/rev": "1-31"}, {}, "1-31"),
        ({"istio.io/rev": "prod"}, {}, "1-31"),
        ({"istio.io/rev": "1-30"}, {"istio.io/rev": "1-31"}, "1-30"),
        ({}, {"istio.io/rev": "prod"}, "1-31"),
        ({}, {"istio.io/rev": "1-31", "sidecar.istio.io/inject": "true"}, "1-31"),
    ],
)
def test_the_revision_that_serves_the_sample(
    namespace: Mapping[str, str],
    pod: Mapping[str, str],
    wanted: str,
    recorded: bool,
    good_observations: Mapping[str, Observation],
) -> None:
    webhooks: tuple[InjectionWebhook, ...] = (
        _webhook("1-30"),
        _webhook("1-31"),
        _webhook("1-30", tag="default", default=True),
        _webhook("1-31", tag="prod"),
    )
    if not recorded:
        nothing = {"namespace_selector": None, "object_selector": None}
        webhooks = tuple(
            hook.model_copy(update={"webhooks": edit(hook.webhooks, lambda _: True, **nothing)}) for hook in webhooks
        )
    seen = good_observations[NAME].clusters[0].model_copy(update={"webhooks": webhooks})
    assert revisions.serving(_labelled(seen, namespace, pod), "sample") == wanted


def test_a_label_that_has_no_effect_is_reported(good_observations: Mapping[str, Observation]) -> None:
    """`istio-injection` wins: nothing of the leftover revision is asked for."""
    good = _foreign(good_observations[NAME])
    both = {"istio-injection": "enabled", "istio.io/rev": "canary"}
    for cluster in good.topology.clusters:
        good = on(good, cluster, namespaces=_labelled(good[cluster], both, {}).namespaces)
    assert {row: found for row, found in verdicts(good).items() if found is Verdict.FAIL} == {}
    assert "istio.io/rev=canary has no effect" in revisions.without_effect(both)
    assert revisions.without_effect({"istio.io/rev": "canary"}) == ""


def test_only_the_control_planes_in_use_are_judged(good_observations: Mapping[str, Observation]) -> None:
    """An older revision that stands idle beside may be of any version."""
    good = _foreign(good_observations[NAME])
    cluster = first(good.topology)
    (plane,) = good[cluster].control_planes
    idle = plane.model_copy(
        update={"pod": "istiod-old", "revision": "1-20", "version": "1.20.0", "clusters": (), "proxies": ()}
    )
    beside = on(good, cluster, control_planes=(idle, plane))
    assert revisions.control_planes(beside, cluster) == (plane,)
    assert verdicts(beside)["RS-SYNCED"] is Verdict.PASS
    in_use = on(good, cluster, control_planes=(idle.model_copy(update={"revision": "default"}), plane))
    assert verdicts(in_use)["RS-SYNCED"] is Verdict.FAIL


@pytest.mark.parametrize("recorded", [True, False], ids=["selectors", "no selectors"])
def test_a_webhook_left_of_a_revision_is_named(recorded: bool, good_observations: Mapping[str, Observation]) -> None:
    """By its own name, and not as the pod that is refused; one whose Service is there is not named."""
    good = _foreign(good_observations[NAME])
    cluster = first(good.topology)
    left = _webhook("1-7-0", service="istiod-1-7-0", default=recorded)
    (own,) = good[cluster].webhooks
    enabled = {"namespace_selector": {"matchLabels": {"istio-injection": "enabled"}}, "object_selector": {}}
    own = own.model_copy(update={"webhooks": edit(own.webhooks, lambda _: True, **(enabled if recorded else {}))})
    said = 'failed calling webhook "namespace.sidecar-injector.istio.io": service "istiod-1-7-0" not found'
    refused = DryRun(injected=False, error=said)
    broken = on(good, cluster, webhooks=(left, own), dry_run=refused)
    (cause,) = diagnose(broken, judged(broken))
    assert (cause.id, cause.object) == ("injector-left", f"MutatingWebhookConfiguration {left.name}")
    assert revisions.revision(broken, cluster) == "default"
    alive = _webhook("1-7-0", default=True)
    beside = on(good, cluster, webhooks=(own, alive))
    assert list(admission.dead_injection(beside[cluster], {"istio-injection": "enabled"}, {})) == []


def test_a_validating_webhook_that_leads_nowhere_is_named(good_observations: Mapping[str, Observation]) -> None:
    """Where it checks every object; one that checks its own revision's objects only hurts nobody."""
    good = _foreign(good_observations[NAME])
    cluster = first(good.topology)
    rule = WebhookRule(name="validation.istio.io", service="istio-system/gone:443", failure_policy="Fail")
    left = InjectionWebhook(name="istiod-default-validator", revision="default", webhooks=(rule,))
    broken = on(good, cluster, validating_webhooks=(left,))
    (cause,) = diagnose(broken, judged(broken))
    assert (cause.id, cause.object) == ("validator-left", "ValidatingWebhookConfiguration istiod-default-validator")
    own = {"matchExpressions": [{"key": "istio.io/rev", "operator": "In", "values": ["1-7-0"]}]}
    harmless = left.model_copy(update={"webhooks": (rule.model_copy(update={"object_selector": own}),)})
    assert verdicts(on(good, cluster, validating_webhooks=(harmless,)))["CP-INJECTION-WEBHOOK"] is Verdict.PASS


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_label_selectors(selector: Mapping[str, Any], holds: bool) -> None:
    assert selects(selector, {"a": "1"}) is holds


def test_a_mesh_configuration_that_is_no_yaml_fails_and_is_named(good_observations: Mapping[str, Observation]) -> None:
    """One requirement fails, none is unknown, and nothing is made of what could not be read."""
    good = _foreign(good_observations[NAME])
    cluster = first(good.topology)
    (config,) = good[cluster].mesh_config
    problem = "ConfigMap istio, key mesh: no YAML (line 16: mapping values are not allowed here)"
    unread = config.model_copy(update={"mesh": {}, "problems": (problem,)})
    broken = on(good, cluster, mesh_config=(unread,))
    found = {judgement.id: judgement.verdict for judgement in judged(broken)}
    assert {row: verdict for row, verdict in found.items() if verdict not in {Verdict.PASS, Verdict.SKIPPED}} == {
        "CP-IDENTITY": Verdict.FAIL,
        "CONFIG-CONSISTENT": Verdict.BLOCKED,
    }
    cause = diagnose(broken, judged(broken))[0]
    assert (cause.id, cause.object, cause.field) == ("mesh-config-unreadable", "ConfigMap istio-system/istio", "mesh")
    assert "line 16" in cause.found


@pytest.mark.parametrize(
    ("service", "serving"),
    [("istiod-1-31", "1-31"), ("istiod", "1-32"), ("istiod-gone", "1-32"), ("other.example.com", "1-32")],
)
def test_without_injection_it_is_the_revision_that_ztunnels_follow(service: str, serving: str) -> None:
    """As far as there is one of that name; else the newest, where none is the default."""
    east = ambient()["east"]
    configs = tuple(east.mesh_config[0].model_copy(update={"revision": name}) for name in ("1-31", "1-32"))
    ztunnels = edit(east.ztunnels, lambda _: True, connected_to=f"https://{service}.istio-system.svc:15012")
    seen = east.model_copy(update={"mesh_config": configs, "ztunnels": ztunnels, "webhooks": ()})
    assert revisions.serving(seen, "sample") == serving
