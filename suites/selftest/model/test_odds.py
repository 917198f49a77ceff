"""The statistics, against known values and against simulation."""

from collections import Counter
from math import ceil, log
from random import Random

import pytest

from harness.model import odds


@pytest.mark.parametrize(("clusters", "cap"), [(2, 21), (3, 37), (4, 53)])
def test_cap_for_equal_clusters(clusters: int, cap: int) -> None:
    """The caps that are stated, which are those of the union bound over the versions."""
    shares = odds.equal_shares(clusters)
    assert odds.coverage_cap(shares) == cap == ceil(log(1e-6 / clusters) / log(1 - 1 / clusters))


def test_cap_for_weak_share() -> None:
    """With one weak share its own bound decides: ⌈ln α / ln(1−w)⌉."""
    assert odds.coverage_cap((0.9, 0.1)) == ceil(log(1e-6) / log(0.9))
    assert odds.coverage_cap((1.0,)) == 1


@pytest.mark.parametrize("shares", [(), (0.0, 1.0), (-0.1,)])
def test_cap_refuses(shares: tuple[float, ...]) -> None:
    """A version that never answers has no cap."""
    with pytest.raises(ValueError, match="shares"):
        odds.coverage_cap(shares)


def test_misses_simulated() -> None:
    """Ten requests miss one of three equal versions as often as computed: about one in twenty."""
    random, trials = Random(1), 20_000  # noqa: S311
    missed = sum(len(set(random.choices("abc", k=10))) < 3 for _ in range(trials))
    bound = odds.miss_probability(odds.equal_shares(3), 10)
    assert bound == pytest.approx(0.052, abs=0.001)
    assert missed / trials == pytest.approx(bound, abs=0.005)


def test_binomial_test_known_values() -> None:
    """Values computed by hand: all outcomes no likelier than the observed one."""
    assert odds.binomial_test(0, 4, 0.5) == pytest.approx(2 / 16)
    assert odds.binomial_test(1, 4, 0.5) == pytest.approx(10 / 16)
    assert odds.binomial_test(2, 4, 0.5) == pytest.approx(1)
    assert odds.binomial_test(3, 3, 0.25) == pytest.approx(1 / 64)
    assert odds.binomial_test(0, 10, 0.0) == 1
    assert odds.binomial_test(1, 10, 0.0) == 0


def test_multinomial_is_binomial_for_two() -> None:
    """Two classes are one test, whichever is counted."""
    shares = {"v1": 0.3, "v2": 0.7}
    for successes in range(0, 41, 5):
        counts = {"v1": successes, "v2": 40 - successes}
        assert odds.multinomial_test(counts, shares) == pytest.approx(odds.binomial_test(successes, 40, 0.3))


def test_unexpected_class_is_rejected() -> None:
    """An answer from a version that has no share at all."""
    assert odds.multinomial_test({"v1": 10, "v3": 1}, {"v1": 0.5, "v2": 0.5}) == 0


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.2, 0.8), (0.2, 0.3, 0.5)])
def test_false_alarms_simulated(shares: tuple[float, ...]) -> None:
    """At 5 % no more than 5 % of good meshes are rejected."""
    random, runs = Random(2), 400  # noqa: S311
    names = [f"v{index}" for index in range(len(shares))]
    promised = dict(zip(names, shares, strict=True))
    rejected = 0
    for _ in range(runs):
        counts = Counter(random.choices(names, shares, k=100))
        rejected += odds.multinomial_test(counts, promised) < 0.05
    assert rejected / runs <= 0.05 + 0.03


def test_power_simulated() -> None:
    """The power that is stated is the rate at which a skew is seen."""
    random, runs, trials = Random(3), 400, 100  # noqa: S311
    alternative = odds.halved_odds(0.5)
    assert alternative == pytest.approx(1 / 3)
    seen = sum(
        odds.binomial_test(sum(random.random() < alternative for _ in range(trials)), trials, 0.5) <= 0.01
        for _ in range(runs)
    )
    assert seen / runs == pytest.approx(odds.power(trials, 0.5, alternative, 0.01), abs=0.06)
    assert odds.power(trials, 0.5, 0.5, 0.01) <= 0.01


def test_four_hundred_requests_see_a_skew() -> None:
    """What is said of n = 400: a true 1:2 skew is all but certain to be seen."""
    assert odds.power(400, 0.5, 1 / 3, odds.DISTRIBUTION_FALSE_ALARM) > 0.997


def test_compare_shares() -> None:
    """A fair split matches, a one-sided one does not."""
    shares = {"v1": 0.5, "v2": 0.5}
    assert odds.compare_shares({"v1": 190, "v2": 210}, shares, 1e-4).matches
    assert not odds.compare_shares({"v1": 360, "v2": 40}, shares, 1e-4).matches
    assert odds.compare_shares({"v1": 5, "v2": 5}, shares, 1e-4).power < 0.01


def test_error_rate_bound() -> None:
    """None of 300 failed: at most 1 %; of none nothing is known."""
    assert odds.error_rate_bound(300) == pytest.approx(0.00994, abs=1e-5)
    assert odds.error_rate_bound(0) == 1


def test_percentile() -> None:
    """Nearest rank."""
    values = [float(value) for value in range(1, 101)]
    assert odds.percentile(values, 0.5) == 50
    assert odds.percentile(values, 0.95) == 95
    assert odds.percentile([7.0], 0.95) == 7
    with pytest.raises(ValueError, match="no values"):
        odds.percentile([], 0.5)


SHARES = [(0.5, 0.5), (1 / 3,) * 3, (0.25,) * 4, (0.2, 0.8), (0.1, 0.3, 0.6), (0.1, 0.2, 0.3, 0.4)]
"""Two, three, four clusters, equal and not."""
SURE = 1e-6
"""A simulation that comes out less likely than this contradicts what was computed."""


