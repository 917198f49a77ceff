"""What --verify-only must be allowed to do on a cluster, and what --deploy-sample in addition. Pure.

`python -m harness.observe.required_permissions > docs/verify-only-clusterrole.yaml` writes the ClusterRole of the
former, `python -m harness.observe.required_permissions deploy-sample > docs/deploy-sample-clusterrole.yaml` that of the
latter.
"""

import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from harness.model.permissions import Permission
from harness.observe.istio_objects import API_GATEWAYS, CONFIG_KINDS, ROUTE_KINDS, SAIL_KINDS

NAME = "eastwest-verify-only"
SAMPLE_NAME = "eastwest-deploy-sample"
_USE = """Create it on every cluster, bind it to the context's user:
#   kubectl apply --filename=docs/{file}
#   kubectl create clusterrolebinding {name} --clusterrole={name} --user=NAME"""
_BIND = _USE.format(file="verify-only-clusterrole.yaml", name=NAME)
_BIND_SAMPLE = _USE.format(file="deploy-sample-clusterrole.yaml", name=SAMPLE_NAME)
_HEAD = f"""# What `pytest --verify-only` asks of every cluster: nothing is stored or changed with it.
# Made by `python -m harness.observe.required_permissions`. {_BIND}
# What the comments call optional may be left out: what can then not be judged is skipped, by name.
"""
_SAMPLE_HEAD = f"""# What --deploy-sample asks of every cluster, in addition to verify-only-clusterrole.yaml.
# Made by `python -m harness.observe.required_permissions deploy-sample`.
# {_BIND_SAMPLE}
# It is used in the namespace eastwest-sample-RUN only, which the run creates and removes. RBAC can't name a namespace
# that does not exist yet: while the binding stands, the user may do the same in other namespaces.
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
    *_of("pods", "list", "ztunnels in other namespaces", everywhere=True),
    *_of("deployments", "list", "control planes, gateways, workloads", "apps", required=True),
    *_of("configmaps", "list", "the mesh's configuration", required=True),
    *_of("pods/exec", "get create", "requests from sleep; what proxies say of themselves", required=True),
    *_of("configmaps", "get", "the root certificate that workloads trust"),
    *_of("daemonsets", "list", "the CNI plugin", "apps"),
    *_of("daemonsets", "list", "the CNI plugin and ztunnel in other namespaces", "apps", everywhere=True),
    *_of("endpointslices", "list", "what stands behind services", "discovery.k8s.io"),
    *_of("events", "list", "why something is not ready"),
    *_of("pods/log", "get", "who called, as the destination saw it; errors of the control plane"),
    *_of("pods/portforward", "get create", "the control plane's certificate; what ztunnels say of themselves"),
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
        for group, _, kind, plural in (*CONFIG_KINDS, *ROUTE_KINDS, *API_GATEWAYS, *SAIL_KINDS)
        for wanted in _of(plural, "list", kind, group, everywhere=True)
    ),
)

_IN_SAMPLE = "create patch get list delete"
FOR_SAMPLE: tuple[Wanted, ...] = (
    *_of("namespaces", "create get list watch delete", "the sample's own namespace", everywhere=True, required=True),
    *_of("serviceaccounts", _IN_SAMPLE, "identities of the sample", required=True),
    *_of("services", _IN_SAMPLE, "services of the sample", required=True),
    *_of("deployments", f"{_IN_SAMPLE} watch", "workloads of the sample", "apps", required=True),
    *_of("pods", "create", "a pod as a dry run: whether it would get a sidecar", required=True),
    *_of("pods", "get list watch deletecollection", "waiting for the sample, and for its end", required=True),
    *_of("pods/exec", "get create", "requests from the sample", required=True),
    *_of("events", "list", "why the sample does not start"),
    *_of("peerauthentications", "create patch delete", "experiment: STRICT", "security.istio.io", required=True),
    *_of("authorizationpolicies", "create patch delete", "experiment: identity", "security.istio.io", required=True),
    *_of("destinationrules", _IN_SAMPLE, "experiment: a connection a request", "networking.istio.io", required=True),
)
"""What --deploy-sample needs in addition."""
PULL_SECRET: tuple[Wanted, ...] = _of("secrets", "create patch", "the profile's pull secret", required=True)
"""The same where the distribution profile names a pull secret."""


def questions(wanted: Iterable[Wanted], namespaces: Collection[str]) -> list[tuple[Permission, str]]:
    """The permissions to ask about, each with a namespace; "" stands for every namespace."""
    return [(each.permission, place) for each in wanted for place in (("",) if each.everywhere else namespaces)]


def missing(
    allowed: Collection[tuple[Permission, str]], namespaces: Collection[str], needed: Iterable[Wanted] = NEEDED
) -> dict[Wanted, tuple[str, ...]]:
    """Permissions that are not given, with the namespaces in which they are not; ("",) stands for every namespace.

    Args:
        allowed: pairs of a permission and a namespace in which it is given.
        namespaces: of the mesh and the sample.
        needed: the permissions.
    """
    found = {}
    for wanted in needed:
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
    """The role of --verify-only as YAML, each rule with what it is for."""
    return _role(_HEAD, NAME, NEEDED)


def sample_cluster_role() -> str:
    """The role of --deploy-sample as YAML."""
    return _role(_SAMPLE_HEAD, SAMPLE_NAME, FOR_SAMPLE)


def _role(head: str, name: str, needed: Iterable[Wanted]) -> str:
    lines = [f"{head}apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: {name}\nrules:"]
    rules: dict[tuple[str, str, str, bool], list[str]] = {}
    for wanted in needed:
        key = (wanted.permission.group, wanted.resource, wanted.purpose, wanted.required)
        rules.setdefault(key, []).append(wanted.permission.verb)
    for (group, resource, purpose, required), verbs in rules.items():
        rule = {"apiGroups": [group], "resources": [resource], "verbs": verbs}
        lines.append(f"  # {purpose}{'' if required else ' (optional)'}")
        lines.append(f"  - {yaml.safe_dump(rule, default_flow_style=True, sort_keys=False, width=1000).strip()}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(sample_cluster_role() if "deploy-sample" in sys.argv[1:] else cluster_role())
