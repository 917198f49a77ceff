"""Distils Kubernetes' own objects, as the API server's JSON says them, into the observation's models. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from harness.base.redaction import redact
from harness.kube.api import Object, metadata
from harness.model.cluster import (
    ApiEvent,
    Condition,
    Container,
    Namespace,
    Node,
    Pod,
    Workload,
)
from harness.model.kubernetes import PROXY
from harness.model.origin import origin

_ENV_OF = (PROXY, "discovery")
_ENV_PREFIXES = (
    "ISTIO_META_",
    "PILOT_",
    "CLUSTER_ID",
    "REVISION",
    "EXTERNAL_ISTIOD",
    "CA_ADDR",
    "ENABLE_CA_SERVER",
    "EXTERNAL_CA",
    "ISTIO_MULTIROOT_MESH",
    "TRUST_DOMAIN",
    "ROOT_CA_DIR",
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(text: str | None) -> datetime | None:
    """A time of Kubernetes' JSON (RFC 3339); None where there is none."""
    return datetime.fromisoformat(text) if text else None


def created(raw: Object) -> datetime:
    """When an object was created."""
    return timestamp(metadata(raw).get("creationTimestamp")) or _EPOCH


def labels(raw: Object) -> dict[str, str]:
    """An object's labels."""
    return dict(metadata(raw).get("labels") or {})


def conditions(raw: Object) -> tuple[Condition, ...]:
    """The conditions of an object's status."""
    return tuple(
        Condition(
            type=found["type"],
            status=found.get("status", ""),
            reason=found.get("reason") or "",
            message=redact(found.get("message") or ""),
            last_transition=timestamp(found.get("lastTransitionTime")),
        )
        for found in (raw.get("status") or {}).get("conditions") or []
    )


def is_true(raw: Object, condition: str) -> bool:
    """Whether the status condition of that type is True."""
    return any(found.type == condition and found.status == "True" for found in conditions(raw))


def node(raw: Object) -> Node:
    """A Node."""
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    info = status.get("nodeInfo") or {}
    addresses = sorted(status.get("addresses") or [], key=lambda found: bool(found["type"] != "InternalIP"))
    tainted = any(taint.get("effect") == "NoSchedule" for taint in spec.get("taints") or [])
    return Node(
        name=metadata(raw)["name"],
        ready=is_true(raw, "Ready"),
        schedulable=not spec.get("unschedulable") and not tainted,
        addresses=tuple(found["address"] for found in addresses if found["type"].endswith("IP")),
        pod_cidrs=tuple(spec.get("podCIDRs") or ()),
        os_image=info.get("osImage", ""),
        architecture=info.get("architecture", ""),
        kubelet_version=info.get("kubeletVersion", ""),
        container_runtime=info.get("containerRuntimeVersion", ""),
    )


def namespace(raw: Object) -> Namespace:
    """A Namespace."""
    return Namespace(
        name=metadata(raw)["name"],
        labels=labels(raw),
        annotations={
            key: value for key, value in (metadata(raw).get("annotations") or {}).items() if "last-applied" not in key
        },
        phase=(raw.get("status") or {}).get("phase", ""),
        origin=origin(metadata(raw)),
    )


def pod(raw: Object) -> Pod:
    """A Pod, with the status of its containers."""
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    annotations = metadata(raw).get("annotations") or {}
    return Pod(
        namespace=metadata(raw)["namespace"],
        name=metadata(raw)["name"],
        labels=labels(raw),
        annotations={
            key: value
            for key, value in annotations.items()
            if "istio.io/" in key or key == "kubectl.kubernetes.io/restartedAt"
        },
        service_account=spec.get("serviceAccountName", ""),
        node=spec.get("nodeName", ""),
        ip=status.get("podIP", ""),
        phase=status.get("phase", ""),
        ready=is_true(raw, "Ready"),
        created=created(raw),
        deleting="deletionTimestamp" in metadata(raw),
        containers=(
            *_containers(spec.get("initContainers"), status.get("initContainerStatuses"), init=True),
            *_containers(spec.get("containers"), status.get("containerStatuses"), init=False),
        ),
        identity_socket=_identity_socket(spec),
    )


