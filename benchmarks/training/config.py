"""What a run is made of: frozen dataclasses, checked before any work starts."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.errors import (
    UsageError,
    check_at_least,
    check_each_once,
    check_out,
    check_seed,
)
from benchmarks.settings import parse_settings, recipe_of

Schedule = Literal[
    "multi-stage",
    "cosine",
    "linear",
    "exponential",
    "inverse-time",
    "inverse-sqrt",
    "constant",
]


# What may differ when a run is taken up again: it does not change a number.
CIRCUMSTANCES = (
    "data_dir",
    "parallel",
    "devices",
    "shard_optimizer",
    "coordinator",
    "num_processes",
    "process_id",
    "timeout",
    "workers",
    "checkpoint_seconds",
    "keep",
    "diagnostics",
    "tensorboard",
    "profile",
    "out",
    "resume",
)


@dataclass(frozen=True)
class TrainConfig:
    """Train one network with several optimizers and compare them.

    Every optimizer gets its published recipe, the same initial weights and the same
    batches in the same order. The name of an experiment, as `python -m benchmarks
    list` shows them, sets what the options do not. Without one this trains on
    scikit-learn's digits, which need no download, in about a minute on two processor
    cores.
    """

    dataset: str = "digits"
    """digits (comes with scikit-learn); a TFDS builder of images and labels: cifar10,
    cifar100, mnist, fashion_mnist, svhn_cropped, imagenet2012, ...; or
    tiny_shakespeare."""
    data_dir: Path | None = None
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
    workers: int = 8
    """Threads that read and decode images of sets too large for memory."""
    optimizers: tuple[str, ...] = ("momentum", "adam", "amsgrad", "padam")
    """Which to compare; `python -m benchmarks list optimizers` shows all there are."""
    recipe: tuple[str, ...] = ()
    """Settings that replace those of the optimizers' recipes, as p=0.25
    learning_rate=0.01, which each optimizer must have; with a name in front, as
    adam:b2=0.999, those of one optimizer."""
    model: str = "vgg-small"
    """The network; `python -m benchmarks list models` shows all there are."""
    width: int | None = None
    """Channels of the first layer, the others in proportion; by default as
    published."""
    initializer: str | None = None
    """How weights are drawn at first, instead of as published; `python -m benchmarks
    list initializers` shows all there are."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; weights and statistics stay float32."""
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
    milestones: tuple[float, ...] = (0.3, 0.6, 0.8)
    """Shares of the run at which the multi-stage schedule divides by ten. The linear
    one reaches its end at the first of them if only one is given."""
    final_share: float = 0.0
    """What is left of the learning rate at the end of the other schedules."""
    augment: bool = True
    """Shift the training images at random, and mirror those of CIFAR."""
    seed: int = 0
    """Determines the initial weights, the batches and the augmentation."""
    seeds: int = 1
    """Runs of each optimizer, with this and the following seeds."""
    diagnostics: bool = False
    """Record per epoch also the distance from the initial weights and, where there is
    a second moment, quantiles of the effective learning rates and the share of weights
    where the running maximum binds."""
    parallel: Literal["jit", "pmap"] = "jit"
    """On all devices, each with its share of a batch: under jit on a mesh, where
    BatchNorm sees the whole batch by itself, or under pmap."""
    devices: int | None = None
    """How many of the devices to use, the first ones; by default all."""
    shard_optimizer: bool = False
    """Divide the optimizer's state among the devices (ZeRO-1), with --parallel jit."""
    coordinator: str | None = None
    """host:port where the first of several processes listens, the same for all; or
    auto, under SLURM, Open MPI or on a TPU pod, which tell it and the two below."""
    num_processes: int | None = None
    """How many processes take part."""
    process_id: int | None = None
    """Which of them this is, from 0."""
    timeout: int = 60
    """Seconds to wait for the other processes at the start."""
    checkpoint_seconds: float = 60.0
    """Save at the end of an epoch (a step, for sets too large for memory) if this long
    has passed since the last time; also at the end of a run and on SIGTERM."""
    keep: int = 2
    """Latest checkpoints that are kept of each run; the best is kept besides. With 0
    none are written, and a run that ends early begins anew."""
    tensorboard: bool = False
    """Write event files for TensorBoard, too."""
    profile: bool = False
    """Measure what data and bookkeeping add to the bare steps, and write a profile of
    JAX; nothing is trained."""
    out: Path | None = None
    """Folder for records, checkpoints and plot; must not hold anything yet. By default
    a new one under runs/, named after the data set and the time."""
    resume: bool = False
    """Go on with the runs in --out where their last checkpoints stand, or begin them.
    The other settings must be what they were, but for devices and folders."""

    def __post_init__(self) -> None:
        """Refuse whatever no data set and no device could make possible."""
        check_at_least("--epochs", self.epochs, 1)
        check_at_least("--batch-size", self.batch_size, 1)
        check_at_least("--accumulate", self.accumulate, 1)
        check_at_least("--workers", self.workers, 0)
        check_at_least("--timeout", self.timeout, 1)
        check_at_least("--keep", self.keep, 0)
        check_at_least("--seeds", self.seeds, 1)
        for option, value in (
            ("--width", self.width),
            ("--examples", self.examples),
            ("--side", self.side),
        ):
            if value is not None:
                check_at_least(option, value, 1)
        if not 0 <= self.label_noise <= 1:
            raise UsageError(
                f"--label-noise must be in [0, 1], got {self.label_noise}."
            )
        check_seed(self.seed, self.seeds)
        check_each_once("--optimizers", self.optimizers)
        for name in self.optimizers:
            parse_settings("--recipe", recipe_of(name, self.recipe))
        for setting in self.recipe:
            name, colon, _ = setting.partition("=")[0].partition(":")
            if colon and name not in self.optimizers:
                raise UsageError(
                    f"--recipe {setting}: {name} is not among --optimizers "
                    f"{' '.join(self.optimizers)}; add it, or leave this out."
                )
        bounds = (0.0, *self.milestones, 1.0)
        if not all(a < b for a, b in itertools.pairwise(bounds)):
            given = " ".join(str(m) for m in self.milestones)
            raise UsageError(
                f"--milestones must rise strictly between 0 and 1, got {given}."
            )
        if not 0 <= self.final_share <= 1:
            raise UsageError(
                f"--final-share must be in [0, 1], got {self.final_share}."
            )
        if self.schedule in ("exponential", "inverse-time") and not self.final_share:
            raise UsageError(
                f"--schedule {self.schedule} never reaches 0: give --final-share, "
                "such as 0.01."
            )
        if not self.checkpoint_seconds >= 0:
            raise UsageError(
                "--checkpoint-seconds must be 0 or more, got "
                f"{self.checkpoint_seconds}."
            )
        self._check_processes()
        if self.data_dir is not None and not self.data_dir.is_dir():
            raise UsageError(
                f"--data-dir {self.data_dir} is not a folder; give the one that holds "
                "the data sets' own folders, such as cifar10/."
            )
        if not self.resume:
            check_out(self.out)
        elif self.out is None:
            raise UsageError(
                "--resume needs --out, the folder of the run to go on with."
            )

    @property
    def evaluated(self) -> Literal["validation", "test"]:
        """What the runs are evaluated on, as the records name it."""
        return "validation" if self.validate else "test"

    def _check_processes(self) -> None:
        if self.devices is not None:
            check_at_least("--devices", self.devices, 1)
            if self.coordinator is not None:
                raise UsageError(
                    "--devices is for one process; with --coordinator each process "
                    "uses all of its devices."
                )
        if self.shard_optimizer and self.parallel == "pmap":
            raise UsageError("--shard-optimizer needs --parallel jit.")
        given = self.num_processes, self.process_id
        if self.coordinator in (None, "auto"):
            if given != (None, None):
                raise UsageError(
                    "--num-processes and --process-id need --coordinator host:port."
                )
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise UsageError(
                f"--coordinator must be host:port or auto, got {self.coordinator}."
            )
        if self.num_processes is None or self.process_id is None:
            raise UsageError(
                "--coordinator host:port needs --num-processes and --process-id."
            )
        if not 0 <= self.process_id < self.num_processes:
            raise UsageError(
                f"--process-id must be in [0, {self.num_processes}), got "
                f"{self.process_id}."
            )
