"""What the benchmark of steps counts and shows; not how fast anything is."""

import json
import math
import re

import jax
import jax.numpy as jnp
import optax
import pytest
from rich.console import Console

import padam_optax
from benchmarks import run_dir
from benchmarks.__main__ import main
from benchmarks.errors import UsageError
from benchmarks.reporting.plots import step_time as drawings
from benchmarks.step_time import measure

# Optax's functions mix dtypes.
pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.mark.parametrize(
    ("tree", "leaves", "numbers"),
    [
        ("leaf-1000", 1, 1000),
        ("leaves-30", 30, 1920),
        ("resnet18", 62, 11_173_962),  # 20 convolutions, 20 norms, a dense layer
        ("vgg16", 54, 14_728_266),
        # As torchvision counts.
        pytest.param("resnet50-imagenet", 161, 25_557_032, marks=pytest.mark.slow),
        # 12 blocks of 12 w² + 13 w, two embeddings and the last norm, w = 512.
        ("transformer", 148, 12 * (12 * 512**2 + 13 * 512) + 33_024 * 512 + 1024),
    ],
)
def test_trees_have_the_sizes_of_what_they_are_named_after(tree, leaves, numbers):
    shapes = measure.find_shapes(tree)
    assert len(shapes) == leaves
    assert sum(map(math.prod, shapes)) == numbers


@pytest.mark.parametrize("tree", ["oak", "leaf-0", "leaves-0", "leaf--1"])
def test_an_unknown_tree_is_refused(tree):
    message = f"'{tree}' does not exist; choose from leaf-N"
    with pytest.raises(UsageError, match=message):
        measure.find_shapes(tree)


def test_kernels_are_what_does_work():
    text = """HloModule m
%body (a: f32[2]) -> f32[2] {
  ROOT %x.1 = f32[2]{0} multiply(%a, %a)
}
ENTRY %main (p: f32[2], q: f32[2]) -> (f32[2], f32[2]) {
  %p = f32[2]{0} parameter(0), metadata={op_name="p"}
  %q = f32[2]{0} parameter(1)
  %one = f32[] constant(1)
  %f = f32[2]{0} fusion(%p, %q), kind=kLoop, calls=%body
  %c = f32[2]{0} copy(%q)
  %b = f32[2]{0} bitcast(%c)
  ROOT %t = (f32[2]{0}, f32[2]{0}) tuple(%f, %b)
}
"""
    assert measure.count_kernels(text) == 2


def test_the_power_as_printed_is_padam():
    grads = [jax.random.normal(jax.random.key(i), (50,)) for i in range(4)]
    results = []
    for tx in (measure.CANDIDATES["padam, power as printed"](), padam_optax.padam(0.1)):
        params = jnp.zeros(50)
        state = tx.init(params)
        for g in (*grads, 10 * grads[0], *grads):
            updates, state = tx.update(g, state, params)
            params = optax.apply_updates(params, updates)
        results.append(params)
    assert jnp.allclose(*results, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sgd", 4), ("adam", 8), ("padam p=1/8", 12), ("padam, m in bfloat16", 10)],
)
def test_state_is_counted_from_the_live_arrays(name, expected):
    params = [jnp.ones(100_000)]
    candidate = measure.Candidate(measure.CANDIDATES[name](), params, params)
    described = candidate.describe(100_000)
    assert described["state_bytes_per_number"] == pytest.approx(expected, rel=1e-3)
    # Each number of the state is read and written, the gradient read at least.
    assert described["bytes_per_number"] >= 2 * expected + 8
    assert candidate.take(3) > 0


@pytest.mark.slow
def test_the_state_on_each_device_falls_with_their_number():
    lines = list(measure.measure_shares("lenet"))
    assert [line["devices"] for line in lines[::3]] == [1, 2, 4, 8]
    per_number = {(x["optimizer"], x["devices"]): x["bytes_per_number"] for x in lines}
    assert per_number["adam", 1] == pytest.approx(8, rel=1e-3)
    assert per_number["padam p=1/8", 1] == pytest.approx(12, rel=1e-3)
    # Leaves of which 8 divides no axis stay whole.
    divided = sum(
        math.prod(s) for s in measure.find_shapes("lenet") if any(n % 8 == 0 for n in s)
    )
    share = (divided / 8 + 62_006 - divided) / 62_006
    assert per_number["padam p=1/8", 8] == pytest.approx(12 * share, rel=1e-3)


