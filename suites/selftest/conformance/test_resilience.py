"""Requirements of a mesh that is changed while it serves: good recordings, live and made up, each broken in one way."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import judge
from harness.model.observation import Observation
from harness.model.resilience import ACTED, FAILED, MENDED, SCENARIOS, WHOLE, Moment, Resilience, Scenario, Stream
from harness.model.traffic import Request
from suites.catalogue import resilience
from suites.selftest.support import good_resilience
from suites.selftest.support.good import TOPOLOGIES, good
from suites.selftest.support.recordings import RECORDED

RECORDINGS = {path.name.removesuffix(".json.gz"): path for path in sorted((RECORDED / "resilience").glob("*.json.gz"))}
"""Live, by the topology's name: those scenarios that were played where the machine had time for them."""
NAMES = sorted(TOPOLOGIES)
REFUSED = {"status": 503, "version": "", "instance": "", "error": "upstream connect error"}
Break = Callable[[Scenario], Scenario]


@dataclass(frozen=True)
class Broken:
    """One way in which a recording of a scenario is not as it must be."""

    requirement: str
    name: str
    change: Break
    said: str
    """Part of what the requirement says of it."""

    def __str__(self) -> str:
        """Its name in the tests."""
        return f"{self.requirement}-{self.name}"


def requests(change: Callable[[Scenario, Stream, Request], Request | None]) -> Break:
    """Change each request, or leave it out."""

    def of_stream(scenario: Scenario, stream: Stream) -> Stream:
        changed = (change(scenario, stream, each) for each in stream.requests)
        return stream.model_copy(update={"requests": tuple(each for each in changed if each)})

    return lambda scenario: scenario.model_copy(
        update={"streams": tuple(of_stream(scenario, stream) for stream in scenario.streams)}
    )


def failing(count: int, after: float, moment: int = 1) -> Break:
    """The first requests of East that are sent so long after a moment fail; by default after the first act."""

    def change(scenario: Scenario) -> Scenario:
        begin = scenario.moments[moment].at + after
        east, *others = scenario.streams
        doomed = [each.sent for each in east.requests if each.sent >= begin][:count]
        broken = tuple(r.model_copy(update=REFUSED) if r.sent in doomed else r for r in east.requests)
        return scenario.model_copy(update={"streams": (east.model_copy(update={"requests": broken}), *others)})

    return change


def every(field: str, **update: object) -> Break:
    """Change every reading of a kind."""
    return lambda scenario: scenario.model_copy(
        update={field: tuple(each.model_copy(update=update) for each in getattr(scenario, field))}
    )


def without_moment(name: str) -> Break:
    """It never came to that."""
    return lambda scenario: scenario.model_copy(
        update={"moments": tuple(each for each in scenario.moments if each.name != name)}
    )


def with_moment(moment: Moment) -> Break:
    """One more moment."""
    return lambda scenario: scenario.model_copy(update={"moments": (*scenario.moments, moment)})


def local_lost(scenario: Scenario, stream: Stream, request: Request) -> Request | None:
    """East's own helloworld does not answer East while the network is cut."""
    begin, end = (next(m.at for m in scenario.moments if m.name == name) for name in (ACTED, MENDED))
    lost = stream.client == "east" and begin < request.sent + request.seconds < end and request.version == "v1"
    return request.model_copy(update=REFUSED) if lost else request


def never_others(_scenario: Scenario, stream: Stream, request: Request) -> Request | None:
    """Nobody but East's own helloworld ever answers East."""
    own = {"version": "v1", "instance": "helloworld-v1-x"}
    return request.model_copy(update=own) if stream.client == "east" and request.version else request


def endpoint_gone(scenario: Scenario) -> Scenario:
    """One of the readings has an endpoint less."""
    *first, last = scenario.endpoints
    return scenario.model_copy(
        update={"endpoints": (*first, last.model_copy(update={"endpoints": last.endpoints[:1]}))}
    )


def old_root_stays(scenario: Scenario) -> Scenario:
    """Every proxy goes on trusting the old root."""
    old = next(key for key, name in scenario.authorities.items() if name == "old root")
    trust = tuple(each.model_copy(update={"roots": tuple({*each.roots, old})}) for each in scenario.trust)
    return scenario.model_copy(update={"trust": trust})


def never_both(scenario: Scenario) -> Scenario:
    """No proxy was seen to trust both roots."""
    trust = tuple(each for each in scenario.trust if len(each.roots) == 1)
    return scenario.model_copy(update={"trust": trust})


