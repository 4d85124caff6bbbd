"""The user's own objects, named on the command line as module:attribute."""

import difflib
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.errors import UsageError
from benchmarks.settings import parse_settings


class Own(NamedTuple):
    """An object that was looked up, and the settings that followed its name."""

    value: Any
    settings: Mapping[str, float | str]


def is_own(text: str) -> bool:
    """Return whether a name has the form module:attribute.

    >>> is_own("optax:lion"), is_own("padam")
    (True, False)
    """
    return ":" in text


def find(argument: str, text: str) -> Own:
    """Import an object by name; modules in the current folder can be imported.

    Args:
      argument: The option, for the message.
      text: module:attribute, optionally followed by settings after commas.

    >>> find("--optimizers", "math:hypot,x=3").settings
    {'x': 3.0}
    """
    name, *settings = text.split(",")
    module, _, attribute = name.partition(":")
    found: Any = _import(argument, text, module)
    for part in attribute.split("."):
        if not hasattr(found, part):
            close = difflib.get_close_matches(part, dir(found), n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UsageError(
                f"{argument} {text}: {module} has no {attribute!r}{hint}; write "
                "module:name, the name of something defined there."
            )
        found = getattr(found, part)
    return Own(found, parse_settings(f"{argument} {name}", settings))


def _import(argument: str, text: str, module: str) -> Any:
    if module.endswith(".py") or "/" in module or not module:
        right = Path(module).with_suffix("").as_posix().strip("./").replace("/", ".")
        raise UsageError(
            f"{argument} {text}: name a module, as in import, not a file: "
            f"{right or 'my_module'}:{text.partition(':')[2]}."
        )
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            reason = f"it imports {error.name}, which is not installed"
            raise UsageError(f"{argument} {text}: {reason}.") from error
        raise UsageError(
            f"{argument} {text}: there is no module {error.name!r} in {here} or among "
            "the installed packages; see to the spelling, or start from its folder."
        ) from error
    except Exception as error:  # the user's file may raise anything
        raise UsageError(
            f"{argument} {text}: importing {module} raises "
            f"{type(error).__name__}: {error}; fix it first."
        ) from error


def parameters(argument: str, text: str, factory: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters that a function or a class accepts by name."""
    try:
        # Of a class, that of __init__: a metaclass, as of nnx.Module, may hide it.
        is_class = isinstance(factory, type) and "__init__" in dir(factory)
        signature = inspect.signature(factory.__init__ if is_class else factory)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{argument} {text}: it must be a function or a class whose parameters "
            f"Python can list, got {factory!r}."
        ) from error
    positional = inspect.Parameter.POSITIONAL_ONLY
    for name, parameter in signature.parameters.items():
        if parameter.kind == positional and parameter.default is parameter.empty:
            raise UsageError(
                f"{argument} {text}: {name} cannot be passed by name; wrap it in a "
                "function of your own."
            )
    named = {k: v for k, v in signature.parameters.items() if v.kind != positional}
    return dict(list(named.items())[is_class:])  # without self


def choose(
    argument: str,
    text: str,
    factory: Callable[..., Any],
    offered: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Choose the keywords to call a factory with: those that it accepts.

    Args:
      argument: The option, for the message.
      text: The user's input, for the message.
      factory: The function or class to call.
      offered: Arguments that are passed if it has a parameter of that name.
      settings: Arguments that the user has set, for which it must have a parameter.
    """
    known = parameters(argument, text, factory)
    keywords, rest = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
    named = {k: v for k, v in known.items() if v.kind not in (keywords, rest)}
    takes_any = any(v.kind == keywords for v in known.values())
    for name in settings:
        if name not in named and not takes_any:
            raise UsageError(
                f"{argument} {text}: it has no parameter {name}; it has "
                f"{', '.join(named) or 'none'}."
            )
    given = {k: v for k, v in offered.items() if k in named} | dict(settings)
    missing = [
        name
        for name, parameter in named.items()
        if parameter.default is parameter.empty and name not in given
    ]
    if missing:
        raise UsageError(
            f"{argument} {text} needs {', '.join(missing)}: give "
            f"{text},{missing[0]}=VALUE, or take one of what is passed by name: "
            f"{', '.join(offered) or 'nothing'}."
        )
    return given


def convert(argument: str, value: float | str, default: Any) -> Any:
    """Convert a setting to the type of its default.

    A whole number remains a number of any kind: a default of 0 may stand for a share.

    Raises:
      UsageError: If it cannot be converted.

    >>> convert("b1", 1.0, 3), convert("nesterov", "true", False), convert("b1", 0.5, 0)
    (1, True, 0.5)
    """
    if isinstance(default, bool):
        text = str(value).lower()
        if text not in ("true", "1", "1.0", "false", "0", "0.0"):
            raise UsageError(f"{argument} must be true or false, got {value!r}.")
        return text in ("true", "1", "1.0")
    if isinstance(default, int | float) and isinstance(value, str):
        raise UsageError(f"{argument} must be a number, got {value!r}.")
    return as_number(value) if isinstance(default, int) else value


def as_number(value: float | str) -> Any:
    """Return a whole number as an int, as sizes must be."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def fingerprints(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the source file's name and SHA-256 for each of the user's own objects.

    The objects were looked up by these names before; names without a module are
    skipped.
    """
    found = {}
    for name in names:
        if is_own(name):
            found[name] = _fingerprint(name)
        elif Path(name).is_file():
            found[name] = _of_file(Path(name))
    return found


def _fingerprint(name: str) -> dict[str, str]:
    """Describe the file that defines an object, or else that of the module named."""
    value = find("", name).value
    try:
        path = inspect.getsourcefile(inspect.unwrap(value))
    except TypeError:  # neither a function nor a class
        path = getattr(sys.modules[name.partition(":")[0]], "__file__", None)
    if path is None or not Path(path).is_file():
        return {"file": "unknown", "sha256": "unknown"}
    return _of_file(Path(path))


def _of_file(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        return {
            "file": path.name,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }
