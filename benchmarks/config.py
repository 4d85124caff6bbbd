"""What a run is made of: frozen dataclasses, checked before any work starts."""

import difflib
import itertools
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs"

Schedule = Literal[
    "multi-stage",
    "cosine",
    "linear",
    "exponential",
    "inverse-time",
    "inverse-sqrt",
    "constant",
]


class UsageError(Exception):
    """A request that cannot be met; its one line says what would work."""


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
        _check_at_least("--epochs", self.epochs, 1)
        _check_at_least("--batch-size", self.batch_size, 1)
        _check_at_least("--accumulate", self.accumulate, 1)
        _check_at_least("--workers", self.workers, 0)
        _check_at_least("--timeout", self.timeout, 1)
        _check_at_least("--keep", self.keep, 0)
        _check_at_least("--seeds", self.seeds, 1)
        for option, value in (
            ("--width", self.width),
            ("--examples", self.examples),
            ("--side", self.side),
        ):
            if value is not None:
                _check_at_least(option, value, 1)
        if not 0 <= self.label_noise <= 1:
            raise UsageError(
                f"--label-noise must be in [0, 1], got {self.label_noise}."
            )
        _check_seed(self.seed, self.seeds)
        _check_each_once("--optimizers", self.optimizers)
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
            _check_out(self.out)
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
            _check_at_least("--devices", self.devices, 1)
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


def recipe_of(optimizer: str, settings: Iterable[str]) -> tuple[str, ...]:
    """Return the settings that are for an optimizer, without its name.

    >>> recipe_of("adam", ["weight_decay=0", "adam:b2=0.9", "padam:p=0.25"])
    ('weight_decay=0', 'b2=0.9')
    """
    split = (
        (setting, *setting.partition("=")[0].partition(":")) for setting in settings
    )
    return tuple(
        setting.removeprefix(f"{optimizer}:")
        for setting, name, colon, _ in split
        if not colon or name == optimizer
    )


