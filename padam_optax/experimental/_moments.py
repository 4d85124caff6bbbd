"""The moments of each parameter in an optimizer state, as rows of arrays."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import optax

from padam_optax.state._lookup import Moments, find_moments, map_moments


class Row(NamedTuple):
    """The moments of a parameter, or their codes; nu_max is None without a maximum."""

    mu: jax.Array
    nu: jax.Array
    nu_max: jax.Array | None = None


def rows(state: optax.OptState) -> list[Row]:
    """Return the moments of each parameter, in the order of `map_rows`."""
    return [row for moments in find_moments(state) for row in _rows(moments)]


def map_rows(f: Callable[[int, Row], Row], state: optax.OptState) -> optax.OptState:
    """Replace the moments of each parameter by ``f`` of their index and them."""
    indices = itertools.count()

    def replace(moments: Moments) -> Moments:
        table = [f(next(indices), row) for row in _rows(moments)]
        if not table:
            return moments
        structure = jax.tree.structure(moments.mu)
        mu, nu, nu_max = map(structure.unflatten, zip(*table, strict=True))
        return Moments(moments.count, mu, nu, nu_max)

    return map_moments(replace, state)


def _rows(moments: Moments) -> list[Row]:
    trees = [tree for tree in moments[1:] if tree is not None]
    if len(set(map(jax.tree.structure, trees))) > 1:
        return []  # for example, one second moment for each axis (SM3)
    return [Row(*leaves) for leaves in zip(*map(jax.tree.leaves, trees), strict=True)]
