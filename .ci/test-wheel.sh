#!/usr/bin/env bash
# Build the sdist and, from it, the wheel. Install the wheel with what it declares and
# what the tests import, nothing else, and run the sdist's tests against it in a folder
# that holds no other copy of the library.
# usage: test-wheel.sh PYTHON VENV [OPTION OF PYTEST...]
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 venv=$2
shift 2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

rm -rf dist "$venv"
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --quiet)
"${pip[@]}" install --upgrade 'pip>=25.1' build twine
"$venv/bin/python" -m build --outdir dist . | tail -n 1
"$venv/bin/twine" check --strict dist/*

rm -rf "$venv"
"$python" -m venv "$venv"
"${pip[@]}" install --upgrade 'pip>=25.1'
"${pip[@]}" install dist/*.whl --group test
"$venv/bin/python" .ci/check_wheel.py dist/*.whl

tar --extract --file dist/*.tar.gz --directory "$folder" --strip-components 1
venv=$(cd "$venv" && pwd)
rm -r "$folder/padam_optax"
cd "$folder"
"$venv/bin/python" -m pytest "$@" --pyargs padam_optax tests