def test_growth_is_drawn_against_numbers_leaves_and_devices(tmp_path):
    lines = [
        {
            "tree": tree,
            "optimizer": "adam",
            "numbers": n,
            "leaves": leaves,
            "seconds": [n * 1e-9 * turn for turn in (1, 2, 3)],
        }
        for tree, n, leaves in (
            ("leaf-10", 10, 1),
            ("leaf-100", 100, 1),
            ("leaves-2", 128, 2),
        )
    ]
    shares = [{"optimizer": "adam", "devices": 1, "bytes_per_number": 8.0}]
    drawings.draw_growth(lines, shares, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_ratios_are_taken_within_a_turn():
    lines = [
        {"optimizer": "adam", "seconds": [1.0, 2.0, 4.0]},
        {"optimizer": "padam", "seconds": [2.0, 3.0, 4.0]},
    ]
    ratios = drawings.ratios_to_adam(lines)
    assert ratios["padam"] == [2.0, 1.5, 1.0]


def test_a_run_ends_with_table_plot_and_records(tmp_path, capsys):
    out = tmp_path / "speed"
    options = ["--trees", "leaf-1000", "leaves-3", "--optimizers", "padam p=1/8"]
    more = ["--turns", "3", "--seconds", "0.001", "--out", str(out)]
    assert main(["speed", *options, *more]) == 0
    lines = run_dir.read(out / "speed.jsonl")
    assert [(line["tree"], line["optimizer"]) for line in lines] == [
        (tree, name)
        for tree in ("leaf-1000", "leaves-3")
        for name in ("copy", "adam", "padam p=1/8")
    ]
    assert all(len(line["seconds"]) == 3 for line in lines)
    assert json.loads((out / "header.json").read_text())["devices"]["count"] == 8
    assert (out / "speed.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert re.search(r"leaves-3: 192 numbers in 3 leaves", printed)


def test_the_table_shows_ratio_streams_and_state():
    base = {"tree": "leaf-8", "leaves": 1, "numbers": 8, "steps": 1}
    compiled = {"kernels": 3, "compile_seconds": 0.25}
    lines = [
        {
            **base,
            **compiled,
            "optimizer": "copy",
            "seconds": [0.0001, 0.0002, 0.0001, 0.0002],
            "bytes_per_number": 8.0,
            "state_bytes_per_number": 0.0,
        },
        {
            **base,
            **compiled,
            "optimizer": "adam",
            "seconds": [0.001] * 4,
            "bytes_per_number": 40.0,
            "state_bytes_per_number": 8.0,
        },
        {
            **base,
            "optimizer": "torch",
            "seconds": [0.002, 0.0015, 0.0015, 0.001],
            "state_bytes_per_number": 12.0,
        },
    ]
    console = Console(width=100)
    with console.capture() as capture:
        console.print(drawings.speed_table(lines))
    _, body = re.split("─+", capture.get())
    rows = [re.split(" {2,}", row.strip()) for row in body.splitlines() if row.strip()]
    copy, adam, torch = rows
    assert copy[4:6] == ["1.00", "2.0"]
    # Adam cannot do without 28 bytes: in turns 3.5 times what the copy moves in 0.1 or
    # 0.2 ms. The median of 1/.35 and 1/.7 is 2.14.
    assert adam[:4] == ["adam", "1", "1.00", "1.00-1.00"]
    assert adam[4:] == ["2.14", "10.0", "3", "8.00", "0.25"]
    # 36 bytes: 2/.45, 1.5/.9, 1.5/.45, 1/.9.
    assert torch[:3] == ["torch", "1.5", "1.50"]
    assert torch[4:] == ["2.50", "-", "-", "12.00", "-"]


def test_compilation_is_measured_in_turns(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jax, "clear_caches", lambda: None)  # keeps those of other tests
    out = tmp_path / "speed"
    options = ["--trees", "leaf-8", "--optimizers", "padam p=1/8", "--compilation"]
    assert main(["speed", *options, "--turns", "2", "--out", str(out)]) == 0
    lines = run_dir.read(out / "speed.jsonl")
    assert [line["optimizer"] for line in lines] == ["amsgrad", "padam p=1/8"]
    for line in lines:
        assert len(line["seconds"]) == 2
        both = zip(line["lower_seconds"], line["seconds"], strict=True)
        assert all(0 < lower < seconds for lower, seconds in both)
    title = "leaf-8: 8 numbers in 1 leaves, median of 2 turns"
    assert title in capsys.readouterr().out
    results = tmp_path / "results"
    results.mkdir()
    places = [f"--results={results}", f"--out={tmp_path}", "--readme=None"]
    assert main(["report", "--add", str(out), *places]) == 0
    report = (tmp_path / "REPORT.md").read_text()
    assert title in report
    assert "| amsgrad |" in report


def test_the_table_of_compilation_shows_ratios_within_a_turn():
    base = {"tree": "leaf-8", "leaves": 1, "numbers": 8}
    lines = [
        {
            **base,
            "optimizer": "amsgrad",
            "lower_seconds": [0.1, 0.1, 0.1],
            "seconds": [1.1, 2.1, 1.1],
        },
        {
            **base,
            "optimizer": "padam",
            "lower_seconds": [0.2, 0.2, 0.2],
            "seconds": [1.7, 2.2, 2.2],
        },
    ]
    console = Console(width=100)
    with console.capture() as capture:
        console.print(drawings.compilation_table(lines))
    _, body = re.split("─+", capture.get())
    rows = [re.split(" {2,}", row.strip()) for row in body.splitlines() if row.strip()]
    # XLA's parts: 1, 2, 1 and 1.5, 2, 2, in turns 1.5, 1 and 2 times as much.
    assert rows[0][:4] == ["amsgrad", "1.00", "1.00", "1.00-1.00"]
    assert rows[1][:4] == ["padam", "2.00", "1.50", "1.00-2.00"]
    # With tracing 1.7/1.1, 2.2/2.1 and 2.2/1.1.
    assert rows[1][4:] == ["2.20", "1.55", "1.05-2.00"]


def test_growth_and_compilation_are_refused_together(capsys):
    assert main(["speed", "--growth", "--compilation"]) == 2
    assert "choose one" in capsys.readouterr().err
