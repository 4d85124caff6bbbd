"""Measured rates against the spectra of the iterations, and closed forms."""

import math

import numpy as np
import pytest

from benchmarks.theory import condition_number

STARTS = np.random.default_rng(1).normal(size=(2, 10))


def spectral_radius(name, kappa):
    """The largest eigenvalue of a step, over curvatures from 1 to κ."""
    root = math.sqrt(kappa)
    radii = []
    for curvature in np.logspace(0, math.log10(kappa), 10):
        if name == "gradient-descent":
            radii.append(abs(1 - 2 / (1 + kappa) * curvature))
            continue
        if name == "polyak":  # x+ = (1 + b - a λ) x - b x-
            b = ((root - 1) / (root + 1)) ** 2
            top = [1 + b - 4 * curvature / (root + 1) ** 2, -b]
        else:  # x+ = (1 - λ/κ) ((1 + b) x - b x-)
            b = (root - 1) / (root + 1)
            shrink = 1 - curvature / kappa
            top = [shrink * (1 + b), -shrink * b]
        radii.append(max(abs(np.linalg.eigvals([top, [1, 0]]))))
    return max(radii)


@pytest.mark.parametrize("name", ["gradient-descent", "polyak", "nesterov"])
@pytest.mark.parametrize("kappa", [10.0, 300.0])
def test_the_measured_rate_is_that_of_the_iteration(name, kappa):
    _, rates = condition_number.measure(name, kappa, STARTS)
    expected = math.log(spectral_radius(name, kappa))
    np.testing.assert_allclose(np.log(rates), expected, rtol=0.02)


@pytest.mark.parametrize(
    ("name", "claimed"),
    [
        ("gradient-descent", 99 / 101),
        ("polyak", 9 / 11),
        ("nesterov", math.sqrt(9 / 10)),
    ],
)
def test_claimed_rates_are_those_of_the_slides(name, claimed):
    assert condition_number.METHODS[name].rate(100.0) == pytest.approx(claimed)
