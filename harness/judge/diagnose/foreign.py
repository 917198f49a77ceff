"""What to say instead of a repair on a mesh that the suite did not install: look, and change it where it is declared.

A command that changes such a mesh may destroy what others own, or be reverted by what declares it. Pure.
"""

import re
from collections.abc import Callable, Mapping

from harness.judge.diagnose.registry import Found
from harness.judge.diagnose.repair import istioctl, kubectl
from harness.model.cluster import ClusterObservation
from harness.model.kubernetes import Pod
from harness.model.observation import Observation
from harness.model.origin import Origin

_OBJECT = re.compile(r"(?P<kind>[A-Z][a-z]\w+) (?:(?P<namespace>[\w.-]+)/)?(?P<name>[\w.-]+)(?=$|[ :])")
_CERTIFICATES = re.compile(
    r"Secret (?P<namespace>[\w.-]+)/(?P<name>[\w.-]+) (?P<entry>[\w-]+-(cert|chain)\.pem|\w+\.crt)$"
)
_RESOURCES = {"Gateway": "gateway.networking.istio.io", "Istio": "istio.sailoperator.io"}
"""What kubectl calls a kind whose name alone is ambiguous."""
_DESCRIBED = frozenset({"Secret", "Pod"})
"""Shown without the values of their entries, or with their events."""
_CONFIG_MAPS = ("istio", "istio-sidecar-injector")

Key = tuple[str, str, str]
"""Kind, namespace (empty where it has none), name."""
Show = Callable[[ClusterObservation, Mapping[str, str]], str]

_OTHERWISE: tuple[tuple[re.Pattern[str], Show], ...] = (
    (
        re.compile(r"proxy (?P<namespace>[\w.-]+)/(?P<name>[\w.-]+)"),
        lambda observed, of: istioctl(observed, f"proxy-config endpoints {of['name']}.{of['namespace']}"),
    ),
    (re.compile("API server "), lambda observed, _: kubectl(observed, "get --raw='/readyz?verbose'")),
    (re.compile("route "), lambda observed, _: kubectl(observed, "get nodes -o wide")),
    (re.compile("endpoint "), lambda observed, _: kubectl(observed, "get services,endpointslices --all-namespaces")),
    (re.compile("dry-run pod "), lambda observed, _: kubectl(observed, "get mutatingwebhookconfigurations -o yaml")),
    (re.compile(""), lambda observed, _: istioctl(observed, "analyze --all-namespaces")),
)
"""What shows something that is no single object of the API, the first that matches."""


def look(observation: Observation, found: Found) -> str:
    """A command that shows the object at fault and changes nothing; keys and tokens are not shown.

    An object that was not observed is looked for among all of its kind.
    """
    observed = observation[found.cluster or observation.topology.clusters[0].name]
    if match := _CERTIFICATES.match(found.object):
        return _certificates(observed, **match.groupdict())
    if key := _key(found):
        return _object(observed, key, known=key in _origins(observation, observed))
    return next(show(observed, m.groupdict()) for pattern, show in _OTHERWISE if (m := pattern.match(found.object)))


def _certificates(observed: ClusterObservation, namespace: str, name: str, entry: str) -> str:
    path = "{.data." + entry.replace(".", "\\.") + "}"
    read = kubectl(observed, "-n", namespace, f"get secret {name} -o jsonpath='{path}'")
    listed = "openssl crl2pkcs7 -nocrl -certfile /dev/stdin | openssl pkcs7 -print_certs -text -noout"
    return f"{read} | base64 -d | {listed}"


def _object(observed: ClusterObservation, key: Key, *, known: bool) -> str:
    kind, namespace, name = key
    resource = _RESOURCES.get(kind, kind.lower())
    if not known:
        return kubectl(observed, f"get {resource} --all-namespaces" if namespace else f"get {resource}")
    shown = f"describe {resource} {name}" if kind in _DESCRIBED else f"get {resource} {name} -o yaml"
    return kubectl(observed, *(("-n", namespace) if namespace else ()), shown)


def advice(observation: Observation, found: Found, *, effect: bool) -> str:
    """What to change, and where that is declared: a sentence or two; of an effect, what is to be explained."""
    origin = declared_by(observation, found)
    where = f"where it is declared: {origin}." if origin else "where it is declared."
    if found.change:
        return f"{found.change.rstrip('.')}, {where}"
    what = " ".join(f"{found.object} {found.field}".split())
    if effect or found.field == "exists":
        return f"{what}: expected {found.expected}, found {found.found}. Change what causes that, {where}"
    return f"Change {what} from {found.found} to {found.expected}, {where}"


def declared_by(observation: Observation, found: Found) -> Origin | None:
    """What declares the object at fault; None where that is not known."""
    key = _key(found)
    return _origins(observation, observation[found.cluster]).get(key) if found.cluster and key else None


def _key(found: Found) -> Key | None:
    match = _OBJECT.match(found.object)
    return (match["kind"], match["namespace"] or "", match["name"]) if match else None


def _origins(observation: Observation, observed: ClusterObservation) -> dict[Key, Origin | None]:
    """Every observed object, with what declares it; a pod with what declares its workload."""
    system, secret = observation.asked.system_namespace, observed.ca_secret
    found: dict[Key, Origin | None] = {("Namespace", "", each.name): each.origin for each in observed.namespaces}
    found |= {("Pod", pod.namespace, pod.name): _workloads_origin(observed, pod) for pod in observed.pods}
    found |= {(each.kind, each.namespace, each.name): each.origin for each in observed.workloads}
    found |= {("Service", each.namespace, each.name): each.origin for each in observed.services}
    found |= {("MutatingWebhookConfiguration", "", each.name): each.origin for each in observed.webhooks}
    found |= {(each.kind, "", each.name): each.origin for each in observed.other_webhooks}
    found |= {(each.kind, "", each.name): each.origin for each in observed.sail}
    found |= {("ValidatingWebhookConfiguration", "", each.name): each.origin for each in observed.validating_webhooks}
    found |= {(each.kind, each.namespace, each.name): each.origin for each in observed.config}
    found |= {("Secret", each.namespace, each.name): each.origin for each in observed.remote_secrets}
    for each in observed.mesh_config:
        suffix = f"-{each.revision}" if each.revision not in {"", "default"} else ""
        found |= {("ConfigMap", system, f"{base}{suffix}"): each.origin for base in _CONFIG_MAPS}
    if secret is not None and secret.exists:
        found["Secret", system, "cacerts"] = secret.origin
    return found


def _workloads_origin(observed: ClusterObservation, pod: Pod) -> Origin | None:
    return next(
        (
            each.origin
            for each in observed.workloads
            if each.pod_labels and each.namespace == pod.namespace and each.pod_labels.items() <= pod.labels.items()
        ),
        None,
    )
