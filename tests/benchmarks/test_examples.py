"""Every program in examples/ runs, learns, and is short."""

import pathlib
import pickle
import re
import runpy
import sys

import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"

# They run as a user's program does.
pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.fixture
def run(monkeypatch, capsys):
    """Run an example with arguments; return what it printed."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_each_is_short_and_tested():
    own = pathlib.Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) < 60, path.name
        assert path.name in own


@pytest.mark.parametrize(
    "name", ["nnx_resume.py", "sharded_resume.py", "from_pytorch.py"]
)
def test_without_its_arguments_it_prints_what_it_takes(run, name):
    with pytest.raises(SystemExit, match=rf"python examples/{name} \w+"):
        run(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["nnx_digits.py", "linen_digits.py", "equinox_digits.py"]
)
def test_digits_are_told_apart(run, name):
    accuracies = re.findall(r"test accuracy ([\d.]+)%", run(name))
    assert len(accuracies) == 8
    assert float(accuracies[-1]) > 85  # 10 is chance


@pytest.mark.slow
def test_groups_with_a_p_each_learn(run):
    loss = re.findall(r"^loss (\S+)$", run("groups.py"), re.MULTILINE)
    assert float(loss[0]) < 0.01  # it begins near log(20)


@pytest.mark.slow
def test_a_resumed_sharded_run_ends_as_one_that_was_not_stopped(run, tmp_path):
    whole = run("sharded_resume.py", tmp_path / "whole", 6)
    assert "steps 0 to 6 on 8 devices" in whole
    run("sharded_resume.py", tmp_path / "parts", 3)
    rest = run("sharded_resume.py", tmp_path / "parts", 6)
    assert "steps 3 to 6 on 8 devices" in rest
    assert rest.split("loss")[1] == whole.split("loss")[1]


@pytest.mark.slow
def test_a_resumed_nnx_run_ends_as_one_that_was_not_stopped(run, tmp_path):
    whole = run("nnx_resume.py", tmp_path / "whole", 2)
    run("nnx_resume.py", tmp_path / "parts", 1)
    rest = run("nnx_resume.py", tmp_path / "parts", 2)
    assert rest.startswith("epoch 2 ")  # not from the beginning
    assert rest.strip() == whole.strip().splitlines()[-1]


@pytest.mark.slow
def test_the_next_step_after_pytorch_is_pytorchs(run, tmp_path):
    rng = np.random.default_rng(1)
    shapes = {"0.weight": (8, 4), "0.bias": (8,), "2.weight": (1, 8), "2.bias": (1,)}
    model = {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}
    state = {}
    for number, shape in enumerate(shapes.values()):
        v = rng.uniform(0.1, 1.0, size=shape)
        state[number] = {
            "step": 7,
            "exp_avg": rng.normal(size=shape),
            "exp_avg_sq": v,
            "max_exp_avg_sq": v + 0.5,
        }
    path = tmp_path / "checkpoint.pkl"
    path.write_bytes(pickle.dumps({"model": model, "optimizer": {"state": state}}))
    printed = run("from_pytorch.py", path)

    def forward(w):
        pre = x @ w[0].T + w[1]
        y = np.maximum(pre, 0) @ w[2].T + w[3]
        return pre, y

    x = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    w = [model[k].astype(float) for k in shapes]
    pre, y = forward(w)
    error = 2 * (y - x.sum(1, keepdims=True)) / 32
    back = error @ w[2] * (pre > 0)
    gradients = [
        back.T @ x, back.sum(0), error.T @ np.maximum(pre, 0), error.sum(0)
    ]  # fmt: skip
    after = []
    for number, (weights, g) in enumerate(zip(w, gradients, strict=True)):
        entry = state[number]
        m = 0.9 * entry["exp_avg"] + 0.1 * g
        v = np.maximum(
            entry["max_exp_avg_sq"], 0.999 * entry["exp_avg_sq"] + 0.001 * g**2
        )
        root = np.sqrt(v / (1 - 0.999**8)) + 1e-8
        after.append(weights - 0.01 * m / (1 - 0.9**8) / root)
    losses = [
        ((forward(p)[1] - x.sum(1, keepdims=True)) ** 2).mean() for p in (w, after)
    ]
    found = [float(number) for number in re.findall(r"\d+\.\d+", printed)]
    np.testing.assert_allclose(found, losses, rtol=1e-5)
