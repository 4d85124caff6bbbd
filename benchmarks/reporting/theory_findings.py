"""What the records of the studies say, by the rules in `plans.py`. Needs no JAX."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.reporting.statistics import FAILS, HOLDS, UNDECIDED, interval

Records = Sequence[Mapping[str, Any]]

FITTED = 1e-4
"""The mean squared error in training below which a run of least-squares counts."""


class Finding(NamedTuple):
    """A claim and what the records say of it.

    Attributes:
      claim: What is claimed.
      source: By whom.
      found: The figures here.
      verdict: HOLDS, FAILS or UNDECIDED.
      theorem: Whether it is a theorem or a formula that a run can violate.
    """

    claim: str
    source: str
    found: str
    verdict: str
    theorem: bool = False


def fitted_errors(lines: Records, maximum: bool) -> dict[float, list[list[Any]]]:
    """Collect the test errors of least-squares, with the running maximum or without.

    Returns:
      For each p a list over the draws of lists over the learning rates; None where the
      run does not fit the training set.
    """
    errors = defaultdict(list)
    for line in lines:
        if line["with_maximum"] == maximum:
            pairs = zip(line["mse"], line["test_error"], strict=True)
            errors[line["p"]].append(
                [e if mse is not None and mse < FITTED else None for mse, e in pairs]
            )
    return dict(errors)


def judge_least_squares(lines: Records) -> Iterator[Finding]:
    """Judge the claim with the maximum and without."""
    for maximum in (True, False):
        errors = fitted_errors(lines, maximum)
        judged = {p: draws for p, draws in errors.items() if p <= 0.25 or p == 0.5}
        kept = [
            (p, [e for e in draw if e is not None])
            for p, draws in judged.items()
            for draw in draws
        ]
        right = all(e > 0.3 if p == 0.5 else e < 0.01 for p, draw in kept for e in draw)
        verdict = (HOLDS if right else FAILS) if all(d for _, d in kept) else UNDECIDED
        if not right:
            verdict = FAILS
        found = (_write_errors(p, errors[p]) for p in (0.5, 0.25, 0.125))
        method = "with the maximum" if maximum else "without the maximum"
        yield Finding(
            "On a constructed over-parameterized problem p = 1/2 generalizes badly at "
            f"every learning rate, p ≤ 1/4 well at every one ({method})",
            "Gu's slides, after Wilson et al. 2017, section 3.3",
            f"test error: {'; '.join(found)}; constructed problem",
            verdict,
        )


def _write_errors(p: float, draws: list[list[Any]]) -> str:
    found = [100 * e for draw in draws for e in draw if e is not None]
    total = sum(map(len, draws))
    if not found:
        return f"p = {p:g}: none of {total} runs fits"
    bad, good = sum(e > 30 for e in found), sum(e < 1 for e in found)
    return (
        f"p = {p:g}: above 30 % in {bad}, below 1 % in {good} of the {len(found)} runs "
        f"that fit (of {total})"
    )


def judge_condition_number(lines: Records) -> Iterator[Finding]:
    """Judge the formula of each method."""
    for label in dict.fromkeys(line["label"] for line in lines):
        same = [line for line in lines if line["label"] == label]
        ratios = [
            math.log(line["measured"]) / math.log(line["claimed"]) for line in same
        ]
        low, high = min(ratios), max(ratios)
        tight = "; the formula is tight" if high <= 1.05 else "; it is an upper bound"
        yield Finding(
            f"On quadratics {label} converges at the rate {same[0]['formula']}",
            "Oxford's slides",
            f"-log(rate) is {low:.3f} to {high:.3f} of the formula's, κ from "
            f"{min(x['kappa'] for x in same):g} to {max(x['kappa'] for x in same):g}"
            + tight,
            HOLDS if low >= 0.95 else FAILS,
            theorem=True,
        )


def judge_adagrad_norm(lines: Records) -> Iterator[Finding]:
    """Judge the bounds, then the growth of b."""
    source = "Oxford's slides; Ward, Wu and Bottou 2019"
    ratios = [
        steps / bound
        for line in lines
        if line["kind"] == "bound"
        for steps, bound in zip(line["steps"], line["bound"], strict=True)
    ]
    yield Finding(
        "AdaGrad-Norm reaches ‖∇‖² ≤ ε within the steps of its theorem, for every b0",
        source,
        f"at most {max(ratios):.2g} of the bound over {len(ratios)} runs with b0 from "
        "10⁻³ to 10³, on quadratics",
        HOLDS if max(ratios) < 1 else FAILS,
        theorem=True,
    )
    growth = [line for line in lines if line["kind"] == "growth"]
    whole = [line["slope"] for line in growth if line["batch"] is None]
    parts = [line for line in growth if line["batch"] is not None]
    slopes = [line["slope"] for line in parts]
    ratios = [line["b_over_root"] for line in parts]
    right = max(whole) <= 0.02 and all(abs(slope - 0.5) <= 0.05 for slope in slopes)
    yield Finding(
        "b_k goes to a constant in whole batches and grows as c √k in mini-batches",
        source,
        f"slope of log b: at most {max(whole):z.4f} in whole batches, "
        f"{min(slopes):.3f} to {max(slopes):.3f} in mini-batches, where b_k is "
        f"{min(ratios):.2f} to {max(ratios):.2f} of the gradient noise's c √k; "
        "least squares",
        HOLDS if right else FAILS,
    )


class Cell(NamedTuple):
    """The results of a method of `nonconvex` at the best learning rate.

    Attributes:
      values: ‖∇f‖² of each draw, the mean over the iterates.
      factor: c, the learning rate times √T.
      at_edge: Whether it is the smallest or the largest that was tried.
      sum_over_root: Σ‖g_{1:T,i}‖/√(dT), the mean over the draws.
    """

    values: np.ndarray
    factor: float
    at_edge: bool
    sum_over_root: float


def best_cells(lines: Records) -> dict[tuple[str, float, int, int], Cell]:
    """Choose for each method, share, dimension and number of steps the best c."""
    grouped = defaultdict(list)
    for line in lines:
        key = line["method"], line["share"], line["dimension"], line["steps"]
        grouped[key].append(line)
    cells = {}
    for key, same in grouped.items():
        values = _as_array([line["squared_gradient"] for line in same])
        best = int(values.mean(axis=0).argmin())
        sums = _as_array([line["sum_over_root"] for line in same])
        factors = same[0]["factors"]
        edge = best in (0, len(factors) - 1)
        cells[key] = Cell(
            values[:, best], factors[best], edge, float(sums[:, best].mean())
        )
    return cells


def _as_array(rows: Sequence[Sequence[float | None]]) -> np.ndarray:
    return np.array([[math.inf if x is None else x for x in row] for row in rows])


def slopes(cells: Mapping[Any, Cell], keys: Sequence[Any], at: int) -> np.ndarray:
    """Fit log ‖∇f‖² against the logarithm of one element of the cells' keys.

    Args:
      cells: See `best_cells`.
      keys: The cells to fit, of one method and share.
      at: The position of the steps or the dimension in a key.

    Returns:
      The slope of each draw.
    """
    x = np.log([key[at] for key in keys])
    y = np.log(np.stack([cells[key].values for key in keys]))
    return np.polyfit(x, y, 1)[0]


def slopes_in_steps(cells: Mapping[Any, Cell]) -> dict[tuple[str, float, int], Any]:
    """Return the slopes in T for each method, share, and the dimensions 10 and 100."""
    keys = sorted(key for key in cells if key[2] <= 100)
    return {
        group: slopes(cells, [key for key in keys if key[:3] == group], 3)
        for group in dict.fromkeys(key[:3] for key in keys)
    }


def slopes_in_dimension(cells: Mapping[Any, Cell]) -> dict[tuple[str, float], Any]:
    """Return the slopes in d at T = 1,000 for each method and share."""
    keys = sorted(key for key in cells if key[3] == 1000)
    return {
        group: slopes(cells, [key for key in keys if key[:2] == group], 2)
        for group in dict.fromkeys(key[:2] for key in keys)
    }


def judge_nonconvex(lines: Records) -> Iterator[Finding]:
    """Judge the slopes in T, then their order in d."""
    cells = best_cells(lines)
    edges = sum(cell.at_edge for cell in cells.values())
    note = f"; best c at the edge in {edges} of {len(cells)} cells" if edges else ""
    own = {
        key: float(found.mean())
        for key, found in slopes_in_steps(cells).items()
        if key[0] != "SGD"
    }
    worst = max(own, key=own.__getitem__)
    yield Finding(
        "On a nonconvex loss Padam's E‖∇f‖² falls as 1/√T",
        "Gu's slides, Theorem 3 and Corollary 4",
        f"slopes in T from {min(own.values()):.2f} to {own[worst]:.2f} (the latter at "
        f"{worst[0]}, noise on {100 * worst[1]:g} % of the coordinates, d = {worst[2]})"
        f"{note}; consistency, not proof",
        HOLDS if own[worst] <= -0.45 else FAILS,
    )
    by_method = slopes_in_dimension(cells)
    ends = [
        interval((by_method[small, share] - by_method[large, share]).tolist())
        for share in dict.fromkeys(share for _, share in by_method)
        for small in ("p = 1/8", "p = 1/4")
        for large in ("p = 1/2", "SGD")
    ]
    verdict = UNDECIDED
    if all(found.high < 0 for found in ends):
        verdict = HOLDS
    elif any(found.low > -0.05 for found in ends):
        verdict = FAILS
    means = defaultdict(list)
    for (method, _), found in by_method.items():
        means[method].append(f"{found.mean():.2f}")
    assumed = min(cell.sum_over_root for cell in cells.values())
    yield Finding(
        "E‖∇f‖² grows more slowly with the dimension for p ≤ 1/4 (d^1/4) than for "
        "AMSGrad and SGD (d^1/2)",
        "Gu's slides, Corollary 4",
        "slopes in d at T = 1,000 by the share of noise, 1, 10 and 100 %: "
        + "; ".join(f"{name}: {', '.join(means[name])}" for name in sorted(means))
        + f"; Σ‖g‖/√(dT), which the corollary assumes to be small, is {assumed:.2g} at "
        "least; consistency, not proof",
        verdict,
    )


def judge_step_size(lines: Records) -> Iterator[Finding]:
    """Judge the criterion on the quadratic, then elsewhere."""
    shares = {}
    for name in dict.fromkeys(line["surface"] for line in lines):
        same = [line for line in lines if line["surface"] == name]
        steps = sum(line["steps"] for line in same)
        rises = sum(line["rises"] for line in same)
        right = sum(line["right"] for line in same)
        shares[name] = right / steps, f"{name}: {right} of {steps} ({rises} rise)"
    claim = "A gradient step increases the loss if ½ ε² gᵀHg > ε gᵀg"
    source = "Buffalo's slides"
    share, text = shares.pop("ravine")
    yield Finding(
        f"{claim} (a quadratic, where it is exact)",
        source,
        f"right in all steps that count: {text}",
        HOLDS if share == 1 else FAILS,
        theorem=True,
    )
    yield Finding(
        f"{claim} (two valleys)",
        source,
        "right in " + "; ".join(text for _, text in shares.values()),
        HOLDS if all(share >= 0.95 for share, _ in shares.values()) else FAILS,
    )


JUDGES: dict[str, Callable[[Records], Iterator[Finding]]] = {
    "least-squares": judge_least_squares,
    "condition-number": judge_condition_number,
    "adagrad-norm": judge_adagrad_norm,
    "nonconvex": judge_nonconvex,
    "step-size": judge_step_size,
}
