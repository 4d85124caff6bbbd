"""What a progress bar shows, and that it is silent without a terminal."""

import io
import sys

import optax

from benchmarks.training.monitoring import Progress
from benchmarks.training.step import Metrics


class Terminal(io.StringIO):
    """Something that a bar takes for a terminal."""

    def isatty(self):
        return True


def test_it_shows_throughput_loss_accuracy_rate_and_time_left(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    schedule = optax.piecewise_constant_schedule(0.5, {10: 0.1})
    bar = Progress("Padam", 3200, schedule, 100)
    bar.begin_at(900)
    bar.tested((0.6, 0.75))
    bar.advance(300, Metrics(1.25, 0.5))  # step 11, after the milestone
    bar.close()
    last = screen.getvalue().split("\r")[-1]
    assert last.startswith("Padam:  38%")
    assert "1.20k/3.20k" in last
    assert "loss 1.2500, train 50.0%, test 75.0%, rate 0.05" in last
    assert "ex/s" in last
    assert "<" in last  # between the time taken and the time left


def test_it_is_silent_where_nobody_watches(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    bar = Progress("Padam", 10, optax.constant_schedule(0.1), 1)
    bar.advance(5, Metrics(1.0, 1.0))
    bar.close()
    assert screen.getvalue() == ""


def test_only_one_process_shows_it(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    bar = Progress("Padam", 10, optax.constant_schedule(0.1), 1, shown=False)
    bar.advance(5, Metrics(1.0, 1.0))
    bar.close()
    assert screen.getvalue() == ""
