"""Exact statistics for sequences of requests. Pure; no approximations.

Two questions are answered apart. *Coverage*: after how many requests is a version that never answered taken for
unreachable? *Distribution*: do the shares of the answers match the shares that the endpoint weights promise?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import log, log1p

COVERAGE_FALSE_ALARM = 1e-6
"""Probability that a good mesh misses a version: one in a million clients."""
DISTRIBUTION_FALSE_ALARM = 1e-4
"""Probability that a good mesh fails the whole comparison of shares."""
DISTRIBUTION_POWER = 0.95
"""Probability of noticing that the weakest version's odds are halved: 1:2 in place of 1:1."""
MOST_REQUESTS = 2000
"""For one client's distribution, however small a share is."""
ERROR_RATE = 1e-3
"""Share of requests that fail on a mesh that carries traffic, without anything being wrong between its clusters."""
ERRORS_FALSE_ALARM = 1e-4
"""Probability that a client's requests show more errors than that rate explains."""
_TIE = 1e-7
"""Relative: outcomes as likely as the observed one count as extreme in spite of rounding."""


def equal_shares(count: int) -> tuple[float, ...]:
    """The shares of that many versions that answer equally often."""
    return (1 / count,) * count


def miss_probability(shares: Sequence[float], requests: int) -> float:
    """Upper bound of the probability that some version does not answer within so many independent requests.

    The union bound over the versions, Σ(1−wᵢ)ⁿ: exact for two versions, and off by less than its square otherwise.
    """
    return sum((1 - share) ** requests for share in shares)


def coverage_cap(shares: Sequence[float], false_alarm: float = COVERAGE_FALSE_ALARM) -> int:
    """The number of requests after which a version that has not answered is taken for unreachable.

    The smallest n with Σ(1−wᵢ)ⁿ ≤ α; for k equal shares that is ⌈ln(α/k) / ln(1−1/k)⌉: 21, 37, 53 for k = 2, 3, 4 at
    α = 1e-6. A single share needs one request.

    Raises:
        ValueError: a share is not in (0, 1].
    """
    if not shares or any(not 0 < share <= 1 for share in shares):
        raise ValueError(f"shares must lie in (0, 1]: {list(shares)}")
    weakest = min(shares)
    if weakest == 1:
        return 1
    # The weakest share alone gives a lower bound to begin from; the union bound adds at most ln k / w to it.
    cap = max(1, int(log(false_alarm) / log1p(-weakest)))
    while miss_probability(shares, cap) > false_alarm:
        cap += 1
    return cap


