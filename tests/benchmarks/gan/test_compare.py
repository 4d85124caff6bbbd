"""Tuning, finals, resumption and verdicts, with runs that are pretended."""

import json

import numpy as np
import pytest

from benchmarks import run_dir
from benchmarks.__main__ import main
from benchmarks.commands import gan as command
from benchmarks.errors import UsageError
from benchmarks.gan import compare as comparison
from benchmarks.gan.config import GanConfig
from benchmarks.gan.duel import Duel
from benchmarks.gan.plan import final_distance
from benchmarks.reporting.claims.gan import judge_gan
from benchmarks.reporting.plots import gan as drawings
from benchmarks.reporting.plots.gan import draw_gan, gan_table
from benchmarks.reporting.sections import describe

pytestmark = pytest.mark.usefixtures("standard_promotion")

IMAGES = comparison.Images(*(np.zeros((1, 28, 28, 1)),) * 3)


@pytest.fixture
def started(monkeypatch):
    """Let a run be the better the nearer its rate is to 1; let 10 diverge.

    Returns the list of runs in the order in which they start.
    """
    calls = []

    def run(self, rate, seed, measure):
        del measure
        calls.append((self.name, rate, seed))
        stopped = "a loss is not finite before step 2" if rate >= 10 else None
        own = {"adam": 0.5, "padam-p0.5": 0.25}.get(self.name, 0.0)
        end = 1 + abs(np.log10(rate)) + 0.01 * seed + own
        return {
            "step": [0, 1 if stopped else 2],
            "distance": [50.0, 0.5 if stopped else end],
            "generator_loss": [],
            "discriminator_loss": [],
            "stopped": stopped,
            "seconds": 0.0,
        }

    def init(self, name, images, config):
        self.name = name

    monkeypatch.setattr(drawings, "draw_gan", lambda *_: None)
    monkeypatch.setattr(Duel, "__init__", init)
    monkeypatch.setattr(Duel, "run", run)
    monkeypatch.setattr(
        command, "load", lambda config: (IMAGES, lambda x: np.eye(3)[: len(x) + 2])
    )
    return calls


def config(out, **changes):
    return GanConfig(out=out, steps=2, evaluations=1, resume=True, **changes)


def test_each_optimizer_is_tuned_beyond_its_grid_and_tested_at_its_best(
    started, tmp_path
):
    """Momentum's rates begin at 0.01; 1 is best, and 10 is tried beyond it."""
    out = tmp_path / "gan"
    small = {"optimizers": ("momentum",), "factors": (0.1, 1.0), "seeds": 2}
    assert command.run(config(out, **small)) == 0
    assert started == [
        ("momentum", 0.01, 100),
        ("momentum", 0.1, 100),
        ("momentum", 1.0, 100),
        ("momentum", 10.0, 100),
        ("momentum", 1.0, 0),
        ("momentum", 1.0, 1),
    ]
    lines = run_dir.read(out / "gan.jsonl")
    assert [line["stage"] for line in lines] == ["tuning"] * 4 + ["final"] * 2
    assert final_distance(lines[3]) == 50.0  # that of the untrained generator
    draw_gan(lines, out / "gan.png")
    assert (out / "gan.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("left", [0, 3, 5])
def test_it_resumes_with_the_run_that_was_under_way(started, tmp_path, left):
    small = {"optimizers": ("momentum",), "factors": (0.1, 1.0), "seeds": 2}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for out in (whole, cut):
        assert command.run(config(out, **small)) == 0
    expected = (whole / "gan.jsonl").read_text()
    kept = expected.splitlines(keepends=True)[:left]
    (cut / "gan.jsonl").write_text("".join(kept) + '{"optimizer": "mom')
    started.clear()
    assert command.run(config(cut, **small)) == 0
    assert len(started) == 6 - left
    assert (cut / "gan.jsonl").read_text() == expected


def test_other_settings_are_refused(started, tmp_path, capsys):
    out = tmp_path / "gan"
    options = ["gan", "--out", str(out), "--resume", "--seeds", "1", "--optimizers"]
    assert main([*options, "adam", "--steps", "10"]) == 0
    assert main([*options, "adam", "--steps", "20"]) == 2
    assert "steps" in capsys.readouterr().err


def test_padam_is_judged_seed_by_seed_against_sgd_and_adam(started, tmp_path):
    out = tmp_path / "gan"
    few = {"optimizers": ("momentum", "adam", "padam-p0.5"), "factors": (1.0, 10.0)}
    assert command.run(config(out, **few)) == 0
    rows = {row.claim: row for row in judge_gan(tmp_path)}
    assert len(rows) == 6
    at_half = "Padam (p = 1/2) trains a small GAN at least as well as "
    adam = rows[at_half + "Adam"]
    # All at rate 1, the distances 1 (SGD), 1.5, 1.25, and 0.01 more with each seed.
    expected = np.mean([100 * np.log((1.5 + s) / (1.25 + s)) for s in (0, 0.01, 0.02)])
    assert adam.interval is not None
    assert adam.interval.mean == pytest.approx(expected, abs=1e-6)
    assert adam.verdict == "holds"
    assert rows[at_half + "SGD"].verdict == "does not hold"
    assert rows[
        "Padam (p = 1/4) trains a small GAN at least as well as SGD"
    ].verdict == ("not run")
    table = gan_table(run_dir.read(out / "gan.jsonl"))
    assert [*table.columns[0].cells] == ["SGD + momentum", "Adam", "Padam, p = 1/2"]
    assert [*table.columns[4].cells] == ["1.0±0.0", "1.5±0.0", "1.3±0.0"]


def test_nothing_is_judged_before_the_last_run(started, tmp_path):
    out = tmp_path / "gan"
    assert command.run(config(out, seeds=2)) == 0
    assert {row.verdict for row in judge_gan(tmp_path)} != {"not run"}
    header = json.loads((out / "header.json").read_text())
    del header["finished"]
    run_dir.write_json(out / "header.json", header)
    assert {row.verdict for row in judge_gan(tmp_path)} == {"not run"}
    section = describe(out, tmp_path)
    assert not section.is_finished
    assert "Unfinished" in section.text


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"optimizers": ("sgd",)}, "--optimizers 'sgd'"),
        ({"factors": (1.0,)}, "--factors"),
        ({"factors": (1.0, -1.0)}, "--factors"),
        ({"momentum": 1.0}, "--momentum"),
        ({"steps": 25}, "--steps must be a multiple of --evaluations, 10"),
        ({"seed": 2}, "--seed must be at least 3"),
        ({"examples": 10}, "--examples must be at least 100"),
    ],
)
def test_bad_settings_are_named(wrong, words):
    with pytest.raises(UsageError, match=words):
        GanConfig(**wrong)
