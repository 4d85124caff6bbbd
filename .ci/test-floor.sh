#!/usr/bin/env bash
# Run the library's own tests at exactly the oldest versions that pyproject.toml allows,
# with the Flax and Orbax that these versions get.
# usage: test-floor.sh PYTHON VENV [OPTION OF PYTEST...]
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 venv=$2
shift 2

"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
  echo "The oldest versions are tested on Python 3.11; $python is $("$python" -V)." \
    "Name another with: make test-floor PYTHON=python3.11" >&2
  exit 1
}
mapfile -t floor < <("$python" - <<'END'
import tomllib

with open("pyproject.toml", "rb") as file:
    for requirement in tomllib.load(file)["project"]["dependencies"]:
        print(requirement.replace(">=", "=="))
END
)
./.ci/install.sh "$python" "$venv" test "${floor[@]}" flax orbax-checkpoint
exec "$venv/bin/python" -m pytest "$@" \
  --ignore tests/benchmarks --ignore tests/helpers padam_optax tests
