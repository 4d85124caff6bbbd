"""Every experiment of the list starts, and its first step goes down."""

from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from PIL import Image

from benchmarks import data, speed, train
from benchmarks.__main__ import _parse, main
from benchmarks.augmentation import Pixels, Tokens
from benchmarks.data.imagenet import ImageStream
from benchmarks.experiments import EXPERIMENTS, gpu_commands
from benchmarks.optimizers import OPTIMIZERS
from benchmarks.parallel import Parallel
from benchmarks.progress import Progress

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


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_trains_a_step(name):
    experiment = EXPERIMENTS[name]
    config = replace(
        experiment.config, width=2, batch_size=16, epochs=1, workers=0, augment=False
    )
    mode, source = Parallel(count=1), make_source(config.dataset)
    train.check(config, source, mode)
    trainer = train.Trainer(config, source, mode)
    # All optimizers are built; that with which the list begins takes the step, and the
    # others in other tests.
    for optimizer in config.optimizers:
        trainer.build_optimizer(optimizer, config.seed)
    first = config.optimizers[0]
    progress = Progress(name, 0, optax.constant_schedule(0.0), 1, shown=False)
    prepared = trainer.prepare(first)
    state = trainer.initial_state(first, config.seed)
    before = jax.device_get(state.params)
    state, fetch = prepared.train(state, config.seed, {}, None, progress)
    metrics = fetch()
    assert int(state.step) == 1
    assert np.isfinite(metrics.loss).all()
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, state.params)
    assert max(jax.tree.leaves(jax.device_get(moved))) > 0


@pytest.mark.usefixtures("quick_compilation")
def test_commands_for_a_gpu_leave_records_only(tmp_path):
    small = "--dataset digits --model mlp --width 2 --epochs 1 --batch-size 1024"
    options = [*small.split(), "--optimizers", "padam", "--devices", "1"]
    commands = gpu_commands(out=str(tmp_path))
    for command in (commands[0], commands[-2]):
        here = command.index("--data-dir")
        del command[here : here + 2]  # digits need none
        assert main([*command, *options]) == 0
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert "slides-cifar10/padam-seed0.jsonl" in left
    assert "choice-of-p/padam-p0.125-seed0/padam-seed0.jsonl" in left
    assert not any("checkpoints" in name for name in left)


def test_commands_for_a_gpu_exist(tmp_path):
    commands = gpu_commands(str(tmp_path), str(tmp_path / "out"))
    folders = [command[command.index("--out") + 1] for command in commands]
    assert len(set(folders)) == len(folders)
    for command in commands:
        config = _parse(command)
        if command[0] == "speed":
            assert speed.find_shapes(config.trees[0]) == [(100_000_000,)]
            continue
        config = getattr(config, "train", config)
        assert (config.dtype, config.keep, config.resume) == ("bfloat16", 0, True)
        assert config.epochs == 100


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