def _identity_socket(spec: Object) -> str:
    """Who provides the proxy's certificates over a socket, where it is not Istio's agent (Istio, "SPIRE")."""
    volume: Object = next((each for each in spec.get("volumes") or [] if each.get("name") == "workload-socket"), {})
    return str((volume.get("csi") or {}).get("driver") or (volume.get("hostPath") or {}).get("path") or "")


def _containers(specs: list[Object] | None, statuses: list[Object] | None, *, init: bool) -> Iterable[Container]:
    by_name = {status["name"]: status for status in statuses or []}
    for spec in specs or []:
        status = by_name.get(spec["name"]) or {}
        states: Object = status.get("state") or {}
        state = next(iter(states), "")
        detail: Object = states.get(state) or {}
        yield Container(
            name=spec["name"],
            image=spec.get("image", ""),
            image_id=status.get("imageID", ""),
            pull_policy=spec.get("imagePullPolicy", ""),
            init=init,
            sidecar=init and spec.get("restartPolicy") == "Always",
            ready=bool(status.get("ready")),
            restarts=int(status.get("restartCount") or 0),
            state=state,
            reason=detail.get("reason") or "",
            message=redact(detail.get("message") or ""),
            last_end=_ended(status.get("lastState") or {}),
            env=_environment(spec) if spec["name"] in _ENV_OF else {},
        )


def _ended(state: Object) -> str:
    last = state.get("terminated") or {}
    if not last:
        return ""
    message = redact(last.get("message") or "")
    return f"{last.get('reason') or 'ended'}, exit code {last.get('exitCode')}" + (f": {message}" if message else "")


def _environment(spec: Object) -> dict[str, str]:
    return {
        variable["name"]: variable.get("value") or ""
        for variable in spec.get("env") or []
        if variable["name"].startswith(_ENV_PREFIXES) and "valueFrom" not in variable
    }


def workload(raw: Object, kind: str) -> Workload:
    """A Deployment or DaemonSet; its `ready` counts pods of the present template only."""
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    if kind == "DaemonSet":
        desired = int(status.get("desiredNumberScheduled") or 0)
        counts = status.get("numberReady"), status.get("updatedNumberScheduled")
    else:
        desired = int(spec.get("replicas", 1))
        counts = status.get("readyReplicas"), status.get("updatedReplicas")
    stale = int(status.get("observedGeneration") or 0) < int(metadata(raw).get("generation") or 0)
    template = spec.get("template") or {}
    pod = template.get("spec") or {}
    return Workload(
        kind=kind,
        namespace=metadata(raw)["namespace"],
        name=metadata(raw)["name"],
        labels=labels(raw),
        desired=desired,
        ready=0 if stale else min(int(count or 0) for count in counts),
        conditions=conditions(raw),
        images=tuple(container.get("image", "") for container in pod.get("containers") or []),
        created=created(raw),
        uid=metadata(raw).get("uid", ""),
        generation=int(metadata(raw).get("generation") or 0),
        pod_labels=dict((template.get("metadata") or {}).get("labels") or {}),
        origin=origin(metadata(raw)),
    )


def event(raw: Object) -> ApiEvent:
    """An Event."""
    about = raw.get("involvedObject") or {}
    series = raw.get("series") or {}
    last = raw.get("lastTimestamp") or series.get("lastObservedTime") or raw.get("eventTime")
    return ApiEvent(
        namespace=metadata(raw)["namespace"],
        object=f"{about.get('kind', '')}/{about.get('name', '')}",
        reason=raw.get("reason") or "",
        message=redact(raw.get("message") or "", 300),
        count=int(raw.get("count") or series.get("count") or 1),
        last_seen=timestamp(last),
    )
