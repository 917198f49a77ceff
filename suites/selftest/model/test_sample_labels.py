"""The labels of a new namespace: those that this mesh's own injection webhooks ask for."""

from collections.abc import Mapping
from typing import Any

import pytest

from harness.model.cluster import ClusterObservation, InjectionWebhook, MeshConfig, WebhookRule
from harness.model.observation import Observation
from harness.model.sample_labels import ambient_labels, sample_labels

SEVERAL = "multi-primary-multi-network"
NAME = "eastwest-sample-1"


def _rule(namespace: Mapping[str, Any], pod: Mapping[str, Any]) -> WebhookRule:
    return WebhookRule(
        name="rev.namespace.sidecar-injector.istio.io",
        url="https://192.0.2.1:15017/inject",
        service="",
        path="",
        failure_policy="Fail",
        namespace_selector=dict(namespace),
        object_selector=dict(pod),
    )


def _expressions(**wanted: tuple[str, ...]) -> dict[str, Any]:
    keys = {"injection": "istio-injection", "rev": "istio.io/rev", "inject": "sidecar.istio.io/inject", "team": "team"}
    return {
        "matchExpressions": [
            {"key": keys[key], "operator": "In" if values else "DoesNotExist", "values": list(values)}
            for key, values in wanted.items()
        ]
    }


BY_INJECTION = _rule(_expressions(injection=("enabled",)), {})
BY_REVISION = _rule(_expressions(injection=(), rev=("1-31",)), {})
BY_TAG = _rule(_expressions(injection=(), rev=("stable",)), {})
BY_POD = _rule(_expressions(injection=(), rev=()), _expressions(inject=("true",)))
BY_DISCOVERY = _rule(_expressions(injection=("enabled",), team=("mesh",)), {})


def _seen(good: Observation, revision: str, *hooks: InjectionWebhook, **mesh: Any) -> ClusterObservation:
    """The first cluster, with these webhooks and all of its proxies of this revision."""
    observed = good.clusters[0]
    pods = tuple(
        pod.model_copy(update={"annotations": {**pod.annotations, "istio.io/rev": revision}}) for pod in observed.pods
    )
    config = MeshConfig(revision=revision, mesh=mesh, values={})
    return observed.model_copy(update={"pods": pods, "webhooks": hooks, "mesh_config": (config,)})


def _hook(revision: str, *rules: WebhookRule, tag: str = "") -> InjectionWebhook:
    return InjectionWebhook(name="injector", revision=revision, tag=tag, webhooks=rules)


@pytest.mark.parametrize(
    ("revision", "hooks", "namespace", "pod"),
    [
        ("default", [_hook("default", BY_INJECTION)], {"istio-injection": "enabled"}, {}),
        ("1-31", [_hook("1-31", BY_REVISION)], {"istio.io/rev": "1-31"}, {}),
        ("1-31", [_hook("1-31", BY_TAG, tag="stable")], {"istio.io/rev": "stable"}, {}),
        ("1-31", [_hook("1-31", BY_INJECTION, tag="default")], {"istio-injection": "enabled"}, {}),
        # The revision that most proxies have, though the other one would inject by the plainer label.
        ("1-31", [_hook("old", BY_INJECTION), _hook("1-31", BY_REVISION)], {"istio.io/rev": "1-31"}, {}),
        ("default", [_hook("default", BY_POD)], {}, {"sidecar.istio.io/inject": "true"}),
        ("default", [], {"istio-injection": "enabled"}, {}),
        ("canary", [], {"istio.io/rev": "canary"}, {}),
    ],
)
def test_labels_are_those_that_a_webhook_selects(
    revision: str,
    hooks: list[InjectionWebhook],
    namespace: dict[str, str],
    pod: dict[str, str],
    good_observations: Mapping[str, Observation],
) -> None:
    observed = _seen(good_observations[SEVERAL], revision, *hooks)
    found = sample_labels(observed, observed, NAME)
    assert (found.namespace, found.pod, found.revision) == (namespace, pod, revision)


def test_a_namespace_is_one_that_istiod_discovers(good_observations: Mapping[str, Observation]) -> None:
    selectors = [{"matchLabels": {"team": "mesh"}}, {"matchLabels": {"other": "x"}}]
    observed = _seen(
        good_observations[SEVERAL], "default", _hook("default", BY_DISCOVERY), discoverySelectors=selectors
    )
    assert sample_labels(observed, observed, NAME).namespace == {"team": "mesh", "istio-injection": "enabled"}


def test_ztunnels_take_in_a_namespace_that_istiod_discovers(good_observations: Mapping[str, Observation]) -> None:
    observed = _seen(good_observations[SEVERAL], "1-31", discoverySelectors=[{"matchLabels": {"team": "mesh"}}])
    found = ambient_labels(observed, (observed,), NAME, OWN)
    assert (found.revision, found.pod) == ("1-31", {})
    assert found.namespace == {"team": "mesh", "istio.io/dataplane-mode": "ambient"}


GLOBAL = {"istio.io/global": "true"}
OWN = ({"app": "helloworld"}, {"eastwest/experiment": "echo"})


