"""Reads the API objects of one cluster, every subject by itself and all of them side by side."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.parallel import in_parallel
from harness.kube.api import KubeApi, Object, listed, metadata
from harness.model import expectations, experiment, policies
from harness.model.certificate import CaSecret, Certificate
from harness.model.cluster import (
    ApiEvent,
    ClusterObservation,
    ConfigObject,
    MeshConfig,
    Namespace,
    Node,
    Pod,
    RemoteSecret,
    SailResource,
    Service,
    Subject,
    Workload,
)
from harness.model.label_selector import discovered
from harness.model.observation import Asked
from harness.observe import ambient_objects, api_objects, istio_objects, secrets, services
from harness.observe.admission import AdmissionWebhooks
from harness.observe.ambient_objects import Kinds, custom
from harness.observe.dry_run import dry_run
from harness.observe.reading import Reader, explain

_EVENTS = 30
_ROOT_CONFIG_MAP = "istio-ca-root-cert"
_OF_SAMPLE = f"!{experiment.LABEL}"
"""Selects what is not there for experiments only."""
Question = tuple[Subject, str, Callable[[], Any], Any]
"""A subject, the field of `ClusterObservation` it fills, how it is read, and what stands there where that fails."""


@dataclass(frozen=True)
class ClusterObjects:
    """What was read of one cluster so far, and how."""

    reader: Reader
    observed: ClusterObservation
    credentials: tuple[secrets.Credential, ...] = field(default=(), repr=False)
    """Of its remote secrets; in memory only."""


def read_cluster(
    kube: KubeApi, asked: Asked, connect_timeout: float, without: Collection[Subject] = ()
) -> ClusterObjects:
    """Read the API objects of a cluster; never raises.

    Args:
        kube: the cluster.
        asked: names of the namespaces.
        connect_timeout: seconds after which an API server that has not answered at all counts as unreachable.
        without: subjects that are left out.
    """
    reader = Reader(kube.name)
    blank = ClusterObservation(name=kube.name, context=kube.access.context, api_server=kube.access.peer_server)
    version = reader.read(Subject.API_SERVER, lambda: kube.version(connect_timeout), "")
    if not reader.answered:
        reader.unreachable(reader.readings[0].detail)
        return ClusterObjects(reader, blank.model_copy(update={"readings": reader.readings}))
    source = _Source(kube, asked)
    source.find_gateways()

    def read(question: Question) -> tuple[str, Any]:
        subject, field_name, function, default = question
        return field_name, reader.read(subject, function, default)

    found = dict(in_parallel(read, [question for question in source.questions() if question[0] not in without]))
    try:
        credentials = tuple(credential for raw in source.secrets_read for credential in secrets.credentials(raw))
    except (KeyError, TypeError) as failed:
        reader.error(explain(failed))
        credentials = ()
    return ClusterObjects(reader, blank.model_copy(update={"kubernetes_version": version, **found}), credentials)


def read_pods(kube: KubeApi, asked: Asked) -> tuple[Pod, ...]:
    """The pods of the mesh's and the sample's namespaces, as they are now.

    Raises:
        ApiException: as the API server refused it.
        urllib3.exceptions.HTTPError: it did not answer.
    """
    source = _Source(kube, asked)
    source.find_gateways()
    return source.pods()


class _Source:
    """Reads one cluster's objects by path: no discovery, so that kinds which are not served cost nothing."""

    def __init__(self, kube: KubeApi, asked: Asked) -> None:
        self._kube = kube
        self._asked = asked
        self._namespaces = tuple(
            dict.fromkeys(
                (
                    asked.system_namespace,
                    asked.cni_namespace,
                    asked.sample_namespace,
                    *((asked.client.namespace,) if asked.client else ()),
                )
            ),
        )
        self._gateways: tuple[Object, ...] = ()
        """The Services of east-west gateways in other namespaces."""
        self.secrets_read: list[Object] = []
        """The remote secrets as they are; in memory only."""

    def find_gateways(self) -> None:
        """Find the east-west gateways that stand outside of the mesh's namespaces, where that may be read."""
        try:
            found = list(self._items("/api/v1/services", labelSelector=expectations.NETWORK_LABEL))
        except (ApiException, HTTPError):
            return
        names, own = {metadata(raw)["namespace"] for raw in found}, set(self._namespaces)
        # What no control plane sees is another mesh's; where there is nothing else, that is a fault of this one.
        seen = self._discovered(names - own) or (set() if names & own else names)
        self._gateways = tuple(raw for raw in found if metadata(raw)["namespace"] in seen)

    def _discovered(self, names: set[str]) -> set[str]:
        """Those of these namespaces that a control plane sees; all where that can't be told."""
        # Selectors are the user's: of what form they are, nobody has checked.
        with suppress(ApiException, HTTPError, KeyError, TypeError, AttributeError):
            meshes = [each.mesh for each in self.mesh_config()] if names else []
            raws = {name: self._kube.read(f"/api/v1/namespaces/{name}") or {"metadata": {}} for name in names}
            return {name for name, raw in raws.items() if discovered(meshes, api_objects.labels(raw))}
        return names

    def _elsewhere(self, api: str, plural: str) -> list[Object]:
        """The objects of the namespaces in which other gateways stand, as far as they may be read."""
        found: list[Object] = []
        for name in dict.fromkeys(metadata(raw)["namespace"] for raw in self._gateways):
            with suppress(ApiException):
                found += self._items(f"{api}/namespaces/{name}/{plural}")
        return found

    def _is_behind(self, namespace: str, pod_labels: Mapping[str, str]) -> bool:
        """Whether one of those gateways' Services selects pods with these labels."""
        selectors = (
            raw["spec"].get("selector") or {} for raw in self._gateways if metadata(raw)["namespace"] == namespace
        )
        return any(selector and selector.items() <= pod_labels.items() for selector in selectors)

    def questions(self) -> tuple[Question, ...]:
        """Everything that is read; the slowest first."""
        sample, admission = self._asked.sample_namespace, AdmissionWebhooks(self._items)
        found, gateways = self._asked.mode == "verify-only", lambda: ambient_objects.api_gateways(self._kube)
        return (
            (Subject.DRY_RUN, "dry_run", lambda: dry_run(self._kube, sample, as_there=found), None),
            (Subject.NODES, "nodes", self.nodes, ()),
            (Subject.NAMESPACES, "namespaces", self.namespaces, ()),
            (Subject.CA_SECRET, "ca_secret", self.ca_secret, None),
            (Subject.ROOT_CONFIG_MAP, "root_config_map", self.root_config_map, None),
            (Subject.WORKLOADS, "workloads", self.workloads, ()),
            (Subject.CNI_PLUGIN, "cni_plugins", self.cni_plugins, None),
            (Subject.PODS, "pods", self.pods, ()),
            (Subject.SERVICES, "services", self.services, ()),
            (Subject.SAIL, "sail", self.sail, ()),
            (Subject.WEBHOOKS, "webhooks", admission.injection, ()),
            (Subject.VALIDATION, "validating_webhooks", admission.validation, ()),
            (Subject.ADMISSION, "other_webhooks", admission.others, ()),
            (Subject.CONFIG, "config", self.config, ()),
            (Subject.MESH_CONFIG, "mesh_config", self.mesh_config, ()),
            (Subject.REMOTE_SECRETS, "remote_secrets", self.remote_secrets, ()),
            (Subject.EVENTS, "events", self.events, ()),
            *(((Subject.API_GATEWAYS, "api_gateways", gateways, ()),) if self._asked.ambient else ()),
        )

    def _items(self, path: str, **query: str) -> Iterable[Object]:
        return listed(self._kube, path, **query) or ()

    def _of_mesh(self, api: str, plural: str, **query: str) -> Iterator[Object]:
        """The objects of the mesh's and the sample's namespaces."""
        for name in self._namespaces:
            yield from self._items(f"{api}/namespaces/{name}/{plural}", **query)

    def nodes(self) -> tuple[Node, ...]:
        return tuple(api_objects.node(raw) for raw in self._items("/api/v1/nodes"))

    def namespaces(self) -> tuple[Namespace, ...]:
        names = dict.fromkeys((*self._namespaces, *(metadata(raw)["namespace"] for raw in self._gateways)))
        found = [self._kube.read(f"/api/v1/namespaces/{name}") for name in names]
        return tuple(api_objects.namespace(raw) for raw in found if raw)

    def ca_secret(self) -> CaSecret:
        path = f"/api/v1/namespaces/{self._asked.system_namespace}/secrets/{secrets.CA_SECRET}"
        return secrets.ca_secret(self._kube.read(path))

    def root_config_map(self) -> tuple[Certificate, ...] | None:
        name = self._asked.sample_namespace
        raw = self._kube.read(f"/api/v1/namespaces/{name}/configmaps/{_ROOT_CONFIG_MAP}")
        # istiod publishes it in its own namespace, too: on a mesh without a sample that is the one to look at.
        if raw is None and self._asked.mode == "verify-only" and self._kube.read(f"/api/v1/namespaces/{name}") is None:
            raw = self._kube.read(f"/api/v1/namespaces/{self._asked.system_namespace}/configmaps/{_ROOT_CONFIG_MAP}")
        return istio_objects.readable_certificates((raw.get("data") or {}).get("root-cert.pem", "")) if raw else None

    def workloads(self) -> tuple[Workload, ...]:
        api, kinds = "/apis/apps/v1", (("Deployment", "deployments"), ("DaemonSet", "daemonsets"))
        of_mesh = [
            api_objects.workload(raw, kind)
            for kind, plural in kinds
            for raw in self._of_mesh(api, plural, labelSelector=_OF_SAMPLE)
        ]
        others = (api_objects.workload(raw, kind) for kind, plural in kinds for raw in self._elsewhere(api, plural))
        behind = (found for found in others if self._is_behind(found.namespace, found.pod_labels))
        return ambient_objects.joined((*of_mesh, *behind), self._kube, self._asked, ambient_objects.workloads)

    def cni_plugins(self) -> tuple[Workload, ...]:
        found = self._items("/apis/apps/v1/daemonsets", labelSelector=f"k8s-app={expectations.CNI_PLUGIN}")
        return tuple(api_objects.workload(raw, "DaemonSet") for raw in found)

    def pods(self) -> tuple[Pod, ...]:
        of_mesh = [api_objects.pod(raw) for raw in self._of_mesh("/api/v1", "pods", labelSelector=_OF_SAMPLE)]
        others = (api_objects.pod(raw) for raw in self._elsewhere("/api/v1", "pods"))
        behind = (found for found in others if self._is_behind(found.namespace, found.labels))
        return ambient_objects.joined((*of_mesh, *behind), self._kube, self._asked, ambient_objects.pods)

    def services(self) -> tuple[Service, ...]:
        slices = ("/apis/discovery.k8s.io/v1", "endpointslices")
        behind = services.endpoints(chain(self._of_mesh(*slices), self._elsewhere(*slices)))
        raws = [*self._of_mesh("/api/v1", "services", labelSelector=_OF_SAMPLE), *self._gateways]
        selected = any(services.NODE_SELECTOR in (metadata(raw).get("annotations") or {}) for raw in raws)
        nodes = list(self._items("/api/v1/nodes")) if selected else []
        return tuple(
            found.model_copy(
                update={
                    "resolved": services.resolved(found.ingress),
                    "node_addresses": services.node_addresses(raw, nodes),
                }
            )
            for raw in raws
            for found in (services.service(raw, behind),)
        )

    def sail(self) -> tuple[SailResource, ...]:
        found = (istio_objects.sail_resource(*item) for item in custom(self._kube, istio_objects.SAIL_KINDS))
        return tuple(resource for resource in found if self._of_this_mesh(resource))

    def _of_this_mesh(self, resource: SailResource) -> bool:
        """Whether it is for this mesh: there may be several on a cluster, told apart by the namespace they are for."""
        ours = (self._asked.system_namespace, self._asked.cni_namespace)
        return resource.spec.get("namespace") in (None, *ours)

    def config(self) -> tuple[ConfigObject, ...]:
        # A Gateway configures pods of any namespace; policies hold where their pods are, and in the root namespace.
        namespaces = {*self._namespaces, *(metadata(raw)["namespace"] for raw in self._gateways)}
        with suppress(ApiException):
            namespaces |= {str(each.mesh.get("rootNamespace") or "") for each in self.mesh_config()}

        def kept(kinds: Kinds) -> Iterator[ConfigObject]:
            """There may be very many that are not: nothing of them is kept."""
            for raw, version, kind in custom(self._kube, kinds):
                near = metadata(raw)["namespace"] in namespaces or kind == "Gateway"
                if (near or self._reaches(raw, kind)) and experiment.LABEL not in api_objects.labels(raw):
                    yield istio_objects.config_object(raw, version, kind)

        found = list(kept(istio_objects.CONFIG_KINDS))
        with suppress(ApiException):  # roles made for an earlier version lack this group
            found += kept(istio_objects.ROUTE_KINDS)
        return tuple(found)

    def _reaches(self, raw: Object, kind: str) -> bool:
        """Whether it holds for helloworld (or the user's service), though it stands in another namespace."""
        return policies.reaches_requested(self._asked, kind, metadata(raw)["namespace"], raw.get("spec") or {})

    def mesh_config(self) -> tuple[MeshConfig, ...]:
        return istio_objects.mesh_configs(self._items(f"/api/v1/namespaces/{self._asked.system_namespace}/configmaps"))

    def remote_secrets(self) -> tuple[RemoteSecret, ...]:
        """Every secret that is, or was meant as, a remote secret; of other namespaces where that may be read."""
        own = self._items(f"/api/v1/namespaces/{self._asked.system_namespace}/secrets")
        elsewhere: list[Object] = []
        with suppress(ApiException):
            elsewhere += self._items("/api/v1/secrets", labelSelector=f"{secrets.MULTI_CLUSTER_LABEL}=true")
        found = {metadata(raw)["uid"]: raw for raw in chain(own, elsewhere) if secrets.is_remote_secret(raw)}
        self.secrets_read.extend(found.values())
        return tuple(secrets.remote_secret(raw) for raw in found.values())

    def events(self) -> tuple[ApiEvent, ...]:
        found = [api_objects.event(raw) for raw in self._of_mesh("/api/v1", "events", fieldSelector="type=Warning")]
        found.sort(key=lambda event: event.last_seen.timestamp() if event.last_seen else 0)
        return tuple(found[-_EVENTS:])
