"""The options of a run, in the groups that --help shows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

# What fields say of themselves. It changes no result, and may differ on --resume:
_ASIDE = {"affects_results": False}
# Moreover each of several processes may have its own:
_OWN = {**_ASIDE, "same_in_all_processes": False}
# It changes results, but is no single setting that a grid could have:
_SINGLE = {"in_grid": False}

Schedule = Literal[
    "multi-stage",
    "cosine",
    "linear",
    "exponential",
    "inverse-time",
    "inverse-sqrt",
    "constant",
]


@dataclass(frozen=True)
class DataOptions:
    """What to train and to evaluate on."""

    dataset: Annotated[str, tyro.conf.arg(aliases=["--data"])] = "digits"
    """digits (comes with scikit-learn); a TFDS builder of images and labels: cifar10,
    cifar100, mnist, fashion_mnist, svhn_cropped, imagenet2012, ...; tiny_shakespeare;
    or your own: a .npz file, a folder with train/CLASS/ and test/CLASS/ images, or
    module:function that returns them."""
    data_dir: Path | None = field(default=None, metadata=_OWN)
    """Folder with data sets prepared in array_record format; by default what
    TFDS_DATA_DIR names, else ~/tensorflow_datasets."""
    examples: int | None = None
    """Train on this many examples only: the first ones of each class, as many of each;
    by default on all."""
    validate: bool = False
    """Evaluate on examples held out from the training set instead of the test set,
    which is not used: with --examples on the next as many of each class, else on the
    last tenth of the training set."""
    side: int | None = None
    """Reduce images to this height and width: means over square blocks of pixels,
    rounded to 8 bits; it must divide the images' own side."""
    label_noise: float = 0.0
    """Share of the training labels that are replaced by another class, drawn once and
    the same for all seeds; labels of validation and test sets stay right."""
    augment: bool = True
    """Shift the training images at random, and mirror those of CIFAR."""
    workers: int = field(default=8, metadata=_OWN)
    """Threads that read and decode images of sets too large for memory."""


@dataclass(frozen=True)
class ModelOptions:
    """What to train, and what for."""

    model: str = "vgg-small"
    """The network; `python -m benchmarks list models` shows all there are. Or
    module:factory of a flax.nnx.Module, which gets what it has parameters for of
    width, input_shape, classes, initializer, dtype, axis_name and rngs."""
    width: int | None = None
    """Channels of the first layer, the others in proportion; by default as
    published."""
    initializer: str | None = None
    """How weights are drawn at first, instead of as published; `python -m benchmarks
    list initializers` shows all there are."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; weights and statistics stay float32."""
    loss: str | None = None
    """module:function from outputs and labels to a loss for each example, as
    optax:squared_error; by default the cross-entropy."""
    metric: str | None = field(default=None, metadata=_SINGLE)
    """module:function from outputs and labels to a number for each example, whose mean
    is judged instead of the accuracy, the more the better."""
    minimize: bool = field(default=False, metadata=_SINGLE)
    """The less of --metric the better."""


@dataclass(frozen=True)
class OptimizationOptions:
    """How to train."""

    optimizers: tuple[str, ...] = field(
        default=("momentum", "adam", "amsgrad", "padam"), metadata=_SINGLE
    )
    """Which to compare; `python -m benchmarks list optimizers` shows all there are. Or
    module:factory, as optax:lion,b1=0.95; its parameters are its recipe, with a
    learning rate of 0.001 if it has no default."""
    recipe: tuple[str, ...] = field(default=(), metadata=_SINGLE)
    """Settings that replace those of the optimizers' recipes, as p=0.25
    learning_rate=0.01, which each optimizer must have; with a name in front, as
    adam:b2=0.999 or
    optax:lion:b1=0.95, those of one optimizer."""
    epochs: int = 100
    """Passes over the training set."""
    batch_size: int = 128
    """Examples per step of the optimizer, over all devices together."""
    accumulate: int = 1
    """Parts in which a batch is computed one after the other, to save memory; each
    part has BatchNorm statistics of its own."""
    schedule: Schedule = "multi-stage"
    """How the learning rate falls. multi-stage: divided by ten at the milestones;
    cosine, linear, exponential, inverse-time: to --final-share of it at the end;
    inverse-sqrt: over the root of the step's number."""
    warmup: float = 0.0
    """Share of the run in which the learning rate rises from 0 in a line; the schedule
    takes the rest, but the milestones are shares of the whole run."""
    milestones: tuple[float, ...] = field(default=(0.3, 0.6, 0.8), metadata=_SINGLE)
    """Shares of the run at which the multi-stage schedule divides by ten. The linear
    one reaches its end at the first of them if only one is given."""
    final_share: float = 0.0
    """What is left of the learning rate at the end of the other schedules."""
    seed: int = field(default=0, metadata=_SINGLE)
    """Determines the initial weights, the batches and the augmentation."""
    seeds: int = field(default=1, metadata=_SINGLE)
    """Runs of each optimizer, with this and the following seeds."""


@dataclass(frozen=True)
class DeviceOptions:
    """Where to train."""

    parallel: Literal["jit", "pmap"] = field(default="jit", metadata=_ASIDE)
    """On all devices, each with its share of a batch: under jit on a mesh, where
    BatchNorm sees the whole batch by itself, or under pmap."""
    devices: int | None = field(default=None, metadata=_ASIDE)
    """How many of the devices to use, the first ones; by default all."""
    shard_optimizer: bool = field(default=False, metadata=_ASIDE)
    """Divide the optimizer's state among the devices (ZeRO-1), with --parallel jit."""
    coordinator: str | None = field(default=None, metadata=_OWN)
    """host:port where the first of several processes listens, the same for all; or
    auto, under SLURM, Open MPI or on a TPU pod, which tell it and the two below."""
    num_processes: int | None = field(default=None, metadata=_ASIDE)
    """How many processes take part."""
    process_id: int | None = field(default=None, metadata=_OWN)
    """Which of them this is, from 0."""
    timeout: int = field(default=60, metadata=_OWN)
    """Seconds to wait for the other processes at the start."""


@dataclass(frozen=True)
class CheckpointOptions:
    """What is written, and how a run goes on."""

    out: Path | None = field(default=None, metadata=_OWN)
    """Folder for records, checkpoints and plot; must not hold anything yet. By default
    a new one under runs/, named after the data set and the time."""
    resume: bool = field(default=False, metadata=_ASIDE)
    """Go on with the runs in --out where their last checkpoints stand, or begin them.
    The other settings must be what they were, but for devices and folders."""
    checkpoint_seconds: float = field(default=60.0, metadata=_ASIDE)
    """Save at the end of an epoch (a step, for sets too large for memory) if this long
    has passed since the last time; also at the end of a run and on SIGTERM."""
    keep: int = field(default=2, metadata=_ASIDE)
    """Latest checkpoints that are kept of each run; the best is kept besides. With 0
    none are written, and a run that ends early begins anew."""
    diagnostics: bool = field(default=False, metadata=_ASIDE)
    """Record per epoch also the distance from the initial weights and, where there is
    a second moment, quantiles of the effective learning rates and the share of weights
    where the running maximum binds."""
    tensorboard: bool = field(default=False, metadata=_ASIDE)
    """Write event files for TensorBoard, too."""
    profile: bool = field(default=False, metadata=_ASIDE)
    """Measure what data and bookkeeping add to the bare steps, and write a profile of
    JAX; nothing is trained."""
