"""What the lectures claim of trained networks is judged by the experiments' rules."""

import pytest

from benchmarks.reporting.statistics import FAILS, HOLDS, NOT_RUN, UNDECIDED
from tests.benchmarks.reporting.test_claims import find, write_table
from tests.benchmarks.reporting.test_report import CONFIG, run_lines, write_sweep

SEEDS = (0, 1, 2)
# Small, and different in each seed, so that an interval has a width.
NOISE = (0.0, 0.001, 0.002)


def lines(accuracy, loss=1.0, epochs=4):
    """The records of a run whose accuracy and train loss never change."""
    return [
        {**line, "train_loss": loss} for line in run_lines(*[accuracy + 0.0] * epochs)
    ]


def seeds(optimizer, accuracy, loss=1.0, noise=NOISE, **settings):
    return [
        (optimizer, settings, seed, lines(accuracy + x, loss * (1 + x)))
        for seed, x in zip(SEEDS, noise, strict=True)
    ]


def diverged(optimizer, **settings):
    return [(optimizer, settings, seed, [{"stopped": "nan"}]) for seed in SEEDS]


@pytest.mark.parametrize(
    ("adagrad_loss", "verdict"), [(0.30, HOLDS), (0.10, FAILS), (0.2002, UNDECIDED)]
)
def test_adam_is_compared_by_train_loss_at_the_rate_best_by_it(
    tmp_path, adagrad_loss, verdict
):
    runs = [
        # Better on the test set, but not by the train loss.
        *seeds("adam", 0.9, 0.5, learning_rate=0.1),
        *seeds("adam", 0.5, 0.2, (0.001, -0.002, 0.002), learning_rate=0.01),
        *seeds("adagrad", 0.5, adagrad_loss, learning_rate=0.1),
        *diverged("adagrad", learning_rate=1.0),
    ]
    write_sweep(tmp_path / "adam-mnist", CONFIG, runs)
    row = find(tmp_path, "Adam trains faster than AdaGrad", "dense, MNIST")
    assert row.verdict == verdict
    assert "Adam, learning rate = 0.01 0.200" in row.found
    # The ratio of the losses, on a logarithmic scale; the noise is 0.2 % at most.
    assert row.interval.mean == pytest.approx(
        {0.30: 40.5, 0.10: -69.3, 0.2002: 0.1}[adagrad_loss], abs=0.3
    )


@pytest.mark.parametrize(
    ("santa", "verdict"), [(0.80, HOLDS), (0.70, FAILS), (0.75, UNDECIDED)]
)
def test_santa_is_compared_at_the_rate_with_the_lowest_train_loss(
    tmp_path, santa, verdict
):
    runs = [
        *seeds("santa-e", santa, 0.1, (0.002, 0.0, 0.001), learning_rate=0.1),
        *seeds("santa-e", 0.99, 0.3, learning_rate=1.0),
        *seeds("momentum", 0.75, 0.1, learning_rate=0.1),
        *seeds("momentum", 0.95, 0.2, learning_rate=0.01),
    ]
    write_sweep(tmp_path / "santa-mlp", CONFIG, runs)
    row = find(tmp_path, "Santa-E ends better than SGD with momentum")
    assert row.verdict == verdict
    assert row.interval.mean == pytest.approx(100 * (santa - 0.75), abs=0.01)


def test_decays_are_compared_with_a_constant_rate(tmp_path):
    noise = (0.002, 0.0, 0.001)
    runs = [
        *seeds("momentum", 0.50, schedule="constant"),
        *seeds("momentum", 0.60, noise=noise, schedule="cosine"),
        *seeds("momentum", 0.40, noise=noise, schedule="linear"),
        *seeds("momentum", 0.50, noise=noise, schedule="exponential"),
    ]
    write_sweep(tmp_path / "decay-schemes", CONFIG, runs)
    found = {
        scheme: find(tmp_path, f"A learning rate with {scheme} decay").verdict
        for scheme in ("cosine", "linear", "exponential", "inverse-time")
    }
    expected = [HOLDS, FAILS, UNDECIDED, NOT_RUN]
    assert list(found.values()) == expected


def write_lbfgs(folder, name, own, batch, others):
    """Write L-BFGS on both networks, and what it is compared with."""
    runs = [run for model in own for run in seeds("lbfgs", *own[model], model=model)]
    write_sweep(folder / name, CONFIG, runs)
    for model, (adagrad, sgd) in others.items():
        write_sweep(
            folder / f"b0-{model}{batch}",
            CONFIG,
            [
                *seeds("adagrad-norm", 0.5, adagrad, b0=1.0),
                *seeds("adagrad-norm", 0.9, 2.0, b0=0.1),
            ],
        )
        # Six epochs, of which the first four count.
        later = [
            (name, settings, seed, [*same, *lines(0.99, 0.001, 6)[4:]])
            for name, settings, seed, same in seeds(
                "sgd", sgd, sgd, learning_rate=1.0, schedule="constant"
            )
        ]
        # The best after six epochs, but not after four.
        worse = [
            (name, settings, seed, [*same, *lines(1.0, 0.0001, 6)[4:]])
            for name, settings, seed, same in seeds(
                "sgd", 0.1, 2.0, learning_rate=0.1, schedule="inverse-sqrt"
            )
        ]
        epochs = 4 if batch else 6
        write_sweep(
            folder / f"b0-{model}{batch}-sgd",
            {**CONFIG, "epochs": epochs},
            [(*run[:3], run[3][:epochs]) for run in (*later, *worse)],
        )


