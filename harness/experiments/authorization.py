"""AUTHZ-IDENTITY: a policy that names one caller is enforced by the destination on another cluster."""

import json
from typing import Any

from harness.base.parallel import in_parallel
from harness.experiments.exchange import Sender, send_with_client, send_with_curl
from harness.experiments.policy import InForce, applied
from harness.experiments.testbed import Testbed
from harness.model import expectations
from harness.model.experiment import ECHO, HTTP_PORT, AuthorizationExperiment, Exchange
from harness.model.topology import Cluster

NAME = "eastwest-allow-sleep"


def make(testbed: Testbed) -> AuthorizationExperiment:
    """Request each other cluster's echo server as sleep and as echo, before and under a policy that allows sleep."""
    title = f"Request the other clusters' {ECHO} as {expectations.SLEEP} and as {ECHO}"
    with testbed.step(f"{title} (positive control)"):
        control = _requests(testbed)
    identity = expectations.spiffe_id(
        expectations.trust_domain(testbed.observation), testbed.namespace, expectations.SLEEP
    )
    spec = {
        "selector": {"matchLabels": {"app": ECHO}},
        "action": "ALLOW",
        # A principal is a SPIFFE identity without its scheme (Istio, "AuthorizationPolicy").
        "rules": [{"from": [{"source": {"principals": [identity.removeprefix("spiffe://")]}}]}],
    }
    destinations = [(cluster, testbed.pods[cluster.name, ECHO]) for cluster in testbed.clusters]
    with (
        applied(testbed, "AuthorizationPolicy", NAME, spec, destinations=destinations, in_force=IN_FORCE) as policy,
        testbed.step(f"{title} under the policy"),
    ):
        exchanges = _requests(testbed)
    return AuthorizationExperiment(
        allowed=expectations.SLEEP, denied=ECHO, control=control, policy=policy, exchanges=exchanges
    )


def enforces_policy(chains: list[Any]) -> bool:
    """Whether a sidecar's inbound filter chains have the policy. Pure.

    Istio names Envoy's RBAC rules `ns[NAMESPACE]-policy[NAME]-rule[N]`.
    """
    return f"policy[{NAME}]" in json.dumps(chains)


IN_FORCE = InForce(in_sidecar=enforces_policy, in_ztunnel=NAME)


def _requests(testbed: Testbed) -> tuple[Exchange, ...]:
    def send(item: tuple[str, Cluster, Cluster]) -> Exchange:
        caller, source, target = item
        url = f"http://{ECHO}-{target.version}.{testbed.namespace}:{HTTP_PORT}/"
        sender = Sender(source, caller, caller)
        # Echo's image may have no curl, and sleep's has no other client.
        return (send_with_client if caller == ECHO else send_with_curl)(testbed, sender, target, url)

    return tuple(
        in_parallel(
            send,
            [(caller, source, target) for caller in (expectations.SLEEP, ECHO) for source, target in testbed.pairs],
        )
    )
