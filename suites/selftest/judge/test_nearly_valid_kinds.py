"""What differs from a valid kind of mesh in the one thing that makes it valid still fails."""

from collections.abc import Callable

import pytest

from harness.judge.judgement import Verdict
from harness.model.observation import Observation
from suites.selftest.support.breakage import edit, judged, on
from suites.selftest.support.valid_kinds import (
    PRIMARIES,
    REMOTE,
    Kind,
    Made,
    cni_by_node_pool,
    everywhere,
    injection_elsewhere,
    istiod_starting,
    network_by_label_only,
    one_address_behind_proxies,
    validator_by_name,
    west,
)

THREE_PRIMARIES = Made("multi-primary-multi-network-3-clusters")


def _without_init(observation: Observation) -> Observation:
    """A pod on the pool without the plugin has nothing that redirects its traffic."""
    changed = cni_by_node_pool(observation)
    observed = changed[west(changed)]
    pods = tuple(
        pod.model_copy(update={"containers": tuple(each for each in pod.containers if each.name != "istio-init")})
        for pod in observed.pods
    )
    return on(changed, west(changed), pods=pods)


def _one_proxy(observation: Observation) -> Observation:
    """All names lead over one proxy to one address: to one API server."""
    changed = one_address_behind_proxies(observation)
    return everywhere(
        changed,
        lambda seen, cluster: on(
            seen,
            cluster,
            remote_secrets=tuple(
                secret.model_copy(
                    update={"access": tuple(a.model_copy(update={"proxy_url": "http://p:3128"}) for a in secret.access)}
                )
                for secret in seen[cluster].remote_secrets
            ),
        ),
    )


def _none_ready(observation: Observation) -> Observation:
    """The second istiod is as ready as the first, and has synchronised with nothing."""
    changed = istiod_starting(observation)
    cluster = changed.topology.clusters[0]
    pods = edit(changed[cluster].pods, lambda pod: pod.name == "istiod-starting", ready=True)
    return on(changed, cluster, pods=pods)


def _not_injected(observation: Observation) -> Observation:
    """Nothing answers the remote's webhook, wherever it leads."""
    changed = injection_elsewhere(observation)
    dry_run = changed[west(changed)].dry_run
    assert dry_run
    return on(changed, west(changed), dry_run=dry_run.model_copy(update={"injected": False, "error": "no answer"}))


def _no_endpoint(observation: Observation) -> Observation:
    """The validator's Service is one with endpoints, of which it has none."""
    changed = validator_by_name(observation)
    services = edit(changed[west(changed)].services, lambda each: each.name == "istiod", type="ClusterIP")
    return on(changed, west(changed), services=services)


@pytest.mark.parametrize(
    ("observation", "change", "id"),
    [
        (PRIMARIES.observation, _without_init, "CP-CNI-READY"),
        (THREE_PRIMARIES.observation, _one_proxy, "RS-PRESENT"),
        (PRIMARIES.observation, _none_ready, "RS-SYNCED"),
        (PRIMARIES.observation, network_by_label_only, "WL-INJECTED"),
        (REMOTE.observation, _not_injected, "GW-REACHABLE"),
        (REMOTE.observation, _no_endpoint, "CP-INJECTION-WEBHOOK"),
    ],
    ids=["no istio-init", "one proxy", "two istiods", "two networks", "not injected", "no endpoint"],
)
def test_it_fails(observation: Callable[[], Observation], change: Kind, id: str) -> None:  # noqa: A002
    assert judged(id, change(observation())).verdict is Verdict.FAIL
