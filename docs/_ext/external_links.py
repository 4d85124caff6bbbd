"""Link names of JAX, Optax, Flax and NumPy without downloading their inventories."""

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

OPTAX = "https://optax.readthedocs.io/en/latest/api/"
JAX = "https://docs.jax.dev/en/latest/"
NUMPY = "https://numpy.org/doc/stable/reference/"
PYTHON = "https://docs.python.org/3/library/"

_OPTAX_PAGES = {
    "optimizers": "adadelta adafactor adagrad adam adamax adamw amsgrad lamb lars "
    "lbfgs lion sgd yogi rmsprop",
    "transformations": "add_decayed_weights apply_if_finite ema scale_by_adam "
    "scale_by_amsgrad scale_by_learning_rate trace clip_by_global_norm "
    "clip_by_block_rms centralize scale GradientTransformation "
    "GradientTransformationExtraArgs TransformInitFn identity with_extra_args_support "
    "stateless EmptyState clip",
    "combining_optimizers": "chain multi_transform masked partition freeze named_chain",
    "optimizer_wrappers": "MultiSteps apply_if_finite masked MaskedNode",
    "optimizer_schedules": "Schedule inject_hyperparams constant_schedule "
    "cosine_decay_schedule exponential_decay join_schedules linear_schedule "
    "piecewise_constant_schedule warmup_cosine_decay_schedule "
    "InjectStatefulHyperparamsState",
    "apply_updates": "apply_updates incremental_update",
    "projections": "projections",
}
_JAX_PAGES = {
    "jax.Array": "_autosummary/jax.Array.html",
    "jax.jit": "_autosummary/jax.jit.html",
    "jax.grad": "_autosummary/jax.grad.html",
    "jax.vmap": "_autosummary/jax.vmap.html",
    "jax.pmap": "_autosummary/jax.pmap.html",
    "jax.shard_map": "_autosummary/jax.shard_map.html",
    "jax.lax.scan": "_autosummary/jax.lax.scan.html",
    "jax.device_put": "_autosummary/jax.device_put.html",
    "jax.distributed.initialize": "_autosummary/jax.distributed.initialize.html",
    "jax.typing.ArrayLike": "jax.typing.html",
    "jax.typing.DTypeLike": "jax.typing.html",
    "DTypeLike": "jax.typing.html",
}
_PYTHON_PAGES = {
    "bool": "functions.html#bool",
    "float": "functions.html#float",
    "int": "functions.html#int",
    "str": "stdtypes.html#str",
    "tuple": "stdtypes.html#tuple",
    "list": "stdtypes.html#list",
    "dict": "stdtypes.html#dict",
    "None": "constants.html#None",
    "TypeError": "exceptions.html#TypeError",
    "ValueError": "exceptions.html#ValueError",
    "Any": "typing.html#typing.Any",
    "typing.Any": "typing.html#typing.Any",
    "Literal": "typing.html#typing.Literal",
    "typing.Literal": "typing.html#typing.Literal",
    "Callable": "collections.abc.html#collections.abc.Callable",
    "Collection": "collections.abc.html#collections.abc.Collection",
    "Mapping": "collections.abc.html#collections.abc.Mapping",
    "Sequence": "collections.abc.html#collections.abc.Sequence",
}

# Our own aliases: each is explained in the docstring of the argument.
PLAIN = {
    "BiasCorrection",
    "Constraint",
    "Format",
    "Mask",
    "np.ndarray",
    "numpy.ndarray",
}


def _addresses() -> dict[str, str]:
    found = {name: JAX + page for name, page in _JAX_PAGES.items()}
    for name, page in _PYTHON_PAGES.items():
        found[name] = PYTHON + page
        found["collections.abc." + name] = PYTHON + page
    for page, names in _OPTAX_PAGES.items():
        for name in names.split():
            found["optax." + name] = f"{OPTAX}{page}.html#optax.{name}"
    found["ArrayLike"] = NUMPY + "typing.html#numpy.typing.ArrayLike"
    # Type aliases have no anchor of their own.
    for name in ("OptState", "Params", "ScalarOrSchedule", "Updates"):
        found["optax." + name] = OPTAX + "transformations.html"
    return found


ADDRESSES = _addresses()


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Node | None:
    """Return a link to an external page, or plain code for a word in backticks."""
    del app, env
    if node.get("refdomain") != "py":
        return None
    target = node.get("reftarget", "")
    if target in ADDRESSES:
        return nodes.reference(
            "", "", content, refuri=ADDRESSES[target], internal=False
        )
    is_ours = target.startswith("padam_optax.")
    if target in PLAIN or (node.get("reftype") == "obj" and not is_ours):
        return content
    return None  # reported: it is a typing mistake or a missing page


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hook."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