def parse_settings(argument: str, settings: Iterable[str]) -> dict[str, float | str]:
    """Read settings written as name=value.

    Args:
      argument: The option they were given to, for the message.
      settings: What the user wrote.

    Returns:
      The values by name; numbers where they are.

    Raises:
      UsageError: If one is not of this form, or is given twice.
    """
    result: dict[str, float | str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not (name and equals and value) or name in result:
            raise UsageError(
                f"{argument} takes settings like p=0.25, each once, got {setting!r}."
            )
        try:
            result[name] = float(value)
        except ValueError:
            result[name] = value
    return result


@dataclass(frozen=True)
class RegretConfig:
    """Play online convex games and compare the regret with the theorem's bound.

    Linear losses, logistic regression on breast cancer and on digits, sparse features;
    then Reddi's counterexample to Adam and the phase transition at p = 1/4, which have
    settings of their own. Each optimizer plays with every learning rate; all are
    recorded, and the one with the smallest mean regret is shown.
    """

    games: tuple[str, ...] = (
        "linear",
        "breast-cancer",
        "digits",
        "sparse",
        "counterexample",
        "phase-transition",
    )
    """Which to play, from: linear, breast-cancer, digits, sparse, counterexample,
    phase-transition."""
    optimizers: tuple[str, ...] = ("sgd", "adagrad", "adam", "padam")
    """Who plays, from: sgd, adagrad, adam (no maximum), padam."""
    p: tuple[float, ...] = (0.5, 0.25, 0.125, 0.0625)
    """Padam's exponents, in (0, 1/2]; 1/2 is AMSGrad."""
    learning_rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """The α that each optimizer tries, in α_t = α/√t (adagrad: α_t = α)."""
    b1: float = 0.9
    """Decay rate β1 of the momentum at the first step, in [0, √b2)."""
    b2: float = 0.99
    """Decay rate β2 of the second moment, in (0, 1)."""
    b1_decay: float = 0.9
    """λ, in (0, 1): the momentum's decay rate at step t is b1 λ^(t-1)."""
    steps: int = 3000
    """Losses in a game, T."""
    seeds: int = 3
    """Games with other draws, over which mean and spread are taken."""
    seed: int = 0
    """The first of the seeds."""
    out: Path | None = None
    """Folder for the records and the plots; must not hold anything yet. By default
    a new one under runs/, named regret and the time."""

    def __post_init__(self) -> None:
        """Refuse what the theorem or the games do not allow."""
        _check_each_once("--games", self.games)
        _check_each_once("--optimizers", self.optimizers)
        _check_each_once("--p", self.p)
        _check_each_once("--learning-rates", self.learning_rates)
        for p in self.p:
            if not 0 < p <= 0.5:
                raise UsageError(f"--p must be in (0, 1/2], got {p}.")
        _check_rates(self.learning_rates)
        if not 0 < self.b2 < 1:
            raise UsageError(f"--b2 must be in (0, 1), got {self.b2}.")
        if not 0 <= self.b1 < self.b2**0.5:
            raise UsageError(
                f"--b1 must be at least 0 and less than the root of --b2, "
                f"{self.b2**0.5:g}, got {self.b1}: the bound needs b1/√b2 < 1."
            )
        if not 0 < self.b1_decay < 1:
            raise UsageError(f"--b1-decay must be in (0, 1), got {self.b1_decay}.")
        _check_at_least("--steps", self.steps, 10)
        _check_at_least("--seeds", self.seeds, 1)
        _check_seed(self.seed, self.seeds)
        _check_out(self.out)


@dataclass(frozen=True)
class SpeedConfig:
    """Measure what a step of each optimizer takes, in time and in memory.

    All candidates of a tree of parameters are compiled alike, with their buffers
    donated, and take turns in one process; several steps pass between two looks at the
    clock. Compared are ratios within a turn.
    """

    trees: tuple[str, ...] = (
        "leaf-11000000",
        "resnet18",
        "vgg16",
        "wrn16-4",
        "transformer",
        "leaves-1000",
    )
    """Trees of parameters: leaf-N is one of N numbers, leaves-N are N of 64; or a
    network: resnet18, vgg16, wrn16-4, resnet50-imagenet, ...; or transformer."""
    optimizers: tuple[str, ...] = ()
    """Which to compare with adam, by the names in the table; by default all."""
    growth: bool = False
    """Measure instead how the cost grows: steps of adam, amsgrad and padam on a leaf of
    1e4 to 1e8 numbers and on 1 to 3000 leaves of 64; and the state on each of 1, 2, 4,
    8 devices that share it, as many as there are."""
    turns: int = 15
    """Measurements of each candidate."""
    seconds: float = 0.1
    """How long one measurement takes at least."""
    seed: int = 0
    """Determines parameters and gradients."""
    out: Path | None = None
    """Folder for the records and the plot; must not hold anything yet. By default
    a new one under runs/, named speed and the time."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        _check_each_once("--trees", self.trees)
        if self.optimizers:
            _check_each_once("--optimizers", self.optimizers)
        _check_at_least("--turns", self.turns, 2)
        if not 0 < self.seconds < math.inf:
            raise UsageError(f"--seconds must be positive, got {self.seconds}.")
        _check_seed(self.seed)
        _check_out(self.out)


@dataclass(frozen=True)
class ReportConfig:
    """Write REPORT.md, report.html and README's results from finished runs' records."""

    add: tuple[Path, ...] = ()
    """Folders of finished runs whose records are first copied into --results, under
    their names, without checkpoints."""
    results: Path = ROOT / "benchmarks" / "results"
    """Folder with a folder of records for each experiment, as a run leaves it."""
    out: Path = ROOT / "benchmarks"
    """Where the report and its plots go, over those that are there."""
    readme: Path | None = ROOT / "README.md"
    """The file whose results, between two marks, are written anew; or None."""

    def __post_init__(self) -> None:
        """Refuse folders that are not there."""
        for argument, folder in (("--results", self.results), ("--out", self.out)):
            if not folder.is_dir():
                raise UsageError(f"{argument} {folder} is not a folder.")


@dataclass(frozen=True)
class LandscapeConfig:
    """Draw the optimizers' trajectories on five surfaces, as PNG and animated GIF.

    Beale's and Rosenbrock's valleys, a saddle, a ravine of condition number 100 and a
    valley with gradient noise. Each optimizer tries every learning rate on every
    surface; all are recorded, and the one with the lowest mean logarithm of the loss is
    drawn.
    """

    surfaces: tuple[str, ...] = ("beale", "rosenbrock", "saddle", "ravine", "noisy")
    """Which to draw, from: beale, rosenbrock, saddle, ravine, noisy."""
    optimizers: tuple[str, ...] = (
        "sgd",
        "momentum",
        "nesterov",
        "adagrad",
        "rmsprop",
        "adadelta",
        "adam",
        "amsgrad",
        "padam-1/4",
        "padam-1/8",
    )
    """Which to compare, from: sgd, momentum, nesterov, adagrad, rmsprop, adadelta,
    adam, amsgrad, padam-1/4, padam-1/8."""
    learning_rates: tuple[float, ...] = (
        1e-4,
        3e-4,
        1e-3,
        3e-3,
        1e-2,
        3e-2,
        0.1,
        0.3,
        1.0,
        3.0,
        10.0,
    )
    """What each optimizer tries."""
    steps: int = 300
    """Steps of each trajectory."""
    seeds: int = 20
    """Draws of the noise, the same for all optimizers; the first is drawn."""
    seed: int = 0
    """The first of the seeds."""
    gif: bool = True
    """Write the animation, too."""
    out: Path | None = None
    """Folder for the records and the plots; must not hold anything yet. By default
    a new one under runs/, named landscape and the time."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        _check_each_once("--surfaces", self.surfaces)
        _check_each_once("--optimizers", self.optimizers)
        _check_each_once("--learning-rates", self.learning_rates)
        _check_rates(self.learning_rates)
        _check_at_least("--steps", self.steps, 10)
        _check_at_least("--seeds", self.seeds, 1)
        _check_seed(self.seed, self.seeds)
        _check_out(self.out)


def _check_at_least(argument: str, value: int, least: int) -> None:
    if value < least:
        raise UsageError(f"{argument} must be at least {least}, got {value}.")


def _check_seed(seed: int, seeds: int = 1) -> None:
    if not 0 <= seed <= 2**32 - seeds:
        raise UsageError(f"--seed must be in [0, 2^32 - {seeds}], got {seed}.")


def _check_each_once(argument: str, values: Collection[object]) -> None:
    if not values or len(set(values)) < len(values):
        given = " ".join(str(value) for value in values) or "nothing"
        raise UsageError(
            f"{argument} takes one or more values, each once, got {given}."
        )


def _check_rates(rates: Iterable[float]) -> None:
    for rate in rates:
        if not 0 < rate < math.inf:
            raise UsageError(f"--learning-rates must be positive, got {rate}.")


def _check_out(out: Path | None) -> None:
    if out is None or not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a new folder.")
    if any(out.iterdir()):
        raise UsageError(
            f"--out {out} is not empty; name a new folder, so that no earlier run is "
            "overwritten."
        )


def check_name(argument: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is not known, and say which are.

    Args:
      argument: The option it was given to, for the message.
      name: What the user wrote.
      known: What exists.

    Raises:
      UsageError: If the name is not among the known ones.
    """
    known = list(known)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise UsageError(
            f"{argument} {name!r} does not exist{hint}; choose from {', '.join(known)}."
        )


@dataclass(frozen=True)
class SweepConfig:
    """Train with every combination of some settings, by as many workers as there are.

    The name of an experiment, as `python -m benchmarks list` shows them, sets what the
    options do not.

    Each optimizer, point of the grid and seed is a run of its own, in a folder of its
    own below --out. Whoever starts the same command with the same --out and --resume
    takes part: no run is done twice, and those of a worker that was killed go on from
    their checkpoints.
    """

    train: TrainConfig
    """The runs, but for what the grid says."""
    grid: tuple[str, ...] = ()
    """Settings and their values, as p=0.25,0.125 learning_rate=0.1,0.01: of the
    optimizers' recipes, or of a run, as batch_size or model; *0.1 is a tenth of what
    an optimizer's recipe says. Without any, the runs of the optimizers and seeds."""
    tune: str | None = None
    """A setting of --grid to choose for each optimizer, and for each point of the rest
    of the grid, by itself: the best value on the validation set (see --validate), by
    the mean over the seeds. --grid names the values to start with; while the smallest
    or the largest is the best, the next one is tried, too, up to four of them."""
    finals: int = 0
    """With --tune: so many runs, with the seeds 0, 1, 2, ..., of each optimizer with
    the chosen value, measured on the test set; --seed and --seeds are those that
    tune."""
    storage: str | None = None
    """URL of the database by which the workers divide the runs, as
    postgresql://user@host/name; by default the SQLite file sweep.db in --out, for
    workers that share this disk."""
    study: str = "sweep"
    """Name of this sweep in the database."""
    heartbeat: int = 20
    """Seconds between a worker's signs of life; after three times as long without one
    another takes up its run."""

    def __post_init__(self) -> None:
        """Refuse what cannot be divided among workers."""
        _check_at_least("--heartbeat", self.heartbeat, 1)
        _check_at_least("--finals", self.finals, 0)
        if self.train.coordinator is not None:
            raise UsageError(
                "--coordinator does not suit a sweep, whose workers take runs of their "
                "own; start each without it."
            )
        if self.train.profile:
            raise UsageError("--profile does not suit a sweep, which trains.")
