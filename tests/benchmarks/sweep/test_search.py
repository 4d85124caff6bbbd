"""Searches: what may be searched, and what Optuna makes of it."""

import math

import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from benchmarks import run_dir
from benchmarks.commands import sweep as command
from benchmarks.errors import UsageError
from benchmarks.sweep import runs, search
from benchmarks.sweep.config import SweepConfig
from benchmarks.training.log import StoppedError
from benchmarks.training.resume import RunResult
from tests.helpers.sweeps import make_config

pytestmark = pytest.mark.usefixtures("standard_promotion")

RATES = ("learning_rate=1e-4:1:log",)


def make_search(out, ranges=RATES, trials=4, storage=None, **settings):
    own = {k: settings.pop(k) for k in ("sampler", "pruner") if k in settings}
    train = make_config(out, (), **settings).train
    return SweepConfig(train, search=ranges, trials=trials, storage=storage, **own)


def find_trials(out, study="sweep"):
    return optuna.load_study(study_name=study, storage=f"sqlite:///{out}/sweep.db")


def pretend_to_train(monkeypatch, work=lambda run: None):
    """Let the accuracy be the higher the nearer the rate is to 0.01, at every epoch."""

    def train(self, run, watch):
        work(run)
        error = abs(math.log10(run.point["learning_rate"] / 0.01))
        lines = []
        try:
            for epoch in range(1, run.config.epochs + 1):
                record = {"epoch": epoch, "test_accuracy": 1 - error / 4}
                lines.append(record)
                watch(record)
        except StoppedError as stop:
            return RunResult(lines, str(stop))
        return RunResult(lines)

    monkeypatch.setattr(runs.Runner, "train", train)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("learning_rate=1e-4:1:log", FloatDistribution(1e-4, 1, log=True)),
        ("learning_rate=0:0.5", FloatDistribution(0, 0.5)),
        ("learning_rate=*0.1:*10:log", FloatDistribution(0.01, 1, log=True)),
        ("batch_size=32:256", IntDistribution(32, 256)),
        ("batch_size=32:256:int:log", IntDistribution(32, 256, log=True)),
        ("weight_decay=0:4:int", IntDistribution(0, 4)),
        ("schedule=constant,cosine", CategoricalDistribution(("constant", "cosine"))),
        ("batch_size=32,64,128", CategoricalDistribution((32, 64, 128))),
        ("augment=true,false", CategoricalDistribution((True, False))),
    ],
)
def test_what_is_searched(tmp_path, given, meant):
    space = search.read_space(make_search(tmp_path, (given,)))
    assert search.distributions("sgd", space) == {given.partition("=")[0]: meant}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("learning_rate",), "--search must be name=low:high, .* got 'learning_rate'"),
        (("=1:2",), "--search must be name=low:high"),
        (("learning_rate=1:",), "learning_rate=1:: it cannot be ''"),
        (("learning_rate=a:1",), "learning_rate=a:1: it cannot be 'a'"),
        (("learning_rate=1:2:log:log",), "after the ends .* come :log and :int"),
        (("learning_rate=1:2:exp",), "got 'learning_rate=1:2:exp'.*come :log and :int"),
        (("learning_rate=1:0.1",), "lower end must be below .* 1.0:0.1 for sgd"),
        (("learning_rate=1:1",), "lower end must be below"),
        (("learning_rate=0:1:log",), "logarithmic range must be positive, got 0.0:1.0"),
        (("learning_rate=0.5:2:int",), "0.5 is not a whole number"),
        (("learning_rate=0.1",), "give a range, as 1e-4:1:log, or two or more values"),
        (("learning_rate=*1,*2",), r"make a range, as \*0.1:\*10:log"),
        (("schedule=cosine:constant",), "it is not a number; list its values"),
        (("schedule=cosine,sine",), "it cannot be 'sine'"),
        (("batch_size=32,32",), "each once"),
        (("p=0.1:0.5",), "--search p: sgd has no such setting; it has learning_rate"),
        (("seed=1:2",), "--search seed: sgd has no such setting"),
        ((*RATES, *RATES), "takes each setting once, got learning_rate twice"),
        (("batch_size=64:5000",), "--batch-size must be at most"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_any_work(tmp_path, given, message):
    out = tmp_path / "sweep"
    with pytest.raises(UsageError, match=message) as caught:
        command.run(make_search(out, given))
    assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid": RATES}, "--search and --grid both say what to try"),
        ({"trials": 0}, "--trials must be at least 1, got 0"),
        ({"search": (), "pruner": "asha"}, "--pruner asha needs --search"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, settings, message):
    train = make_config(tmp_path, ()).train
    with pytest.raises(UsageError, match=message):
        SweepConfig(train, **{"search": RATES, **settings})


def test_recipe_and_several_seeds_are_refused(tmp_path):
    with pytest.raises(UsageError, match="--seeds must be 1 with --search, got 2"):
        make_search(tmp_path, seeds=2)
    config = make_search(tmp_path, recipe=("learning_rate=1",))
    with pytest.raises(UsageError, match="--search and --recipe both set learning_r"):
        search.read_space(config)


@pytest.mark.slow
def test_each_optimizer_has_a_search_of_its_own(tmp_path, monkeypatch, capsys):
    pretend_to_train(monkeypatch)
    out = tmp_path / "sweep"
    ranges = ("learning_rate=*0.1:*10:log", "batch_size=32:64")
    config = make_search(out, ranges, 3, optimizers=("sgd", "adam"))
    assert command.run(config) == 0
    lines = run_dir.read(out / "sweep.jsonl")
    assert [line["run"] for line in lines] == [
        f"{name}-trial{i}" for name in ("sgd", "adam") for i in range(3)
    ]
    for line, (low, high) in zip(
        lines, [(0.01, 1)] * 3 + [(1e-4, 0.01)] * 3, strict=True
    ):
        rate, size = line["settings"].values()
        assert low <= rate <= high
        assert size in range(32, 65)
        assert isinstance(size, int)
        assert line["test_accuracy"] == 1 - abs(math.log10(rate / 0.01)) / 4
    assert len({line["settings"]["learning_rate"] for line in lines}) == 6
    for name in ("sgd", "adam"):
        study = find_trials(out, f"sweep-{name}")
        assert [t.intermediate_values.keys() for t in study.trials] == [{1, 2}] * 3
    # The best run of each comes first.
    shown = [word for word in capsys.readouterr().out.split() if "-trial" in word]
    best = {line["run"]: -line["test_accuracy"] for line in lines}
    assert shown == sorted(best, key=lambda run: (run.startswith("adam"), best[run]))


def test_a_search_goes_on_with_the_same_points_and_may_grow(tmp_path, monkeypatch):
    drawn = []

    def stop(run):
        drawn.append((run.name, run.point["learning_rate"]))
        if [name for name, _ in drawn] == ["sgd-trial0", "sgd-trial1"]:
            raise KeyboardInterrupt

    pretend_to_train(monkeypatch, stop)
    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        command.run(make_search(out, trials=3))
    assert command.run(make_search(out, trials=3)) == 0
    assert [name for name, _ in drawn] == [f"sgd-trial{i}" for i in (0, 1, 2, 1)]
    assert drawn[3] == drawn[1]  # taken up again where it was
    del drawn[:]
    assert command.run(make_search(out, trials=5)) == 0
    assert [name for name, _ in drawn] == ["sgd-trial3", "sgd-trial4"]
    with pytest.raises(UsageError, match="sampler was tpe, is random"):
        command.run(make_search(out, trials=5, sampler="random"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tpe", optuna.samplers.TPESampler),
        ("random", optuna.samplers.RandomSampler),
        ("qmc", optuna.samplers.QMCSampler),
    ],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_same_seed_draws_the_same(name, kind):
    space = {"rate": FloatDistribution(1e-4, 1, log=True)}

    def draw(seed):
        study = optuna.create_study()
        for number in range(12):
            study.sampler = search.make_sampler(name, seed)
            trial = study.ask()
            study.sampler = search.make_sampler(name, seed, number)
            study.tell(trial, search.suggest(trial, space)["rate"])
        return [trial.params["rate"] for trial in study.trials]

    assert isinstance(search.make_sampler(name, 0), kind)
    assert draw(0) == draw(0)
    assert len({*draw(0), *draw(1)}) == 24


def test_bad_runs_are_pruned(tmp_path, monkeypatch, capsys):
    pretend_to_train(monkeypatch)
    out = tmp_path / "sweep"
    config = make_search(out, trials=8, pruner="median", sampler="random", epochs=3)
    assert command.run(config) == 0  # it is no failure
    lines = run_dir.read(out / "sweep.jsonl")
    values = [
        1 - abs(math.log10(x["settings"]["learning_rate"] / 0.01)) / 4 for x in lines
    ]
    expected = []
    for i, value in enumerate(values):  # Optuna's rule, after five runs that are whole
        whole = [
            v for v, state in zip(values, expected, strict=False) if state == "complete"
        ]
        worse = value < sorted(values[:i])[i // 2] if i else False
        expected.append("pruned" if len(whole) >= 5 and worse else "complete")
    assert [line["state"] for line in lines][:5] == ["complete"] * 5
    pruned = [line for line in lines if line["state"] == "pruned"]
    assert pruned
    for line in pruned:
        assert line["stopped"] == "pruned after epoch 1"
        assert line["test_accuracy"] is None
    printed = capsys.readouterr()
    assert printed.out.count("pruned after epoch 1") == len(pruned)
    assert printed.err == ""
    states = [trial.state for trial in find_trials(out).trials]
    assert states.count(TrialState.PRUNED) == len(pruned)


class PruneAll(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return True


@pytest.mark.slow
def test_a_pruned_run_ends_with_its_records(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "make_pruner", lambda name: PruneAll())
    out = tmp_path / "sweep"
    config = make_search(out, trials=1, epochs=3, pruner="asha", keep=0)
    assert command.run(config) == 0
    first, stop = run_dir.read(out / "sgd-trial0" / "sgd-seed0.jsonl")
    assert stop == {"run": "sgd", "seed": 0, "stopped": "pruned after epoch 1"}
    (trial,) = find_trials(out).trials
    assert trial.intermediate_values == {1: first["test_accuracy"]}
    # A late worker finds nothing left to do.
    monkeypatch.setattr(runs.Runner, "train", lambda *_: pytest.fail("again"))
    assert command.run(config) == 0


def test_asha_keeps_the_best_quarter():
    """Of 16 trials, of which each is better than the next, at the rungs 1 and 4."""
    study = optuna.create_study(direction="maximize", pruner=search.make_pruner("asha"))
    lengths = []
    for value in range(16, 0, -1):
        trial = study.ask()
        for epoch in range(1, 6):
            trial.report(value, epoch)
            if trial.should_prune():
                break
        lengths.append(epoch)
        study.tell(trial, value)
    assert lengths[0] == 5
    assert set(lengths[1:]) == {1}
