"""What --verify-only must be allowed to do on a cluster, as a list and as a ClusterRole. Pure.

`python -m harness.observe.required_permissions > docs/verify-only-clusterrole.yaml` writes the latter.
"""

import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import yaml

from harness.model.permissions import Permission
from harness.observe.istio_objects import CONFIG_KINDS, SAIL_KINDS

NAME = "eastwest-verify-only"
_HEAD = f"""# What `pytest --verify-only` asks of every cluster: nothing is stored or changed with it.
# Made by `python -m harness.observe.required_permissions`. Create it on every cluster, bind it to the context's user:
#   kubectl apply --filename=docs/verify-only-clusterrole.yaml
#   kubectl create clusterrolebinding {NAME} --clusterrole={NAME} --user=NAME
# What the comments call optional may be left out: what can then not be judged is skipped, by name.
"""


@dataclass(frozen=True)
class Wanted:
    """A permission, and what it is for."""

    permission: Permission
    purpose: str
    everywhere: bool = False
    """In every namespace, or on what is in none; else in those of the mesh and the sample."""
    required: bool = False
    """Without it hardly anything can be judged."""

    @property
    def resource(self) -> str:
        """As a role names it."""
        found = self.permission
        return found.resource + (f"/{found.subresource}" if found.subresource else "")


def _of(resource: str, verbs: str, purpose: str, group: str = "", **more: bool) -> tuple[Wanted, ...]:
    name, _, subresource = resource.partition("/")
    return tuple(Wanted(Permission(verb, name, group, subresource), purpose, **more) for verb in verbs.split())


NEEDED: tuple[Wanted, ...] = (
    *_of("namespaces", "get", "labels of networks and injection", required=True),
    *_of("pods", "list", "control planes, gateways, workloads", required=True),
    *_of("services", "list", "gateways and their addresses", required=True),
    *_of("services", "list", "gateways in other namespaces", everywhere=True),
    *_of("deployments", "list", "control planes, gateways, workloads", "apps", required=True),
    *_of("configmaps", "list", "the mesh's configuration", required=True),
    *_of("pods/exec", "get create", "requests from sleep; what proxies say of themselves", required=True),
    *_of("configmaps", "get", "the root certificate that workloads trust"),
    *_of("daemonsets", "list", "the CNI plugin", "apps"),
    *_of("endpointslices", "list", "what stands behind services", "discovery.k8s.io"),
    *_of("events", "list", "why something is not ready"),
    *_of("pods/log", "get", "who called, as the destination saw it; errors of the control plane"),
    *_of("pods/portforward", "get create", "the control plane's certificate"),
    *_of("pods", "create", "injection, by a server-side dry run: no pod is made"),
    *_of("secrets", "get list", "cacerts and remote secrets; keys and tokens are not kept"),
    *_of("nodes", "list", "zones, readiness, addresses", everywhere=True),
    *_of(
        "mutatingwebhookconfigurations",
        "list",
        "injection webhooks",
        "admissionregistration.k8s.io",
        everywhere=True,
    ),
    *_of(
        "validatingwebhookconfigurations",
        "list",
        "validating webhooks that lead nowhere",
        "admissionregistration.k8s.io",
        everywhere=True,
    ),
    *(
        wanted
        for group, _, kind, plural in (*CONFIG_KINDS, *SAIL_KINDS)
        for wanted in _of(plural, "list", kind, group, everywhere=True)
    ),
)


def missing(allowed: Collection[tuple[Permission, str]], namespaces: Collection[str]) -> dict[Wanted, tuple[str, ...]]:
    """Permissions that are not given, with the namespaces in which they are not; ("",) stands for every namespace.

    Args:
        allowed: pairs of a permission and a namespace in which it is given.
        namespaces: of the mesh and the sample.
    """
    found = {}
    for wanted in NEEDED:
        places = ("",) if wanted.everywhere else tuple(namespaces)
        if without := tuple(place for place in places if (wanted.permission, place) not in allowed):
            found[wanted] = without
    return found


def review(permission: Permission, namespace: str) -> dict[str, Any]:
    """The question whether one may (Kubernetes, "Authorization: checking API access")."""
    attributes = {
        "verb": permission.verb,
        "group": permission.group,
        "resource": permission.resource,
        "subresource": permission.subresource,
        "namespace": namespace,
    }
    spec = {"resourceAttributes": {key: value for key, value in attributes.items() if value}}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {}, "spec": spec}


def cluster_role() -> str:
    """The role as YAML, each rule with what it is for."""
    lines = [f"{_HEAD}apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: {NAME}\nrules:"]
    rules: dict[tuple[str, str, str, bool], list[str]] = {}
    for wanted in NEEDED:
        key = (wanted.permission.group, wanted.resource, wanted.purpose, wanted.required)
        rules.setdefault(key, []).append(wanted.permission.verb)
    for (group, resource, purpose, required), verbs in rules.items():
        rule = {"apiGroups": [group], "resources": [resource], "verbs": verbs}
        lines.append(f"  # {purpose}{'' if required else ' (optional)'}")
        lines.append(f"  - {yaml.safe_dump(rule, default_flow_style=True, sort_keys=False, width=1000).strip()}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(cluster_role())
