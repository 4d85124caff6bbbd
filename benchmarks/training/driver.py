"""Train with each optimizer and seed."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import data, run_dir
from benchmarks.settings import file_name
from benchmarks.training import loop, resume, setup
from benchmarks.training.config import TrainConfig
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.preemption import PreemptedError, Preemption
from benchmarks.training.trainer import Trainer


class Trained(NamedTuple):
    """The results of all runs.

    Attributes:
      folder: The folder of their records.
      runs: By the optimizer's label, for each seed the records of the epochs.
      diverged: One sentence for each run that ended early.
      preempted: What was saved when SIGTERM ended the program, else None.
      is_primary: Whether this process prints and draws.
      settings: The settings of the runs, as in config.json.
    """

    folder: Path
    runs: dict[str, list[list[dict[str, Any]]]]
    diverged: list[str]
    preempted: str | None
    is_primary: bool
    settings: dict[str, Any]


def train_all(config: TrainConfig) -> Trained:
    """Train with each optimizer and seed, and write the records.

    A run whose loss is not finite ends there; the others continue.
    """
    # Before the processes connect: one that fails later keeps the others waiting.
    setup.resolve_hyperparams(config)
    source = data.find_for(config)
    parts = setup.find_parts(config, source)
    layout = setup.set_up_devices(config)
    setup.validate(config, source, layout)
    about = setup.describe(config, source)
    return train_parts(config, source, layout, parts, about)


def train_parts(
    config: TrainConfig,
    source: data.Source,
    layout: DeviceLayout,
    parts: setup.Parts,
    about: Mapping[str, Any],
) -> Trained:
    """Train with the given data, network and optimizers.

    `about` holds further entries of config.json.
    """
    rows = parts.optimizers
    recipes = setup.describe_recipes(config, rows)
    settings = {**asdict(config), "recipes": recipes, **about}

    def open_run() -> str:
        name = file_name(Path(config.dataset).name)
        folder = resume.open_run(config.out, name, settings, config.resume)
        header = run_dir.header("train", layout.describe(), config.seed)
        run_dir.write_header(folder, header)
        return str(folder)

    folder = Path(layout.run_on_primary(open_run))
    trainer = Trainer(config, source, layout, parts)
    trained = Trained(
        folder,
        {row.label: [] for row in rows.values()},
        [],
        None,
        layout.is_primary,
        settings,
    )
    try:
        with Preemption() as preemption:
            for seed in range(config.seed, config.seed + config.seeds):
                for name, row in rows.items():
                    result = loop.run_one(trainer, name, seed, folder, preemption)
                    trained.runs[row.label].append(result.records)
                    if result.stopped is not None:
                        trained.diverged.append(
                            f"{name}, seed {seed}, ended early: {result.stopped}."
                        )
    except PreemptedError as error:
        return trained._replace(preempted=str(error))
    return trained
