"""Schedules of the learning rate, by name: Optax's, and the two it does not have."""

from collections.abc import Sequence

import optax

from benchmarks.training import options


def multi_stage(
    learning_rate: float, steps: int, milestones: Sequence[float]
) -> optax.Schedule:
    """Divide the learning rate by ten at each milestone, the paper's decay.

    Milestones are fractions of the run, in (0, 1); the first step of a stage is the
    fraction of the steps, rounded.
    """
    factors: dict[int, float] = {}
    for share in milestones:  # in the shortest runs several fall on the same step
        step = round(share * steps)
        factors[step] = factors.get(step, 1.0) * 0.1
    return optax.piecewise_constant_schedule(learning_rate, factors)


def make(
    name: options.Schedule,
    learning_rate: float,
    steps: int,
    milestones: Sequence[float] = (),
    final_share: float = 0.0,
    warmup: float = 0.0,
) -> optax.Schedule:
    """Make the schedule named on the command line, a function of the previous steps.

    With a the learning rate, f the final share, T the steps and k the step's number,

    - multi-stage: see multi_stage;
    - cosine: a (f + (1-f) (1 + cos(πk/T))/2) (Loshchilov and Hutter 2017);
    - linear: from a to f a at step τ, then constant (Goodfellow et al. 2016, §8.3.1;
      Buffalo's slides); τ is T, or the only milestone's share of it;
    - exponential: a f^(k/T);
    - inverse-time: a / (1 + ck), with the c that leaves f a at T;
    - inverse-sqrt: a / √(k+1);
    - constant: a.

    Over the share of the warm-up, in [0, 1), the rate first rises linearly from 0. The
    other schedules span the remaining steps; milestones of multi-stage do not move.

    >>> at = make("inverse-time", 0.1, steps=90, final_share=0.1)
    >>> [round(float(at(k)), 4) for k in (0, 10, 90)]
    [0.1, 0.05, 0.01]
    """
    if until := round(warmup * steps):
        if name == "multi-stage":
            milestones = [(m * steps - until) / (steps - until) for m in milestones]
        rest = make(name, learning_rate, steps - until, milestones, final_share)
        rise = optax.linear_schedule(0.0, learning_rate, until)
        return optax.join_schedules([rise, rest], [until])
    if name == "multi-stage":
        return multi_stage(learning_rate, steps, milestones)
    if name == "cosine":
        return optax.cosine_decay_schedule(learning_rate, steps, final_share)
    if name == "linear":
        share = milestones[0] if len(milestones) == 1 else 1.0
        return optax.linear_schedule(
            learning_rate, final_share * learning_rate, max(1, round(share * steps))
        )
    if name == "exponential":
        return optax.exponential_decay(learning_rate, steps, final_share)
    if name == "inverse-time":
        rate = (1 / final_share - 1) / steps
        return lambda count: learning_rate / (1 + rate * count)
    if name == "inverse-sqrt":
        return lambda count: learning_rate / (count + 1.0) ** 0.5
    return optax.constant_schedule(learning_rate)
