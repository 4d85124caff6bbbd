"""The commands: python -m benchmarks COMMAND --help."""

import dataclasses
import errno
import importlib
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from benchmarks.commands import repeat
from benchmarks.commands.config import CompareConfig, ListConfig, PrepareConfig
from benchmarks.commands.groups import Grouped, GroupedSweep
from benchmarks.errors import FULL, UsageError, check_name
from benchmarks.gan.config import GanConfig
from benchmarks.landscape.config import LandscapeConfig
from benchmarks.online.config import RegretConfig
from benchmarks.reporting.config import ReportConfig
from benchmarks.settings import file_name
from benchmarks.step_time.config import SpeedConfig
from benchmarks.sweep.config import SweepConfig
from benchmarks.theory.config import TheoryConfig
from benchmarks.training.config import TrainConfig

# The settings of each; benchmarks/commands has a file of the same name that runs it.
COMMANDS = {
    "train": TrainConfig,
    "sweep": SweepConfig,
    "prepare": PrepareConfig,
    "speed": SpeedConfig,
    "compare": CompareConfig,
    "report": ReportConfig,
    "landscape": LandscapeConfig,
    "regret": RegretConfig,
    "theory": TheoryConfig,
    "gan": GanConfig,
    "list": ListConfig,
}
# Those that take the name of an experiment as their first argument.
_OF_EXPERIMENTS = ("train", "sweep")
# What the user's choice of a file or folder can cause.
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR)
# The study of a sweep that is not of an experiment.
_UNNAMED = SweepConfig.study
# Those whose folder has the settings, so that --from finds them.
_REPEATABLE = ("train", "sweep", "speed", "landscape", "regret", "theory", "gan")


def _parse(arguments: list[str]) -> Any:
    """Make the settings of the command that the arguments name."""
    command, *rest = arguments or [""]
    if command not in COMMANDS:  # the overview, or a mistake and what would be right
        return tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="python -m benchmarks",
            description="Train and measure with padam_optax. --version tells which.",
            args=arguments,
        )
    kind = COMMANDS[command]
    program = f"python -m benchmarks {command}"
    default: Any = None
    earlier = None
    if command in _REPEATABLE:
        earlier, rest = _take("--from", rest)
    if command in _OF_EXPERIMENTS:
        named = bool(rest) and not rest[0].startswith("-")
        name = "digits"
        if named:
            name = rest.pop(0)
            if earlier is not None:
                raise UsageError(
                    f"--from {earlier} and the experiment {name} both set the options; "
                    "leave one out."
                )
            program = f"{program} {name}"
        else:
            program = f"{program} [EXPERIMENT]"
        default = _find_experiment(name, kind, named)
    if earlier is not None:
        default = repeat.read(command, kind, Path(earlier))
    if kind is SweepConfig:
        rest = _gather("--grid", _gather("--search", rest))
        if any(
            x.startswith("--search") for x in rest
        ):  # in place of what an experiment tries
            default = dataclasses.replace(default, grid=(), tune=None, finals=0)
    groups: Any = {TrainConfig: Grouped, SweepConfig: GroupedSweep}.get(kind)
    text = inspect.getdoc(kind) or ""
    if command in _REPEATABLE:
        text += "\n\n--from RUN takes the options of an earlier run that are not given."
    parsed: Any = tyro.cli(
        groups or kind,
        prog=program,
        description=text,
        default=groups.split(default) if groups else default,
        args=rest,
        # The settings of a sweep's runs, and of groups, are options like the others.
        config=(tyro.conf.OmitArgPrefixes,),
    )
    config = parsed.merge() if groups else parsed
    if kind is SweepConfig and default.study == _UNNAMED == config.study:
        train = config.train  # it is no experiment: it is called after what it trains
        study = file_name(f"{Path(train.dataset).name}-{train.model}")
        return dataclasses.replace(config, study=study)
    return config


def _find_experiment(name: str, kind: Any, named: bool) -> Any:
    from benchmarks.experiments import EXPERIMENTS

    check_name("experiment", name, EXPERIMENTS)
    row = EXPERIMENTS[name]
    if kind is not SweepConfig:
        return row.config
    study = name if named else _UNNAMED
    return SweepConfig(row.config, row.grid, row.tune, row.finals, study=study)


def _take(option: str, arguments: list[str]) -> tuple[str | None, list[str]]:
    """Take the value of an option out of the arguments."""
    for i, argument in enumerate(arguments):
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2], arguments[:i] + arguments[i + 1 :]
        if argument == option:
            if i + 1 == len(arguments):
                raise UsageError(f"{option} needs the folder of a run.")
            return arguments[i + 1], arguments[:i] + arguments[i + 2 :]
    return None, arguments


def _gather(option: str, arguments: list[str]) -> list[str]:
    """Let an option with several values be given several times."""
    values: list[str] = []
    others: list[str] = []
    taken = others
    for argument in arguments:
        if argument.startswith("-"):
            taken = values if argument == option else others
        if argument != option:
            taken.append(argument)
    return [*others, option, *values] if values else others


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, by default the one that the program was started with.

    Returns:
      The exit status: 0 for success, 1 if a run diverged or the disk is full, 2 for an
      invalid request, 143 if SIGTERM ended a run.
    """
    try:
        arguments = list(sys.argv[1:] if arguments is None else arguments)
        if arguments == ["--version"]:
            from padam_optax import __version__

            print(f"padam-optax {__version__}")
            return 0
        config = _parse(arguments)
        # Imported late: --help and usage errors need not wait for JAX.
        command = importlib.import_module(f"benchmarks.commands.{arguments[0]}")
        return command.run(config)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno in _FORBIDDEN and error.filename is not None:
            print(
                f"error: {error.filename} cannot be used ({error.strerror}); name a "
                "file or folder that you may read and write.",
                file=sys.stderr,
            )
            return 2
        if error.errno not in FULL:
            raise
        print(
            f"error: {error.strerror}: {error.filename}. What was written before is "
            "complete; free some disk space, then resume with --resume.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything written so far is kept.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