def agrees(seen: int, trials: int, probability: float) -> bool:
    """Whether a simulation's count is compatible with a computed probability: the exact binomial test."""
    return odds.binomial_test(seen, trials, probability) > SURE


def not_above(seen: int, trials: int, bound: float) -> bool:
    """Whether a count is compatible with a probability of at most this."""
    return sum(odds.binomial(trials, bound)[seen:]) > SURE


def exact_miss(shares: tuple[float, ...], requests: int) -> float:
    """The probability that some version does not answer: inclusion and exclusion over which ones."""
    found = 0.0
    for chosen in range(1, 2 ** len(shares)):
        left_out = [share for index, share in enumerate(shares) if chosen >> index & 1]
        found -= (-1) ** len(left_out) * max(0.0, 1 - sum(left_out)) ** requests
    return found


@pytest.mark.parametrize("shares", SHARES, ids=str)
def test_false_alarms_of_coverage(shares: tuple[float, ...]) -> None:
    """TR-REACH: the bound that is stated holds, is tight, and a simulation agrees with the exact probability."""
    cap = odds.coverage_cap(shares)
    bound = odds.miss_probability(shares, cap)
    assert exact_miss(shares, cap) <= bound * (1 + 1e-9) <= odds.COVERAGE_FALSE_ALARM * (1 + 1e-9)
    assert exact_miss(shares, cap) > 0.9 * bound
    assert odds.miss_probability(shares, cap - 1) > odds.COVERAGE_FALSE_ALARM
    random, runs, short = Random(4), 3000, max(len(shares), cap // 6)  # noqa: S311
    missed = sum(len(set(random.choices(range(len(shares)), shares, k=short))) < len(shares) for _ in range(runs))
    assert agrees(missed, runs, exact_miss(shares, short))


@pytest.mark.parametrize("shares", SHARES, ids=str)
def test_false_alarms_and_power_of_shares(shares: tuple[float, ...]) -> None:
    """TR-DISTRIBUTION: a good mesh is rejected no more often than stated, a skewed one at least as often."""
    random, runs, trials, alarm = Random(5), 400, 120, 0.02  # noqa: S311
    names = [f"v{index}" for index in range(len(shares))]
    promised = dict(zip(names, shares, strict=True))
    weakest = min(shares)
    skewed = [share * (1 - odds.halved_odds(weakest)) / (1 - weakest) for share in shares]
    skewed[shares.index(weakest)] = odds.halved_odds(weakest)

    def rejected(true: tuple[float, ...]) -> int:
        counts = (Counter(random.choices(names, true, k=trials)) for _ in range(runs))
        return sum(not odds.compare_shares(each, promised, alarm).matches for each in counts)

    assert not_above(rejected(shares), runs, alarm)
    stated = odds.compare_shares({names[0]: trials}, promised, alarm).power
    seen = rejected(tuple(skewed))
    # With more than two versions the others' tests may see it as well: what is stated is a lower bound then.
    assert agrees(seen, runs, stated) if len(shares) == 2 else not_above(runs - seen, runs, 1 - stated)


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_false_alarms_of_spread_calls(clusters: int) -> None:
    """TR-GRPC: even where a cluster gets only one of k² calls, it is left out once in a million times at most."""
    weakest = 1 / clusters**2
    shares = (weakest,) * (clusters - 1) + (1 - weakest * (clusters - 1),)
    assert exact_miss(shares, odds.coverage_cap(shares)) <= odds.COVERAGE_FALSE_ALARM


@pytest.mark.parametrize("requests", [10, 53, 410])
def test_power_against_errors(requests: int) -> None:
    """TR-NO-ERRORS and TR-NO-RETRIES: no false alarm, and errors of 1 % are seen as often as stated."""
    random, runs = Random(6), 2000  # noqa: S311
    seen = sum(any(random.random() < 0.01 for _ in range(requests)) for _ in range(runs))
    assert agrees(seen, runs, odds.seen_probability(requests, 0.01))
    assert odds.seen_probability(requests, 0.0) == 0


@pytest.mark.parametrize("clusters", range(2, 9))
def test_requests_for_the_shares_of_more_clusters(clusters: int) -> None:
    """A true 1:2 skew is noticed with 95 % up to eight clusters, with the default of 400 requests for two."""
    shares = odds.equal_shares(clusters)
    count = odds.scaled_requests(400, shares, clusters)
    comparisons = 1 if clusters == 2 else clusters
    false_alarm = odds.DISTRIBUTION_FALSE_ALARM / clusters / comparisons
    assert odds.power(count, shares[0], odds.halved_odds(shares[0]), false_alarm) >= 0.95
    assert count >= 400


def test_requests_are_no_fewer_than_asked_for_and_never_endless() -> None:
    assert odds.scaled_requests(400, odds.equal_shares(2), 2) == 400
    assert odds.scaled_requests(400, (1.0,), 1) == 400
    assert odds.scaled_requests(400, (0.001, 0.999), 2) == odds.MOST_REQUESTS


@pytest.mark.parametrize(("count", "budget"), [(1, 1), (21, 2), (400, 4)])
def test_errors_that_a_background_rate_explains(count: int, budget: int) -> None:
    """The smallest number that is exceeded less than once in ten thousand times."""
    likelihoods = odds.binomial(count, 1e-3)
    assert odds.error_budget(count) == budget
    assert sum(likelihoods[budget + 1 :]) <= 1e-4 < sum(likelihoods[budget:])
    assert odds.error_budget(count, rate=0.0) == 0
