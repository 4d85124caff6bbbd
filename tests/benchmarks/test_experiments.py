"""Every experiment of the list starts and takes a step."""

import os
import signal
from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from benchmarks import data, optimizers, run_dir, run_files
from benchmarks.__main__ import _parse, main
from benchmarks.data.imagenet import ImageStream
from benchmarks.data.preprocessing import Pixels, Tokens
from benchmarks.experiments import EXPERIMENTS, find_claims, gpu_commands
from benchmarks.optimizers import OPTIMIZERS
from benchmarks.reporting import views
from benchmarks.reporting.claims.quantities import QUANTITIES
from benchmarks.reporting.statistics import region
from benchmarks.step_time import measure
from benchmarks.training import setup
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.trainer import Trainer
from tests.marks import fast

pytestmark = pytest.mark.usefixtures("standard_promotion")

SHAPES = {"cifar10": (32, 32, 3), "cifar100": (32, 32, 3), "mnist": (28, 28, 1)}
CLASSES = {"cifar100": 100, "imagenet2012": 1000}


def make_source(name):
    """Make a set of 16 examples in the form of the named one."""
    rng = np.random.default_rng(0)
    classes = CLASSES.get(name, 10)
    labels = rng.integers(0, classes, 16).astype(np.int32)
    shape, kind = SHAPES.get(name, (8, 8, 1)), "images"
    if name == "imagenet2012":
        images = rng.integers(0, 256, (16, 48, 40, 3), dtype=np.uint8)
        split = [
            (Image.fromarray(x), int(y)) for x, y in zip(images, labels, strict=True)
        ]
        pixels = Pixels((0.5,) * 3, (0.25,) * 3, padding=0, flip=False)
        shape = (32, 32, 3)
        contents = ImageStream(pixels, split, split, size=32, test_side=36)
    elif name == "tiny_shakespeare":
        shape, kind = (128,), "text"
        text = rng.integers(0, classes, (16, 129)).astype(np.uint8)
        split = data.Split(text[:, :-1], text[:, 1:].astype(np.int32))
        contents = data.Dataset(split, split, Tokens())
    else:
        images = rng.integers(0, 256, (16, *shape), dtype=np.uint8)
        split = data.Split(images, labels)
        pixels = Pixels((0.5,) * shape[-1], (0.25,) * shape[-1], padding=4, flip=True)
        contents = data.Dataset(split, split, pixels)
    return data.Source(name, 16, 16, shape, classes, kind, lambda: contents)


class Traced(DeviceLayout):
    """One device on which programs are traced and return zeros."""

    def init_opt_state(self, init, params):
        return zeros(jax.eval_shape(init, params))

    def compile(self, function, *arguments, **_):
        shapes = jax.eval_shape(function, *arguments)
        return lambda *_: zeros(shapes)


def zeros(tree):
    def make(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        return np.zeros(x.shape, x.dtype)

    return jax.tree.map(make, tree)


def take_a_step(name, layout):
    """Train a narrow network of an experiment for one step, from zeros if traced."""
    config = replace(
        EXPERIMENTS[name].config,
        width=2,
        batch_size=16,
        epochs=1,
        workers=0,
        augment=False,
    )
    source = make_source(config.dataset)
    setup.validate(config, source, layout)
    trainer = Trainer(config, source, layout)
    # All optimizers are built, and the first of the list takes the step.
    for optimizer in config.optimizers:
        trainer.find_optimizer(optimizer, config.seed)
    first = config.optimizers[0]
    prepared = trainer.prepare(first)
    before = trainer.initial_state(first, config.seed)
    copy = jax.device_get(before.params)
    (part,) = trainer.feed.parts(config.seed, 0)
    return copy, *prepared.train(before, part)


# The first of those that train the same network on the same data.
DIFFERENT = {
    (e.config.dataset, e.config.model): name
    for name, e in reversed(EXPERIMENTS.items())
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_suits_its_data_and_its_optimizers_can_be_built(name):
    config = EXPERIMENTS[name].config
    source = replace(make_source(config.dataset), train_size=config.batch_size)
    setup.validate(config, source, DeviceLayout(count=1))
    for optimizer, settings in setup.resolve_hyperparams(config).items():
        optimizers.build(
            optimizer, settings, lambda count: 0.1, optimizers.Run(100, 16, 0)
        )


# Of these the first with each network, but for the largest: they take long to trace.
FAST = {
    model: name
    for (_, model), name in reversed(DIFFERENT.items())
    if not model.startswith(("resnet", "wrn", "vgg16"))
}


@pytest.mark.parametrize("name", fast(DIFFERENT.values(), *FAST.values()))
def test_a_step_of_an_experiment_can_be_traced(name, monkeypatch):
    build = Trainer._build

    def build_zeros(trainer, seed):
        graphs = []

        def weights():
            graph, weights = build(trainer, seed)
            graphs.append(graph)
            return weights

        shapes = jax.eval_shape(weights)
        return graphs[0], zeros(shapes)

    monkeypatch.setattr(Trainer, "_build", build_zeros)
    before, after, metrics = take_a_step(name, Traced(count=1))
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after.params)
    assert metrics.loss.size == metrics.accuracy.size == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_trains_a_step(name):
    before, after, metrics = take_a_step(name, DeviceLayout(count=1))
    assert int(after.step) == 1
    assert np.isfinite(metrics.loss).all()
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, after.params)
    assert max(jax.tree.leaves(jax.device_get(moved))) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slides-cifar10", "choice-of-p"])
