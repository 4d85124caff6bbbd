"""The criterion on a quadratic in closed form, and the count of signs."""

import jax.numpy as jnp
import numpy as np

from benchmarks.landscape.surfaces import SURFACES
from benchmarks.theory import step_size


def test_on_the_ravine_the_prediction_is_the_change(x64):
    before, after, predicted = step_size.follow("ravine", jnp.array([0.003, 0.05]), 5)
    np.testing.assert_allclose(predicted, after - before, rtol=1e-9)
    x, y = SURFACES["ravine"].start
    f = SURFACES["ravine"].function
    a, b = 2 * f(1.0, 0.0), 2 * f(0.0, 1.0)  # the curvatures
    assert max(a, b) / min(a, b) == 100
    for i, rate in enumerate((0.003, 0.05)):
        expected = f(x * (1 - rate * a) ** 5, y * (1 - rate * b) ** 5)
        np.testing.assert_allclose(after[i, -1], expected, rtol=1e-9)


def test_signs_are_counted_while_the_loss_is_finite_and_moves():
    before = [1.0, 2.0, 1.5, 1.5, 3.0, 1e9]
    after = [2.0, 1.5, 1.5, 3.0, 1e9, np.inf]
    predicted = [0.1, -0.2, 1.0, -1.0, 1.0, 1.0]
    found = step_size.compare_signs(before, after, predicted)
    # The third step does not move, the fifth and sixth leave the range.
    assert found == {"steps": 3, "rises": 2, "right": 2, "ends_higher": True}
