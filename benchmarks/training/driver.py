"""Train with each optimizer and seed."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import data, models, optimizers, run_dir
from benchmarks.models import initializers
from benchmarks.training import loop, resume, setup
from benchmarks.training.config import TrainConfig
from benchmarks.training.preemption import PreemptedError, Preemption


class Trained(NamedTuple):
    """What has come of all runs.

    Attributes:
      folder: Where their records are.
      runs: By the optimizer's label, for each seed the records of the epochs.
      diverged: A sentence for each run that ended early.
      preempted: What was saved when SIGTERM ended the program, else None.
      is_primary: Whether this process prints and draws.
    """

    folder: Path
    runs: dict[str, list[list[dict[str, Any]]]]
    diverged: list[str]
    preempted: str | None
    is_primary: bool


def train_all(config: TrainConfig) -> Trained:
    """Train with each optimizer and seed, and write the records.

    A run whose loss is not finite ends there; the others go on.
    """
    recipes = setup.resolve_hyperparams(config)
    rows = {name: optimizers.lookup(name) for name in config.optimizers}
    models.lookup(config.model)
    if config.initializer is not None:
        initializers.lookup(config.initializer)
    # Before the processes join: one that fails afterwards keeps the others waiting.
    source = data.find_for(config)
    layout = setup.set_up_devices(config)
    setup.validate(config, source, layout)

    def open_run() -> str:
        described = {
            name: {"label": row.label, "formula": row.formula, **recipes[name]}
            for name, row in rows.items()
        }
        settings = {**asdict(config), "recipes": described}
        folder = resume.open_run(config.out, config.dataset, settings, config.resume)
        header = run_dir.header("train", layout.describe(), config.seed)
        run_dir.write_header(folder, header)
        return str(folder)

    folder = Path(layout.run_on_primary(open_run))
    trainer = loop.Trainer(config, source, layout)
    trained = Trained(
        folder,
        {row.label: [] for row in rows.values()},
        [],
        None,
        layout.is_primary,
    )
    try:
        with Preemption() as preemption:
            for seed in range(config.seed, config.seed + config.seeds):
                for name, row in rows.items():
                    lines, problem = loop.train_one(
                        trainer, name, seed, folder, preemption
                    )
                    trained.runs[row.label].append(lines)
                    if problem:
                        trained.diverged.append(
                            f"{name}, seed {seed}, ended early: {problem}."
                        )
    except PreemptedError as error:
        return trained._replace(preempted=str(error))
    return trained
