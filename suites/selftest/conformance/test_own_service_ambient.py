"""A service of somebody's own in a mesh of ztunnels: their access logs tell who answered."""

from harness.judge.judgement import Verdict
from harness.judge.requirement import judge
from suites.catalogue import catalogue
from suites.selftest.conformance.test_own_service import COUNT, FINE, asking, first_client, hosts_of
from suites.selftest.support.ambient import ambient
from suites.selftest.support.breakage import judged

ASKED = asking(ambient().model_copy(update={"experiments": None, "cleanup": None, "steps": ()}))


def test_each_endpoint_answered() -> None:
    rows = [row for row in catalogue().values() if row.applies_to(ASKED.topology) and not row.experiment]
    assert not {row.id: judge(row, ASKED).explanation for row in rows if judge(row, ASKED).verdict not in FINE}
    for row in ("TR-REACH", "TR-NO-ERRORS", "EP-COMPLETE", "EP-WEIGHTS", "AMB-SCOPE", "AMB-VIEW", "AMB-HBONE"):
        assert judged(row, ASKED).verdict is Verdict.PASS, row


def test_a_cluster_that_did_not_answer() -> None:
    one_sided = first_client(ASKED, hosts=hosts_of(ASKED, {"requests": COUNT}, {"requests": 0}))
    assert judged("TR-REACH", one_sided).verdict is Verdict.FAIL


def test_a_log_that_is_off_is_no_verdict() -> None:
    assert judged("TR-REACH", first_client(ASKED, hosts=(), hosts_read=False)).verdict is Verdict.SKIPPED
