"""Pods that the API server does not let in: the object that refuses them is named, not the Deployment without pods."""

from collections.abc import Mapping

import pytest

from harness.model.cluster import AdmissionWebhook, ApiEvent, Condition, DryRun
from harness.model.observation import Observation
from harness.model.refusal import refusal
from harness.proof.faults.edit import edit, on
from suites.selftest.judge.test_policies import causes
from suites.selftest.support.breakage import last

SEVERAL = "multi-primary-multi-network"
PSA = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false'
MESSAGES = {
    PSA: "Namespace sample",
    'pods "x" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=4, limited: pods=4': (
        "ResourceQuota sample/compute"
    ),
    'pods "x" is forbidden: failed quota: compute: must specify limits.cpu for: istio-proxy': (
        "ResourceQuota sample/compute"
    ),
    'pods "x" is forbidden: minimum cpu usage per Container is 1, but request is 100m': "Namespace sample",
    'pods "x" is forbidden: unable to validate against any security context constraint: [provider]': "Namespace sample",
    'pods "x" is forbidden: error looking up service account sample/y: serviceaccount "y" not found': (
        "ServiceAccount sample/y"
    ),
    "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'no-root' with binding 'b' denied request: no": (
        "ValidatingAdmissionPolicy no-root"
    ),
    'admission webhook "validate.kyverno.svc-fail" denied the request: no': (
        "admission webhook validate.kyverno.svc-fail"
    ),
    'Internal error occurred: failed calling webhook "check.gatekeeper.sh": failed to call webhook: no endpoints': (
        "admission webhook check.gatekeeper.sh"
    ),
}


@pytest.mark.parametrize(("message", "object_"), MESSAGES.items())
def test_what_refuses_is_read_from_the_message(message: str, object_: str) -> None:
    found = refusal(message, "sample")
    assert found
    assert found.object == object_


def test_other_messages_name_nothing() -> None:
    assert refusal("0/3 nodes are available: insufficient memory", "sample") is None


def _without_pods(good: Observation, namespace: str, name: str, message: str, *, condition: bool) -> Observation:
    """A Deployment whose ReplicaSet can't make pods on the last cluster."""
    cluster = last(good.topology)
    observed = good[cluster]
    failing = Condition(type="ReplicaFailure", status="True", reason="FailedCreate", message=message)
    unavailable = Condition(type="Available", status="False")
    event = ApiEvent(
        namespace=namespace,
        object=f"ReplicaSet/{name}-5d8",
        reason="FailedCreate",
        message=message,
        count=9,
        last_seen=None,
    )
    conditions = (unavailable, failing) if condition else (unavailable,)
    return on(
        good,
        cluster,
        workloads=edit(observed.workloads, lambda w: w.name == name, ready=0, conditions=conditions),
        pods=tuple(pod for pod in observed.pods if not pod.name.startswith(f"{name}-")),
        events=() if condition else (event,),
    )


@pytest.mark.parametrize("condition", [True, False], ids=["condition", "event"])
@pytest.mark.parametrize(
    ("cause", "namespace", "name"),
    [
        ("gateway-refused", "istio-system", "istio-eastwestgateway"),
        ("control-plane-refused", "istio-system", "istiod"),
        ("pod-refused", "sample", "helloworld-v2"),
    ],
)
def test_the_object_that_refuses_is_named_first(
    cause: str, namespace: str, name: str, condition: bool, good_observations: Mapping[str, Observation]
) -> None:
    broken = _without_pods(good_observations[SEVERAL], namespace, name, PSA, condition=condition)
    first = causes(broken)[0]
    assert (first.id, first.object) == (cause, f"Namespace {namespace}"), causes(broken)
    assert f"{namespace}/{name}" in first.found
    assert "delete" not in first.repair


@pytest.mark.parametrize("kind", ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"])
def test_a_webhook_of_another_vendor_that_leads_nowhere_is_named(
    kind: str, good_observations: Mapping[str, Observation]
) -> None:
    """By the configuration's name, which the API server's message does not say."""
    good = good_observations[SEVERAL]
    said = 'failed calling webhook "fail.kyverno.svc": Post "https://kyverno.svc": service "kyverno" not found'
    webhook = AdmissionWebhook(kind=kind, name="kyverno-resource", rules=("fail.kyverno.svc",))
    broken = on(good, last(good.topology), dry_run=DryRun(injected=False, error=said), other_webhooks=(webhook,))
    first = causes(broken)[0]
    assert (first.id, first.object) == ("pod-refused", f"{kind} kyverno-resource")


def test_a_webhook_of_istio_stays_its_own_cause(good_observations: Mapping[str, Observation]) -> None:
    good = good_observations[SEVERAL]
    said = 'failed calling webhook "namespace.sidecar-injector.istio.io": no endpoints available for service "istiod"'
    broken = on(good, last(good.topology), dry_run=DryRun(injected=False, error=said))
    assert causes(broken)[0].id == "injection-refused"


def test_a_workload_that_is_available_was_refused_before(good_observations: Mapping[str, Observation]) -> None:
    """Events stay for an hour."""
    good = good_observations[SEVERAL]
    cluster = last(good.topology)
    event = ApiEvent(
        namespace="sample",
        object="ReplicaSet/helloworld-v2-5d8",
        reason="FailedCreate",
        message=PSA,
        count=1,
        last_seen=None,
    )
    gone = edit(good[cluster].services, lambda service: service.name == "helloworld", selector={"app": "other"})
    broken = on(good, cluster, events=(event,), services=gone, ca_secret=None)
    assert "pod-refused" not in {cause.id for cause in causes(broken)}
