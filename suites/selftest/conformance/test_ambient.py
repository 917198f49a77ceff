"""Every requirement on a mesh of ztunnels notices what it is there for, and a good one passes."""

from collections.abc import Callable

import pytest

from harness.judge.judgement import Verdict
from harness.model import captured, expectations, gateways
from harness.model.cluster import Condition
from harness.model.experiment import ECHO
from harness.model.observation import Observation
from harness.model.topology import ControlPlaneModel, NetworkModel, Topology, preset
from harness.model.traffic import ProbeResult
from harness.model.ztunnel import Ztunnel, ZtunnelConnections
from suites.selftest.conformance.test_experiments import ANSWERED, authorized, plaintext
from suites.selftest.support.ambient import ambient, with_ztunnels
from suites.selftest.support.breakage import Breakage, check, edit, judged, last, on, verdicts
from suites.selftest.support.good import TOPOLOGIES, good

MADE_UP = with_ztunnels(good(TOPOLOGIES[preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI).name]))
"""With every experiment."""
REFUSED = {"result": ProbeResult.REFUSED, "status": 0, "answers": {}}
SIDECARS_ONLY = {"WL-INJECTED", "CP-INJECTION-WEBHOOK", "GW-EXPOSE-SERVICES", "TR-NO-RETRIES", "TR-GRPC"}


def _ztunnels(observation: Observation, change: Callable[[Ztunnel], Ztunnel]) -> Observation:
    cluster = last(observation.topology)
    return on(observation, cluster, ztunnels=tuple(map(change, observation[cluster].ztunnels)))


def _bare_node(observation: Observation) -> Observation:
    cluster = last(observation.topology)
    pods = edit(observation[cluster].pods, captured.is_ztunnel, node="elsewhere")
    return on(observation, cluster, pods=pods)


def _namespace_unlabelled(observation: Observation) -> Observation:
    cluster, name = last(observation.topology), observation.asked.sample_namespace
    return on(
        observation,
        cluster,
        namespaces=edit(observation[cluster].namespaces, lambda each: each.name == name, labels={}),
    )


def _local_service(observation: Observation) -> Observation:
    cluster = last(observation.topology)
    services = edit(observation[cluster].services, lambda each: each.name == expectations.HELLOWORLD, labels={})
    return on(observation, cluster, services=services)


def _misnamed(ztunnel: Ztunnel) -> Ztunnel:
    return ztunnel.model_copy(update={"cluster_id": "Kubernetes"})


def _without_gateway(ztunnel: Ztunnel) -> Ztunnel:
    """One that does not know the gateway of the other network: the workload behind it can't be reached."""
    workloads = tuple(w.model_copy(update={"gateway": "", "gateway_port": 0}) for w in ztunnel.workloads)
    return ztunnel.model_copy(update={"workloads": workloads})


def _gateway(observation: Observation, **update: object) -> Observation:
    cluster = last(observation.topology)
    found = observation[cluster].api_gateways[0]
    return on(observation, cluster, api_gateways=(found.model_copy(update=update),))


def _not_programmed(observation: Observation) -> Observation:
    return _gateway(
        observation, conditions=(Condition(type="Programmed", status="False", reason="AddressNotAssigned"),)
    )


def _rows(observation: Observation, change: Callable[[ZtunnelConnections], ZtunnelConnections]) -> Observation:
    traffic = observation.traffic
    assert traffic and traffic.connections
    rows = tuple(map(change, traffic.connections))
    return observation.model_copy(update={"traffic": traffic.model_copy(update={"connections": rows})})


def _around_the_gateway(row: ZtunnelConnections) -> ZtunnelConnections:
    return row.model_copy(update={"address": "10.9.9.9:15008"}) if row.direction == "outbound" else row


def _plain(row: ZtunnelConnections) -> ZtunnelConnections:
    update = {"source_identity": "", "destination_identity": "", "hbone": False}
    return row.model_copy(update=update) if row.direction == "inbound" else row


def _also_unseen(topology: Topology) -> tuple[str, ...]:
    return ("EP-COMPLETE", "TR-DISTRIBUTION")


def _no_shares(topology: Topology) -> tuple[str, ...]:
    return ("EP-WEIGHTS",)


BREAKAGES = [
    Breakage("AMB-ZTUNNEL", "bare-node", _bare_node),
    Breakage("AMB-ZTUNNEL", "other-cluster", lambda o: _ztunnels(o, _misnamed)),
    Breakage("AMB-CAPTURE", "namespace", _namespace_unlabelled),
    Breakage("AMB-SCOPE", "label", _local_service),
    Breakage("AMB-VIEW", "no-gateway", lambda o: _ztunnels(o, _without_gateway), _also_unseen, _no_shares),
    Breakage("AMB-HBONE", "not-programmed", _not_programmed),
    Breakage("AMB-HBONE", "listener", lambda o: _gateway(o, listeners=())),
    Breakage("AMB-HBONE", "around", lambda o: _rows(o, _around_the_gateway)),
    Breakage("AMB-PLAINTEXT", "plain", lambda o: _rows(o, _plain)),
    Breakage("AUTHZ-IDENTITY", "let-in", lambda o: authorized(o, ECHO, **ANSWERED)),
    Breakage("AUTHZ-IDENTITY", "kept-out", lambda o: authorized(o, "sleep", **REFUSED)),
    Breakage("MTLS-STRICT", "let-in", lambda o: plaintext(o, **ANSWERED)),
]


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_breakage_is_noticed(breakage: Breakage) -> None:
    """Exactly the requirement that is meant fails."""
    check(breakage, (MADE_UP,))


def test_good_passes() -> None:
    """On the recorded mesh and on a made one everything holds that is not about sidecars."""
    for observation in (ambient(), MADE_UP):
        found = verdicts(observation)
        assert set(found.values()) == {Verdict.PASS}, found
        assert not SIDECARS_ONLY & found.keys()


def test_good_passes_verify_only() -> None:
    """So it is where the mesh was there before."""
    asked = ambient().asked.model_copy(update={"mode": "verify-only", "installer": "none", "istio_version": ""})
    none = {"asked": asked, "steps": (), "experiments": None, "cleanup": None}
    found = verdicts(ambient().model_copy(update=none))
    assert {verdict for row, verdict in found.items() if not row.startswith("AMB-")} <= {Verdict.PASS, Verdict.SKIPPED}
    assert {verdict for row, verdict in found.items() if row.startswith("AMB-")} == {Verdict.PASS}


def test_without_access_logs_nothing_is_said() -> None:
    """What the ztunnels' logs would show is skipped, with the reason."""
    traffic = ambient().traffic
    assert traffic
    silent = traffic.model_copy(update={"connections": None, "peers": None, "peers_missing": "the log is off"})
    found = ambient().model_copy(update={"traffic": silent})
    for row in ("AMB-HBONE", "AMB-PLAINTEXT", "MTLS-PEER"):
        judgement = judged(row, found)
        assert judgement.verdict is Verdict.SKIPPED
        assert "the log is off" in judgement.explanation


def test_the_port_of_hbone_is_looked_for() -> None:
    """Clients of other networks are given the gateway at 15008."""
    observation = ambient()
    for cluster in observation.topology.clusters:
        found = gateways.entrances(observation.topology, observation, cluster, gateways.HBONE_PORT)
        assert {entrance.port for entrance in found} == {15008}
