"""Language models: the LSTM against its formulas, and no look into the future."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.models.lstm import LSTM
from tests.helpers import layers_reference as reference
from tests.helpers.building import apply, build, filled, inputs, layers


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_in_numpy(x, lstm):
    """Step through time with the four gates apart."""
    w, b = (reference.array(p[...]) for p in (lstm.input.kernel, lstm.input.bias))
    u = reference.array(lstm.recurrent.kernel[...])
    size = len(u)
    c, h, outputs = np.zeros((len(x), size)), np.zeros((len(x), size)), []
    for t in range(x.shape[1]):
        gates = (slice(k * size, (k + 1) * size) for k in range(4))
        i, f, g, o = (x[:, t] @ w[:, k] + h @ u[:, k] + b[k] for k in gates)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


@pytest.mark.parametrize("depth", [1, 3])
def test_a_language_model_follows_the_formulas_of_the_lstm(depth):
    name = f"lstm-{depth}"
    model, tokens = filled(lambda: build(name, (4,))), inputs(name, (4,))
    assert len(model.lstms) == depth
    y = reference.array(model.embedding.embedding[...])[np.asarray(tokens)]
    for lstm in model.lstms:
        y = lstm_in_numpy(y, lstm)
    expected = reference.dense(y, model.head)
    np.testing.assert_allclose(apply(model, tokens), expected, rtol=1e-4, atol=1e-5)


def test_a_token_changes_the_logits_from_its_place_on():
    model, tokens = build("lstm-2"), inputs("lstm-2", (6,))
    changed = tokens.at[:, 3].set((tokens[:, 3] + 1) % 10)
    differs = (model(tokens) != model(changed)).any(axis=(0, 2))
    np.testing.assert_array_equal(differs, [False] * 3 + [True] * 3)


def test_tokens_may_be_bytes():
    model, tokens = build("lstm-1"), inputs("lstm-1")
    np.testing.assert_array_equal(model(tokens), model(tokens.astype(jnp.uint8)))


def test_the_matrices_of_each_gate_are_initialised_apart():
    model = build("lstm-1", initializer="orthogonal")
    for dense in (model.lstms[0].input, model.lstms[0].recurrent):
        for gate in jnp.split(dense.kernel[...], 4, axis=1):
            np.testing.assert_allclose(gate.T @ gate, np.eye(6), atol=1e-6)


def test_embeddings_begin_with_a_deviation_of_one():
    embedding = build("lstm-1", classes=500).embedding.embedding[...]
    assert embedding.std() == pytest.approx(1, rel=0.05)


def test_the_cell_keeps_float32_when_all_else_is_bfloat16():
    """Sums of a thousand small terms: a bfloat16 cell would stop growing at 0.25."""
    lstm: Any = LSTM(layers(dtype=jnp.bfloat16), 1, 1)
    lstm.input.kernel[...] = jnp.zeros((1, 4))
    lstm.recurrent.kernel[...] = jnp.zeros((1, 4))
    # i = f = o = 1 and g = 0.0005: c grows by that at each step, to 0.5.
    lstm.input.bias[...] = jnp.array([30.0, 30.0, 0.0005, 30.0])
    h = jax.jit(lstm)(jnp.zeros((1, 1000, 1)))
    assert h.dtype == jnp.bfloat16
    assert float(h[0, -1, 0]) == pytest.approx(np.tanh(0.5), rel=0.01)
