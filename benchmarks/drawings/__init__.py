"""Tables and plots, made from records; the only user of matplotlib. Needs no JAX."""

import matplotlib

matplotlib.use("Agg")  # draw without a display

# Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
