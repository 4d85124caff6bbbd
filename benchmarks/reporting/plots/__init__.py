"""Tables and plots from records; the only user of Matplotlib. Needs no JAX."""

import os

import matplotlib

if "inline" not in os.environ.get("MPLBACKEND", ""):  # a notebook shows figures itself
    matplotlib.use("Agg")  # draw without a display