@pytest.mark.parametrize(
    ("second", "verdict"), [(0.4, HOLDS), (0.2, FAILS), (None, NOT_RUN)]
)
def test_lbfgs_must_have_the_lowest_train_loss_on_both_networks(
    tmp_path, second, verdict
):
    others = {"logistic": (0.4, 0.5)}
    if second is not None:
        others["mlp"] = (second, 0.5)
    own = {"logistic": (0.5, 0.3), "mlp": (0.5, 0.3)}
    write_lbfgs(tmp_path, "lbfgs-full-batch", own, "-batch", others)
    row = find(tmp_path, "L-BFGS works very well in full batch")
    assert row.verdict == verdict
    # Against the better of two b0, in every seed.
    assert "logistic regression: +0.100" in row.found


@pytest.mark.parametrize(("mlp", "verdict"), [(0.10, HOLDS), (0.699, FAILS)])
def test_lbfgs_is_bad_if_it_is_below_sgd_after_as_many_epochs(tmp_path, mlp, verdict):
    own = {"logistic": (0.6,), "mlp": (mlp,)}
    others = {"logistic": (1.0, 0.7), "mlp": (1.0, 0.7)}
    write_lbfgs(tmp_path, "lbfgs-mini-batch", own, "", others)
    row = find(tmp_path, "L-BFGS gives bad results")
    assert row.verdict == verdict
    # SGD has 99 % after six epochs, which does not count.
    assert "logistic regression: -10.00 [-10.00, -10.00]" in row.found


@pytest.mark.parametrize(
    ("worst", "best", "verdict"),
    [
        (0.11, 0.95, HOLDS),
        (0.25, 0.95, FAILS),
        (0.11, 0.85, FAILS),
        # 20 % is passed in one seed.
        (0.199, 0.95, FAILS),
    ],
)
def test_initial_weights_decide_if_one_fails_where_another_succeeds(
    tmp_path, worst, best, verdict
):
    runs = [
        *seeds("momentum", worst, initializer="gaussian", learning_rate=0.1),
        *seeds("momentum", best, initializer="orthogonal", learning_rate=0.1),
        # At this rate none succeeds.
        *diverged("momentum", initializer="gaussian", learning_rate=0.01),
        *seeds("momentum", 0.5, initializer="orthogonal", learning_rate=0.01),
    ]
    write_sweep(tmp_path / "initializers", CONFIG, runs)
    row = find(tmp_path, "The initial weights decide")
    assert row.verdict == verdict
    assert "gaussian diverged" not in row.found  # counted as guessing: 10 %
    assert "learning rate 0.01: gaussian 10.00±0.00" in row.found


def test_padam_without_correction_is_compared_with_padam_and_sgd(tmp_path):
    write_table(
        tmp_path / "small-image-cifar10",
        padam=[(0.40, 0.800), (0.41, 0.801)],
        momentum=[(0.50, 0.900), (0.51, 0.901)],
        **{"padam-uncorrected": [(0.60, 0.801), (0.61, 0.802)]},
    )
    scale = "small images"
    rows = [
        find(tmp_path, start, scale)
        for start in (
            "At p = 1/8 the correction 'none' ends like",
            "At p = 1/8 the correction 'none' is ahead",
            "Padam without the authors' correction ends",
        )
    ]
    assert [row.interval.mean for row in rows] == pytest.approx([0.1, 20, -9.9])
    assert [row.verdict for row in rows] == [HOLDS, HOLDS, FAILS]


def test_what_is_used_today_is_compared_with_the_tuned_padam(tmp_path):
    assert find(tmp_path, "Padam ends at least as good as Muon").verdict == NOT_RUN
    write_sweep(
        tmp_path / "subset",
        CONFIG,
        [
            *seeds("padam", 0.7, p=0.25, learning_rate=0.1),
            *seeds("adam", 0.6, learning_rate=0.1),
        ],
    )
    noise = (0.001, 0.0, 0.002)
    runs = seeds("muon", 0.8, noise=noise, learning_rate=0.1)
    write_sweep(tmp_path / "subset-muon", CONFIG, runs)
    row = find(tmp_path, "Padam ends at least as good as Muon")
    assert (row.verdict, row.experiment) == (FAILS, "subset-muon")
    row = find(tmp_path, "Muon ends better than Adam")
    assert (row.verdict, row.interval.mean) == (HOLDS, pytest.approx(20, abs=0.01))


@pytest.mark.parametrize(("small", "verdict"), [(0.8, HOLDS), (0.6, FAILS)])
def test_rates_are_compared_at_a_constant_rate(tmp_path, small, verdict):
    write_sweep(
        tmp_path / "subset-southampton",
        CONFIG,
        [
            *seeds("padam", 0.7, p=0.25, learning_rate=0.1),
            *seeds("padam", 0.7, p=0.0625, learning_rate=0.1),
        ],
    )
    noise = (0.001, 0.0, 0.002)
    runs = [
        *seeds("padam", small, noise=noise, p=0.25, learning_rate=0.01),
        *seeds("padam", 0.3, noise=noise, p=0.25, learning_rate=0.001),
        *seeds("padam", 0.3, noise=noise, p=0.0625, learning_rate=0.01),
    ]
    write_sweep(tmp_path / "subset-southampton-rates", CONFIG, runs)
    assert find(tmp_path, "At p = 1/4 the better of").verdict == verdict
    row = find(tmp_path, "At p = 1/16 the learning rate 0.1 ends better than 0.01 ")
    assert (row.verdict, row.interval.mean) == (HOLDS, pytest.approx(40, abs=0.01))
