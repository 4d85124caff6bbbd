"""The algorithms in NumPy, loops and all, straight from the formulas.

The slow truth that the package is compared with. It shares no code with it: every
function takes the list of gradients of one array and returns the list of updates.
"""

import numpy as np


def padam(
    gradients,
    learning_rate=0.1,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    p=0.125,
    *,
    eps_root=0.0,
    bias_correction="none",
    nesterov=False,
    with_max=True,
    statistic="square",
    average="exponential",
    without_cancellation=False,
):
    """Algorithm 1 of arXiv 1806.06763 and the conventions beside it.

    ``learning_rate`` and ``p`` may be functions of the number of earlier steps. With
    ``without_cancellation`` the momentum averages |g| instead of g: the size against
    which a rounding error of the update is to be measured.
    """
    g0 = np.asarray(gradients[0])
    m = np.zeros_like(g0)
    v = np.zeros_like(np.abs(g0))
    v_hat = np.zeros_like(v)
    updates = []
    for t, g in enumerate(gradients, start=1):
        alpha = learning_rate(t - 1) if callable(learning_rate) else learning_rate
        exponent = p(t - 1) if callable(p) else p
        h = np.abs(g) if without_cancellation else g
        m = b1 * m + (1 - b1) * h
        s = np.abs(g - m) ** 2 if statistic == "deviation" else np.abs(g) ** 2
        if average == "yogi":
            v = v - (1 - b2) * np.sign(v - s) * s
        else:
            v = b2 * v + (1 - b2) * s
        c1, c1_next, c2 = 1 - b1**t, 1 - b1 ** (t + 1), 1 - b2**t

        candidate = v / c2 if bias_correction == "before_max" else v
        v_hat = np.maximum(v_hat, candidate) if with_max else candidate

        numerator = m
        if bias_correction != "none":
            numerator = m / c1
        if nesterov and bias_correction == "none":
            numerator = b1 * m + (1 - b1) * h
        elif nesterov:
            numerator = b1 * m / c1_next + (1 - b1) * h / c1
        if bias_correction == "official":
            numerator = numerator * np.sqrt(c2)

        inside = v_hat / c2 if bias_correction == "consistent" else v_hat
        base = np.sqrt(inside + eps_root) + eps
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(base == 0, 0, numerator / base ** (2 * exponent))
        updates.append(-alpha * step)
    return updates


def descend(rule, gradient, x, steps, weight_decay=0.0, **settings):
    """Apply ``rule`` to gradients that depend on where it has come to (L2 decay).

    ``gradient(x, t)`` is evaluated afresh at each step; the rule restarts from the full
    history, which is slow and cannot go wrong.
    """
    history, trajectory = [], [x]
    for t in range(steps):
        history.append(gradient(x, t) + weight_decay * x)
        x = x + rule(history, **settings)[-1]
        trajectory.append(x)
    return np.stack(trajectory)
