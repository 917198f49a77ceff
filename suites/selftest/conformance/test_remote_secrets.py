"""Remote secrets of any form on a mesh that others made: the substance is judged, the form is reported."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import judge
from harness.model.cluster import RemoteAccess, RemoteSecret
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import ProbeKind, ProbeResult
from harness.proof.faults.edit import edit, on
from suites.catalogue import catalogue
from suites.selftest.support.breakage import first, last, with_probes

NAME = "multi-primary-multi-network"


@pytest.fixture
def good(good_observations: Mapping[str, Observation]) -> Observation:
    """A good mesh that others made."""
    found = good_observations[NAME]
    return found.model_copy(update={"asked": found.asked.model_copy(update={"mode": "verify-only"})})


def _judged(observation: Observation) -> dict[str, Judgement]:
    return {row.id: judge(row, observation) for row in catalogue().values() if row.id.startswith("RS-")}


def _facts(observation: Observation, id: str) -> str:  # noqa: A002 - the requirement's word
    found = _judged(observation)[id]
    assert found.verdict is Verdict.PASS, found.explanation
    return "\n".join(found.facts)


def _cause(observation: Observation) -> tuple[str, str, str, str]:
    cause = diagnose(observation, tuple(_judged(observation).values()))[0]
    return cause.id, cause.object, cause.expected, cause.found


def _secret(good: Observation) -> tuple[Cluster, Cluster, RemoteSecret]:
    watching, watched = first(good.topology), last(good.topology)
    (secret,) = good[watching].remote_secrets
    return watching, watched, secret


def _status(good: Observation, cluster: Cluster, target: Cluster, status: str, secret: str = "") -> Observation:
    (plane,) = good[cluster].control_planes
    rows = edit(plane.clusters, lambda row: row.id == target.cluster_name, sync_status=status, secret_name=secret)
    return on(good, cluster, control_planes=(plane.model_copy(update={"clusters": rows}),))


def test_one_secret_for_all_clusters(good: Observation) -> None:
    """Its own cluster in it is reported, and a cluster that is not looked at."""
    watching, watched, secret = _secret(good)
    names = (watching.cluster_name, watched.cluster_name, "cluster9")
    servers = ("https://10.0.0.1:6443", *secret.servers, "https://10.0.0.9:6443")
    whole = secret.model_copy(update={"name": "clusters", "clusters": names, "servers": servers})
    facts = _facts(on(good, watching, remote_secrets=(whole,)), "RS-PRESENT")
    assert "Secret istio-system/clusters holds its own cluster" in facts
    assert "holds cluster9" in facts


def test_a_cluster_under_two_names_fails(good: Observation) -> None:
    watching, _, secret = _secret(good)
    twice = secret.model_copy(update={"name": "again", "clusters": ("other",)})
    broken = on(good, watching, remote_secrets=(secret, twice))
    assert _judged(broken)["RS-PRESENT"].verdict is Verdict.FAIL
    assert _cause(broken)[:2] == ("secret-extra", "Secret istio-system/again")


def test_without_a_secret_what_istiod_reports_decides(good: Observation) -> None:
    """A kubeconfig from a file needs no secret; without both the cluster is not watched."""
    watching, watched, _ = _secret(good)
    without = on(good, watching, remote_secrets=())
    assert "istiod reports it as synced" in _facts(without, "RS-PRESENT")
    lost = _status(without, watching, watched, "timeout")
    assert _judged(lost)["RS-PRESENT"].verdict is Verdict.FAIL
    assert _cause(lost)[0] == "secret-missing"


def test_what_only_istiod_can_use_is_not_tried(good: Observation) -> None:
    """It passes on istiod's report, and not without it."""
    watching, watched, _ = _secret(good)
    untried = with_probes(
        good,
        lambda probe: probe.kind is ProbeKind.API_SERVER and probe.source == watching.name,
        result=ProbeResult.NO_TOOL,
        detail="holds no token, but: client certificate",
    )
    assert "not tried from " in _facts(untried, "RS-USABLE")
    judged = _judged(_status(untried, watching, watched, "syncing"))
    assert (judged["RS-USABLE"].verdict, judged["RS-SYNCED"].verdict) == (Verdict.SKIPPED, Verdict.FAIL)
    assert "client certificate" in judged["RS-USABLE"].explanation


def test_an_address_is_expected_only_where_it_is_known_inside(good: Observation) -> None:
    """The runner's kubeconfig may lead over its loopback interface."""
    watching, watched, secret = _secret(good)
    away = secret.model_copy(update={"servers": ("https://10.255.255.1:6443",)})
    broken = on(on(good, watching, remote_secrets=(away,)), watched, api_server="https://127.0.0.1:39487")
    broken = with_probes(
        _status(broken, watching, watched, "timeout"),
        lambda probe: probe.kind is ProbeKind.API_SERVER and probe.source == watching.name,
        result=ProbeResult.TIMEOUT,
        status=0,
    )
    id, object, expected, found = _cause(broken)  # noqa: A001
    assert (id, object) == ("secret-unreachable", f"Secret istio-system/{secret.name}")
    assert "127.0.0.1" not in expected
    assert "10.255.255.1" in found
    elsewhere = secret.model_copy(update={"name": "elsewhere", "servers": ("https://172.18.0.3:6443",)})
    known = on(broken, watched, remote_secrets=(*broken[watched].remote_secrets, elsewhere))
    assert _cause(known)[2] == "https://172.18.0.3:6443"


def test_a_secret_that_istiod_passes_over_is_named(good: Observation) -> None:
    watching, watched, secret = _secret(good)
    taken = secret.model_copy(update={"name": "old"})
    both = on(good, watching, remote_secrets=(taken, secret))
    assert f"of old, {secret.name} istiod uses one" in _facts(both, "RS-PRESENT")
    found = _cause(_status(both, watching, watched, "timeout", "istio-system/old"))
    assert found[:2] == ("secret-passed-over", "Secret istio-system/old")
    assert f"passes over istio-system/{secret.name}" in found[3]


def test_a_short_lived_token_is_reported(good: Observation) -> None:
    """What lasts an hour is renewed by something; what was made for a year and ends soon is not."""
    watching, watched, secret = _secret(good)

    def ending(begins: timedelta, ends: timedelta) -> Observation:
        at = good.observed
        access = RemoteAccess(cluster=watched.cluster_name, form="token", begins=at - begins, ends=at + ends)
        return on(good, watching, remote_secrets=(secret.model_copy(update={"access": (access,)}),))

    hour, day = timedelta(hours=1), timedelta(days=1)
    assert "the token ends on" in _facts(ending(hour / 2, hour / 2), "RS-HORIZON")
    yearly = ending(345 * day, 20 * day)
    assert _judged(yearly)["RS-HORIZON"].verdict is Verdict.FAIL
    assert _cause(yearly)[:2] == ("secret-ends-soon", f"Secret istio-system/{secret.name}")
    assert _judged(ending(345 * day, 31 * day))["RS-HORIZON"].verdict is Verdict.PASS
    assert _judged(ending(2 * hour, -hour))["RS-HORIZON"].verdict is Verdict.FAIL
