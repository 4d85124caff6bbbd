"""Plant faults in a copy of the tree, one at a time; a test must fail for each.

`make mutants` runs it with all faults of faults.toml; words choose those whose name or
file contains one of them::

    .venv/bin/python tests/mutants/run.py santa benchmarks/sweep
"""

import dataclasses
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAULTS = Path(__file__).with_name("faults.toml")

# All that the tests of the faults read.
COPIED = ("padam_optax", "benchmarks", "tests", "pyproject.toml")

# Imported once, before the process that tests a fault is forked: together they take
# longer than most tests. None of them starts a thread or a JAX backend.
PRELOADED = ("chex", "flax.nnx", "hypothesis", "optax", "scipy.stats")

# A fault that makes a test hang is reported as such after this time.
SECONDS = 600


@dataclasses.dataclass(frozen=True)
class Fault:
    """A change that makes the code wrong.

    Attributes:
      name: What is wrong then.
      file: The file that is changed, relative to the root.
      original: A text that occurs in it exactly once.
      replacement: What takes its place.
      tests: Those of which one must fail, in pytest's notation.
    """

    name: str
    file: str
    original: str
    replacement: str
    tests: Sequence[str]

    def plant(self, root: Path = ROOT) -> str:
        """Return the file's text with the fault.

        Raises:
          ValueError: If the original does not occur exactly once.
        """
        text = (root / self.file).read_text()
        if (found := text.count(self.original)) != 1:
            raise ValueError(
                f"{self.name!r}: original must occur exactly once in {self.file}, got "
                f"{found}: {self.original!r}. The code has changed; update faults.toml."
            )
        planted = text.replace(self.original, self.replacement)
        compile(planted, self.file, "exec")
        return planted


@dataclasses.dataclass
class Outcome:
    """What the tests said.

    Attributes:
      kind: "caught" if an assertion of a test failed, "survived" if all passed, and
        "broken" if something else happened, which shows nothing.
      test: The test that failed, if any.
      slow: Whether it is marked as slow.
      detail: What else happened.
    """

    kind: str
    test: str = ""
    slow: bool = False
    detail: str = ""


def load_faults(path: Path = FAULTS) -> list[Fault]:
    """Read the list of faults."""
    return [Fault(**entry) for entry in tomllib.loads(path.read_text())["fault"]]


class _Observer:
    """A plugin of pytest that notes the first failure, and whether anything ran.

    Slow tests come last, so that a fast one catches the fault where it can.
    """

    def __init__(self) -> None:
        self.outcome = Outcome("broken", detail="no test ran")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: item.get_closest_marker("slow") is not None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]):
        report = yield
        if report.passed and report.when == "call":
            if self.outcome.kind == "broken":
                self.outcome = Outcome("survived")
        elif report.failed and call.excinfo is not None:
            error = call.excinfo.value
            slow = item.get_closest_marker("slow") is not None
            is_caught = report.when == "call" and _is_failed_assertion(error)
            self.outcome = Outcome(
                "caught" if is_caught else "broken",
                item.nodeid,
                slow,
                f"{report.when}: {type(error).__name__}: {error}",
            )
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.outcome = Outcome("broken", report.nodeid, detail=report.longreprtext)


def _is_failed_assertion(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_failed_assertion, error.exceptions))
    return isinstance(error, AssertionError | pytest.fail.Exception)


def _run_tests(root: Path, tests: Sequence[str], log: Path, pipe: Connection) -> None:
    """Run tests on the copy, in a process of their own, and send the outcome."""
    os.chdir(root)
    sys.path[:] = [str(root), *sys.path[1:]]  # the first was the folder of this file
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    options = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--fast-compile"]
    options += ["--rootdir", str(root)]
    # What PRELOADED holds was imported before pytest could rewrite its assertions.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    observer = _Observer()
    try:
        pytest.main([*options, *tests], plugins=[observer])
        _check_origin(root)
    except BaseException:
        observer.outcome = Outcome("broken", detail=traceback.format_exc())
    pipe.send(observer.outcome)
    pipe.close()
    os._exit(0)  # threads that a fault has left behind do not matter


def _check_origin(root: Path) -> None:
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        is_ours = name.partition(".")[0] in ("padam_optax", "benchmarks", "tests")
        if is_ours and file and not Path(file).is_relative_to(root):
            raise RuntimeError(f"{name} was imported from {file}, not from the copy")


def test(root: Path, tests: Sequence[str]) -> Outcome:
    """Run tests on a copy of the tree in a forked process."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    log = root / "log.txt"
    process = context.Process(target=_run_tests, args=(root, tests, log, sender))
    process.start()
    sender.close()
    outcome = Outcome("broken", detail=f"no end within {SECONDS} seconds")
    try:
        if receiver.poll(SECONDS):
            outcome = receiver.recv()
    except EOFError:
        outcome = Outcome("broken", detail="the process died\n" + log.read_text())
    finally:
        if process.is_alive() and outcome.detail.startswith("no end"):
            process.kill()
        process.join()
    return outcome


@contextmanager
def copy_of_tree() -> Generator[Path]:
    """Yield a temporary folder with what the tests read."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, root / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, root / name)
        yield root


def _report(fault: Fault, outcome: Outcome, seconds: float) -> None:
    speed = " (slow)" if outcome.slow else ""
    print(f"{outcome.kind:8} {seconds:5.1f} s  {fault.name} [{fault.file}]", flush=True)
    if outcome.kind == "caught":
        print(f"                  by {outcome.test}{speed}", flush=True)
    else:
        tests = outcome.test or " ".join(fault.tests)
        print(f"                  by {tests}: {outcome.detail}", flush=True)


def _prepare(root: Path) -> None:
    # What a fault leaves as it is has been compiled by the tests of the sound tree.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(root / "programs")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    # A fault that makes a test hang fails it before SECONDS are over.
    os.environ["TEST_PATIENCE"] = "300"
    sys.dont_write_bytecode = True  # the copy's files change within a second
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    for name in PRELOADED:
        importlib.import_module(name)


def main(words: Sequence[str]) -> int:
    """Plant the faults that are asked for; return 0 if each is caught."""
    chosen = [
        fault
        for fault in load_faults()
        if not words or any(word in f"{fault.name} {fault.file}" for word in words)
    ]
    stale = 0
    planted: list[tuple[Fault, str]] = []
    for fault in chosen:
        try:
            planted.append((fault, fault.plant()))
        except (ValueError, SyntaxError, OSError) as error:
            print(f"stale    {error}")
            stale += 1

    found = []
    with copy_of_tree() as root:
        _prepare(root)
        tests = sorted({name for fault, _ in planted for name in fault.tests})
        sound = test(root, tests)
        if sound.kind != "survived":
            print(f"without any fault: {sound.test} {sound.detail}")
            return 1
        for fault, text in planted:
            path = root / fault.file
            original = path.read_text()
            path.write_text(text)
            start = time.perf_counter()
            outcome = test(root, fault.tests)
            path.write_text(original)
            _report(fault, outcome, time.perf_counter() - start)
            found.append(outcome)

    counts = Counter(outcome.kind for outcome in found)
    slow = sum(outcome.slow for outcome in found if outcome.kind == "caught")
    print(
        f"{len(chosen)} faults: {counts['caught']} caught ({slow} by slow tests), "
        f"{counts['survived']} survived, {counts['broken']} broken, {stale} stale"
    )
    return 0 if chosen and counts["caught"] == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
