"""The options of a run, in the groups that --help shows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

# Metadata of fields. It does not change results, and may differ on --resume:
_ASIDE = {"affects_results": False}
# The same, and it may also differ between processes:
_OWN = {**_ASIDE, "same_in_all_processes": False}
# It changes results, but cannot be in a grid:
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
    or your own: an .npz file, a folder with train/CLASS/ and test/CLASS/ images, or a
    module:function that returns arrays."""
    data_dir: Path | None = field(default=None, metadata=_OWN)
    """Folder with data sets in array_record format; by default TFDS_DATA_DIR, else
    ~/tensorflow_datasets."""
    examples: int | None = None
    """Train on only this many examples: the first ones of each class, equally many of
    each; by default on all."""
    validate: bool = False
    """Evaluate on examples held out from the training set; the test set is not read.
    With --examples they are the next ones, equally many of each class; else the last
    tenth of the training set."""
    side: int | None = None
    """Downsample images to this height and width by the mean over square blocks,
    rounded to 8 bits; it must divide the images' size."""
    label_noise: float = 0.0
    """Fraction of the training labels to replace by another class, drawn once and the
    same for all seeds; validation and test labels are not changed."""
    augment: bool = True
    """Shift the training images at random, and flip those of CIFAR."""
    workers: int = field(default=8, metadata=_OWN)
    """Threads that read and decode images of data sets too large for memory."""


@dataclass(frozen=True)
class ModelOptions:
    """What to train."""

    model: str = "vgg-small"
    """The network; `python -m benchmarks list models` shows all. Or your own, as
    module:factory of a flax.nnx.Module that accepts any of the keywords width,
    input_shape, classes, initializer, dtype, axis_name and rngs."""
    width: int | None = None
    """Channels of the first layer; the others scale with it. By default as
    published."""
    initializer: str | None = None
    """How to initialize the weights, instead of as published; `python -m benchmarks
    list initializers` shows all."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of the computation; weights and statistics stay float32."""
    loss: str | None = None
    """module:function of outputs and labels that returns a loss for each example, as
    optax:squared_error; by default the cross-entropy."""
    metric: str | None = field(default=None, metadata=_SINGLE)
    """module:function of outputs and labels that returns a number for each example; its
    mean is reported instead of the accuracy, and higher is better."""
    minimize: bool = field(default=False, metadata=_SINGLE)
    """Lower is better for --metric."""


@dataclass(frozen=True)
class OptimizationOptions:
    """How to train."""

    optimizers: tuple[str, ...] = field(
        default=("momentum", "adam", "amsgrad", "padam"), metadata=_SINGLE
    )
    """The optimizers to compare; `python -m benchmarks list optimizers` shows all. Or
    module:factory, as optax:lion,b1=0.95: its parameters are the recipe, with a
    learning rate of 0.001 if it has no default."""
    recipe: tuple[str, ...] = field(default=(), metadata=_SINGLE)
    """Settings that override the optimizers' recipes, as p=0.25 learning_rate=0.01;
    every optimizer must have them. With a name in front, as adam:b2=0.999 or
    optax:lion:b1=0.95, they are for one optimizer."""
    epochs: int = 100
    """Passes over the training set."""
    batch_size: int = 128
    """Examples per step of the optimizer, over all devices."""
    accumulate: int = 1
    """Gradient accumulation: number of parts in which to compute a batch, to save
    memory; each part has its own BatchNorm statistics."""
    schedule: Schedule = "multi-stage"
    """How the learning rate decays. multi-stage: divided by ten at the milestones;
    cosine, linear, exponential, inverse-time: to --final-share of it at the end;
    inverse-sqrt: divided by the square root of the step."""
    warmup: float = 0.0
    """Fraction of the run over which the learning rate rises linearly from 0; the
    schedule spans the rest, but milestones are fractions of the whole run."""
    milestones: tuple[float, ...] = field(default=(0.3, 0.6, 0.8), metadata=_SINGLE)
    """Fractions of the run at which the multi-stage schedule divides by ten. The linear
    schedule ends at the first one if only one is given."""
    final_share: float = 0.0
    """The final learning rate of the other schedules, as a fraction of the initial."""
    seed: int = field(default=0, metadata=_SINGLE)
    """Determines the initial weights, the batches and the augmentation."""
    seeds: int = field(default=1, metadata=_SINGLE)
    """Runs of each optimizer, with this and the following seeds."""


@dataclass(frozen=True)
class DeviceOptions:
    """Where to train."""

    parallel: Literal["jit", "pmap"] = field(default="jit", metadata=_ASIDE)
    """How to split a batch over all devices: by jit on a mesh, where BatchNorm sees the
    whole batch, or by pmap."""
    devices: int | None = field(default=None, metadata=_ASIDE)
    """Number of devices to use, the first ones; by default all."""
    shard_optimizer: bool = field(default=False, metadata=_ASIDE)
    """Shard the optimizer's state over the devices (ZeRO-1), with --parallel jit."""
    coordinator: str | None = field(default=None, metadata=_OWN)
    """host:port where the first of several processes listens, the same for all; or
    auto, under SLURM, Open MPI or on a TPU pod, which tell it and the two below."""
    num_processes: int | None = field(default=None, metadata=_ASIDE)
    """Number of processes."""
    process_id: int | None = field(default=None, metadata=_OWN)
    """Index of this process, from 0."""
    timeout: int = field(default=60, metadata=_OWN)
    """Seconds to wait for the other processes at the start."""


@dataclass(frozen=True)
class CheckpointOptions:
    """What is saved, and how to resume."""

    out: Path | None = field(default=None, metadata=_OWN)
    """Folder for records, checkpoints and plot; must not hold anything yet. By default
    a new one under runs/, named after the data set and the time."""
    resume: bool = field(default=False, metadata=_ASIDE)
    """Resume the runs in --out from their latest checkpoints, or start them. The other
    settings must be the same, except devices and folders."""
    checkpoint_seconds: float = field(default=60.0, metadata=_ASIDE)
    """Minimum seconds between checkpoints, which are saved at the end of an epoch (of a
    step, for data too large for memory), at the end of a run, and on SIGTERM."""
    keep: int = field(default=2, metadata=_ASIDE)
    """Number of latest checkpoints to keep of each run, besides the best. With 0 none
    are written, and an interrupted run starts over."""
    diagnostics: bool = field(default=False, metadata=_ASIDE)
    """Also record the distance from the initial weights and, with a second moment,
    quantiles of the effective learning rates and the fraction of weights where the
    running maximum is active, each epoch."""
    tensorboard: bool = field(default=False, metadata=_ASIDE)
    """Also write event files for TensorBoard."""
    profile: bool = field(default=False, metadata=_ASIDE)
    """Measure the overhead of data and bookkeeping over the bare steps, and write JAX's
    profile, instead of training."""
