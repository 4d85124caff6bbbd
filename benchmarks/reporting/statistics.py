"""The rule by which claims are judged: paired differences and their intervals.

Runs with the same seed have the same initial weights and batches, so runs of two
optimizers are compared seed by seed. A claim names a region of differences, such as
"above 0". With the 95 % t-interval of the mean paired difference, the claim

* holds if the whole interval lies in the region,
* does not hold if the whole interval lies outside,
* is undecided otherwise, or with fewer than two seeds.
"""

import itertools
import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import stats

HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run"
LEVEL = 0.05

_Name = TypeVar("_Name", bound=Hashable)


class Region(NamedTuple):
    """The differences for which a claim is true, an open interval."""

    low: float
    high: float


def region(relation: str, margin: float) -> Region:
    """Return the differences a - b that a relation between a and b allows.

    Args:
      relation: "better", "worse", "at least as good" or "alike".
      margin: The largest difference that does not matter.

    >>> region("at least as good", 0.5)
    Region(low=-0.5, high=inf)
    """
    return {
        "better": Region(0.0, math.inf),
        "worse": Region(-math.inf, 0.0),
        "at least as good": Region(-margin, math.inf),
        "alike": Region(-margin, margin),
    }[relation]


class Interval(NamedTuple):
    """A mean of paired differences and its t-interval.

    The mean is NaN without any pair; the ends are infinite with fewer than two.
    """

    mean: float
    low: float
    high: float
    n: int

    def write(self, places: int = 2) -> str:
        """Write the mean, the ends and n.

        >>> Interval(0.5, -0.25, 1.25, 3).write()
        '+0.50 [-0.25, +1.25], n = 3'
        """
        if not self.n:
            return "-"
        text = f"{self.mean:+.{places}f}"
        if self.n > 1:
            text += f" [{self.low:+.{places}f}, {self.high:+.{places}f}]"
        return f"{text}, n = {self.n}"


def interval(differences: Sequence[float], level: float = LEVEL) -> Interval:
    """Compute the two-sided t-interval of the mean; it misses with rate `level`.

    >>> interval([1.0, 2.0, 3.0]).write()
    '+2.00 [-0.48, +4.48], n = 3'
    """
    n = len(differences)
    if n < 2:
        mean = differences[0] if n else math.nan
        return Interval(mean, -math.inf, math.inf, n)
    mean = statistics.fmean(differences)
    error = statistics.stdev(differences) / math.sqrt(n)
    half = float(stats.t.ppf(1 - level / 2, n - 1)) * error
    return Interval(mean, mean - half, mean + half, n)


def decide(found: Interval, claimed: Region) -> str:
    """Return HOLDS, FAILS or UNDECIDED.

    >>> decide(Interval(0.2, -0.3, 0.7, 3), region("at least as good", 0.5))
    'holds'
    >>> decide(Interval(0.2, -0.3, 0.7, 3), region("better", 0.5))
    'undecided'
    """
    if found.n < 2:
        return UNDECIDED
    if found.low > claimed.low and found.high < claimed.high:
        return HOLDS
    if found.high <= claimed.low or found.low >= claimed.high:
        return FAILS
    return UNDECIDED


def decide_family(
    family: Mapping[_Name, tuple[Sequence[float], Region]],
) -> dict[_Name, str]:
    """Decide several claims, with one level for a false decision among them.

    Holm's procedure: the claims are taken in the order of their evidence, the first of
    m is decided by the interval of level 0.05/m, the next by 0.05/(m-1) and so on, up
    to the first that stays undecided; all after it are undecided too.
    """
    verdicts = dict.fromkeys(family, UNDECIDED)
    levels = {name: critical_level(*claim) for name, claim in family.items()}
    ordered = sorted(family, key=levels.__getitem__)
    for rank, name in enumerate(ordered):
        differences, claimed = family[name]
        level = LEVEL / (len(ordered) - rank)
        verdicts[name] = decide(interval(differences, level), claimed)
        if verdicts[name] == UNDECIDED:
            break
    return verdicts


def critical_level(differences: Sequence[float], claimed: Region) -> float:
    """Return the smallest level at which a claim is decided: its two-sided p-value.

    >>> round(critical_level([1.0, 2.0, 3.0], region("better", 0)), 4)
    0.0742
    """
    n = len(differences)
    if n < 2:
        return 1.0
    mean, error = statistics.fmean(differences), statistics.stdev(differences)
    ends = [end for end in claimed if math.isfinite(end)]
    nearest = min(abs(mean - end) for end in ends)
    if claimed.low < mean < claimed.high or len(ends) == 1:
        distance = nearest
    else:
        distance = max(claimed.low - mean, mean - claimed.high)
    if error == 0:
        return 0.0 if distance > 0 else 1.0
    return float(2 * stats.t.sf(distance / error * math.sqrt(n), n - 1))


def simulate(
    n: int, difference: float, *, draws: int = 100_000, seed: int = 0
) -> dict[str, float]:
    """Simulate how often the rule says "better" and "worse" of two optimizers.

    The true mean difference is in standard deviations of the paired differences, which
    are normal.
    """
    rng = np.random.default_rng(seed)
    pairs = rng.normal(difference, 1.0, (draws, n))
    half = stats.t.ppf(1 - LEVEL / 2, n - 1) * pairs.std(axis=1, ddof=1) / math.sqrt(n)
    means = pairs.mean(axis=1)
    return {
        "better": float(np.mean(means - half > 0)),
        "worse": float(np.mean(means + half < 0)),
    }


def best_of(results: Sequence[float], k: int) -> float:
    """Return the expected maximum of k results drawn without replacement.

    It says how a comparison depends on the tuning budget: results are those of all
    learning rates on the validation set, k is how many of them one could afford.

    Args:
      results: Larger is better.
      k: From 1 to the number of results.

    >>> best_of([1.0, 2.0, 3.0], 1), best_of([1.0, 2.0, 3.0], 3)
    (2.0, 3.0)
    """
    n = len(results)
    if not 1 <= k <= n:
        raise ValueError(f"k must be from 1 to {n}, the number of results; got {k}.")
    # The i-th smallest (from 0) is the maximum of C(i, k-1) of the C(n, k) subsets.
    return sum(
        x * math.comb(i, k - 1) for i, x in enumerate(sorted(results))
    ) / math.comb(n, k)


def falls(values: Sequence[float]) -> bool:
    """Return whether a sequence never rises and ends below its start.

    >>> falls([0.1, 0.1, 0.01]), falls([0.1, 0.1]), falls([0.1, 0.01, 0.1])
    (True, False, False)
    """
    weakly = all(a >= b for a, b in itertools.pairwise(values))
    return weakly and values[0] > values[-1]
