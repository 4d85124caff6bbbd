"""Convert optimizer states: the moments of one optimizer in the state of another."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from padam_optax.state._lookup import Moments, Path, find_maxima, map_fields, map_maxima


def convert_state(state: optax.OptState, template: optax.OptState) -> optax.OptState:
    r"""Return the template with the moments and the step count of another state.

    A run continues under another optimizer: from `optax.amsgrad` to `padam` and back,
    into another chain, into or out of the groups of `optax.multi_transform`.
    `optax.amsgrad` is `padam` with p = 1/2 and ``bias_correction="before_max"``, or
    ``"none"`` if it does not correct: a maximum of corrected moments does not convert
    to one of uncorrected ones. Call it outside jit.

    Args:
      state: A state with ``mu``, ``nu`` and ``nu_max``.
      template: ``opt.init(params)`` of the new optimizer, with the same fields. All its
        fields named ``count``, including those of schedules, are set; others stay.

    Returns:
      A state like the template, dtypes and shardings included, in buffers of its own.

    Raises:
      ValueError: If a state lacks the moments, a leaf has no counterpart, one of
        another shape or a complex one for a real one, or counts differ.

    Examples:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> import padam_optax
      >>> from padam_optax.state import convert_state
      >>> params = {"w": jnp.array([1.0, 2.0])}
      >>> theirs = optax.amsgrad(0.1)
      >>> ours = padam_optax.padam(0.1, p=0.5, bias_correction="before_max")
      >>> state = theirs.init(params)
      >>> for g in [3.0, -1.0]:
      ...     _, state = theirs.update({"w": jnp.array([g, 1.0])}, state)
      >>> converted = convert_state(state, ours.init(params))
      >>> g = {"w": jnp.array([1.0, 2.0])}
      >>> for opt, state in [(theirs, state), (ours, converted)]:
      ...     print(*(f"{u:.5f}" for u in opt.update(g, state)[0]["w"]))
      -0.03112 -0.09678
      -0.03112 -0.09678
    """
    found: dict[str, Any] = {}
    counts: set[int] = set()
    for moments in find_maxima(state):
        counts.add(int(moments.count))
        for path, leaf in jax.tree.leaves_with_path(moments._replace(count=None)):
            found[jax.tree_util.keystr(path)] = leaf

    def find(path: Path) -> Any:
        if jax.tree_util.keystr(path) not in found:
            name, where = _split(path)
            raise ValueError(
                f"The state to convert must hold {name} of parameter {where}, which "
                "the template has; it does not. Are both of the same parameters, and "
                "packed alike or not at all?"
            )
        return found[jax.tree_util.keystr(path)]

    return _filled(template, counts, find, "")


def convert_torch_state(
    state_dict: Mapping[str, Any],
    template: optax.OptState,
    keys: Any,
    layout: Callable[[str, np.ndarray], Any] = lambda path, array: array,
) -> optax.OptState:
    r"""Return the template with the moments and the step count of a PyTorch optimizer.

    The next steps are those of PyTorch if the template's optimizer is

    ======================================= ===========================================
    in PyTorch                              here
    ======================================= ===========================================
    ``Adam(amsgrad=True, weight_decay=w)``  `padam` with ``p=0.5, weight_decay=w,
                                            bias_correction="consistent"``
    ``AdamW(amsgrad=True, weight_decay=w)`` `padamw` with the same
    ``Padam(partial=p, weight_decay=w)``    `padam` with ``p=p, weight_decay=w,
                                            bias_correction="official"``; this is the
                                            authors' program
    ======================================= ===========================================

    Args:
      state_dict: ``optimizer.state_dict()`` with NumPy arrays for tensors. Its "state"
        maps keys to mappings with "step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq";
        its "param_groups", the hyperparameters, are not read.
      template: ``opt.init(params)`` of the new optimizer.
      keys: A tree like the parameters with the key of each leaf in "state". PyTorch
        numbers parameters in the order of ``model.parameters()``.
      layout: A function from the path of a leaf, as in "Conv_0/kernel", and PyTorch's
        array to the array here. Flax stores kernels as (in, out) and (height, width,
        in, out), PyTorch as (out, in) and (out, in, height, width).

    Raises:
      ValueError: If ``state_dict`` has no "state", the template lacks the moments, a
        leaf has no key, no moments or moments of another shape, or steps differ.

    Examples:
      A dense layer after two steps:

      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> import padam_optax
      >>> from padam_optax.state import convert_torch_state, second_moment
      >>> x = np.array([[1.0, 2.0, 3.0]])
      >>> moments = {"exp_avg": x, "exp_avg_sq": x**2, "max_exp_avg_sq": 4 * x**2}
      >>> state_dict = {"state": {0: {"step": 2, **moments}}}
      >>> opt = padam_optax.padam(0.1, p=0.25, bias_correction="official")
      >>> params, keys = {"kernel": jnp.zeros((3, 1))}, {"kernel": 0}
      >>> def layout(path, array):
      ...     return array.T if path.endswith("kernel") else array
      >>> state = convert_torch_state(state_dict, opt.init(params), keys, layout)
      >>> second_moment(state)["kernel"].tolist()
      [[4.0], [16.0], [36.0]]
    """
    key_of = {
        jax.tree_util.keystr(path): key
        for path, key in jax.tree_util.tree_leaves_with_path(keys)
    }
    if "state" not in state_dict:
        got = list(state_dict)
        raise ValueError(f'state_dict must have "state" and "param_groups", got {got}.')
    entries = state_dict["state"]
    steps: set[int] = set()

    def find(path: Path) -> Any:
        name, where = _split(path)
        if where not in key_of:
            raise ValueError(
                f"keys must name a key for parameter {where}, got none. It is a tree "
                'like params of keys in state_dict["state"].'
            )
        key, torch_name = key_of[where], _TORCH_NAMES[name]
        if not {torch_name, "step"} <= set(entries.get(key, {})):
            raise ValueError(
                f'state_dict["state"][{key!r}], for parameter {where}, must hold step '
                f"and {torch_name}; it does not. Only Padam and optimizers with "
                "amsgrad=True keep a maximum. For a parameter without gradients, pass "
                "zeros."
            )
        steps.add(int(np.asarray(entries[key]["step"]).item()))
        simple = jax.tree_util.keystr(path[1:], simple=True, separator="/")
        return layout(simple, np.asarray(entries[key][torch_name]))

    return _filled(
        template, steps, find, " If PyTorch lays it out differently, pass layout."
    )


_TORCH_NAMES = {"mu": "exp_avg", "nu": "exp_avg_sq", "nu_max": "max_exp_avg_sq"}


def _filled(template: Any, counts: set[int], find: Any, remedy: str) -> Any:
    """Return the template with the result of ``find`` for each leaf of each moment."""

    def fill(moments: Moments) -> Moments:
        trees = moments._replace(count=None)
        filled = jax.tree_util.tree_map_with_path(fit, trees)
        return filled._replace(count=moments.count)

    def fit(path: Path, like: jax.Array) -> jax.Array:
        found = find(path)
        name, where = _split(path)
        if name == "mu" and np.iscomplexobj(found) and not np.iscomplexobj(like):
            raise ValueError(
                f"mu of parameter {where} must be real, as the template's, got "
                f"{found.dtype}. Make the template from the same parameters."
            )
        if np.shape(found) != np.shape(like):
            raise ValueError(
                f"{name} of parameter {where} must have shape {np.shape(like)}, got "
                f"{np.shape(found)}.{remedy}"
            )
        return _placed(found, like)

    filled = map_maxima(fill, template)
    # After the moments: `find` collects the steps.
    if len(counts) != 1:
        raise ValueError(
            "All parameters must have the same number of updates, got "
            f"{sorted(counts)}. Convert groups with different counts one by one."
        )
    (count,) = counts
    return map_fields(lambda like: _placed(count, like), filled, "count")


def _split(path: Path) -> tuple[str, str]:
    """Return the name of the moment and the path of the parameter."""
    return path[0].name, jax.tree_util.keystr(path[1:])


def _placed(value: Any, like: Any) -> jax.Array:
    """Return a copy with the dtype and the sharding of ``like``."""
    return jax.device_put(jnp.array(value, like.dtype, copy=True), like.sharding)
