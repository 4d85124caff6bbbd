"""Comparisons from Python and of folders."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optax
import pytest
from flax import nnx

from benchmarks import comparison, run_dir
from benchmarks.__main__ import main
from benchmarks.comparison import compare
from benchmarks.errors import UsageError
from benchmarks.paths import ROOT
from benchmarks.reporting import together
from benchmarks.training import monitoring
from padam_optax import padam

pytestmark = pytest.mark.usefixtures("standard_promotion")

rng = np.random.default_rng(0)
LABELS = rng.integers(0, 2, 40)
INPUTS = rng.normal(size=(40, 3)) + 4 * LABELS[:, None]
DATA = (INPUTS, LABELS), (INPUTS, LABELS)


class Net(nnx.Module):
    def __init__(self, input_shape, classes, rngs):
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.dense = nnx.Linear(input_shape[0], classes or 1, rngs=rngs)

    def __call__(self, x):
        return self.dense(self.dropout(x))


@pytest.mark.slow
def test_lion_and_schedule_free_beside_padam(tmp_path):
    free: Any = optax.contrib.schedule_free_adamw(0.1)
    candidates = {"lion": optax.lion(0.03), "padam": padam(0.1), "free": free}
    before = {p: p.stat().st_mtime_ns for p in ROOT.glob("*.md")}
    out = tmp_path / "run"
    found = compare(Net, DATA, candidates, epochs=2, batch_size=10, out=out)
    assert {name: len(runs[0]) for name, runs in found.runs.items()} == {
        "lion": 2,
        "padam": 2,
        "free": 2,
    }
    assert found.diverged == []
    for name in candidates:
        assert name in str(found)
        assert name in found._repr_html_()
        assert run_dir.read(out / f"{name}-seed0.jsonl") == found.runs[name][0]
    loss, error = found.figure.axes
    assert [line.get_label() for line in loss.lines] == list(candidates)
    np.testing.assert_allclose(
        error.lines[0].get_ydata(),
        [100 * (1 - line["test_accuracy"]) for line in found.runs["lion"][0]],
    )
    assert {p: p.stat().st_mtime_ns for p in ROOT.glob("*.md")} == before
    # The folder can be compared like that of any run.
    assert together.gather([out]).runs == found.runs


def test_targets_are_compared_by_a_loss_of_ones_own():
    targets = INPUTS[:, :1] + 1
    data = (INPUTS, targets), (INPUTS, targets)
    found = compare(
        Net(  # the very weights
            (3,), 0, nnx.Rngs(0)
        ),
        data,
        {"still": optax.set_to_zero()},
        epochs=1,
        batch_size=40,
        loss=optax.squared_error,
    )
    network = Net((3,), 0, nnx.Rngs(0))
    network.eval()
    expected = np.mean((network(INPUTS.astype(np.float32)) - targets) ** 2)
    [[record]] = found.runs["still"]
    np.testing.assert_allclose(record["test_loss"], expected, rtol=1e-5)
    assert "test loss after an epoch" in " ".join(str(found).split())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizers": {}}, "at least one transformation, got none"),
        ({"optimizers": {"a": optax.adam}}, r"optimizers\['a'\] must be an optax.Grad"),
        ({"optimizers": [padam(0.1)]}, "optimizers must be a dict .* got list"),
        ({"optimizers": padam(0.1)}, "optimizers must be a dict"),
        ({"optimizers": {1: padam(0.1)}}, "optimizers must have names .* got 1"),
        ({"epochs": 1.5}, "--epochs must be an int, got 1.5 of type float"),
        ({"batch_size": "8"}, "--batch-size must be an int, got '8' of type str"),
        ({"seed": 0.5}, "--seed must be an int, got 0.5"),
        ({"data": (INPUTS, LABELS)}, r"must be \(\(inputs, labels\)"),
        ({"data": ((INPUTS, INPUTS), (INPUTS, INPUTS))}, "loss=optax.squared_error"),
        ({"model": "resnet"}, "--model 'resnet' does not exist"),
        ({"batch_size": 50}, "--batch-size must be at most 40"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    arguments = {"model": Net, "data": DATA, "optimizers": {"a": padam(0.1)}}
    with pytest.raises(UsageError, match=message):
        compare(**{**arguments, "epochs": 1, **changes})


def write_run(folder, accuracy, **settings):
    """Write what `train` leaves of a run with two epochs."""
    config = {"dataset": "clouds", "model": "net", "epochs": 2, "seed": 0, "seeds": 1}
    recipes = {"sgd": {"label": "SGD", "learning_rate": 0.1}}
    folder.mkdir()
    run_dir.write_json(
        folder / "config.json", {**config, "recipes": recipes, **settings}
    )
    run_dir.write_json(folder / "header.json", {"kind": "train"})
    for epoch in (1, 2):
        record = {"epoch": epoch, "train_loss": 1.0, "test_loss": 1.0, "seconds": 1.0}
        record["test_accuracy"] = accuracy
        run_dir.append(folder / "sgd-seed0.jsonl", record)
    return folder


def test_folders_are_shown_together_without_claims(tmp_path, capsys):
    one = write_run(tmp_path / "one", 0.25)
    two = write_run(tmp_path / "two", 0.75)
    plot = tmp_path / "both.svg"
    assert main(["compare", str(one), str(two), "--out", str(plot)]) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if line.strip()]
    assert ["SGD", "(one)", "1.0000", "25.00", "25.00", "1.00"] in rows
    assert ["SGD", "(two)", "1.0000", "75.00", "75.00", "1.00"] in rows
    assert "claim" not in printed
    assert "<svg" in plot.read_text()


def test_folders_that_cannot_be_compared_are_refused(tmp_path, capsys):
    one = write_run(tmp_path / "one", 0.25)
    text = write_run(tmp_path / "text", 0.25, data={"kind": "text", "classes": 5})
    (tmp_path / "empty").mkdir()
    for folders, message in (
        ([one, text], "compare runs that are judged alike"),
        ([tmp_path / "empty"], "empty holds no run"),
        ([], "compare needs the folders of one or more runs"),
    ):
        assert main(["compare", *map(str, folders)]) == 2
        assert message in capsys.readouterr().err


def test_a_notebook_shows_the_bar(monkeypatch):
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    shown = []
    monkeypatch.setattr(
        monitoring, "tqdm", lambda **settings: shown.append(settings["disable"])
    )
    rate = optax.constant_schedule(0.1)
    monitoring.Progress("padam", 10, rate, 1)
    kernel = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monitoring.Progress("padam", 10, rate, 1)
    assert shown == [None, False]  # as a terminal decides; always


def test_the_package_offers_it_without_importing_jax_before():
    import benchmarks

    assert benchmarks.compare is comparison.compare
    with pytest.raises(AttributeError, match="compere"):
        _ = benchmarks.compere
    assert "jax" not in Path(benchmarks.__file__).read_text()


def test_a_plot_that_cannot_be_written_is_one_line(tmp_path, capsys):
    run, plot = write_run(tmp_path / "one", 0.25), tmp_path / "plot.png"
    plot.mkdir()
    assert main(["compare", str(run), "--out", str(plot)]) == 2
    error = f"error: {plot} cannot be used (Is a directory); name a file or folder "
    assert capsys.readouterr().err.startswith(error)
