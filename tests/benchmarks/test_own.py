"""Networks, data sets, optimizers, losses and metrics of the user's own."""

import hashlib
import json
import re
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import data, models, optimizers, own, run_dir
from benchmarks.__main__ import main
from benchmarks.errors import UsageError
from benchmarks.optimizers.evaluation import find_eval_params, with_ema
from benchmarks.optimizers.factories import from_transformation
from benchmarks.reporting.plots import curves
from benchmarks.sweep import grid as grids
from benchmarks.sweep.config import SweepConfig
from benchmarks.training.config import TrainConfig
from benchmarks.training.objective import make_objective

pytestmark = pytest.mark.usefixtures("standard_promotion")

MODULE = '''
    """What a user might write."""

    import numpy as np
    import optax
    from flax import nnx


    class Net(nnx.Module):
        def __init__(self, input_shape, classes, rngs, hidden=4, rate=0.5):
            self.dense = nnx.Linear(input_shape[0], hidden, rngs=rngs)
            self.dropout = nnx.Dropout(rate, rngs=rngs)
            self.head = nnx.Linear(hidden, classes or 1, rngs=rngs)

        def __call__(self, x):
            return self.head(self.dropout(nnx.relu(self.dense(x))))


    def needs_depth(depth, rngs):
        return Net((3,), 2, rngs)


    def two_logits(rngs):
        class Two(nnx.Module):
            def __init__(self):
                self.dense = nnx.Linear(1, 2, rngs=rngs)

            def __call__(self, x):
                return self.dense(x[:, 0, 0])

        return Two()


    def not_a_network(rngs):
        return 3


    def two_clouds(size=60):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, size)
        inputs = rng.normal(size=(size, 3)) + 3 * labels[:, None]
        half = size // 2
        return (inputs[:half], labels[:half]), (inputs[half:], labels[half:])


    def regression():
        (x, _), (z, _) = two_clouds()
        return (x, x[:, :1]), (z, z[:, :1])


    def average(learning_rate: float, decay=0.5, nesterov=False):
        return optax.sgd(learning_rate, decay, nesterov)


    def decayed(learning_rate, decay=0):
        return optax.chain(optax.add_decayed_weights(decay), optax.sgd(learning_rate))


    def doubled(learning_rate):
        return optax.sgd(2 * learning_rate)


    def nothing(learning_rate):
        return learning_rate


    def needs_memory(learning_rate, memory):
        return optax.sgd(learning_rate)


    ready = optax.sgd(0.1)


    def absolute_error(outputs, targets):
        return abs(outputs - targets)


    def averaged(outputs, targets):
        return abs(outputs - targets).mean()
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """A module in the current folder."""
    (tmp_path / "mine.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "imports.py").write_text("import there_is_no_such_package")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(curves, "draw_curves", lambda *_: None)  # takes long
    return tmp_path


def test_network_data_and_optimizers_of_ones_own_are_trained(module):
    (inputs, labels), (test_inputs, test_labels) = own.find(
        "", "mine:two_clouds"
    ).value()
    np.savez(
        module / "clouds.npz",
        x_train=inputs,
        y_train=labels,
        x_test=test_inputs,
        y_test=test_labels,
    )
    names = ("optax:lion,learning_rate=0.1", "mine:ready", "padam")
    command = "train --data clouds.npz --model mine:Net,hidden=5 --epochs 2"
    command += " --batch-size 10 --devices 1 --keep 0 --schedule constant --out run"
    assert main([*command.split(), "--optimizers", *names]) == 0
    config = run_dir.read_json(module / "run" / "config.json")
    assert config["recipes"][names[0]]["learning_rate"] == 0.1
    assert config["data"]["kind"] == "arrays"
    assert config["data"]["input_shape"] == [3]
    # Each is known by its file, whatever becomes of it.
    written = hashlib.sha256((module / "mine.py").read_bytes()).hexdigest()
    assert config["own"]["mine:Net,hidden=5"] == {"file": "mine.py", "sha256": written}
    assert config["own"]["mine:ready"] == {"file": "mine.py", "sha256": written}
    assert config["own"][names[0]]["file"] == "alias.py"  # of Optax
    assert config["own"]["clouds.npz"]["file"] == "clouds.npz"
    lines = run_dir.read(module / "run" / "mine_ready-seed0.jsonl")
    assert [line["learning_rate"] for line in lines] == [None, None]  # unknown
    lines = run_dir.read(module / "run" / "optax_lion_learning_rate_0.1-seed0.jsonl")
    assert [line["learning_rate"] for line in lines] == [0.1, 0.1]


def test_loss_and_metric_of_ones_own_are_recorded_and_judged(module, capsys):
    command = "train --data mine:regression --model mine:Net,rate=0 --epochs 2"
    command += " --batch-size 10 --devices 1 --keep 0 --optimizers adam --out run"
    command += " --loss optax:squared_error --metric mine:absolute_error --minimize"
    assert main(command.split()) == 0
    lines = run_dir.read(module / "run" / "adam-seed0.jsonl")
    assert lines[1]["test_absolute_error"] < lines[0]["test_absolute_error"]
    assert not [name for name in lines[0] if "accuracy" in name]
    printed = " ".join(capsys.readouterr().out.split())
    assert "test absolute error after an epoch" in printed
    # |x| and x² of the same outputs: the mean square is at least the squared mean.
    for line in lines:
        assert line["test_loss"] >= line["test_absolute_error"] ** 2


def test_dropout_draws_anew_at_each_step_and_not_in_evaluation():
    row = models.lookup("mine:Net,rate=0.5")
    from flax import nnx

    network = row.build(
        width=0,
        input_shape=(3,),
        classes=2,
        initializer=None,
        dtype=jnp.float32,
        axis_name=None,
        rngs=nnx.Rngs(0),
    )
    x = jnp.ones((50, 3))
    network.train()
    first, second = network(x), network(x)
    network.eval()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(network(x), network(x))


def test_a_share_whose_default_is_a_whole_number_is_not_rounded():
    assert optimizers.recipe("mine:decayed", {"decay": 0.5})["decay"] == 0.5
    kept = optimizers.recipe("mine:decayed", {"decay": 1.0})["decay"]
    assert (kept, type(kept)) == (1, int)


def test_the_signature_of_a_factory_is_its_recipe():
    row = optimizers.lookup("mine:average,decay=0.9")
    assert row.recipe == {"learning_rate": 1e-3, "decay": 0.9, "nesterov": False}
    changed = optimizers.recipe(
        "mine:average", {"nesterov": "true", "learning_rate": 0.5}
    )
    assert changed == {"learning_rate": 0.5, "decay": 0.5, "nesterov": True}
    # A rate that says it is a number gets one, others a schedule.
    run = optimizers.Run(10, 10, 0)
    tx = optimizers.build("mine:average", changed, lambda count: 7.0, run)
    g = jnp.array([1.0])
    step, _ = tx.update(g, tx.init(g))
    np.testing.assert_allclose(step, [-0.5 * (1 + 0.5)])  # Nesterov's first step
    tx = optimizers.build(
        "optax:sgd",
        optimizers.recipe("optax:sgd", {}),
        optax.linear_schedule(7.0, 0.0, 2),
        run,
    )
    state = tx.init(g)
    for expected in (-7.0, -3.5):
        step, state = tx.update(g, state)
        np.testing.assert_allclose(step, [expected])


def test_recipe_and_grid_reach_a_factory():
    name = "mine:average,decay=0.9"
    config = SweepConfig(
        TrainConfig(
            optimizers=(name, "momentum"),
            recipe=(f"{name}:learning_rate=0.5",),
        ),
        grid=("weight_decay=0,1",),
    )
    with pytest.raises(UsageError, match=r"--grid weight_decay: mine:average.* has no"):
        grids.read_grid(config)
    train = TrainConfig(optimizers=(name,), recipe=(f"{name}:learning_rate=0.5",))
    grid = grids.read_grid(
        SweepConfig(train, grid=("decay=0.1,0.2", "nesterov=true,false"))
    )
    runs = grids.plan(train, grid)
    assert len(runs) == 4
    first = next(iter(runs.values()))
    assert first.name == "mine_average_decay_0.9-decay0.1-nesterovTrue-seed0"
    assert first.config.recipe == ("learning_rate=0.5", "decay=0.1", "nesterov=True")


def test_lookahead_is_evaluated_at_its_slow_weights(monkeypatch):
    tx = optax.lookahead(optax.sgd(1.0), sync_period=2, slow_step_size=0.25)
    row = from_transformation("slow", tx)
    trained: optax.GradientTransformationExtraArgs = row.build()
    params, g = jnp.array([4.0]), jnp.array([1.0])
    state = trained.init(params)
    read = find_eval_params(state)
    assert read is not None
    found = []
    for _ in range(4):
        step, state = trained.update(g, state, params)
        params = optax.apply_updates(params, step)
        found.append((float(params[0]), float(read(state, params)[0])))
    # Two steps of -1, then a quarter of the way: 4 - 0.5 = 3.5, and again.
    assert found == [(3.0, 4.0), (3.5, 3.5), (2.5, 3.5), (3.0, 3.0)]


def test_an_average_of_the_weights_is_evaluated_through_accumulation():
    tx = optax.MultiSteps(with_ema(optax.sgd(1.0), decay=0.75), 2)
    params = jnp.array([4.0])
    state = tx.init(params)
    read = find_eval_params(jax.eval_shape(tx.init, params))
    assert read is not None
    for _ in range(4):  # two steps of -1
        step, state = tx.update(jnp.array([1.0]), state, params)
        params = optax.apply_updates(params, step)
    # 0.75 (0.75 · 4 + 0.25 · 3) + 0.25 · 2
    np.testing.assert_allclose(read(state, params), [0.75 * 3.75 + 0.5])
    assert find_eval_params(optax.adam(0.1).init(params)) is None


@pytest.mark.parametrize(
    ("find", "message"),
    [
        (lambda: optimizers.lookup("mine:avarage"), "did you mean average"),
        (lambda: optimizers.lookup("nowhere:f"), "no module 'nowhere' in"),
        (lambda: optimizers.lookup("mine.py:average"), "not a file: mine:average"),
        (lambda: optimizers.lookup("broken:f"), "ZeroDivisionError.*fix it first"),
        (lambda: optimizers.lookup("imports:f"), "imports there_is_no_such_package"),
        (lambda: optimizers.lookup("sgld"), "'sgld' does not exist"),
        (lambda: optimizers.lookup("fromage"), "write optax:fromage"),
        (lambda: optimizers.lookup("mine:average,beta=1"), "no parameter beta; it has"),
        (lambda: optimizers.lookup("mine:average,decay"), "settings like p=0.25"),
        (lambda: optimizers.lookup("mine:needs_memory"), "needs memory: give mine:nee"),
        (lambda: build("mine:nothing"), "must return an optax.GradientTransformation"),
        (lambda: build("mine:doubled"), "learning_rate: float"),
        (lambda: models.lookup("mine:needs_depth"), "needs depth: give mine:needs_dep"),
        (lambda: models.lookup("mine:Net,depth=1"), "no parameter depth"),
        (lambda: make("mine:not_a_network"), "must make a flax.nnx.Module, got int"),
        (lambda: make("mine:Net", width=7), "--width does not suit --model mine:Net"),
        (lambda: data.find("none.npz", None), "none.npz is neither a .npz file nor"),
        (lambda: data.find("mine:ready", None), "function or a class"),
        (lambda: data.find("mine:two_clouds,n=3", None), "no parameter n; it has size"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(find, message):
    with pytest.raises(UsageError, match=message) as refused:
        find()
    assert "\n" not in str(refused.value)


def test_a_loss_that_does_not_fit_the_outputs_is_refused():
    source = data.find("digits", None)
    objective = make_objective(lambda outputs, labels: outputs - labels, None, source)
    with pytest.raises(UsageError, match=r"--loss cannot take .*\(3, 2\).*\(3,\)"):
        objective.measure(jnp.ones((3, 2)), jnp.zeros(3, int))


def build(name):
    settings = optimizers.recipe(name, {})
    run = optimizers.Run(1, 1, 0)
    return optimizers.build(name, settings, lambda count: 0.1, run)


def make(name, width=0):
    from flax import nnx

    return models.lookup(name).build(
        width=width,
        input_shape=(3,),
        classes=2,
        initializer=None,
        dtype=jnp.float32,
        axis_name=None,
        rngs=nnx.Rngs(0),
    )


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("--data mine:regression --model mine:Net", "give --loss, as --loss optax:squ"),
        (
            "--data mine:regression --loss mine:averaged --model mine:Net "
            "--batch-size 10",
            "--loss must return a number for each of the 2 examples",
        ),
        ("--model mine:two_logits", r"to the shape \(2, 2\); it must be \(2, 10\)"),
        ("--loss squared_error", "--loss squared_error must be module:function"),
        ("--optimizers mine:average mine_average", "would write to the same file"),
        ("--model mine:Net", "mine:Net cannot take inputs of the shape .8, 8, 1."),
    ],
)
def test_what_cannot_be_trained_is_refused(capsys, command, message):
    options = ["--epochs", "1", "--devices", "1", "--keep", "0", "--out", "run"]
    assert main(["train", *command.split(), *options]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert json.dumps(error).count("\\n") == 1