def distribution_size(shares: Sequence[float], clients: int) -> int:
    """The number of requests that shows a halved weakest share with `DISTRIBUTION_POWER`, at most `MOST_REQUESTS`.

    About 300 for two equal shares, 550 for four, 1150 for eight.

    Args:
        shares: what the versions promise; they sum to 1.
        clients: how many comparisons the false alarms are divided among.
    """
    weakest, compared = min(shares), 1 if len(shares) <= 2 else len(shares)  # noqa: PLR2004
    if weakest == 1:
        return 1
    false_alarm, count = DISTRIBUTION_FALSE_ALARM / clients / compared, 20
    while count < MOST_REQUESTS and power(count, weakest, halved_odds(weakest), false_alarm) < DISTRIBUTION_POWER:
        count += max(1, count // 20)
    return min(count, MOST_REQUESTS)


def scaled_requests(requests: int, shares: Sequence[float], clients: int) -> int:
    """As many requests as tell a client as much as `requests` tell one of two clients about two equal shares."""
    two = distribution_size(equal_shares(2), 2)
    return max(requests, min(MOST_REQUESTS, -(-requests * distribution_size(shares, clients) // two)))


@cache
def error_budget(requests: int, rate: float = ERROR_RATE, false_alarm: float = ERRORS_FALSE_ALARM) -> int:
    """The most errors among so many requests that a background rate explains: 4 of 400 at a rate of 1e-3.

    The smallest k with P(X > k) ≤ α for X binomial; 0 for a rate of 0.
    """
    likelihoods = binomial(requests, rate)
    more, budget = 1 - likelihoods[0], 0
    while more > false_alarm and budget < requests:
        budget += 1
        more -= likelihoods[budget]
    return budget


def binomial(trials: int, share: float) -> list[float]:
    """Probabilities of 0, 1, … successes in so many trials."""
    if share in {0.0, 1.0}:
        certain = trials if share else 0
        return [float(successes == certain) for successes in range(trials + 1)]
    # From the likeliest outcome outwards, so that nothing underflows but what is negligible.
    odds, mode = share / (1 - share), min(trials, int((trials + 1) * share))
    weights = [0.0] * (trials + 1)
    weights[mode] = 1.0
    for k in range(mode, trials):
        weights[k + 1] = weights[k] * odds * (trials - k) / (k + 1)
    for k in range(mode, 0, -1):
        weights[k - 1] = weights[k] / odds * k / (trials - k + 1)
    whole = sum(weights)
    return [weight / whole for weight in weights]


@cache
def binomial_test(successes: int, trials: int, share: float) -> float:
    """Two-sided p-value of the exact binomial test: the probability of all outcomes no likelier than this one."""
    likelihoods = binomial(trials, share)
    limit = likelihoods[successes] * (1 + _TIE)
    return min(1.0, sum(likelihood for likelihood in likelihoods if likelihood <= limit))


def multinomial_test(counts: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """Two-sided p-value that counts come from these shares; exact for two classes, never too small for more.

    Each class against all others with the exact binomial test, and Bonferroni's correction for their number: with two
    classes both tests are the same one. Unlike a sum over all outcomes it stays cheap for many clusters.
    """
    trials = sum(counts.values())
    names = sorted(set(counts) | set(shares))
    if len(names) <= 1:
        return 1.0
    compared = names[:1] if len(names) == 2 else names  # noqa: PLR2004 - the other one is its complement
    smallest = min(binomial_test(counts.get(name, 0), trials, shares.get(name, 0.0)) for name in compared)
    return min(1.0, smallest * len(compared))


@cache
def power(trials: int, share: float, alternative: float, false_alarm: float) -> float:
    """Probability that the binomial test against `share` rejects when the true share is `alternative`."""
    likelihoods, alternatives = binomial(trials, share), binomial(trials, alternative)
    # The p-value grows with the likelihood: walk from the unlikeliest outcome until the false alarms are used up.
    rejected, spent, index = 0.0, 0.0, 0
    order = sorted(range(trials + 1), key=likelihoods.__getitem__)
    while index < len(order):
        limit = likelihoods[order[index]] * (1 + _TIE)
        tied = []
        while index < len(order) and likelihoods[order[index]] <= limit:
            tied.append(order[index])
            index += 1
        spent += sum(likelihoods[k] for k in tied)
        if spent > false_alarm:
            break
        rejected += sum(alternatives[k] for k in tied)
    return min(1.0, rejected)


def halved_odds(share: float) -> float:
    """The share that a class of this share has when its odds are halved: 1/2 becomes 1/3, a true 1:2 skew."""
    return share / (2 - share)


def error_rate_bound(requests: int, confidence: float = 0.95) -> float:
    """Upper bound of the error rate when none of so many independent requests failed: 0 of 300 gives 1 %."""
    return 1.0 if requests <= 0 else 1 - (1 - confidence) ** (1 / requests)


def seen_probability(requests: int, rate: float) -> float:
    """Probability that at least one of so many independent requests shows what happens at this rate."""
    return 1 - (1 - rate) ** requests


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = -int(-share * len(ordered) // 1)
    return ordered[min(len(ordered), max(1, rank)) - 1]


@dataclass(frozen=True)
class ShareTest:
    """One comparison of counted answers with promised shares."""

    trials: int
    p_value: float
    false_alarm: float
    """What this one comparison may spend; the p-value must be below it to reject."""
    power: float
    """Probability of rejecting when the weakest version's odds are half of what they should be."""

    @property
    def matches(self) -> bool:
        """Whether the counts are compatible with the shares."""
        return self.p_value >= self.false_alarm


def compare_shares(counts: Mapping[str, int], shares: Mapping[str, float], false_alarm: float) -> ShareTest:
    """Test counts against shares, and say how likely a skew would have been seen."""
    trials = sum(counts.values())
    positive = [share for share in shares.values() if share > 0]
    weakest = min(positive, default=1.0)
    comparisons = 1 if len(shares) <= 2 else len(shares)  # noqa: PLR2004
    seen = power(trials, weakest, halved_odds(weakest), false_alarm / comparisons) if weakest < 1 else 0.0
    return ShareTest(trials, multinomial_test(counts, shares), false_alarm, seen)
