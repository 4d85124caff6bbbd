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


# --- The algorithms that Padam is compared with, as the lectures print them ---------


def sgd(gradients, learning_rate):
    """θ ← θ - α g."""
    return [-learning_rate * g for g in gradients]


def momentum(gradients, learning_rate, beta):
    """m ← β m + g; θ ← θ - α m (Gu)."""
    m, updates = np.zeros_like(gradients[0]), []
    for g in gradients:
        m = beta * m + g
        updates.append(-learning_rate * m)
    return updates


def polyak(gradients, learning_rate, beta):
    """v ← β v - ε_k g; θ ← θ + v, with a learning rate for each k (Chen)."""
    v, updates = np.zeros_like(gradients[0]), []
    for k, g in enumerate(gradients):
        v = beta * v - learning_rate(k) * g
        updates.append(v)
    return updates


def nesterov(gradient, x, steps, learning_rate, beta):
    """v ← β v - ε g(θ + β v); θ ← θ + v (Chen); the points θ + β v are returned."""
    theta, v, points = x, np.zeros_like(x), [x]
    for _ in range(steps):
        v = beta * v - learning_rate * gradient(theta + beta * v)
        theta = theta + v
        points.append(theta + beta * v)
    return np.stack(points)


def adagrad(gradients, learning_rate, eps):
    """θ ← θ - α g / (√Σg² + ε) (Oxford, Chen)."""
    total, updates = np.zeros_like(gradients[0]), []
    for g in gradients:
        total = total + g**2
        updates.append(-learning_rate * g / (np.sqrt(total) + eps))
    return updates


def adagrad_mean(gradients, learning_rate):
    """θ ← θ - α g / √(mean of g²) (Gu)."""
    return [
        -learning_rate * g / np.sqrt(np.mean(np.square(gradients[: t + 1]), axis=0))
        for t, g in enumerate(gradients)
    ]


def rmsprop(gradients, learning_rate, decay, eps):
    """b ← γ B + (1-γ) g²; θ ← θ - η g / √(B + ε) (Oxford)."""
    b, updates = np.zeros_like(gradients[0]), []
    for g in gradients:
        b = decay * b + (1 - decay) * g**2
        updates.append(-learning_rate * g / np.sqrt(b + eps))
    return updates


def adadelta(gradients, rho, eps):
    """Δ = -√(E[Δ²]+ε) / √(E[g²]+ε) g (Zeiler)."""
    square = delta_square = np.zeros_like(gradients[0])
    updates = []
    for g in gradients:
        square = rho * square + (1 - rho) * g**2
        delta = -np.sqrt(delta_square + eps) / np.sqrt(square + eps) * g
        delta_square = rho * delta_square + (1 - rho) * delta**2
        updates.append(delta)
    return updates


def adam(gradients, learning_rate, b1, b2, eps):
    """θ ← θ - α (m/c1) / (√(v/c2) + ε) (Kingma and Ba)."""
    m = v = np.zeros_like(gradients[0])
    updates = []
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        root = np.sqrt(v / (1 - b2**t))
        updates.append(-learning_rate * m / (1 - b1**t) / (root + eps))
    return updates


def yogi(gradients, learning_rate, b1, b2, eps, start):
    """v ← v - (1-β2) sign(v - g²) g², then as Adam (Zaheer et al.)."""
    m = v = np.full_like(gradients[0], start)
    updates = []
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        v = v - (1 - b2) * np.sign(v - g**2) * g**2
        root = np.sqrt(v / (1 - b2**t))
        updates.append(-learning_rate * m / (1 - b1**t) / (root + eps))
    return updates


def adabelief(gradients, learning_rate, b1, b2, eps, eps_root):
    """s ← β2 s + (1-β2) (g-m)² + ε_root, then as Adam (Zhuang et al.)."""
    m = s = np.zeros_like(gradients[0])
    updates = []
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps_root
        root = np.sqrt(s / (1 - b2**t))
        updates.append(-learning_rate * m / (1 - b1**t) / (root + eps))
    return updates


def bfgs(gradient, x, steps):
    """θ ← θ - H g with the dense inverse-Hessian update, from H = I."""
    h, g, points = np.eye(x.size), gradient(x), [x]
    for _ in range(steps):
        s = -h @ g
        x, g_old = x + s, g
        g = gradient(x)
        y = g - g_old
        rho = 1 / (y @ s)
        left = np.eye(x.size) - rho * np.outer(s, y)
        h = left @ h @ left.T + rho * np.outer(s, s)
        points.append(x)
    return np.stack(points)
