import os
import signal

import pytest

from benchmarks.training.preemption import Preemption


def ask_to_stop():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def former():
    """A handler that was there before."""
    received = []

    def handle(number, frame):
        received.append(number)

    default = signal.signal(signal.SIGTERM, handle)
    yield received
    signal.signal(signal.SIGTERM, default)


def test_sigterm_is_noted_and_stays_noted(former):
    with Preemption() as preemption:
        assert not preemption.requested()
        ask_to_stop()
        assert preemption.requested()
        assert preemption.requested()
    assert former == []


def test_handler_is_restored(former):
    before = signal.getsignal(signal.SIGTERM)
    with Preemption():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) is before
    ask_to_stop()
    assert former == [signal.SIGTERM]


def test_handler_is_restored_after_an_error(former):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), Preemption():
        raise KeyboardInterrupt
    assert signal.getsignal(signal.SIGTERM) is before


def test_next_one_begins_with_nothing_noted(former):
    with Preemption():
        ask_to_stop()
    with Preemption() as preemption:
        assert not preemption.requested()


def test_processes_ask_with_numbers_that_are_sure_to_come(monkeypatch):
    # Those of steps may skip the one on which the processes agree.
    asked = []

    def reached(number):
        asked.append(number)
        return number == 3

    monkeypatch.setattr("jax.process_count", lambda: 2)
    monkeypatch.setattr(
        "jax.experimental.multihost_utils.reached_preemption_sync_point", reached
    )
    before = signal.getsignal(signal.SIGTERM)
    with Preemption() as preemption:
        assert signal.getsignal(signal.SIGTERM) is before  # JAX has its own
        assert [preemption.requested() for _ in range(4)] == [False, False, True, True]
    assert asked == [1, 2, 3, 4]