def left_behind(scenario: Scenario) -> Scenario:
    """The old revision's control plane is still there."""
    first, *others = scenario.revisions
    more = (*first.control_planes, "default")
    return scenario.model_copy(update={"revisions": (first.model_copy(update={"control_planes": more}), *others)})


BROKEN = (
    Broken("RES-LOCAL-OUT", "over-budget", failing(4, 1.0), "at most 3"),
    Broken("RES-LOCAL-OUT", "errors-afterwards", failing(1, 0.5, 2), "failed"),
    Broken("RES-LOCAL-OUT", "nobody-stands-in", requests(never_others), "from the other clusters"),
    Broken("RES-GATEWAY-RESTART", "over-budget", failing(4, 0.0), "at most 3"),
    Broken("RES-GATEWAY-RESTART", "errors-before", failing(1, 0.0, 0), "failed"),
    Broken("RES-GATEWAY-RESTART", "never-whole", without_moment(WHOLE), "at most 60 s"),
    Broken("RES-ISTIOD-RESTART", "errors", failing(1, 2.0), "«acted east"),
    Broken(
        "RES-ISTIOD-RESTART",
        "not-connected",
        with_moment(Moment(name="not connected", at=60.0, cluster="east", detail="sleep-1.sample")),
        "not connected: sleep-1.sample",
    ),
    Broken("RES-NETWORK-CUT", "local-lost", requests(local_lost), "longest time without an answer of v1"),
    Broken("RES-NETWORK-CUT", "errors-after", failing(1, 0.1, -1), "failed"),
    Broken("RES-IDLE-MINUTE", "first-lost", failing(1, 0.0, -2), "failed"),
    Broken("RES-IDLE-MINUTE", "errors", failing(1, -5.0), "failed"),
    Broken("RES-SECRET-ROTATION", "errors", failing(1, 0.0), "failed"),
    Broken("RES-SECRET-ROTATION", "not-revoked", every("tokens", old_accepted=True), "former token"),
    Broken("RES-SECRET-ROTATION", "not-taken", every("tokens", new_accepted=False), "new token"),
    Broken("RES-SECRET-ROTATION", "not-synced", every("syncs", clusters=()), "clusterz"),
    Broken("RES-SECRET-ROTATION", "endpoint-gone", endpoint_gone, "endpoints of helloworld"),
    Broken("RES-INTERMEDIATE-ROTATION", "errors", failing(1, 1.0, 2), "failed"),
    Broken("RES-INTERMEDIATE-ROTATION", "over-budget", failing(4, 0.0), "at most 3"),
    Broken("RES-INTERMEDIATE-ROTATION", "old-leaf", every("trust", issuer="0123"), "issuer"),
    Broken("RES-ROOT-ROTATION", "errors", failing(1, 0.0), "failed"),
    Broken("RES-ROOT-ROTATION", "old-root", old_root_stays, "trusted roots"),
    Broken("RES-ROOT-ROTATION", "never-both", never_both, "never seen to trust both"),
    Broken("RES-REVISION-UPGRADE", "errors", failing(1, 1.0, 2), "failed"),
    Broken("RES-REVISION-UPGRADE", "gateway-over-budget", failing(4, 1.0, 3), "at most 3"),
    Broken("RES-REVISION-UPGRADE", "workload-over-budget", failing(4, 1.0), "at most 3"),
    Broken("RES-REVISION-UPGRADE", "left-behind", left_behind, "Deployments of istiod"),
    Broken("RES-REVISION-UPGRADE", "not-moved", every("revisions", proxies={"sleep-x": "default"}), "proxies"),
)


@pytest.fixture(scope="module")
def made_up() -> Mapping[str, Observation]:
    """A good observation of each topology, with every scenario."""
    return {
        name: good(topology).model_copy(update={"resilience": good_resilience.resilience(topology)})
        for name, topology in TOPOLOGIES.items()
    }


@pytest.fixture(scope="module")
def recorded(good_observations: Mapping[str, Observation]) -> Mapping[str, Observation]:
    """What was recorded when live meshes were changed, in an observation of the same topology."""
    return {
        name: good_observations[name].model_copy(
            update={"resilience": Resilience.model_validate_json(gzip.decompress(path.read_bytes()))}
        )
        for name, path in RECORDINGS.items()
    }


def _judged(observation: Observation) -> dict[str, Judgement]:
    return {row.id: judge(row, observation) for row in resilience().values() if row.applies_to(observation.topology)}


def _changed(observation: Observation, scenario: str, change: Break) -> Observation:
    seen = observation.resilience
    assert seen
    broken = {**seen.scenarios, scenario: change(seen.scenarios[scenario])}
    return observation.model_copy(update={"resilience": seen.model_copy(update={"scenarios": broken})})