def test_a_command_for_a_gpu_that_is_cut_off_goes_on(name, tmp_path, monkeypatch):
    small = "--dataset digits --model mlp --width 2 --epochs 4 --batch-size 1024"
    options = [*small.split(), "--optimizers", "padam", "--devices", "1"]
    command = next(x for x in gpu_commands(out=str(tmp_path)) if x[1] == name)
    here = command.index("--data-dir")
    del command[here : here + 2]  # digits need none
    # As `timeout` does: SIGTERM once the first epoch of the second run is recorded.
    append, cut = run_dir.append, []

    def append_and_cut(path, line):
        append(path, line)
        if path.name == "padam-seed1.jsonl" and not cut:
            cut.append(path.read_bytes())
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(run_dir, "append", append_and_cut)
    assert main([*command, *options]) == 143
    assert main([*command, *options]) == 0
    # Its first epoch is not trained again: "seconds" would differ.
    found = list((tmp_path / name).rglob("padam-seed1.jsonl"))
    assert any(path.read_bytes().startswith(cut[0]) for path in found)
    assert all(len(run_dir.read(path)) == 4 for path in found)
    copy = run_files.publish(tmp_path / name, tmp_path / "results")
    left = run_files.load(copy).files
    assert any(path.endswith("padam-seed2.jsonl") for path in left)
    assert not any("checkpoints" in path for path in left)


def test_commands_for_a_gpu_exist(tmp_path):
    commands = gpu_commands(str(tmp_path), str(tmp_path / "out"))
    folders = [command[command.index("--out") + 1] for command in commands]
    assert len(set(folders)) == len(folders)
    for command in commands:
        config = _parse(command)
        if command[0] == "speed":
            assert measure.find_shapes(config.trees[0]) == [(100_000_000,)]
            continue
        config = getattr(config, "train", config)
        assert (config.dtype, config.keep, config.resume) == ("bfloat16", 1, True)
        # Fewer seeds would decide none of the claims.
        assert (config.epochs, config.seeds) == (100, 3)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_baselines_are_other_experiments_of_the_same_length(name):
    own = EXPERIMENTS[name].config
    for entry in EXPERIMENTS[name].baseline:
        other, optimizer = entry.split()[0].split("/")
        config = EXPERIMENTS[other].config
        assert optimizer in config.optimizers
        same = ("dataset", "model", "width", "epochs", "batch_size", "milestones")
        assert all(getattr(config, x) == getattr(own, x) for x in same)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_is_swept_exists(name):
    experiment = EXPERIMENTS[name]
    fields = set(vars(experiment.config))
    for line in experiment.grid:
        setting, _, values = line.partition("=")
        assert len(set(values.split(","))) > 1
        for optimizer in experiment.config.optimizers:
            assert setting in fields | set(OPTIMIZERS[optimizer].recipe)


def test_every_claim_can_be_judged_and_every_experiment_shown():
    claims = find_claims()
    assert len(claims) == sum(len(x.claims) for x in EXPERIMENTS.values())
    for claim in claims:
        experiments = {x.split("/")[0] for x in (claim.first, claim.second) if x}
        assert {*experiments, claim.experiment} <= EXPERIMENTS.keys()
        region(claim.relation, 0.5)  # knows the relation
        assert claim.quantity in QUANTITIES
    assert {x.view for x in EXPERIMENTS.values()} == {"", *views.VIEWS}
    assert {x.within for x in EXPERIMENTS.values()} <= {"", *EXPERIMENTS}
