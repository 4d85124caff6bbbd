"""Tables and plots of the theory studies."""

from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from rich.table import Table

from benchmarks.reporting import theory_results
from benchmarks.reporting.measures import summarize
from benchmarks.reporting.plots.style import PALETTE, color, save, tidy
from benchmarks.reporting.tables import right
from benchmarks.reporting.theory_results import Records


def least_squares_table(lines: Records) -> Table:
    """Tabulate mean test errors by p and learning rate, with the maximum."""
    rates = lines[0]["learning_rates"]
    title = "test error in %, where training error is 0; with the maximum"
    table = Table(*right("p", *(f"{rate:g}" for rate in rates)), title=title)
    for p, draws in theory_results.fitted_errors(lines, True).items():
        table.add_row(str(Fraction(p)), *map(_cell, zip(*draws, strict=True)))
    return table


def _cell(errors: Any) -> str:
    kept = [100 * e for e in errors if e is not None]
    if not kept:
        return "-"
    low, high = f"{min(kept):.0f}", f"{max(kept):.0f}"
    text = low if low == high else f"{low} to {high}"
    return text if len(kept) == len(errors) else f"{text} ({len(kept)})"


def draw_least_squares(lines: Records, path: Path) -> None:
    """Draw heat maps of p and learning rate, with and without the maximum."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.3), layout="constrained")
    image: Any = None
    for panel, maximum in zip(axes, (True, False), strict=True):
        errors = theory_results.fitted_errors(lines, maximum)
        rates = lines[0]["learning_rates"]
        means = np.full((len(errors), len(rates)), np.nan)
        for i, draws in enumerate(errors.values()):
            for j, column in enumerate(zip(*draws, strict=True)):
                kept = [100 * e for e in column if e is not None]
                if kept:
                    means[i, j] = np.mean(kept)
                if len(kept) < len(column):
                    text = f"{len(kept)}/{len(column)}" if kept else "×"
                    panel.text(j, i, text, ha="center", va="center", fontsize=8)
        colors = plt.get_cmap("YlOrRd").with_extremes(bad="0.92")
        image = panel.imshow(
            means, colors, vmin=0, vmax=60, origin="lower", aspect="auto"
        )
        panel.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
        panel.set_yticks(range(len(errors)), [str(Fraction(p)) for p in errors])
        panel.set(
            xlabel="learning rate",
            ylabel="p",
            title="with the maximum" if maximum else "without the maximum",
        )
    draws = len(next(iter(theory_results.fitted_errors(lines, True).values())))
    figure.colorbar(image, ax=axes, label="test error in %")
    figure.suptitle(
        "Least squares of Wilson et al., training error 0, mean of "
        f"{draws} draws; n/m: n fit, ×: none"
    )
    save(figure, path, dpi=110)


def condition_number_table(lines: Records) -> Table:
    """Tabulate the measured and the claimed rate of each method by κ."""
    table = Table(
        *right("κ", "method", "formula", "measured", "-log(rate) / formula's"),
        title="factor by which a step shrinks the distance",
    )
    grouped = defaultdict(list)
    for line in lines:
        grouped[line["kappa"], line["label"]].append(line)
    for (kappa, label), same in sorted(grouped.items()):
        measured = np.array([line["measured"] for line in same])
        claimed = same[0]["claimed"]
        ratios = np.log(measured) / np.log(claimed)
        table.add_row(
            f"{kappa:g}",
            label,
            f"{claimed:.5f}",
            f"{measured.mean():.5f}",
            f"{ratios.mean():.3f}",
        )
    return table


def draw_condition_number(lines: Records, path: Path) -> None:
    """Draw measured rates over the formulas, in steps per factor of e."""
    figure, axes = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    labels = dict.fromkeys(line["label"] for line in lines)
    for label in labels:
        line_color = color(label)
        same = [line for line in lines if line["label"] == label]
        claimed = {line["kappa"]: line["claimed"] for line in same}
        kappas = sorted(claimed)
        axes.loglog(
            kappas,
            [-1 / np.log(claimed[kappa]) for kappa in kappas],
            color=line_color,
            linewidth=1.5,
            label=f"{label}: formula {same[0]['formula']}",
        )
        axes.loglog(
            [line["kappa"] for line in same],
            [-1 / np.log(line["measured"]) for line in same],
            "o",
            color=line_color,
            markersize=5,
            markerfacecolor="none",
        )
    draws = len({line["seed"] for line in lines})
    axes.set(
        xlabel="condition number κ",
        ylabel="steps that shrink the distance by e",
        title=f"Quadratics: formulas (lines), {draws} runs each (circles)",
    )
    axes.legend(frameon=False)
    tidy(axes)
    save(figure, path, dpi=110)


def adagrad_norm_table(lines: Records) -> Table:
    """Tabulate the growth of b, and the largest fraction of the bound."""
    title = "AdaGrad-Norm: steps over the bound, and the growth of b"
    table = Table(*right("", "runs", "from", "to"), title=title)
    for lipschitz in dict.fromkeys(x["lipschitz"] for x in lines if "bound" in x):
        same = [x for x in lines if x.get("lipschitz") == lipschitz]
        ratios = [
            steps / bound
            for x in same
            for steps, bound in zip(x["steps"], x["bound"], strict=True)
        ]
        name = f"steps / bound, L = {lipschitz:g}"
        table.add_row(
            name, str(len(ratios)), f"{min(ratios):.1e}", f"{max(ratios):.1e}"
        )
    growth = [x for x in lines if x["kind"] == "growth"]
    for batch in dict.fromkeys(x["batch"] for x in growth):
        found = [x["slope"] for x in growth if x["batch"] == batch]
        kind = "whole batches" if batch is None else f"batches of {batch}"
        table.add_row(
            f"slope of log b, {kind}",
            str(len(found)),
            f"{min(found):z.4f}",
            f"{max(found):z.4f}",
        )
    return table


def draw_adagrad_norm(lines: Records, path: Path) -> None:
    """Draw steps and bounds against b0, and b against the steps."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    bounds = [line for line in lines if line["kind"] == "bound"]
    lipschitz = dict.fromkeys(line["lipschitz"] for line in bounds)
    for value, line_color in zip(lipschitz, PALETTE, strict=False):
        same = [line for line in bounds if line["lipschitz"] == value]
        b0 = same[0]["b0"]
        steps, bound = (np.array([x[key] for x in same]) for key in ("steps", "bound"))
        left.loglog(
            b0, np.median(bound, axis=0), "--", color=line_color, label=f"L = {value:g}"
        )
        left.loglog(b0, np.median(steps, axis=0), color=line_color)
        left.fill_between(b0, steps.min(0), steps.max(0), color=line_color, alpha=0.2)
        left.axvline(value, color=line_color, linewidth=0.7, linestyle=":")
    left.set(
        xlabel="$b_0$ (dotted: L)",
        ylabel="steps",
        title=r"Steps to $\|\nabla\|^2 \leq \epsilon$ (solid) and the bound (dashed)",
    )
    left.legend(frameon=False)
    growth = [line for line in lines if line["kind"] == "growth"]
    for line in growth:
        whole = line["batch"] is None
        right.loglog(
            line["k"],
            line["b"],
            color=PALETTE[0] if whole else PALETTE[3],
            linewidth=1.2,
            label="_" if line["seed"] else _kind_of_batch(line["batch"]),
        )
    noise = np.mean([x["noise"] for x in growth])
    k = np.array(growth[0]["k"])
    right.loglog(k, noise * np.sqrt(k), "k--", linewidth=1.2, label=r"$c\,\sqrt{k}$")
    right.set(
        xlabel="step k",
        ylabel="$b_k$",
        title="Growth of b; c: noise of the gradient at the minimum",
    )
    right.legend(frameon=False)
    tidy(left, right)
    save(figure, path, dpi=110)


