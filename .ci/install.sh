#!/usr/bin/env bash
# Install the project, editable, with one of its dependency groups into a virtual
# environment; further arguments are requirements, such as jax==0.6.2.
# usage: install.sh PYTHON VENV test|bench|docs|dev [REQUIREMENT...]
set -euo pipefail
python=$1 venv=$2 group=$3
shift 3

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Python 3.11 or newer is needed, $python is $("$python" -V 2>&1)." \
    "Name another with: make PYTHON=python3.12" >&2
  exit 1
}

echo "Setting up $venv with $("$python" -V) (about a minute the first time)..."
if command -v uv >/dev/null; then
  [ -x "$venv/bin/python" ] || uv venv --quiet --python "$python" "$venv"
  uv pip install --quiet --compile-bytecode --python "$venv/bin/python" \
    -e . --group "$group" "$@"
else
  [ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
  # Dependency groups need pip 25.1.
  "$venv/bin/python" -m pip install --quiet --upgrade 'pip>=25.1'
  "$venv/bin/python" -m pip install --quiet -e . --group "$group" "$@"
fi

"$venv/bin/python" - <<'END'
import importlib.metadata
import sys

found = [f"Python {sys.version.split()[0]}"]
for name in ("jax", "jaxlib", "optax", "numpy", "flax", "orbax-checkpoint"):
    try:
        found.append(f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        pass  # not in this group
print(", ".join(found))
END
