"""What cannot work is refused before any work starts, in one line."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks.errors import UsageError, check_name
from benchmarks.settings import parse_settings
from benchmarks.training import setup
from benchmarks.training.config import TrainConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "--epochs must be at least 1, got 0."),
        ({"batch_size": -3}, "--batch-size must be at least 1, got -3."),
        ({"width": 0}, "--width must be at least 1, got 0."),
        ({"seed": -1}, r"--seed must be in \[0, 2\^32 - 1\], got -1."),
        ({"seed": 2**32}, "--seed must be in"),
        (
            {"optimizers": ()},
            "--optimizers takes one or more values, each once, got nothing",
        ),
        (
            {"optimizers": ("adam", "padam", "adam")},
            "--optimizers takes one or more values, each once, got adam padam adam",
        ),
        ({"milestones": (0.6, 0.3)}, "--milestones must rise .* got 0.6 0.3."),
        ({"milestones": (0.5, 1.0)}, "--milestones must rise strictly between 0 and 1"),
        ({"milestones": (0.0, 0.5)}, "--milestones must rise strictly between 0 and 1"),
        ({"milestones": (float("nan"),)}, "--milestones must rise"),
        ({"seeds": 0}, "--seeds must be at least 1, got 0."),
        ({"seed": 2**32 - 1, "seeds": 2}, r"--seed must be in \[0, 2\^32 - 2\]"),
        ({"accumulate": 0}, "--accumulate must be at least 1, got 0."),
        ({"keep": -1}, "--keep must be at least 0, got -1."),
        ({"workers": -1}, "--workers must be at least 0, got -1."),
        ({"timeout": 0}, "--timeout must be at least 1, got 0."),
        ({"devices": 0}, "--devices must be at least 1, got 0."),
        ({"checkpoint_seconds": -1.0}, "--checkpoint-seconds must be 0 or more, got"),
        ({"checkpoint_seconds": float("nan")}, "--checkpoint-seconds must be 0 or"),
        ({"warmup": 1.0}, r"--warmup must be in \[0, 1\), got 1.0."),
        ({"warmup": 0.3}, "--warmup must be less than the first of --milestones, 0.3"),
        ({"minimize": True}, "--minimize is about --metric"),
        (
            {"optimizers": ("a:b", "a_b")},
            "--optimizers a:b a_b: two of them would write to the same file",
        ),
        ({"final_share": 1.5}, r"--final-share must be in \[0, 1\], got 1.5."),
        ({"schedule": "exponential"}, "exponential never reaches 0: give --final-sh"),
        ({"recipe": ("p",)}, "--recipe takes settings like p=0.25, each once, got 'p'"),
        ({"recipe": ("p=1", "p=2")}, "each once, got 'p=2'"),
        ({"resume": True}, "--resume needs --out"),
        (
            {"shard_optimizer": True, "parallel": "pmap"},
            "--shard-optimizer needs --parallel jit",
        ),
        ({"num_processes": 2}, "--num-processes and --process-id need --coordinator"),
        ({"coordinator": "here"}, "--coordinator must be host:port or auto, got here"),
        ({"coordinator": "h:99999"}, "--coordinator must be host:port or auto"),
        ({"coordinator": "h:1234"}, "needs --num-processes and --process-id"),
        (
            {"coordinator": "h:1", "num_processes": 2, "process_id": 2},
            r"--process-id must be in \[0, 2\), got 2.",
        ),
        (
            {"coordinator": "auto", "devices": 1},
            "--devices is for one process",
        ),
        ({"data_dir": Path("no/such")}, "--data-dir no/such is not a folder"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, message):
    with pytest.raises(UsageError, match=message):
        TrainConfig(**settings)


def test_output_never_lands_on_an_earlier_run(tmp_path):
    (tmp_path / "config.json").touch()
    with pytest.raises(UsageError, match="not empty; name a new folder"):
        TrainConfig(out=tmp_path)
    with pytest.raises(UsageError, match="is a file; name a new folder"):
        TrainConfig(out=tmp_path / "config.json")
    TrainConfig(out=tmp_path / "new")


def test_settings_cannot_be_changed_later():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epochs = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_unknown_name_lists_what_exists_and_the_nearest():
    known = ("momentum", "adam", "padam")
    check_name("--optimizers", "adam", known)
    with pytest.raises(UsageError) as raised:
        check_name("--optimizers", "padan", known)
    assert str(raised.value) == (
        "--optimizers 'padan' does not exist (did you mean padam?); "
        "choose from momentum, adam, padam."
    )
    with pytest.raises(UsageError, match="'xyz' does not exist; choose"):
        check_name("--optimizers", "xyz", known)


def test_settings_are_numbers_where_they_can_be():
    given = ("p=0.25", "burn_in=1e-3", "bias_correction=none")
    assert parse_settings("--recipe", given) == {
        "p": 0.25,
        "burn_in": 0.001,
        "bias_correction": "none",
    }


def test_a_setting_may_be_for_one_optimizer():
    recipe = ("weight_decay=0", "adam:b2=0.9")
    config = TrainConfig(optimizers=("momentum", "adam"), recipe=recipe)
    found = setup.resolve_hyperparams(config)
    assert found["adam"]["b2"] == 0.9
    assert found["adam"]["weight_decay"] == found["momentum"]["weight_decay"] == 0
    assert "b2" not in found["momentum"]
    with pytest.raises(UsageError, match="--recipe adam:b2=0.9: adam is not among"):
        TrainConfig(optimizers=("momentum",), recipe=recipe)


def test_one_stage_needs_no_milestones():
    assert TrainConfig(schedule="multi-stage", milestones=()).milestones == ()
