"""Retries on meshes that the suite did not install: a background of errors is none of them, a dead endpoint is."""

from collections.abc import Mapping

import pytest

from harness.judge.judgement import Verdict
from harness.model.observation import Observation
from harness.model.traffic import HostStats, Sequence
from suites.selftest.support.breakage import judged

SEVERAL = "multi-primary-multi-network"


def _with(observation: Observation, *, distribution: tuple[Sequence, ...]) -> Observation:
    assert observation.traffic
    traffic = observation.traffic.model_copy(update={"distribution": distribution})
    return observation.model_copy(update={"traffic": traffic})


def _counted(observation: Observation, **fields: int) -> Observation:
    """The first client's proxy counted so much more at the first endpoint during the distribution."""
    assert observation.traffic
    sequence, *others = observation.traffic.distribution
    host, *hosts = sequence.hosts
    more = host.model_copy(update={name: getattr(host, name) + value for name, value in fields.items()})
    return _with(observation, distribution=(sequence.model_copy(update={"hosts": (more, *hosts)}), *others))


@pytest.mark.parametrize(
    ("counted", "verdict"),
    [
        ({"requests": 1, "errors": 1}, Verdict.PASS),
        ({"connect_failures": 1}, Verdict.PASS),
        ({"requests": 12, "errors": 12}, Verdict.FAIL),
        ({"connect_failures": 12}, Verdict.FAIL),
    ],
)
def test_retries_are_judged_against_the_same_budget(
    counted: Mapping[str, int],
    verdict: Verdict,
    foreign_observations: Mapping[str, Observation],
    good_observations: Mapping[str, Observation],
) -> None:
    assert judged("TR-NO-RETRIES", _counted(foreign_observations[SEVERAL], **counted)).verdict is verdict
    assert judged("TR-NO-RETRIES", _counted(good_observations[SEVERAL], **counted)).verdict is Verdict.FAIL


@pytest.mark.parametrize("counted", [{"connect_failures": 2}, {"requests": 2, "errors": 2}], ids=str)
def test_an_endpoint_that_only_fails_is_no_background(
    counted: Mapping[str, int], foreign_observations: Mapping[str, Observation]
) -> None:
    """One of very many pods may be asked twice only."""
    seen = foreign_observations[SEVERAL]
    assert seen.traffic
    dead = HostStats(address="10.9.9.9", port=5000, **{"requests": 0, "errors": 0, "connect_failures": 0, **counted})
    sequence, *others = seen.traffic.distribution
    changed = sequence.model_copy(update={"hosts": (*sequence.hosts, dead)})
    assert judged("TR-NO-RETRIES", _with(seen, distribution=(changed, *others))).verdict is Verdict.FAIL
