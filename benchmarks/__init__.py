"""Training runs and measurements of padam_optax: `python -m benchmarks --help`."""
