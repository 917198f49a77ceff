"""Probes: which are sent, what the script looks like to a shell, how each outcome is read."""

import subprocess

import pytest

from harness.model import permissions
from harness.model.observation import Observation
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.model.traffic import ProbeKind, ProbeResult
from harness.observe import probe_output, probes
from harness.observe.probe_plan import PlannedProbe, plan, source_of
from harness.observe.probe_script import octal, script
from harness.observe.secrets import Credential
from suites.selftest.support.certificates import pki
from suites.selftest.support.good import good

TOKEN = "eyJhbGciOiJSUzI1NiJ9.secret-of-the-remote-secret.signature"  # noqa: S105 - of no cluster
CREDENTIAL = Credential("istio-system/istio-remote-secret-cluster2", "cluster2", "https://172.18.0.4:6443", "CA", TOKEN)


def of(kind: ProbeKind, port: int = 15443, credential: Credential | None = None) -> PlannedProbe:
    """A probe from east to west."""
    return PlannedProbe(kind, "east", "west", "172.18.255.232", port, "name.sample", "istio", credential)


def planned(observation: Observation) -> tuple[PlannedProbe, ...]:
    """The probes for an observation's clusters, east holding west's credentials."""
    observed = {cluster.name: cluster for cluster in observation.clusters}
    return plan(observation.topology, observation.asked, observed, {"east": (CREDENTIAL,)})


@pytest.mark.parametrize(
    ("control_plane", "network", "expected"),
    [
        (ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI, {15021: 4, 15443: 6, 6443: 1}),
        (ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI, {15021: 4, 15443: 6, 15012: 3, 15017: 2, 6443: 1}),
        (ControlPlaneModel.MULTI_PRIMARY, NetworkModel.SINGLE, {5000: 2, 15021: 2, 6443: 1}),
        (ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.SINGLE, {15021: 4, 15012: 3, 15017: 2, 5000: 2, 6443: 1}),
    ],
)
def test_each_topology_has_its_probes(
    control_plane: ControlPlaneModel, network: NetworkModel, expected: dict[int, int]
) -> None:
    found = planned(good(preset(control_plane, network)))
    ports = [probe.port for probe in found]
    assert {port: ports.count(port) for port in ports} == expected
    assert all(probe.source != probe.target for probe in found)


def test_probes_are_sent_from_sleeps_proxy_else_from_another_pod() -> None:
    observation = good(preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI))
    east, asked = observation.clusters[0], observation.asked
    running = {"state": "running"}
    pods = tuple(
        pod.model_copy(update={"containers": tuple(c.model_copy(update=running) for c in pod.containers)})
        for pod in east.pods
    )
    east = east.model_copy(update={"pods": pods})
    source = source_of(east, asked)
    assert source is not None
    assert (source.pod.split("-")[0], source.container) == ("sleep", "istio-proxy")
    without = east.model_copy(update={"pods": tuple(pod for pod in east.pods if pod.labels.get("app") != "sleep")})
    other = source_of(without, asked)
    assert other is not None
    assert other.container == "istio-proxy"
    assert source_of(east.model_copy(update={"pods": ()}), asked) is None


def test_a_shell_understands_the_script_of_all_kinds_of_probes() -> None:
    kinds = [of(kind, credential=CREDENTIAL) for kind in ProbeKind] * 5
    text = script(kinds, 4, b"\x00\n'%\\")
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    assert text.count("wait\n") == 3
    # A token is on no command line of a program: printf is the shell's own.
    lines = [line for line in text.splitlines() if TOKEN in line]
    assert lines
    assert all("header" in line and "curl" not in line for line in lines)


def test_printf_prints_the_certificate_request_again() -> None:
    body = probes.signing_request("spiffe://cluster.local/ns/default/sa/default")
    printed = subprocess.run(["sh", "-c", f"printf '{octal(body)}'"], capture_output=True, check=True).stdout
    assert printed == body
    assert int.from_bytes(body[1:5], "big") == len(body) - 5
    assert b"BEGIN CERTIFICATE REQUEST" in body
    assert b"KEY" not in body


