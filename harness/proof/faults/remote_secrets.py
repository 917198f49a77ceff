"""Faults of remote secrets and API servers."""

from collections.abc import Callable
from datetime import timedelta

from harness.model import permissions
from harness.model.cluster import ClusterObservation, Reading, ReadOutcome, RemoteAccess, RemoteSecret, Subject
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind, ProbeResult
from harness.proof.faults import effects, requests
from harness.proof.faults.acts import api_servers
from harness.proof.faults.acts import remote_secrets as acts
from harness.proof.faults.certificates import NO_SHARES, SHARES
from harness.proof.faults.control_plane import SILENT
from harness.proof.faults.edit import each, east, edit, on, probes, west
from harness.proof.faults.fault import EVERY_PLANE, MN, MP, PR, SN, Consequence, Fault, both
from harness.proof.faults.policies import reset_behind_gateway


def _secret(observation: Observation, **fields: object) -> Observation:
    """Change East's remote secret for West."""
    name = west(observation).cluster_name
    primary = _watcher(observation)
    found = edit(observation[primary].remote_secrets, lambda secret: name in secret.clusters, **fields)
    return on(observation, primary, remote_secrets=found)


def _access(observation: Observation, **fields: object) -> Observation:
    """Change the kubeconfig in East's remote secret for West."""
    name = west(observation).cluster_name
    access = RemoteAccess(cluster=name, form="token").model_copy(update=fields)
    return _secret(observation, access=(access,))


def _watcher(observation: Observation) -> Cluster:
    """The primary whose view of West is broken: East."""
    return east(observation)


def _is_probe(observation: Observation, probe: Probe) -> bool:
    source, target = observation.topology.control_plane_of(_watcher(observation)).name, west(observation).name
    return (probe.kind, probe.source, probe.target) == (ProbeKind.API_SERVER, source, target)


def _unwatched(observation: Observation) -> Observation:
    """East's istiod no longer knows West: nor do the clients it serves."""
    primary, lost = _watcher(observation), west(observation)

    def without(plane: ControlPlane) -> ControlPlane:
        rows = tuple(row for row in plane.clusters if row.id != lost.cluster_name)
        return plane.model_copy(update={"clusters": rows})

    changed = on(observation, primary, control_planes=each(observation[primary].control_planes, without))
    changed = probes(changed, lambda probe: None if _is_probe(observation, probe) else probe)
    rest = [cluster for cluster in observation.topology.clusters if cluster != lost]
    for client in observation.topology.served_by(primary):
        changed = effects.lose_endpoints(changed, client, lost)
        changed = requests.only_from(changed, client, *rest)
    # A remote's gateway is configured by the istiod that knows nothing of the remote's endpoints any more.
    return changed if lost.is_primary else reset_behind_gateway(changed, lost)


def _missing(observation: Observation) -> Observation:
    name, primary = west(observation).cluster_name, _watcher(observation)
    left: tuple[RemoteSecret, ...] = tuple(s for s in observation[primary].remote_secrets if name not in s.clusters)
    return _unwatched(on(observation, primary, remote_secrets=left))


def _misplaced(observation: Observation) -> Observation:
    return _unwatched(_secret(observation, namespace="default"))


def _unlabelled(observation: Observation) -> Observation:
    return _unwatched(_secret(observation, labelled=False))


def _status(observation: Observation, status: str) -> Observation:
    """What East's control plane reports of West."""
    lost, primary = west(observation), _watcher(observation)

    def change(plane: ControlPlane) -> ControlPlane:
        rows = edit(plane.clusters, lambda row: row.id == lost.cluster_name, sync_status=status)
        return plane.model_copy(update={"clusters": rows})

    return on(observation, primary, control_planes=each(observation[primary].control_planes, change))


def _probed(observation: Observation, **fields: object) -> Observation:
    return probes(observation, lambda p: p.model_copy(update=fields) if _is_probe(observation, p) else p)


def _unreachable(observation: Observation) -> Observation:
    changed = _secret(observation, servers=("https://192.0.2.1:6443",))
    timeout = {"result": ProbeResult.TIMEOUT, "status": 0, "detail": "connection timed out", "permissions": {}}
    return _status(_probed(changed, address="192.0.2.1", **timeout), "timeout")


def _loopback(observation: Observation) -> Observation:
    changed = _secret(observation, servers=("https://127.0.0.1:6443",))
    refused = {"result": ProbeResult.REFUSED, "status": 0, "detail": "connection refused", "permissions": {}}
    return _status(_probed(changed, address="127.0.0.1", **refused), "timeout")


