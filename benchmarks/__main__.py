"""The commands: python -m benchmarks COMMAND --help."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from benchmarks.config import (
    LandscapeConfig,
    RegretConfig,
    TrainConfig,
    UsageError,
)


@dataclass(frozen=True)
class ListConfig:
    """Print what there is to choose from."""

    what: tyro.conf.Positional[Literal["optimizers", "models", "datasets"]]
    """optimizers: name, formula, source and recipe of each; models; datasets."""


# Imports stand inside, so that --help and mistakes answer without waiting for JAX.
def _train(config: TrainConfig) -> int:
    from benchmarks.train import compare

    return compare(config)


def _list(config: ListConfig) -> int:
    from benchmarks import catalogue

    catalogue.show(config.what)
    return 0


def _landscape(config: LandscapeConfig) -> int:
    from benchmarks import landscape

    return landscape.run(config)


def _regret(config: RegretConfig) -> int:
    from benchmarks import regret

    return regret.run(config)


COMMANDS = {
    "train": (TrainConfig, _train),
    "landscape": (LandscapeConfig, _landscape),
    "regret": (RegretConfig, _regret),
    "list": (ListConfig, _list),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
      arguments: Those of the command line, without the program's name; by default
        those that the program was started with.

    Returns:
      The exit status: 0 if all went well, 1 if a run diverged, 2 for a request that
      cannot be met.
    """
    try:
        config = tyro.extras.subcommand_cli_from_dict(
            {name: kind for name, (kind, _) in COMMANDS.items()},
            prog="python -m benchmarks",
            description="Train and measure with padam_optax.",
            args=arguments,
        )
        run = dict(COMMANDS.values())[type(config)]
        return run(config)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the records so far are kept.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
