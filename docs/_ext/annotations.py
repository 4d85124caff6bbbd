"""Show signatures as they are written, not with the unions that aliases expand to.

`optax.ScalarOrSchedule` is a union of nine types. At run time nothing is left of its
name, so signatures are read from the source.
"""

import ast
import inspect
import textwrap
from typing import Any

from sphinx.application import Sphinx


def _definition(obj: Any) -> ast.stmt | None:
    """Return the syntax tree of a function or class of this package."""
    if not getattr(obj, "__module__", "").startswith("padam_optax"):
        return None
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(obj))).body[0]
    except (OSError, TypeError, SyntaxError):
        return None


def show_source(
    app: Sphinx, kind: str, name: str, obj: Any, options: Any, args: str, returns: str
) -> tuple[str, str | None] | None:
    """Return arguments and return type as the source has them."""
    del app, kind, name, options, args, returns
    tree = _definition(obj)
    if isinstance(tree, ast.FunctionDef):
        result = ast.unparse(tree.returns) if tree.returns else None
        return f"({ast.unparse(tree.args)})", result
    if isinstance(tree, ast.ClassDef):  # a NamedTuple: its fields are its arguments
        fields = [x for x in tree.body if isinstance(x, ast.AnnAssign)]
        return f"({', '.join(ast.unparse(x) for x in fields)})", None
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hook."""
    app.connect("autodoc-process-signature", show_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
