"""What is recorded of a run is what its weights and moments say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import padam_optax
from benchmarks.training import monitoring


def run(optimizer):
    start = {"a": jnp.ones(3), "b": jnp.full(2, 2.0)}
    params, state = start, optimizer.init(start)
    for scale in (1.0, 0.1):
        g = {"a": scale * jnp.array([1.0, 10.0, 0.0]), "b": jnp.array([3.0, scale])}
        u, state = optimizer.update(g, state, params)
        params = optax.apply_updates(params, u)
    return start, params, state


def test_padam_shows_distance_rates_and_maximum():
    start, params, state = run(padam_optax.padam(0.1, b2=0.5, p=0.25))
    read = monitoring.make_diagnostics(state, 0.25, None)
    record = monitoring.to_record(read(start, params, state, 0.1))
    moved = np.concatenate([params[k] - start[k] for k in "ab"])
    np.testing.assert_allclose(
        record["distance_from_start"], np.sqrt(np.sum(moved**2)), rtol=1e-6
    )
    # v̂ = max(g1²/2, g1²/4 + g2²/2), of all but the coordinate without gradient.
    v_hat = np.array([0.5, 50.0, 9 * 0.75, 0.5])
    rates = np.quantile(0.1 / v_hat**0.25, monitoring.QUANTILES, method="inverted_cdf")
    np.testing.assert_allclose(record["effective_learning_rate"], rates, rtol=1e-5)
    # It binds where the second gradient was a tenth of the first.
    assert record["share_where_max_binds"] == pytest.approx(3 / 5)


def test_sgd_shows_how_far_it_has_come():
    start, params, state = run(optax.sgd(0.1))
    record = monitoring.to_record(
        monitoring.make_diagnostics(state, 0.5, None)(start, params, state, 0.1)
    )
    assert set(record) == {"distance_from_start"}


def test_adagrad_norm_shows_its_b():
    start, params, state = run(padam_optax.contrib.adagrad_norm(0.1, b0=2.0))
    record = monitoring.to_record(
        monitoring.make_diagnostics(state, 0.5, None)(start, params, state, 0.1)
    )
    # ‖g‖² is 1 + 100 + 9 + 1 in the first step and 0.01 + 1 + 9 + 0.01 in the second.
    assert record["b"] == pytest.approx(np.sqrt(4 + 111 + 10.02), rel=1e-6)


@pytest.mark.slow
def test_a_compressed_state_shows_what_the_plain_one_shows():
    plain = padam_optax.padam(0.1, b2=0.5, p=0.25)
    packed = padam_optax.experimental.quantize_state(plain, "16-bit", min_size=0)
    shown = []
    for optimizer in (plain, packed):
        start, params, state = run(optimizer)
        read = monitoring.make_diagnostics(state, 0.25, None)
        shown.append(monitoring.to_record(read(start, params, state, 0.1)))
    for name, values in shown[0].items():
        np.testing.assert_allclose(shown[1][name], values, rtol=0.01)


def test_a_p_that_varies_has_no_rates_to_show():
    _, _, state = run(padam_optax.padam(0.1))
    start, params, _ = run(optax.sgd(0.1))
    shown = monitoring.make_diagnostics(state, None, None)(start, params, state, 0.1)
    assert set(shown) == {"distance_from_start", "share_where_max_binds"}


def test_what_is_not_finite_is_null():
    assert monitoring.to_record({"x": jnp.array([1.0, jnp.nan])}) == {"x": [1.0, None]}
    assert monitoring.to_record({"x": jnp.float32(jnp.inf)}) == {"x": None}
    assert jax.tree.leaves(monitoring.to_record({})) == []
