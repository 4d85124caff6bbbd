"""Tables, plots, verdicts and the report, from records alone. Needs no JAX."""