def _revoked(observation: Observation) -> Observation:
    return _probed(observation, result=ProbeResult.REFUSED, status=401, detail="Unauthorized", permissions={})


def _allowed(allowed: Callable[[permissions.Permission], bool]) -> Callable[[Observation], Observation]:
    asked = {str(permission): allowed(permission) for permission in permissions.ALL}
    return lambda observation: _probed(observation, permissions=asked)


def _wrong_name(observation: Observation) -> Observation:
    lost, primary = west(observation), _watcher(observation)
    changed = _secret(observation, clusters=("cluster9",))

    def change(plane: ControlPlane) -> ControlPlane:
        rows = edit(plane.clusters, lambda row: row.id == lost.cluster_name, id="cluster9")
        return plane.model_copy(update={"clusters": rows})

    changed = on(changed, primary, control_planes=each(changed[primary].control_planes, change))
    changed = _probed(changed, target="cluster9")
    traffic = changed.traffic
    if traffic is None or lost.is_primary:
        return changed
    peers = edit(traffic.peers or (), lambda p: p.destination == lost.name, principal="", mutual_tls=False, requests=0)
    return changed.model_copy(update={"traffic": traffic.model_copy(update={"peers": peers})})


def _api_server_down(observation: Observation) -> Observation:
    lost = west(observation)
    silent = observation[lost]
    readings = tuple(
        Reading(subject=subject, outcome=ReadOutcome.UNREACHABLE, detail="connection timed out") for subject in Subject
    )
    bare = ClusterObservation(name=silent.name, context=silent.context, api_server=silent.api_server, readings=readings)
    clusters = tuple(bare if found.name == lost.name else found for found in observation.clusters)
    changed = effects.silent_client(observation.model_copy(update={"clusters": clusters}), lost)
    changed = _probed(changed, result=ProbeResult.TIMEOUT, detail="connection timed out", permissions={})
    # Addresses of a cluster that can't be read are not known, and not tried.
    return probes(changed, lambda p: None if p.target == lost.name and p.kind is not ProbeKind.API_SERVER else p)


NOT_WATCHED = "istiod drops the endpoints of a cluster for which it has no secret"
NO_SECRET = "there is no secret that istiod sees and whose kubeconfig could be tried"  # noqa: S105 - a reason
UNSERVED = "of a proxy whose cluster it does not know istiod finds no Service: it passes through what comes in, unseen"
UNREAD = "what an API server does not tell is not judged"
NOT_TOLD = "an API server that does not answer, or not to this token, does not say what it would allow"

_UNWATCHED = (
    Consequence(("RS-USABLE", "RS-LEAST", "RS-SYNCED"), NO_SECRET),
    Consequence(("EP-COMPLETE", "EP-WEIGHTS"), NOT_WATCHED),
    Consequence(("TR-REACH",), "clients that know no endpoint on West never get an answer from there"),
    Consequence(SHARES, NO_SHARES),
    Consequence(("GW-DATAPATH",), "a remote's gateway has its endpoints from that same istiod", both(MN, PR)),
    Consequence(("GW-HARDENED",), SILENT, both(MN, PR)),
)
_KEPT = "RS-LEAST"