def _kind_of_batch(batch: int | None) -> str:
    return "whole batches" if batch is None else f"mini-batches of {batch}"


def nonconvex_table(lines: Records) -> Table:
    """Tabulate the slopes in T and in d, mean ± deviation over the draws."""
    headings = ("noise on", "method", "in T, d = 10", "in T, d = 100", "in d, T = 1000")
    table = Table(*right(*headings), title="slopes of log E‖∇f‖² at the best c")
    cells = theory_results.best_cells(lines)
    in_steps = theory_results.slopes_in_steps(cells)
    for (method, share), found in sorted(
        theory_results.slopes_in_dimension(cells).items(),
        key=lambda item: item[0][::-1],
    ):
        slopes = (in_steps[method, share, 10], in_steps[method, share, 100], found)
        written = (summarize(values.tolist()).write(between=" ± ") for values in slopes)
        table.add_row(f"{100 * share:g} %", method, *written)
    return table


def draw_nonconvex(lines: Records, path: Path) -> None:
    """Draw E‖∇f‖² against T in the upper row and against d in the lower one."""
    cells = theory_results.best_cells(lines)
    shares = sorted({share for _, share, *_ in cells})
    methods = ("SGD", "p = 1/8", "p = 1/4", "p = 1/2")
    figure, axes = plt.subplots(
        2, len(shares), figsize=(11, 6.6), layout="constrained", squeeze=False
    )
    for column, share in enumerate(shares):
        for fixed, panel in zip((100, 1000), axes[:, column], strict=True):
            over_steps = panel is axes[0, column]
            at, of = (3, 2) if over_steps else (2, 3)
            for method in methods:
                line_color = color(method)
                keys = sorted(
                    k for k in cells if k[:2] == (method, share) and k[of] == fixed
                )
                _draw_line(panel, cells, keys, at, line_color, method)
            _draw_guides(panel, (-0.5,) if over_steps else (0.25, 0.5))
            name = "steps T, d = 100" if over_steps else "dimension d, T = 1,000"
            panel.set(xlabel=name, ylabel=r"$E\,\|\nabla f\|^2$" if not column else "")
            tidy(panel)
        axes[0, column].set_title(f"noise on {100 * share:g} % of the coordinates")
    axes[0, 0].legend(frameon=False)
    draws = len(next(iter(cells.values())).values)
    figure.suptitle(
        f"Best of five c, mean and range of {draws} draws; gray: the claimed slopes"
    )
    save(figure, path, dpi=110)


