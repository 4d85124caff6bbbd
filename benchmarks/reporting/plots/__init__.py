"""Tables and plots, made from records; the only user of matplotlib. Needs no JAX."""

import matplotlib

matplotlib.use("Agg")  # draw without a display
