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
    found = ambient_labels(observed)
    assert (found.revision, found.pod) == ("1-31", {})
    assert found.namespace == {"team": "mesh", "istio.io/dataplane-mode": "ambient"}


def test_a_recorded_mesh(good_observations: Mapping[str, Observation]) -> None:
    for name, observation in good_observations.items():
        for cluster in observation.topology.clusters:
            observed, primary = observation[cluster], observation[cluster.primary]
            assert sample_labels(observed, primary, NAME).namespace == {"istio-injection": "enabled"}, name
