"""Configuration of the documentation: `make docs` builds it."""

import ast
import hashlib
import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS / "_ext"), str(ROOT)]
# Notebook kernels are separate processes: they need the package too, no GPU, and no
# progress bars or logs between the outputs.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), str(DOCS / "_ext"), os.environ.get("PYTHONPATH", "")]
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Most of the time goes into compiling small programs that run once.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)

import padam_optax  # noqa: E402

project = "padam_optax"
author = "the padam_optax authors"
copyright = "2026, the padam_optax authors"
release = version = getattr(padam_optax, "__version__", "")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx-mathjax-offline",
    "myst_nb",
    "annotations",
    "evidence",
    "external_links",
    "shared_kernels",
]
exclude_patterns = ["_build", "_ext", "_templates", "Thumbs.db"]
templates_path = ["_templates"]
# A name in single backticks is a link where it is ours or in external_links.py, and
# plain code where it is not.
default_role = "py:obj"
nitpicky = True

# ---- API reference
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
# Signatures are those of the source, by annotations.py.
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # aliases would expand to unions of nine types
maximum_signature_line_length = 88
python_use_unqualified_type_names = False
add_module_names = False
doctest_global_setup = ""
trim_doctest_flags = True

# ---- executed pages
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 180
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_render_image_options = {"align": "center"}


def _cache_folder() -> Path:
    """Return a folder named after the code that executed pages depend on."""
    digest = hashlib.sha256()
    sources = [DOCS / "_ext/figures.py"]
    for folder in (ROOT / "padam_optax", ROOT / "benchmarks"):
        sources += sorted(folder.rglob("*.py"))
    for path in sources:
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):  # texts of docstrings change no output
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = ""
        digest.update(ast.dump(tree).encode())
    for records in sorted((ROOT / "benchmarks/results").rglob("*.jsonl")):
        digest.update(records.read_bytes())
    return DOCS / "_build" / "executed" / digest.hexdigest()[:12]


nb_execution_cache_path = str(_cache_folder())

# ---- HTML
html_theme = "furo"
pygments_dark_style = "github-dark"  # furo's own underlines names like links
html_title = "padam_optax"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sourcelink = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

# `make docs` runs without a network: it checks the links within the site only.
linkcheck_ignore = [r"https?://.*"]
