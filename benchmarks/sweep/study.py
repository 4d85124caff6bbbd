"""The Optuna study of a sweep: its settings, and the records of its runs."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import optuna

from benchmarks.errors import UsageError
from benchmarks.sweep import grid as grids
from benchmarks.sweep import search
from benchmarks.sweep.config import SweepConfig
from benchmarks.training import setup
from benchmarks.training.config import CIRCUMSTANCES
from benchmarks.training.resume import RunResult, list_differences

# The longest text that is stored as one attribute: MariaDB's TEXT has 64 KiB.
_LONGEST = 30_000


def open_study(
    config: SweepConfig,
    storage: optuna.storages.BaseStorage,
    sampler: optuna.samplers.BaseSampler,
) -> optuna.Study:
    """Create the study of a sweep, or join it.

    Raises:
      UsageError: If the study has other settings.
    """
    study = optuna.create_study(
        storage=storage,
        sampler=sampler,
        pruner=search.make_pruner(config.pruner),
        study_name=config.study,
        direction="maximize",
        load_if_exists=True,
    )
    settings = dataclasses.asdict(config.train)
    settings = {k: v for k, v in settings.items() if k not in CIRCUMSTANCES}
    settings |= describe(config)
    settings["recipes"] = setup.resolve_hyperparams(config.train)
    settings = json.loads(json.dumps(settings, default=str))
    # In this order, for another worker may be writing its settings, then trials.
    is_new = not study.get_trials(deepcopy=False)
    former = study.user_attrs.get("settings")
    if former is None and is_new:
        study.set_user_attr("settings", settings)
        return study
    if different := list_differences(former or {}, settings):
        raise UsageError(
            f"the study {config.study!r} in this storage had other settings: "
            f"{different}. Give the same ones, or another --study, or another --out; "
            "or remove the storage, to continue with the runs that fit."
        )
    return study


def describe(config: SweepConfig) -> dict[str, Any]:
    """Describe the grid and what is tuned, or the search."""
    common = config.train
    seeds = range(common.seed, common.seed + common.seeds)
    grid = {
        "optimizer": common.optimizers,
        **grids.read_grid(config),
        "seed": list(seeds),
    }
    about = {"grid": grid, "tune": config.tune, "finals": config.finals}
    if config.search:
        about["search"] = config.search
        about |= {"sampler": config.sampler, "pruner": config.pruner}
    return about


def store(result: RunResult, header: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's records as attributes of its trial, for workers on other disks."""
    text = json.dumps(result.records)
    parts = [text[i : i + _LONGEST] for i in range(0, len(text), _LONGEST)]
    return {
        "record": result.records[-1] if result.records else None,
        "stopped": result.stopped,
        "header": header,
        **{f"records {i}": part for i, part in enumerate(parts)},
    }


def restore(notes: Mapping[str, Any]) -> RunResult:
    """Return the result that was stored."""
    count = sum(key.startswith("records ") for key in notes)
    text = "".join(notes[f"records {i}"] for i in range(count))
    return RunResult(json.loads(text or "[]"), notes.get("stopped"))