def _scope(namespace: Any = None, service: Any = None, scope: str = "GLOBAL") -> dict[str, Any]:
    given = {"namespaceSelector": namespace, "servicesSelector": service, "scope": scope}
    return {key: value for key, value in given.items() if value is not None}


def _equal(**labels: str) -> dict[str, Any]:
    return {"matchLabels": labels}


def _of(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


PROFILE = _scope(service={"matchLabels": GLOBAL})
TEAM = _scope(_equal(team="global"))
REACH = _scope(service=_equal(reach="far"))


@pytest.mark.parametrize(
    ("east", "west", "namespace", "service"),
    [
        ([PROFILE], [PROFILE], {}, GLOBAL),
        ([_scope()], [_scope()], {}, GLOBAL),
        ([TEAM, PROFILE], [PROFILE], {}, GLOBAL),
        ([TEAM], [TEAM], {"team": "global"}, {}),
        ([REACH], [REACH], {}, {"reach": "far"}),
        ([_scope(_equal(team="a"), _equal(reach="far"))] * 2, [TEAM, _scope()], {"team": "a"}, {"reach": "far"}),
        ([_scope(service=_of("reach", "In", "far", "further"))], [REACH], {}, {"reach": "far"}),
        ([_scope(_of("shared", "Exists"))], [_scope(_of("shared", "Exists"))], {"shared": "true"}, {}),
        # An own label is another one where that is what is asked for.
        ([_scope(service=_equal(app="shop"))], [PROFILE, _scope()], {}, {"app": "shop"}),
        # What is ruled out is left out.
        ([_scope(service=_of("istio.io/global", "DoesNotExist"))], [_scope()], {}, {}),
        ([_scope(service=_of("istio.io/global", "NotIn", "true"))], [_scope()], {}, {}),
        ([_scope(_equal(team="global", a="b"), scope="LOCAL"), TEAM], [TEAM], {"team": "global"}, {}),
        # Each control plane is told something else.
        ([TEAM], [REACH], {"team": "global"}, {"reach": "far"}),
        ([TEAM, _scope(_equal(team="b"))], [_scope(_equal(team="b"))], {"team": "b"}, {}),
        # What the API server sets by itself can't be chosen, and the next one is taken.
        ([_scope(_equal(**{"kubernetes.io/metadata.name": "shop"})), TEAM], [TEAM], {"team": "global"}, {}),
        # Nothing would do: the label of profile ambient, and the verdict says why.
        ([TEAM], [_scope(_equal(team="b"))], {}, GLOBAL),
        ([TEAM], [], {}, GLOBAL),
        ([_scope(_equal(team="global"), scope="LOCAL")], [TEAM], {}, GLOBAL),
        ([_scope(service=_of("app", "NotIn", "helloworld"))], [REACH], {}, GLOBAL),
        ([], [], {}, GLOBAL),
    ],
)
def test_services_are_global_to_every_control_plane(
    east: list[dict[str, Any]],
    west: list[dict[str, Any]],
    namespace: dict[str, str],
    service: dict[str, str],
    good_observations: Mapping[str, Observation],
) -> None:
    """As serviceScopeConfigs of each have it; where more than one would do, by the label of profile ambient."""
    primaries = [_seen(good_observations[SEVERAL], "1-31", serviceScopeConfigs=configs) for configs in (east, west)]
    found = ambient_labels(primaries[0], primaries, NAME, OWN)
    assert found.namespace == {**namespace, "istio.io/dataplane-mode": "ambient"}
    assert found.service == service


def test_what_is_not_known_asks_for_nothing(good_observations: Mapping[str, Observation]) -> None:
    """A mesh configuration that could not be read; the other control plane's still counts."""
    told = _seen(good_observations[SEVERAL], "1-31", serviceScopeConfigs=[TEAM])
    unread = told.model_copy(update={"mesh_config": ()})
    assert ambient_labels(told, (told, unread), NAME, OWN).namespace["team"] == "global"
    assert ambient_labels(unread, (unread, unread), NAME, OWN).service == GLOBAL


def test_a_namespace_for_global_services_is_one_that_istiod_discovers(
    good_observations: Mapping[str, Observation],
) -> None:
    """Of several labels that istiod discovers the one that makes its Services global, and none that hides them."""

    def found(*discovered: str) -> Mapping[str, str]:
        observed = _seen(
            good_observations[SEVERAL],
            "1-31",
            discoverySelectors=[{"matchLabels": {"team": team}} for team in discovered],
            serviceScopeConfigs=[TEAM],
        )
        return ambient_labels(observed, (observed,), NAME, OWN).namespace

    assert found("mesh", "global")["team"] == "global"
    assert found("mesh")["team"] == "mesh"


def test_a_recorded_mesh(good_observations: Mapping[str, Observation]) -> None:
    for name, observation in good_observations.items():
        for cluster in observation.topology.clusters:
            observed, primary = observation[cluster], observation[cluster.primary]
            assert sample_labels(observed, primary, NAME).namespace == {"istio-injection": "enabled"}, name
