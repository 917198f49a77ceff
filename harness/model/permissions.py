"""What the credentials in a remote secret must be allowed to do in the other cluster, and what they must not. Pure.

Source: the cluster role `istio-reader-clusterrole`, which `istioctl create-remote-secret` binds them to
(Istio, "Install Multicluster"), and what istiod's watches of another cluster and its checks of a remote's proxies ask
for.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Permission:
    """A verb on a resource, in every namespace, as a SelfSubjectAccessReview asks for it."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        """The key in `Probe.permissions`: `verb resource` or `verb resource/subresource`."""
        return f"{self.verb} {self.resource}" + (f"/{self.subresource}" if self.subresource else "")


_WATCHED = (
    ("namespaces", ""),
    ("nodes", ""),
    ("pods", ""),
    ("services", ""),
    ("endpointslices", "discovery.k8s.io"),
)

NEEDED = (
    *(Permission(verb, resource, group) for resource, group in _WATCHED for verb in ("list", "watch")),
    Permission("create", "tokenreviews", "authentication.k8s.io"),
)
"""Without these istiod does not see the other cluster's endpoints, or cannot authenticate its proxies."""

FORBIDDEN = (
    Permission("create", "pods"),
    Permission("create", "pods", subresource="exec"),
    Permission("create", "rolebindings", "rbac.authorization.k8s.io"),
    Permission("create", "clusterrolebindings", "rbac.authorization.k8s.io"),
    Permission("bind", "clusterroles", "rbac.authorization.k8s.io"),
    Permission("delete", "namespaces"),
)
"""With any of these whoever reads the secret owns the other cluster."""

ALL = NEEDED + FORBIDDEN
"""Everything an API_SERVER probe asks about."""
