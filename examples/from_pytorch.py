"""Go on from a checkpoint of `torch.optim.Adam(amsgrad=True)`.

python examples/from_pytorch.py CHECKPOINT, a file that PyTorch wrote for the model
Sequential(Linear(4, 8), ReLU(), Linear(8, 1)):
torch.save({"model": model.state_dict(), "optimizer": adam.state_dict()}, CHECKPOINT).
A .pkl file holds the same as NumPy arrays.
"""

import pickle
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from padam_optax import padam
from padam_optax.state import convert_torch_state

path = Path(sys.argv[1]) if len(sys.argv) > 1 else sys.exit(__doc__)
if path.suffix == ".pkl":
    checkpoint = pickle.loads(path.read_bytes())
else:
    import torch

    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
model = {name: np.asarray(x) for name, x in checkpoint["model"].items()}
params = {
    layer: {
        "kernel": jnp.asarray(model[f"{number}.weight"].T),
        "bias": jnp.asarray(model[f"{number}.bias"]),
    }
    for layer, number in [("first", 0), ("second", 2)]
}

# PyTorch numbers parameters in the order of model.parameters().
numbers = {"first": {"kernel": 0, "bias": 1}, "second": {"kernel": 2, "bias": 3}}
optimizer = padam(0.01, p=1 / 2, bias_correction="consistent")  # what it was
state = convert_torch_state(
    checkpoint["optimizer"],
    optimizer.init(params),
    numbers,
    lambda name, x: x.T if name.endswith("kernel") else x,
)


def loss(params, x):
    hidden = jax.nn.relu(x @ params["first"]["kernel"] + params["first"]["bias"])
    y = hidden @ params["second"]["kernel"] + params["second"]["bias"]
    return ((y[:, 0] - x.sum(-1)) ** 2).mean()


x = jnp.asarray(np.random.default_rng(0).normal(size=(32, 4)), jnp.float32)
value, gradients = jax.value_and_grad(loss)(params, x)
updates, state = optimizer.update(gradients, state, params)
params = optax.apply_updates(params, updates)
print(f"loss {value:.6f}, then {loss(params, x):.6f}")
