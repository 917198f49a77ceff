"""The cause in what leads other networks to istiod without TLS."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import read
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, noted
from harness.model import expectations, plain_istiod
from harness.model.cluster import Subject
from harness.model.observation import Observation

_RESOURCES = {"Gateway": "gateways.networking.istio.io", "VirtualService": "virtualservices"}


@cause("istiod-exposed-plain", Layer.GATEWAYS, "GW-ISTIOD-PLAIN", breaks=None)
def istiod_exposed_plain(observation: Observation) -> Iterator[Found]:
    """A gateway leads other networks to istiod without TLS.

    A Gateway or VirtualService opens 15010, 15014 or 8080 of istiod. Whoever reaches the gateway's address reads there
    the configuration of every proxy, with the names and addresses of all services. Traffic works.
    """
    seen: set[tuple[str, str]] = set()
    for cluster, _ in read(observation, Subject.SERVICES, among=expectations.gateways(observation.topology)):
        for each in plain_istiod.exposed(observation, cluster):
            if (each.cluster, each.object) in seen:
                continue
            seen.add((each.cluster, each.object))
            yield Found(
                cluster=each.cluster,
                object=each.object,
                field=each.field,
                expected="only 15012 and 15017 of istiod",
                found=each.found,
                repair=_edit(observation, each),
                change=f"Take from {each.object} of {each.cluster} what leads to istiod without TLS: {each.found}",
            )


def _edit(observation: Observation, exposed: plain_istiod.Exposed) -> str:
    observed = observation[exposed.cluster]
    kind, _, full_name = exposed.object.partition(" ")
    namespace, _, name = full_name.partition("/")
    if kind == "Service":
        return noted(kubectl(observed, "get gateways.networking.istio.io,virtualservices -A"), "which leads there?")
    resource = "gateways.gateway.networking.k8s.io" if exposed.field == "listeners" else _RESOURCES[kind]
    return noted(kubectl(observed, "-n", namespace, f"edit {resource} {name}"), f"take out: {exposed.found}")
