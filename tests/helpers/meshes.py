"""JAX's meshes, by names that every supported version of JAX has."""

import jax

# jax.set_mesh came with JAX 0.7; within a with statement, use_mesh does the same.
set_mesh = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh
