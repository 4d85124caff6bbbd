"""Small sweeps."""

from benchmarks.sweep.config import SweepConfig
from benchmarks.training.config import TrainConfig

GRID = ("learning_rate=0.1,0.01",)


def make_config(out, grid=GRID, heartbeat=20, **settings):
    """A sweep whose runs take a moment."""
    own = {k: settings.pop(k) for k in ("storage", "study") if k in settings}
    small = {"model": "logistic", "epochs": 2, "batch_size": 256, "augment": False}
    common = {"optimizers": ("sgd",), "devices": 1, "out": out, "resume": True}
    config = TrainConfig(**{**small, **common, **settings})
    return SweepConfig(config, grid, heartbeat=heartbeat, **own)
