# Optax types updates, parameters and states as a union of arrays and containers: every
# u["w"] and state.count would need a cast. Tests and benchmarks see none of its types;
# the package is checked against the real ones.
from collections.abc import Callable
from typing import Any, TypeAlias

ScalarOrSchedule: TypeAlias = Any
Schedule: TypeAlias = Callable[[Any], Any]

def __getattr__(name: str) -> Any: ...
