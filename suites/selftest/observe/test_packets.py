"""A request that fills packets, after a short one that does not."""

import subprocess
from collections.abc import Mapping

import pytest

from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import judge
from harness.model.observation import Observation
from harness.model.traffic import ProbeKind, ProbeResult
from harness.observe.probe_output import probe
from harness.observe.probe_plan import PlannedProbe
from harness.observe.probe_script import script
from suites.catalogue import catalogue
from suites.selftest.support.breakage import with_probes

PLANNED = PlannedProbe(ProbeKind.PACKETS, "east", "west", "192.0.2.9", 15021)
SHORT = "@@ curl 200 0.001 0.002 0"


@pytest.mark.parametrize(
    ("lines", "result", "status", "said"),
    [
        ((SHORT, "@@ curl 200 0.001 0.004 0"), ProbeResult.ANSWERED, 200, ""),
        ((SHORT, "@@ curl 431 0.001 0.004 0"), ProbeResult.ANSWERED, 200, ""),
        ((SHORT, "curl: (28) timed out", "@@ curl 000 0.001 4.001 28"), ProbeResult.TIMEOUT, 200, "timed out"),
        ((SHORT, "curl: (56) Recv failure", "@@ curl 000 0.001 0.101 56"), ProbeResult.REFUSED, 200, "Recv failure"),
        (("curl: (28) timed out", "@@ curl 000 0.000 4.001 28"), ProbeResult.TIMEOUT, 0, "timed out"),
        (("@@ curl 503 0.001 0.002 0", SHORT), ProbeResult.ANSWERED, 503, ""),
        (("sh: something else",), ProbeResult.TRANSPORT, 0, "something else"),
    ],
)
def test_a_long_request_counts_after_a_short_one(
    lines: tuple[str, ...], result: ProbeResult, status: int, said: str
) -> None:
    found = probe(PLANNED, lines, "sleep-1")
    assert (found.result, found.status) == (result, status)
    assert said in found.detail


def test_the_script_sends_sixteen_kibibytes() -> None:
    """Made by the shell itself: the pod may have no other program than curl."""
    text = script([PLANNED], 4, b"").replace("need curl;", 'curl() { printf "%s " "$@"; printf "\\n"; };')
    said = subprocess.run(["/bin/sh"], input=text, capture_output=True, text=True, check=True).stdout
    short, long = (line for line in said.splitlines() if "healthz/ready" in line)
    assert "x-eastwest-fill" not in short
    assert f"x-eastwest-fill: {'x' * 16384} " in long


def judged(observation: Observation) -> Judgement:
    """NET-PACKETS."""
    return judge(catalogue()["NET-PACKETS"], observation)


def test_only_what_answers_short_requests_is_judged(made_observations: Mapping[str, Observation]) -> None:
    for observation in made_observations.values():
        assert judged(observation).verdict is Verdict.PASS
        for verdict, update in (
            (Verdict.FAIL, {"result": ProbeResult.TIMEOUT}),
            (Verdict.NOT_APPLICABLE, {"result": ProbeResult.TIMEOUT, "status": 0}),
            (Verdict.SKIPPED, {"result": ProbeResult.NO_TOOL}),
            (Verdict.UNKNOWN, {"result": ProbeResult.TRANSPORT}),
        ):
            changed = with_probes(observation, lambda each: each.kind is ProbeKind.PACKETS, **update)
            assert judged(changed).verdict is verdict
        none = tuple(each for each in observation.probes if each.kind is not ProbeKind.PACKETS)
        assert judged(observation.model_copy(update={"probes": none})).verdict is Verdict.SKIPPED
