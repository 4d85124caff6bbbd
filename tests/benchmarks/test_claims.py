"""Claims are judged by the rule of the spread, from records alone."""

import pytest

from benchmarks import claims, records
from benchmarks.claims import FAILS, HOLDS, OPEN
from tests.benchmarks.test_report import CONFIG, run_lines, write, write_sweep

LABELS = {
    "momentum": "SGD + momentum",
    "adam": "Adam",
    "amsgrad": "AMSGrad",
    "padam": "Padam",
}


def write_table(folder, **accuracies):
    """Write runs of 4 epochs: by optimizer, (after the first, after the last) each."""
    seeds = len(next(iter(accuracies.values())))
    config = {
        **CONFIG,
        "seeds": seeds,
        "recipes": {name: {"label": LABELS[name]} for name in accuracies},
    }
    files = {
        f"{name}-seed{7 + i}": run_lines(early, early, last, last)
        for name, runs in accuracies.items()
        for i, (early, last) in enumerate(runs)
    }
    write(folder, config, **files)


def find(results, start):
    (found,) = [x for x in claims.judge(results) if x.claim.startswith(start)]
    return found


@pytest.mark.parametrize(
    ("padam", "verdicts"),
    [
        # Final deviations are 1.41 points. Ahead, and early by 20 points:
        ([(0.8, 0.94), (0.82, 0.96)], (HOLDS, HOLDS, HOLDS)),
        # As good as SGD within the spread, late:
        ([(0.6, 0.92), (0.62, 0.94)], (HOLDS, HOLDS, FAILS)),
        # Between the two, beyond the spread of both:
        ([(0.8, 0.885), (0.82, 0.905)], (FAILS, HOLDS, HOLDS)),
        # As good as Adam:
        ([(0.8, 0.86), (0.82, 0.88)], (FAILS, FAILS, HOLDS)),
    ],
)
def test_the_table_is_judged_by_the_spread(tmp_path, padam, verdicts):
    write_table(
        tmp_path / "small-cifar10",
        momentum=[(0.6, 0.93), (0.62, 0.95)],
        adam=[(0.7, 0.85), (0.72, 0.87)],
        amsgrad=[(0.7, 0.84), (0.72, 0.86)],
        padam=padam,
    )
    starts = (
        "Padam ends at least as good",
        "Padam ends better",
        "Padam is ahead",
    )
    found = [find(tmp_path, start) for start in starts]
    assert tuple(x.verdict for x in found) == verdicts
    assert "(n = 2)" in found[0].found
    assert find(tmp_path, "Adam and AMSGrad end worse").verdict == HOLDS


def test_a_single_seed_decides_nothing(tmp_path):
    runs = {name: [(0.5, 0.6)] for name in LABELS}
    write_table(tmp_path / "small-cifar10", **{**runs, "padam": [(0.8, 0.9)]})
    found = find(tmp_path, "Padam ends better")
    assert found.verdict == OPEN
    assert found.found == "Padam 90.00, Adam 60.00, AMSGrad 60.00 % (n = 1)"


def test_what_was_not_run_is_open(tmp_path):
    judged = claims.judge(tmp_path)
    assert {(x.found, x.verdict) for x in judged} == {("not run", OPEN)}


@pytest.mark.parametrize(
    ("best", "verdict"),
    [((0.1, 0.01, 0.01), HOLDS), ((0.1, 0.1, 0.1), FAILS), ((0.01, 0.1, 0.1), FAILS)],
)
def test_the_best_rate_must_fall_as_p_grows(tmp_path, best, verdict):
    runs = [
        ("padam", {"p": p, "learning_rate": rate}, seed, run_lines(0, 0, 0, accuracy))
        for p, right in zip((0.0625, 0.125, 0.25), best, strict=True)
        for rate in (0.1, 0.01)
        for seed, accuracy in ((7, 0.8 + 0.1 * (rate == right)), (8, 0.8))
    ]
    write_sweep(tmp_path / "p-and-learning-rate", CONFIG, runs)
    assert find(tmp_path, "The larger p, the smaller").verdict == verdict


def test_the_dilemma_is_read_from_spreads_and_accuracies(tmp_path):
    def lines(accuracy, decades):
        line = {
            "effective_learning_rate": [1.0, 1.0, 1.0, 1.0, 10.0**decades],
            "distance_from_start": 1.0,
        }
        return [{**x, **line} for x in run_lines(*[accuracy] * 4)]

    large = [
        ("padam", {"p": p}, seed, lines(accuracy + seed / 1000, 8 * p + seed / 1000))
        for p, accuracy in ((0.5, 0.2), (0.125, 0.7))
        for seed in (7, 8)
    ]
    small = [
        ("padam", {"p": p}, seed, lines(accuracy + seed / 1000, 1.0))
        for p, accuracy in ((0.5, 0.6), (0.125, 0.5))
        for seed in (7, 8)
    ]
    write_sweep(tmp_path / "dilemma", CONFIG, large)
    write_sweep(tmp_path / "dilemma-small-rate", CONFIG, small)
    wider = find(tmp_path, "The larger p, the wider")
    assert (wider.found, wider.verdict) == (
        "p = 1/8: 1.01±0.00 decades; p = 1/2: 4.01±0.00 decades",
        HOLDS,
    )
    assert find(tmp_path, "p = 1/2 needs a small").verdict == HOLDS
    assert find(tmp_path, "p = 1/8 bears a large").verdict == HOLDS


