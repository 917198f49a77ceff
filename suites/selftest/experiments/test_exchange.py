"""What requests of experiments come to, by what the programs say that sent them."""

import os
import subprocess
from pathlib import Path

import pytest

from harness.experiments.exchange import client_answer, curl_answer, payload_answer, payload_script
from harness.kube.api import ExecResult
from harness.model.traffic import ProbeResult

GRPC = """[0] Latency=1.2ms
[0 body] StatusCode=200
[0 body] ServiceVersion=v2
[0 body] Hostname=echo-v2-6d9

[1 body] StatusCode=200
[1 body] ServiceVersion=v1
"""
TAKEN_FOR_HTTP = (
    "2026-11-23T12:00:00.000000Z\tfatal\tError 3/3 requests had errors; first error: expected to recv message with "
    "StatusCode=200, got [0] SourceIP=10.1.0.9\n[0 body] HTTP/1.1 400 Bad Request\n. Return EOF\n"
)


def test_client_counts_versions() -> None:
    """Each call's version is counted."""
    answer = client_answer(ExecResult(0, GRPC, ""))
    assert (answer.result, answer.status, dict(answer.answers)) == (ProbeResult.ANSWERED, 200, {"v1": 1, "v2": 1})


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (TAKEN_FOR_HTTP, ProbeResult.REFUSED),
        (
            "fatal\tError 1/1 requests had errors; first error: rpc error: context deadline exceeded",
            ProbeResult.TIMEOUT,
        ),
        ("fatal\tError dial tcp: lookup echo-v2.sample: no such host", ProbeResult.UNREACHABLE),
    ],
    ids=("taken for http", "silent", "no name"),
)
def test_client_failures(said: str, result: ProbeResult) -> None:
    """What the client says of a failure is kept without its log's clock."""
    answer = client_answer(ExecResult(1, said, ""))
    assert answer.result is result
    assert answer.detail.startswith("Error ")
    assert not answer.answers


@pytest.mark.parametrize(("counted", "returned"), [(131072, 65536), (65536, 0), (131000, 65464), ("", 0)])
def test_a_payload_is_whole_when_it_was_written_twice(counted: int | str, returned: int) -> None:
    """Once as it was sent, once as it came back."""
    said = f"[0] Echo=xxx\n[0 body] StatusCode=200\n[0 body] ServiceVersion=v2\n@@ counted {counted}\n"
    answer = payload_answer(ExecResult(0, said, ""))
    assert (answer.result, answer.answers, answer.returned) == (ProbeResult.ANSWERED, (("v2", 1),), returned)
    lost = payload_answer(ExecResult(1, f"fatal\tError read tcp: i/o timeout\n@@ counted {counted}\n", ""))
    assert (lost.result, lost.returned) == (ProbeResult.TIMEOUT, 0)


def test_the_payload_is_made_in_the_pod(tmp_path: Path) -> None:
    """It is far longer than what a request to an API server may hold."""
    script = payload_script("tcp://echo-v2.sample:9090", 5)
    assert len(script) < 400
    client = tmp_path / "client"
    client.write_text("#!/bin/sh\nprintf '%s' \"$7\"; printf '%s' \"$7\"; exit 3\n")
    client.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert said.returncode == 3
    assert said.stdout.splitlines()[-1] == f"@@ counted {2 * 65536}"


@pytest.mark.parametrize(
    ("said", "result", "status", "answers"),
    [
        ("Hello version: v1, instance: h-1\n\n@@ curl 200 0.001 0.002 0\n", ProbeResult.ANSWERED, 200, {"v1": 1}),
        ("ServiceVersion=v2\nHostname=echo\n\n@@ curl 200 0.001 0.002 0\n", ProbeResult.ANSWERED, 200, {"v2": 1}),
        ("RBAC: access denied\n@@ curl 403 0.001 0.002 0\n", ProbeResult.ANSWERED, 403, {}),
        (
            "curl: (56) Recv failure: Connection reset by peer\n\n@@ curl 000 0.001 0.002 56\n",
            ProbeResult.REFUSED,
            0,
            {},
        ),
        ("curl: (28) timed out\n\n@@ curl 000 0.000 5.002 28\n", ProbeResult.TIMEOUT, 0, {}),
        ("sh: curl: not found\n", ProbeResult.TRANSPORT, 0, {}),
    ],
)
def test_curl(said: str, result: ProbeResult, status: int, answers: dict[str, int]) -> None:
    """How a request of curl ended."""
    answer = curl_answer(said)
    assert (answer.result, answer.status, dict(answer.answers)) == (result, status, answers)