FAULTS: tuple[Fault, ...] = (
    Fault(
        "secret-missing",
        "East has no remote secret for West",
        _missing,
        "secret-missing",
        frozenset({"RS-PRESENT"}),
        consequences=_UNWATCHED,
        live=True,
        act=acts.missing,
    ),
    Fault(
        "secret-misplaced",
        "East's remote secret for West is in another namespace",
        _misplaced,
        "secret-misplaced",
        frozenset({"RS-PRESENT"}),
        consequences=_UNWATCHED,
        live=True,
        act=acts.misplaced,
    ),
    Fault(
        "secret-unlabelled",
        "East's remote secret for West lacks its label",
        _unlabelled,
        "secret-unlabelled",
        frozenset({"RS-PRESENT"}),
        consequences=_UNWATCHED,
        live=True,
        act=acts.unlabelled,
    ),
    Fault(
        "secret-unreachable",
        "the server in East's remote secret for West does not answer from inside; istiod serves what it had",
        _unreachable,
        "secret-unreachable",
        frozenset({"RS-USABLE", "RS-SYNCED"}),
        consequences=(Consequence((_KEPT,), NOT_TOLD),),
        live=True,
        act=acts.unreachable,
    ),
    Fault(
        "secret-loopback",
        "the server in East's remote secret for West is 127.0.0.1; istiod serves what it had",
        _loopback,
        "secret-loopback",
        frozenset({"RS-USABLE", "RS-SYNCED"}),
        consequences=(Consequence((_KEPT,), NOT_TOLD),),
    ),
    Fault(
        "secret-revoked",
        "the token in East's remote secret for West is no longer valid; watches that stand go on",
        _revoked,
        "secret-revoked",
        frozenset({"RS-USABLE"}),
        consequences=(Consequence((_KEPT,), NOT_TOLD),),
        planes=EVERY_PLANE,
        live=True,
        act=acts.revoked,
    ),
    Fault(
        "secret-powerless",
        "the role binding of West's reader is gone; watches that stand go on",
        _allowed(lambda permission: False),  # noqa: ARG005 - whatever it is
        "secret-powerless",
        frozenset({"RS-USABLE"}),
        planes=EVERY_PLANE,
        live=True,
        act=acts.powerless,
    ),
    Fault(
        "secret-powerful",
        "West's reader is cluster-admin",
        _allowed(lambda permission: True),  # noqa: ARG005 - whatever it is
        "secret-powerful",
        frozenset({"RS-LEAST"}),
        planes=EVERY_PLANE,
        live=True,
        act=acts.powerful,
    ),
    Fault(
        "secret-ends-soon",
        "the client certificate in East's remote secret for West ends in 10 days",
        lambda observation: _access(
            observation,
            form="client certificate",
            begins=observation.observed - timedelta(days=355),
            ends=observation.observed + timedelta(days=10),
        ),
        "secret-ends-soon",
        frozenset({"RS-HORIZON"}),
        live=True,
        act=acts.ends_soon,
    ),
    Fault(
        "secret-unverified",
        "East's remote secret for West says insecure-skip-tls-verify",
        lambda observation: _access(observation, insecure=True),
        "secret-unverified",
        frozenset({"RS-VERIFIED"}),
        live=True,
        act=acts.unverified,
    ),
    Fault(
        "secret-wrong-name",
        "East's remote secret for West is keyed by another cluster's name",
        _wrong_name,
        "secret-wrong-name",
        frozenset({"RS-PRESENT"}),
        consequences=(
            Consequence(("RS-USABLE", "RS-LEAST", "RS-SYNCED"), NO_SECRET),
            Consequence(("MTLS-PEER",), UNSERVED, PR),
        ),
        live=True,
        act=acts.wrong_name,
    ),
    Fault(
        "api-server-down",
        "West's API server does not answer, from the first read on, nor from East",
        _api_server_down,
        "api-server-down",
        frozenset({"RS-USABLE"}),
        consequences=(
            Consequence(
                (
                    "CERT-SECRET", "CERT-ROOT-PROFILE", "CERT-ROOT-SHARED", "CERT-INTERMEDIATE-PROFILE",
                    "CERT-INTERMEDIATE-DISTINCT", "CERT-KEY-MATCH", "CERT-CHAIN", "CERT-IN-USE", "CERT-WORKLOAD",
                    "CERT-HORIZON", "CP-READY", "CP-CNI-READY", "CP-VERSION", "CP-SKEW", "CP-IDENTITY",
                    "CP-INJECTION-WEBHOOK",
                    "XDS-SYNCED", "NET-LABEL", "RS-PRESENT", "WL-PLACED", "WL-INJECTED", "EP-COMPLETE", "EP-WEIGHTS",
                ),
                UNREAD,
            ),
            Consequence(("RS-LEAST",), NOT_TOLD),
            Consequence(("TR-REACH", *SHARES), "it has no client to send from"),
            Consequence(("MTLS-PEER",), "its proxies can't be asked who called"),
            Consequence(("CONFIG-CONSISTENT", "CERT-ISTIOD", "RS-SYNCED", "RS-HORIZON", "RS-VERIFIED"), UNREAD, MP),
            Consequence(("CERT-ISTIOD", "GW-REACHABLE", "GW-HARDENED"), "nothing can be tried from there", PR),
            Consequence(("CP-REMOTE-NO-ISTIOD", "CP-REMOTE-PROFILE", "CP-CONTROL-PLANE-CLUSTERS"), UNREAD, PR),
            Consequence(("NET-ROUTES",), "neither are its pods known nor can anything be sent from there", SN),
            Consequence(("NET-DISTINCT", "GW-AVAILABLE", "GW-ADDRESS", "GW-REACHABLE"), UNREAD, MN),
            Consequence(("GW-EXPOSE-SERVICES", "GW-DATAPATH", "GW-HARDENED", "GW-ISTIOD-PLAIN"), UNREAD, MN),
        ),
        live=True,
        act=api_servers.down,
    ),
)  # fmt: skip
