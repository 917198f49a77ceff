"""A ztunnel whose access log is given."""

from types import SimpleNamespace
from typing import cast

from kubernetes.client import ApiException

from harness.kube.api import KubeApi
from harness.model.cluster import Pod
from harness.observe.ztunnel_log import Source


def ztunnel_source(*texts: str | None) -> Source:
    """A ztunnel with this access log, read again and again; None: it may not be read."""
    left = list(texts)

    def logs(*_: object, **__: object) -> str:
        text = left.pop(0) if len(left) > 1 else left[0]
        if text is None:
            raise ApiException(status=403)
        return text

    pod = cast(Pod, SimpleNamespace(namespace="istio-system", name="ztunnel-1"))
    return Source("east", cast(KubeApi, SimpleNamespace(logs=logs)), pod)
