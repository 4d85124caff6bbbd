"""Verdicts on the theory studies, by the rules in `plans.py`. Needs no JAX."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import run_files
from benchmarks.experiments.types import SEEDS, THEOREM
from benchmarks.reporting import theory_results
from benchmarks.reporting.claims.verdict import Verdict
from benchmarks.reporting.statistics import FAILS, HOLDS, UNDECIDED, interval
from benchmarks.reporting.theory_results import Records
from benchmarks.theory.plans import PLANS


def judge_studies(results: Path) -> Iterator[Verdict]:
    """Judge every study; one without records counts as not run."""
    files = run_files.find(results, "theory")
    for name, judge in JUDGES.items():
        if lines := files.lines(name) if files else []:
            yield from judge(lines)
        else:
            title = f"{PLANS[name].title} ({name})"
            yield Verdict(title, "theory", experiment="theory")


def _find(
    claim: str, source: str, found: str, verdict: str, kind: str = SEEDS
) -> Verdict:
    """Make the verdict on a claim, a theorem or a formula."""
    return Verdict(claim, source, found, verdict, kind, "theory")


def judge_least_squares(lines: Records) -> Iterator[Verdict]:
    """Judge the claim with the maximum and without."""
    for maximum in (True, False):
        errors = theory_results.fitted_errors(lines, maximum)
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
        yield _find(
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


def judge_condition_number(lines: Records) -> Iterator[Verdict]:
    """Judge the formula of each method."""
    for label in dict.fromkeys(line["label"] for line in lines):
        same = [line for line in lines if line["label"] == label]
        ratios = [
            math.log(line["measured"]) / math.log(line["claimed"]) for line in same
        ]
        low, high = min(ratios), max(ratios)
        tight = "; the formula is tight" if high <= 1.05 else "; it is an upper bound"
        yield _find(
            f"On quadratics {label} converges at the rate {same[0]['formula']}",
            "Oxford's slides",
            f"-log(rate) is {low:.3f} to {high:.3f} of the formula's, κ from "
            f"{min(x['kappa'] for x in same):g} to {max(x['kappa'] for x in same):g}"
            + tight,
            HOLDS if low >= 0.95 else FAILS,
            THEOREM,
        )


def judge_adagrad_norm(lines: Records) -> Iterator[Verdict]:
    """Judge the bounds, then the growth of b."""
    source = "Oxford's slides; Ward, Wu and Bottou 2019"
    ratios = [
        steps / bound
        for line in lines
        if line["kind"] == "bound"
        for steps, bound in zip(line["steps"], line["bound"], strict=True)
    ]
    yield _find(
        "AdaGrad-Norm reaches ‖∇‖² ≤ ε within the steps of its theorem, for every b0",
        source,
        f"at most {max(ratios):.2g} of the bound over {len(ratios)} runs with b0 from "
        "10⁻³ to 10³, on quadratics",
        HOLDS if max(ratios) < 1 else FAILS,
        THEOREM,
    )
    growth = [line for line in lines if line["kind"] == "growth"]
    whole = [line["slope"] for line in growth if line["batch"] is None]
    parts = [line for line in growth if line["batch"] is not None]
    slopes = [line["slope"] for line in parts]
    ratios = [line["b_over_root"] for line in parts]
    right = max(whole) <= 0.02 and all(abs(slope - 0.5) <= 0.05 for slope in slopes)
    yield _find(
        "b_k goes to a constant in whole batches and grows as c √k in mini-batches",
        source,
        f"slope of log b: at most {max(whole):z.4f} in whole batches, "
        f"{min(slopes):.3f} to {max(slopes):.3f} in mini-batches, where b_k is "
        f"{min(ratios):.2f} to {max(ratios):.2f} of the gradient noise's c √k; "
        "least squares",
        HOLDS if right else FAILS,
    )


def judge_nonconvex(lines: Records) -> Iterator[Verdict]:
    """Judge the slopes in T, then their order in d."""
    cells = theory_results.best_cells(lines)
    edges = sum(cell.at_edge for cell in cells.values())
    note = f"; best c at the edge in {edges} of {len(cells)} cells" if edges else ""
    own = {
        key: float(found.mean())
        for key, found in theory_results.slopes_in_steps(cells).items()
        if key[0] != "SGD"
    }
    worst = max(own, key=own.__getitem__)
    yield _find(
        "On a nonconvex loss Padam's E‖∇f‖² falls as 1/√T",
        "Gu's slides, Theorem 3 and Corollary 4",
        f"slopes in T from {min(own.values()):.2f} to {own[worst]:.2f} (the latter at "
        f"{worst[0]}, noise on {100 * worst[1]:g} % of the coordinates, d = {worst[2]})"
        f"{note}; consistency, not proof",
        HOLDS if own[worst] <= -0.45 else FAILS,
    )
    by_method = theory_results.slopes_in_dimension(cells)
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
    yield _find(
        "E‖∇f‖² grows more slowly with the dimension for p ≤ 1/4 (d^1/4) than for "
        "AMSGrad and SGD (d^1/2)",
        "Gu's slides, Corollary 4",
        "slopes in d at T = 1,000 by the share of noise, 1, 10 and 100 %: "
        + "; ".join(f"{name}: {', '.join(means[name])}" for name in sorted(means))
        + f"; Σ‖g‖/√(dT), which the corollary assumes to be small, is {assumed:.2g} at "
        "least; consistency, not proof",
        verdict,
    )


def judge_step_size(lines: Records) -> Iterator[Verdict]:
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
    yield _find(
        f"{claim} (a quadratic, where it is exact)",
        source,
        f"right in all steps that count: {text}",
        HOLDS if share == 1 else FAILS,
        THEOREM,
    )
    yield _find(
        f"{claim} (two valleys)",
        source,
        "right in " + "; ".join(text for _, text in shares.values()),
        HOLDS if all(share >= 0.95 for share, _ in shares.values()) else FAILS,
    )


JUDGES: dict[str, Callable[[Records], Iterator[Verdict]]] = {
    "least-squares": judge_least_squares,
    "condition-number": judge_condition_number,
    "adagrad-norm": judge_adagrad_norm,
    "nonconvex": judge_nonconvex,
    "step-size": judge_step_size,
}
