"""Traffic that is no short HTTP request: TCP, a long payload, gRPC. Experiments send it."""

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import expectations
from harness.model.experiment import PAYLOAD_BYTES
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.traffic import ProbeResult
from suites.conformance.exchanges import between, expect, expect_answer, made, pairs


@requirement("TR-TCP", Level.EXTENDED, area="traffic", experiment=True)
def test_tr_tcp(observation: Observation, evidence: Evidence) -> None:
    """A plain TCP service on every other cluster answers.

    Istio knows a port's protocol by its name or appProtocol; a TCP service that is taken for HTTP answers nobody. From
    every cluster a few connections are made to Istio's echo server in the version of each other cluster, which stands
    nowhere else, and what was sent must come back from there.

    Source: Istio, "Protocol Selection"; Istio's echo server, pkg/test/echo.
    """
    for exchanges in made(observation, evidence, "TR-TCP", lambda seen: seen.tcp):
        for source, target in pairs(observation):
            for exchange in between(evidence, exchanges, source, target):
                expect_answer(evidence, exchange, {target.version: exchange.sent})


@requirement("TR-PAYLOAD", Level.EXTENDED, area="traffic", experiment=True)
def test_tr_payload(observation: Observation, evidence: Evidence) -> None:
    """A message of 64 KiB goes to every other cluster and comes back whole.

    Short requests fit into a packet or two. What is longer is lost where the way between clusters takes smaller packets
    than its ends believe (a tunnel whose MTU nobody was told of, ICMP filtered), or where something in between holds
    only so much. The message goes over TCP to Istio's echo server in the version of each other cluster.

    Source: RFC 1191, "Path MTU Discovery", and RFC 2923, section 2.1; Istio's echo server, pkg/test/echo.
    """
    for exchanges in made(observation, evidence, "TR-PAYLOAD", lambda seen: seen.payload):
        for source, target in pairs(observation):
            for exchange in between(evidence, exchanges, source, target):
                whole = exchange.result is ProbeResult.ANSWERED and exchange.returned >= PAYLOAD_BYTES
                by = set(exchange.answers) == {target.version}
                expect(evidence, exchange, whole and by, "64 KiB", f"come back whole, by {target.version}")


@requirement("TR-GRPC", Level.EXTENDED, area="traffic", experiment=True, needs=(MeshFeature.SIDECARS,))
def test_tr_grpc(observation: Observation, evidence: Evidence) -> None:
    """A gRPC service on all clusters answers from each of them, over one connection of the client.

    A client of gRPC opens one connection and keeps it. Where Istio takes its port for TCP, all calls stay with the one
    cluster on which that connection ended. From every cluster so many calls are sent over one connection that a good
    mesh would leave a cluster out once in a million times, even if each got no more than one of k² calls. Of clusters
    that share another network one is enough: their gateways pass connections through, so what is behind them is chosen
    once for a connection.

    Source: Istio, "Protocol Selection"; gRPC over HTTP/2; harness/model/odds.py, coverage_cap.
    """
    for exchanges in made(observation, evidence, "TR-GRPC", lambda seen: seen.grpc):
        for source in observation.topology.clusters:
            for exchange in between(evidence, exchanges, source, None):
                expect_answer(evidence, exchange, None)
                if exchange.result is not ProbeResult.ANSWERED:
                    continue
                for targets in expectations.spread_over(observation.topology, source):
                    answers = sum(exchange.answers.get(target.version, 0) for target in targets)
                    evidence.expect(
                        answers > 0,
                        cluster=source,
                        object=f"{exchange.sent} calls to {exchange.url} over one connection",
                        field="answers of " + " or ".join(f"{target.name} ({target.version})" for target in targets),
                        expected="at least 1",
                        found=answers,
                    )
