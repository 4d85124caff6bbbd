#!/usr/bin/env bash
# Install this project, editable, into a virtual environment.
# usage: install.sh PYTHON VENV bench|dev
set -euo pipefail
python=$1 venv=$2 what=$3

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Python 3.11 or newer is needed, $python is $("$python" -V 2>&1)." \
    "Name another with: make PYTHON=python3.12" >&2
  exit 1
}

groups=()
[ "$what" = dev ] && groups=(--group dev)
echo "Setting up $venv (about a minute the first time)..."
if command -v uv >/dev/null; then
  [ -x "$venv/bin/python" ] || uv venv --quiet --python "$python" "$venv"
  uv pip install --quiet --python "$venv/bin/python" -e '.[bench]' "${groups[@]}"
else
  [ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
  # Dependency groups need pip 25.1.
  "$venv/bin/python" -m pip install --quiet --upgrade 'pip>=25.1'
  "$venv/bin/python" -m pip install --quiet -e '.[bench]' "${groups[@]}"
fi