@pytest.mark.parametrize(
    ("kind", "port", "lines", "result", "detail"),
    [
        (ProbeKind.TCP, 15021, ["@@ curl 200 0.0004 0.001 0"], ProbeResult.ANSWERED, ""),
        (ProbeKind.TCP, 15021, ["@@ curl 503 0.0004 0.001 0"], ProbeResult.REFUSED, "not ready: status 503"),
        (ProbeKind.TCP, 15443, ["curl: (52) Empty reply from server", "@@ curl 000 0.0002 0.001 52"],
         ProbeResult.ANSWERED, "accepted, then closed without a word"),
        (ProbeKind.TCP, 15443,
         ["@@ curl 000 0.0 4.0 28", "curl: (28) Connection timed out after 4000 milliseconds"], ProbeResult.TIMEOUT,
         "curl: (28) Connection timed out after 4000 milliseconds"),
        (ProbeKind.TCP, 15443, ["curl: (7) Couldn't connect to server", "@@ curl 000 0.0 0.0003"], ProbeResult.REFUSED,
         "curl: (7) Couldn't connect to server"),
        (ProbeKind.POD_ROUTE, 5000, ["curl: (7) Couldn't connect to server", "@@ curl 000 0.0 2.27 7"],
         ProbeResult.UNREACHABLE, "curl: (7) Couldn't connect to server"),
        (ProbeKind.TCP, 15443, ["curl: (6) Could not resolve host: lb", "@@ curl 000 0.0 0.1 6"],
         ProbeResult.UNREACHABLE, "curl: (6) Could not resolve host: lb"),
        (ProbeKind.TLS, 15443, ["@@ clock 10.0", "connect:errno=111", "@@ exit 1", "@@ clock 10.0"],
         ProbeResult.REFUSED, "connect:errno=111"),
        (ProbeKind.TLS, 15443,
         ["@@ clock 10.0", "CONNECTED(00000003)", "write:errno=104", "no peer certificate available", "@@ exit 1"],
         ProbeResult.REFUSED, "errno=104"),
        (ProbeKind.TLS, 15443, ["@@ clock 10.0", "@@ exit 124", "@@ clock 14.0"], ProbeResult.TIMEOUT,
         "no answer in time"),
        (ProbeKind.TLS_NO_CERTIFICATE, 15443,
         ["40:error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required", "@@ exit 1"],
         ProbeResult.REFUSED, "alert certificate required"),
        (ProbeKind.TLS_NO_CERTIFICATE, 15443, ["HTTP/1.1 200 OK", "Hello version: v2", "@@ exit 0"],
         ProbeResult.ANSWERED, "HTTP/1.1 200 OK"),
        (ProbeKind.CSR_NO_TOKEN, 15012,
         ["HTTP/2 200 ", "grpc-status: 16", "grpc-message: request authenticate failure", "@@ curl 200 0.1 0.2 0"],
         ProbeResult.REFUSED, "gRPC status 16 request authenticate failure"),
        (ProbeKind.CSR_NO_TOKEN, 15012, ["HTTP/2 200 ", "grpc-status: 0", "@@ curl 200 0.1 0.2 0"],
         ProbeResult.ANSWERED, "gRPC status 0"),
        (ProbeKind.CSR_NO_TOKEN, 15012, ["@@ missing curl with HTTP/2"], ProbeResult.NO_TOOL,
         "no curl with HTTP/2 in the container"),
        (ProbeKind.TLS, 15443, ["@@ missing openssl"], ProbeResult.NO_TOOL, "no openssl in the container"),
        (ProbeKind.TLS, 15443, None, ProbeResult.TRANSPORT, "the script ended before this probe did"),
        (ProbeKind.API_SERVER, 6443, ["Unauthorized", "@@ curl 401 0.1 0.2 0"], ProbeResult.REFUSED, "status 401"),
        (ProbeKind.API_SERVER, 6443, ["@@ curl 000 0.0 4.0 28"], ProbeResult.TIMEOUT, ""),
    ],
)  # fmt: skip
def test_how_a_probe_ended(
    kind: ProbeKind, port: int, lines: list[str] | None, result: ProbeResult, detail: str
) -> None:
    found = probe_output.probe(of(kind, port, CREDENTIAL), lines, "sleep-x")
    assert (found.result, found.detail) == (result, detail)
    assert (found.source, found.target, found.source_pod) == ("east", "west", "sleep-x")


def test_the_certificates_of_a_handshake_are_kept_in_order_even_where_it_is_refused_later() -> None:
    authority = pki()
    shown = [authority.intermediates["east"].pem, authority.root.pem, authority.root.pem]
    lines = [*"\n".join(shown).splitlines(), "ALPN protocol: istio", "alert certificate required", "@@ exit 1"]
    found = probe_output.probe(of(ProbeKind.TLS), lines, "sleep-x")
    assert found.result is ProbeResult.ANSWERED
    assert [cert.pem for cert in found.certificates] == shown[:2]


def test_an_api_server_says_what_its_credentials_may_do() -> None:
    def review(allowed: str) -> list[str]:
        return [f'{{"kind":"SelfSubjectAccessReview","status":{{"allowed":{allowed}}}}}', "@@ curl 201 0.0 0.002 0"]

    lines = ["{", '"gitVersion": "v1.36.1"', "}", "@@ curl 200 0.001 0.02 0"]
    for permission in permissions.ALL:
        lines += review("true" if permission in permissions.NEEDED else "false")
    found = probe_output.probe(of(ProbeKind.API_SERVER, 6443, CREDENTIAL), lines, "sleep-x")
    assert found.result is ProbeResult.ANSWERED
    assert found.permissions == {str(p): p in permissions.NEEDED for p in permissions.ALL}


def test_lines_are_sorted_by_their_probe() -> None:
    output = "0 @@ clock 1\n11 HTTP/2 200 \n0 @@ exit 0\nsh: noise\n11 @@ curl 200 0 0 0\n"
    assert probe_output.by_probe(output) == {0: ["@@ clock 1", "@@ exit 0"], 11: ["HTTP/2 200 ", "@@ curl 200 0 0 0"]}


def test_credentials_do_not_show_their_token() -> None:
    assert TOKEN not in repr(CREDENTIAL)
    assert TOKEN not in repr(of(ProbeKind.API_SERVER, 6443, CREDENTIAL))
