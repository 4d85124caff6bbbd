"""JAX's meshes, by names that every supported version of JAX has."""

from typing import Any

import jax

# jax.set_mesh came with JAX 0.7; within a with statement, use_mesh does the same.
set_mesh: Any = getattr(jax, "set_mesh", getattr(jax.sharding, "use_mesh", None))
