"""A CA is judged by its own lifetime: a short-lived one that is renewed in time passes, and so does its renewal."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import judge
from harness.model.observation import Observation
from suites.catalogue import catalogue
from suites.selftest.conformance.test_ca_forms import NAMES, A, Plane, failed, judged, mesh, plugged, root
from suites.selftest.support import certificates as made
from suites.selftest.support.breakage import edit, on
from suites.selftest.support.certificates import Authority, intermediate, key


def _plane(name: str, at: datetime, *, days: float, elapsed: float) -> Plane:
    """A CA with a lifetime of `days`, of which `elapsed` are over at a time."""
    began = at - timedelta(days=elapsed)
    signer = Authority(intermediate(name, A, days=days, not_before=began), key(4096, name))
    plane, sent = plugged(name), (signer.certificate, A.certificate)
    secret = plane.secret.model_copy(update={"ca_cert": signer.certificate, "cert_chain": sent})
    return replace(plane, signer=signer, sent=sent, secret=secret)


def _horizon(observation: Observation) -> Judgement:
    return judge(catalogue()["CERT-HORIZON"], observation)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("days", "elapsed"), [(7, 0.1), (7, 4.5), (1, 0.5), (89, 58), (3650, 3600)])
def test_a_ca_that_is_not_due_passes(
    name: str, days: float, elapsed: float, good_observations: Mapping[str, Observation]
) -> None:
    """Of 7 days 2.5 are left, of 89 days 31."""
    good = good_observations[name]
    observation = mesh(good, lambda cluster: _plane(cluster, good.observed, days=days, elapsed=elapsed))
    assert failed(observation) == {}
    assert diagnose(observation, judged(observation)) == ()
    assert any("hours" in fact or "days" in fact for fact in _horizon(observation).facts)


@pytest.mark.parametrize(("days", "elapsed"), [(7, 4.8), (1, 0.7), (89, 61), (365, 340), (3650, 3621)])
def test_a_ca_that_is_due_fails(days: float, elapsed: float, good_observations: Mapping[str, Observation]) -> None:
    good = good_observations[NAMES[0]]
    observation = mesh(good, lambda cluster: _plane(cluster, good.observed, days=days, elapsed=elapsed))
    assert failed(observation).keys() == {"CERT-HORIZON"}
    causes = diagnose(observation, judged(observation))
    assert {cause.id for cause in causes} == {"intermediate-expires-soon"}


def _renewed(good: Observation, *, taken_up: bool) -> Observation:
    """Workloads and, where it was not taken up, istiod have a CA with a day left; `cacerts` has its successor."""
    observation = mesh(good, lambda cluster: _plane(cluster, good.observed, days=7, elapsed=6))
    for cluster in good.topology.primaries:
        new = _plane(cluster.name, good.observed, days=7, elapsed=0.01)
        shown = (made.istiod(new.signer), *new.sent)
        planes = observation[cluster].control_planes
        if taken_up:
            planes = edit(planes, lambda _: True, serving_chain=shown)
        observation = on(observation, cluster, ca_secret=new.secret, control_planes=planes)
    return observation


@pytest.mark.parametrize("name", NAMES)
def test_a_renewal_under_way_is_reported(name: str, good_observations: Mapping[str, Observation]) -> None:
    observation = _renewed(good_observations[name], taken_up=True)
    assert failed(observation) == {}
    assert any("still have the former CA" in fact for fact in _horizon(observation).facts)


def test_a_new_ca_that_istiod_does_not_take_up_fails(good_observations: Mapping[str, Observation]) -> None:
    """Workloads would lose their identity with the old one, whatever the secret holds."""
    observation = _renewed(good_observations[NAMES[0]], taken_up=False)
    assert _horizon(observation).verdict is Verdict.FAIL
    causes = diagnose(observation, judged(observation))
    assert {cause.id for cause in causes} == {"intermediate-expires-soon"}
    assert all(cause.object.startswith("Pod istio-system/istiod") for cause in causes)


def test_a_root_renewed_under_its_own_key_is_the_same_ca(good_observations: Mapping[str, Observation]) -> None:
    """The config map has the former certificate of the root in `cacerts` until istiod is restarted."""
    observation = mesh(good_observations[NAMES[0]], plugged)
    east = observation.topology.clusters[0]
    changed = on(observation, east, root_config_map=(root("root a").certificate,))
    assert judge(catalogue()["CERT-IN-USE"], changed).verdict is Verdict.PASS
    other = on(observation, east, root_config_map=(made.root_certificate(2048, "foreign"),))
    assert judge(catalogue()["CERT-IN-USE"], other).verdict is Verdict.FAIL
