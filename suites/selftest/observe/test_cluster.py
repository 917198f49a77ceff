"""How one cluster's objects are read."""

from collections import Counter
from typing import Any

import pytest
from kubernetes.client import ApiException

from harness.kube.api import Object
from harness.model.observation import Asked
from harness.model.reading import ReadOutcome, Subject
from harness.observe.cluster import read_cluster
from suites.selftest.support.certificates import pki
from suites.selftest.support.leaking_cluster import LeakingKube

ASKED = Asked(mode="verify-only", installer="none", istio_version="", cni=False, load_balancer="", images="registry")
ADMISSION = "/apis/admissionregistration.k8s.io/v1/"


class CountingKube(LeakingKube):
    """Counts what is read, and refuses some of it."""

    def __init__(self, refused: str = "no path") -> None:
        super().__init__("east", {})
        self.read_paths = Counter[str]()
        self.refused = refused

    def read(self, path: str, **query: Any) -> Object | None:
        """As the API server answers, or 403."""
        self.read_paths[path] += 1
        if path.endswith(self.refused):
            raise ApiException(status=403)
        return super().read(path, **query)


def test_webhook_configurations_are_read_once() -> None:
    """Injection and validation, and what other vendors have, come from one reading of each kind."""
    kube = CountingKube()
    read_cluster(kube, ASKED, 1)
    assert {path: count for path, count in kube.read_paths.items() if path.startswith(ADMISSION)} == {
        f"{ADMISSION}mutatingwebhookconfigurations": 1,
        f"{ADMISSION}validatingwebhookconfigurations": 1,
    }


def test_every_subject_that_looks_at_refused_configurations_says_so() -> None:
    read = read_cluster(CountingKube("/validatingwebhookconfigurations"), ASKED, 1)
    outcomes = {reading.subject: reading.outcome for reading in read.reader.readings}
    assert outcomes[Subject.WEBHOOKS] is ReadOutcome.READ
    assert outcomes[Subject.VALIDATION] is outcomes[Subject.ADMISSION] is ReadOutcome.FORBIDDEN


def test_a_role_without_routes_of_the_gateway_api_reads_istios_configuration() -> None:
    """That group was added later than the others; Istio's own kinds may not be missing."""
    for refused, outcome in (("/httproutes", ReadOutcome.READ), ("/virtualservices", ReadOutcome.FORBIDDEN)):
        read = read_cluster(CountingKube(refused), ASKED, 1)
        assert {reading.subject: reading.outcome for reading in read.reader.readings}[Subject.CONFIG] is outcome


@pytest.mark.parametrize(
    ("kind", "spec", "read"),
    [
        ("VirtualService", {"hosts": ["helloworld.sample.svc.cluster.local"]}, True),
        ("VirtualService", {"hosts": ["*.sample.svc.cluster.local"], "exportTo": ["sample"]}, True),
        ("ServiceEntry", {"hosts": ["helloworld.sample.svc.cluster.local"], "exportTo": ["*"]}, True),
        ("VirtualService", {"hosts": ["helloworld"]}, False),
        ("VirtualService", {"hosts": ["helloworld.sample.svc.cluster.local"], "exportTo": ["."]}, False),
        ("DestinationRule", {"host": "helloworld.sample.svc.cluster.local"}, False),
        ("Sidecar", {}, False),
    ],
)
def test_what_holds_for_helloworld_from_another_namespace_is_read(
    kind: str, spec: dict[str, Any], *, read: bool
) -> None:
    """A short host is meant in its own namespace. A DestinationRule counts where client, service or root are."""
    item = {"metadata": {"namespace": "other", "name": "far"}, "spec": spec}
    plural = f"/{kind.lower()}s".replace("entrys", "entries")
    found = read_cluster(_HoldingKube(plural, {"items": [item]}), ASKED, 1).observed.config
    assert [each.name for each in found] == (["far"] if read else [])


def test_without_a_sample_the_root_in_the_control_planes_namespace_is_read() -> None:
    """Istiod publishes it in every namespace that it looks after, its own among them."""
    path = "/api/v1/namespaces/istio-system/configmaps/istio-ca-root-cert"
    published = {"metadata": {"name": "istio-ca-root-cert"}, "data": {"root-cert.pem": pki().root.pem}}
    bare = ASKED.model_copy(update={"sample_namespace": "no-such-namespace"})
    installed = bare.model_copy(update={"mode": "install"})
    for asked, found in ((bare, 1), (installed, 0)):
        assert len(read_cluster(_HoldingKube(path, published), asked, 1).observed.root_config_map or ()) == found


def test_the_cni_plugin_is_found_in_every_namespace() -> None:
    item = {"metadata": {"namespace": "kube-system", "name": "istio-cni-node", "creationTimestamp": NEW}}
    found = read_cluster(_HoldingKube("/apis/apps/v1/daemonsets", {"items": [item]}), ASKED, 1)
    assert [each.namespace for each in found.observed.cni_plugins or ()] == ["kube-system"]
    refused = read_cluster(CountingKube("/apps/v1/daemonsets"), ASKED, 1)
    assert refused.observed.cni_plugins is None


NEW = "2026-01-01T00:00:00Z"


class _HoldingKube(CountingKube):
    """Answers one path, or what ends like it."""

    def __init__(self, path: str, answer: Object) -> None:
        super().__init__()
        self._path, self._answer = path, answer

    def read(self, path: str, **query: Any) -> Object | None:
        return self._answer if path.endswith(self._path) else super().read(path, **query)