@pytest.mark.parametrize(
    ("bits", "verdict"), [((0.79, 0.81), HOLDS), ((0.70, 0.72), FAILS)]
)
def test_few_bits_must_stay_within_the_spread(tmp_path, bits, verdict):
    write_table(tmp_path / "small-cifar10", padam=[(0.5, 0.8), (0.5, 0.82)])
    recipes = {"padam-compressed": {"label": "few bits"}}
    files = {
        f"padam-compressed-seed{7 + i}": run_lines(0.5, 0.5, 0.5, x)
        for i, x in enumerate(bits)
    }
    write(tmp_path / "few-bits-cifar10", {**CONFIG, "recipes": recipes}, **files)
    assert find(tmp_path, "Moments in 8 bits end").verdict == verdict


@pytest.mark.parametrize(("best", "verdict"), [(0.6, HOLDS), (0.9, FAILS)])
def test_a_falling_p_must_beat_the_best_constant_one(tmp_path, best, verdict):
    def runs(accuracy):
        return [run_lines(*[accuracy + x] * 4) for x in (0, 0.01)]

    constant = [
        ("padam", {"p": p}, 7 + i, lines)
        for p, accuracy in ((0.5, 0.2), (0.125, best), (0.25, 0.5))
        for i, lines in enumerate(runs(accuracy))
    ]
    write_sweep(tmp_path / "dilemma", CONFIG, constant)
    files = dict(
        zip(("padam-falling-seed7", "padam-falling-seed8"), runs(0.7), strict=True)
    )
    recipes = {"padam-falling": {"label": "falling"}}
    write(tmp_path / "falling-p", {**CONFIG, "recipes": recipes}, **files)
    assert find(tmp_path, "A p that falls").verdict == verdict


@pytest.mark.parametrize(("seeds", "verdict"), [((7, 8), HOLDS), ((7,), OPEN)])
def test_robust_is_who_is_near_the_best_over_more_decades(tmp_path, seeds, verdict):
    labels = {"adagrad": "AdaGrad-Norm", "sgd": "Sgd"}
    config = {**CONFIG, "epochs": 1}
    b0 = [
        ("adagrad", {"b0": 10.0**k}, seed, run_lines(0.9))
        for k in (-1, 0, 1)
        for seed in seeds
    ]
    sgd = [
        ("sgd", {"learning_rate": 10.0**k, "schedule": "constant"}, seed, run_lines(x))
        for k, x in ((-1, 0.2), (0, 0.92), (1, 0.86))
        for seed in seeds
    ]
    write_sweep(tmp_path / "b0-mlp", config, b0)
    write_sweep(tmp_path / "b0-mlp-sgd", config, sgd)
    for folder in tmp_path.glob("b0-mlp*/run*"):
        path = folder / "config.json"
        text = path.read_text()
        for name, label in labels.items():
            text = text.replace(
                f'"label": "{name.capitalize()}"', f'"label": "{label}"'
            )
        path.write_text(text)
    found = find(tmp_path, "AdaGrad-Norm is robust to b0, SGD is not (b0-mlp)")
    assert found.verdict == verdict
    assert found.found == (
        "AdaGrad-Norm: 3, Sgd, 1/b0: 1 of 3 values of b0 within 5 points of the best "
        "(92.0 %)"
    )


def test_theory_is_judged_by_every_record(tmp_path):
    folder = tmp_path / "regret"
    game = {"optimizer": "padam", "chosen": True, "title": "a", "p": 0.5, "seed": 0}
    bounds = {"regret": [1.0, 2.0], "tight_bound": [2.0, 3.0]}
    ends = {0.25: 1.0, 0.3: 0.0}
    write(
        folder,
        {},
        linear=[{**game, **bounds}],
        counterexample=[
            {"p": 0.5, "with_maximum": has, "x": [0.0, -0.9 if has else 0.9]}
            for has in (True, False)
        ],
        **{
            "phase-transition": [
                {"p": p, "with_maximum": True, "start": 0.5, "path": [0.5, end]}
                for p, end in ends.items()
            ]
        },
    )
    starts = ("Padam's regret", "Adam's rule", "At a fixed rate")
    assert [find(tmp_path, start).verdict for start in starts] == [HOLDS] * 3
    records.append(folder / "linear.jsonl", {**game, **bounds, "regret": [3.0, 2.0]})
    records.append(
        folder / "counterexample.jsonl", {"p": 0.4, "with_maximum": True, "x": [0.9]}
    )
    records.append(
        folder / "phase-transition.jsonl",
        {"p": 0.2, "with_maximum": True, "start": 0.5, "path": [0.0]},
    )
    assert [find(tmp_path, start).verdict for start in starts] == [FAILS] * 3


@pytest.mark.parametrize(("p_loss", "verdict"), [(0.2, HOLDS), (0.4, FAILS)])
def test_the_best_of_each_ones_learning_rates_is_compared(tmp_path, p_loss, verdict):
    config = {**CONFIG, "dataset": "tiny_shakespeare", "epochs": 1}

    def runs(optimizer, losses, **settings):
        return [
            (optimizer, {**settings, "learning_rate": rate}, seed, run_lines(1 - loss))
            for rate, loss in losses.items()
            for seed in (7, 8)
        ]

    plain = runs("adam", {0.1: 0.5, 0.01: 0.3}) + runs("padam", {0.1: 0.9, 0.01: 0.8})
    write_sweep(tmp_path / "shakespeare", config, plain)
    # At p = 1/8 nothing was claimed.
    assert find(tmp_path, "Padam at p = 0.4").verdict == OPEN
    write_sweep(tmp_path / "shakespeare-p", config, runs("padam", {0.1: p_loss}, p=0.4))
    found = find(tmp_path, "Padam at p = 0.4")
    assert found.verdict == verdict
    if verdict == FAILS:
        return
    # e^0.3, e^0.8 and e^0.2.
    assert found.found == (
        "Adam 1.35±0.00 at 0.01; Padam 2.23±0.00 at 0.01; Padam, p = 0.4 1.22±0.00 at "
        "0.1 (the largest tried)"
    )