def _draw_line(
    panel: Any, cells: Any, keys: Any, at: int, line_color: str, label: str
) -> None:
    x = [key[at] for key in keys]
    values = np.stack([cells[key].values for key in keys])
    panel.loglog(
        x, values.mean(axis=1), "o-", color=line_color, label=label, markersize=3.5
    )
    panel.fill_between(
        x, values.min(axis=1), values.max(axis=1), color=line_color, alpha=0.15
    )


def _draw_guides(panel: Any, slopes: tuple[float, ...]) -> None:
    """Draw the claimed slopes through the middle of the panel."""
    left, right = panel.get_xlim()
    low, high = panel.get_ylim()
    x = np.array([left, right])
    for slope in slopes:
        y = np.sqrt(low * high) * (x / np.sqrt(left * right)) ** slope
        panel.loglog(x, y, color="0.6", linewidth=1, linestyle="--", zorder=0)
        panel.annotate(
            f"{slope:g}",
            (x[-1], y[-1]),
            color="0.4",
            fontsize=8,
            ha="right",
            va="bottom",
        )
    panel.set(xlim=(left, right), ylim=(low, high))


def step_size_table(lines: Records) -> Table:
    """Tabulate how often the criterion is right on each surface."""
    table = Table(
        *right("surface", "steps", "that raise the loss", "told rightly", "share"),
        title="steps that count, all learning rates together",
    )
    for name in dict.fromkeys(line["surface"] for line in lines):
        same = [line for line in lines if line["surface"] == name]
        steps, rises, told = (
            sum(line[key] for line in same) for key in ("steps", "rises", "right")
        )
        share = f"{100 * told / steps:.2f} %"
        table.add_row(name, str(steps), str(rises), str(told), share)
    return table


def draw_step_size(lines: Records, path: Path) -> None:
    """Draw how many steps rise and are predicted, against the learning rate."""
    names = list(dict.fromkeys(line["surface"] for line in lines))
    figure, axes = plt.subplots(
        1,
        len(names),
        figsize=(11, 3.6),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    for panel, name in zip(axes[0], names, strict=True):
        same = [x for x in lines if x["surface"] == name and x["steps"]]
        rates = [x["learning_rate"] for x in same]
        for key, label, line_color in (
            ("right", "told rightly", PALETTE[0]),
            ("rises", "raise the loss", PALETTE[3]),
        ):
            shares = [100 * x[key] / x["steps"] for x in same]
            panel.semilogx(
                rates, shares, "o-", color=line_color, label=label, markersize=3
            )
        panel.set(title=name, xlabel="learning rate", ylim=(-4, 104))
        tidy(panel)
    axes[0, 0].set_ylabel("% of the steps that count")
    axes[0, 0].legend(frameon=False)
    save(figure, path, dpi=110)


TABLES: dict[str, Callable[[Records], Table]] = {
    "least-squares": least_squares_table,
    "condition-number": condition_number_table,
    "adagrad-norm": adagrad_norm_table,
    "nonconvex": nonconvex_table,
    "step-size": step_size_table,
}
DRAWINGS: dict[str, Callable[[Records, Path], None]] = {
    "least-squares": draw_least_squares,
    "condition-number": draw_condition_number,
    "adagrad-norm": draw_adagrad_norm,
    "nonconvex": draw_nonconvex,
    "step-size": draw_step_size,
}
CAPTIONS = {
    "least-squares": (
        "Test error where the training error is 0, by p and learning rate. Colors: "
        "means over the draws; n/m: only n of m runs fit, ×: none does."
    ),
    "condition-number": (
        "Steps that shrink the distance to the minimum by e, over the condition "
        "number. Lines: the formulas; circles: single runs."
    ),
    "adagrad-norm": (
        "AdaGrad-Norm against its bound, and the growth of b. Left: medians of the "
        "runs solid, bands from the fewest to the most steps, bounds dashed; right: "
        "single runs."
    ),
    "nonconvex": (
        "Squared gradient over the steps and over the dimension, at the best of five "
        "c. Lines: means over the draws, bands: lowest to highest; gray: the claimed "
        "slopes."
    ),
    "step-size": (
        "When a step raises the loss, and how often the criterion tells it, over the "
        "learning rate. Points: shares of the steps that count, of single runs."
    ),
}
