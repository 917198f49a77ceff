"""Why the API server refused to create a pod: which object says no, read from its message. Pure.

Sources: Kubernetes, "Pod Security Admission", "Resource Quotas", "Limit Ranges", "Dynamic Admission Control",
"Validating Admission Policy"; OpenShift, "Managing security context constraints".
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """What refused a pod."""

    object: str
    """Kind namespace/name, or kind and name; of a webhook only the webhook's own name is known."""
    field: str
    expected: str
    webhook: str = ""
    """The name of an admission webhook that refused, or that could not be called."""
    by_admission: bool = False
    """Whether somebody's rule said no: a quota that is used up, a policy, an admission webhook that answered."""


_KINDS: tuple[tuple[re.Pattern[str], str, str, str], ...] = (
    (
        re.compile(r'violates PodSecurity "(?P<level>[\w.-]+)'),
        "Namespace {namespace}",
        "label pod-security.kubernetes.io/enforce",
        "a level that its pods meet, or pods that meet {level}",
    ),
    (
        re.compile(r"(?:exceeded|failed) quota: (?P<name>[\w.-]+)"),
        "ResourceQuota {namespace}/{name}",
        "spec.hard",
        "room for the pod, and requests and limits in the pod's template where the quota asks for them",
    ),
    (
        re.compile(r"(?:minimum|maximum|max limit to request ratio)[\w ]*? per (?:Container|Pod) is"),
        "Namespace {namespace}",
        "its LimitRange",
        "bounds that the pod's and the sidecar's resources keep to",
    ),
    (
        re.compile(r"unable to validate against any (?:pod )?security (?:context constraint|policy)"),
        "Namespace {namespace}",
        "SecurityContextConstraints of its service accounts",
        "one that lets the pod in",
    ),
    (
        re.compile(r'serviceaccount "(?P<name>[\w.-]+)" not found'),
        "ServiceAccount {namespace}/{name}",
        "exists",
        "the service account of the pod",
    ),
    (
        re.compile(r"ValidatingAdmissionPolicy '(?P<name>[\w.-]+)'"),
        "ValidatingAdmissionPolicy {name}",
        "spec.validations",
        "lets the pod in",
    ),
    (
        re.compile(r'admission webhook "(?P<webhook>[^"]+)" denied'),
        "admission webhook {webhook}",
        "its rules",
        "let the pod in",
    ),
    (
        re.compile(r'failed calling webhook "(?P<webhook>[^"]+)"'),
        "admission webhook {webhook}",
        "the Service that it calls",
        "answers",
    ),
)


_BY_ADMISSION = re.compile(r"exceeded quota: |ValidatingAdmissionPolicy '|admission webhook \"[^\"]+\" denied")


def refusal(message: str, namespace: str) -> Refusal | None:
    """What refused a pod of a namespace; None where the message names nothing that is known here.

    Args:
        message: the API server's answer, or that of an event FailedCreate.
        namespace: the pod's.
    """
    for pattern, object_, field, expected in _KINDS:
        if match := pattern.search(message):
            words = {"namespace": namespace, **match.groupdict()}
            webhook = words.get("webhook", "")
            ruled = bool(_BY_ADMISSION.search(message))
            return Refusal(object_.format(**words), field, expected.format(**words), webhook, ruled)
    return None
