"""The moments of each parameter in an optimizer state, as rows of arrays."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import optax

from padam_optax.state._lookup import Moments, find_moments, map_moments

Row = tuple[Any, ...]  # mu, nu and, if the optimizer keeps one, nu_max of a parameter


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
        trees = map(structure.unflatten, zip(*table, strict=True))
        return moments._replace(**dict(zip(_NAMES, trees, strict=False)))

    return map_moments(replace, state)


_NAMES = ("mu", "nu", "nu_max")


def _rows(moments: Moments) -> list[Row]:
    trees = [moments.mu, moments.nu]
    if moments.nu_max is not None:
        trees.append(moments.nu_max)
    if len(set(map(jax.tree.structure, trees))) > 1:
        return []  # for example, one second moment for each axis (SM3)
    return list(zip(*map(jax.tree.leaves, trees), strict=True))
