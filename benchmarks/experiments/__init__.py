"""Every experiment by name: what it asks, its settings and cost, what to expect.

The rules, written before the runs:

* What counts is the test accuracy after the last epoch, or its mean over the last five
  epochs where a claim says so; never that of the epoch that was best on the test set.
  "After a quarter" is after the last epoch that ends within the first quarter.
* Claims compare two optimizers seed by seed, since runs with the same seed have the
  same initial weights and batches. The 95 % t-interval of the mean paired difference
  decides, with a margin that is written in the experiment: 0.5 points of accuracy, or
  1 % of perplexity, which is 0.01 nats of loss. "Better" holds if the interval lies
  above 0, "worse" if it lies below, "at least as good" if it lies above minus the
  margin, "alike" if it lies within the margin on both sides. A claim does not hold if
  the whole interval lies where the claim is false; otherwise it is undecided, as it is
  with a single seed. See benchmarks/reporting/statistics.py.
* Claims that share a question, such as who ends better than whom in one experiment, are
  a family and are decided together by Holm's procedure at 5 %.
* A run that diverged counts as the chance level, 1 over the number of classes.
* Nothing is tuned for one optimizer. All have the recipes of optimizers/table.py, which
  are those of the sources; where a learning rate is swept, it is swept for all of those
  compared, over as many values.
* What did not work stays in the report.

Settings are those of the sources where there are any. An experiment that leaves out
what another one has run already names it as its baseline.
"""

from benchmarks.experiments import buffalo, oxford, subset, tables
from benchmarks.experiments.gpu import gpu_commands
from benchmarks.experiments.small import SMALL_RUNS
from benchmarks.experiments.text import TEXT_RUNS
from benchmarks.experiments.types import PACKAGE, Comparison, Experiment

__all__ = [
    "CHANGES",
    "EXPERIMENTS",
    "Comparison",
    "Experiment",
    "find_claims",
    "gpu_commands",
]

EXPERIMENTS: dict[str, Experiment] = {
    **tables.TABLES,
    **SMALL_RUNS,
    **subset.make_subset(),
    **oxford.make_robustness(),
    **oxford.make_adam_figures(),
    **buffalo.make_lbfgs(),
    **buffalo.make_initializers_and_decay(),
    **buffalo.make_santa(),
    **TEXT_RUNS,
}

# The experiments whose claims come first, from the main one on: the order of the scales
# in the tables of claims.
_FIRST_CLAIMS = (
    "subset",
    "small-image-cifar10",
    "small-cifar10",
    "digits",
    "slides-cifar10",
    "slides-cifar100",
    "dilemma",
    "choice-of-p",
    "adam-mnist",
    "adam-mnist-dropout",
    "adam-cifar10",
    "subset-southampton",
    "subset-southampton-rates",
    "falling-p",
    "subset-varying-p",
    "subset-stepped-p",
    "shakespeare-p",
)


def find_claims() -> list[Comparison]:
    """Return all claims in the order of the report, those of this package last."""
    ordered = dict.fromkeys((*_FIRST_CLAIMS, *EXPERIMENTS))
    sources = [x for name in ordered for x in EXPERIMENTS[name].claims]
    own = [x for experiment in EXPERIMENTS.values() for x in experiment.claims]
    return [
        *(x for x in sources if x.kind != PACKAGE),
        *(x for x in own if x.kind == PACKAGE),
    ]


# What was changed after the first results were known.
CHANGES = (
    "digits, seed 0, had been run before the first rules were written.",
    "The code that judged the claims was written while small-cifar10 was running and "
    "after digits had ended; the rules in words were older.",
    'The claim about regret was reworded in the change that added its results: "grows '
    'no faster than √T and stays below the bound" became "stays below the bound". Its '
    "other half is a row of its own now. At first only the chosen learning rates were "
    "looked at, now all.",
    "b0-logistic and b0-mlp were run again with three seeds instead of one.",
    "The claim about LSTMs was narrowed from the best of three p to p = 0.4, which "
    "shakespeare-p expected.",
    "What an experiment cannot show was added to its description.",
    "The rule itself: until then a difference of the means larger than the larger "
    'standard deviation over the seeds counted, and "alike" counted as "at least as '
    'good". With three seeds it called equal optimizers different in 21 % of cases. '
    "All rows were judged again by the present rule, and those about two optimizers at "
    "once were split.",
    "b0: a value counted if its test accuracy was within 5 points of the best; now its "
    "train loss decides, which is what the theorem is about.",
    '"After a quarter" was rounded up to whole epochs: of 6 epochs it was the second, '
    "after the first decay. It is rounded down now.",
    "Rows marked † were written when their records already existed.",
    "That subset-varying-p divides its learning rate later than subset was added to "
    "what it cannot show when its results were there; subset-late-decay, its control, "
    "was added after that and before its own first run.",
)