@pytest.mark.parametrize("name", NAMES)
def test_good_passes(made_up: Mapping[str, Observation], name: str) -> None:
    """Every requirement holds on a good mesh."""
    judged = _judged(made_up[name])
    assert {row: each.explanation for row, each in judged.items() if each.verdict is not Verdict.PASS} == {}


@pytest.mark.parametrize("broken", BROKEN, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_each_is_killed(made_up: Mapping[str, Observation], name: str, broken: Broken) -> None:
    """What is broken fails this requirement and no other, and is said."""
    _expect_killed(made_up[name], broken)


@pytest.mark.parametrize("name", RECORDINGS)
def test_live_recordings_pass_and_can_be_broken(recorded: Mapping[str, Observation], name: str) -> None:
    """The same on what was recorded live, as far as it goes."""
    seen = recorded[name].resilience
    assert seen
    assert seen.scenarios
    judged = _judged(recorded[name])
    passed = {resilience()[row].scenario for row, each in judged.items() if each.verdict is Verdict.PASS}
    assert passed == seen.scenarios.keys()
    for broken in BROKEN:
        if resilience()[broken.requirement].scenario in seen.scenarios:
            _expect_killed(recorded[name], broken)


def _expect_killed(observation: Observation, broken: Broken) -> None:
    row = resilience()[broken.requirement]
    if not row.applies_to(observation.topology):
        return
    before, judged = _judged(observation), _judged(_changed(observation, row.scenario, broken.change))
    assert {each.id for each in judged.values() if each.verdict is not before[each.id].verdict} == {row.id}
    assert judged[row.id].verdict is Verdict.FAIL
    assert broken.said in judged[row.id].explanation


def test_nothing_is_left_unbroken() -> None:
    assert {broken.requirement for broken in BROKEN} == set(resilience())
    assert RECORDINGS


def test_what_was_not_played_is_not_judged(made_up: Mapping[str, Observation]) -> None:
    """Skipped without a recording; blocked where the mesh did not serve; unknown where the suite failed."""
    observation = made_up[NAMES[0]]

    def verdicts(seen: Resilience | None) -> set[Verdict]:
        return {each.verdict for each in _judged(observation.model_copy(update={"resilience": seen})).values()}

    assert verdicts(None) == {Verdict.SKIPPED}
    assert verdicts(Resilience()) == {Verdict.SKIPPED}
    assert verdicts(Resilience(prevented=dict.fromkeys(SCENARIOS, "its environment: not ours"))) == {Verdict.SKIPPED}
    assert verdicts(Resilience(prevented=dict.fromkeys(SCENARIOS, "TR-REACH: v2 is missing"))) == {Verdict.BLOCKED}
    assert verdicts(Resilience(errors=dict.fromkeys(SCENARIOS, "KeyError: x"))) == {Verdict.UNKNOWN}


def test_a_cut_that_cuts_nothing_shows_nothing(made_up: Mapping[str, Observation]) -> None:
    """Where the others' answers pass all the time, the suite has failed to make what it wants to see."""
    seen = made_up[NAMES[0]].resilience
    assert seen
    uncut = _changed(made_up[NAMES[0]], "network-cut", lambda _: seen.scenarios["root-rotation"])
    judgement = _judged(uncut)["RES-NETWORK-CUT"]
    assert judgement.verdict is Verdict.UNKNOWN
    assert "the network was not cut" in judgement.explanation


def test_a_pause_in_which_something_was_sent_shows_nothing(made_up: Mapping[str, Observation]) -> None:
    seen = made_up[NAMES[0]].resilience
    assert seen
    busy = _changed(made_up[NAMES[0]], "idle-minute", lambda _: seen.scenarios["root-rotation"])
    judgement = _judged(busy)["RES-IDLE-MINUTE"]
    assert judgement.verdict is Verdict.UNKNOWN
    assert "it did not pause" in judgement.explanation


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_did_not_come_about_fails(made_up: Mapping[str, Observation], scenario: str) -> None:
    """A step of a scenario that did not reach its goal is a finding; too few requests are the suite's failure."""
    observation = made_up[NAMES[0]]
    row = next(row for row in resilience().values() if row.scenario == scenario)
    stuck = with_moment(Moment(name=FAILED, at=1e6, detail="istiod did not become available"))
    judgement = judge(row, _changed(observation, scenario, stuck))
    assert judgement.verdict is Verdict.FAIL
    assert "istiod did not become available" in judgement.explanation
    few = requests(lambda _scenario, _stream, request: request if int(request.sent * 10) % 10 == 0 else None)
    assert "requests were sent" in judge(row, _changed(observation, scenario, few)).explanation
