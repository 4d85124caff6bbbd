"""The types of experiments and of claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.training.config import TrainConfig

# The kinds of claim, which are counted apart.
SEEDS = "claims of the sources"
THEOREM = "theorems, checked in code"
PACKAGE = "claims of this package"

GU = "Gu's slides"
SOUTHAMPTON = "Southampton's report"
OXFORD = "Oxford's slides"
BUFFALO = "Buffalo's slides"

ACCURACY = "Mean test accuracy after the last epoch; early: after a quarter of them."


@dataclass(frozen=True)
class Comparison:
    """A claim about two optimizers.

    Attributes:
      claim: What is claimed.
      source: By whom.
      first: Whose runs: experiment, optimizer and settings, as `results.find` takes.
      second: With whose runs they are compared; "" if what is compared is itself a
        difference.
      relation: What `statistics.region` knows.
      quantity: What is compared, by its name in `reporting.claims.quantities`.
      scale: The column of the table.
      family: Rows of the same family are decided together, by Holm's procedure.
      kind: What kind of claim it is.
      after_results: Whether the row was written when its records already existed.
      by_train_loss: Whether a setting that is "best" is chosen by the train loss
        instead of what the runs are judged by.
      decided_in: The experiment that decides it, if it is not that of `first`.
    """

    claim: str
    source: str
    first: str
    second: str
    relation: str
    quantity: str = "end"
    scale: str = ""
    family: str = ""
    kind: str = SEEDS
    after_results: bool = False
    by_train_loss: bool = False
    decided_in: str = ""

    @property
    def experiment(self) -> str:
        """The experiment whose results decide the claim."""
        return self.decided_in or self.first.split("/")[0]


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes:
      config: Its settings; options on the command line replace them. Optimizers, epochs
        and seeds are its budget.
      shows: The question it answers, and where it is from.
      expected: The published result, as far as there is one.
      better: What decides the question.
      margin: The largest difference that does not matter, in points of accuracy or, of
        text, % of perplexity.
      limits: What it cannot show.
      grid: For `sweep`: the values to combine, as the option --grid takes them.
      published: Test accuracies in % of the source, by the optimizer's label: after
        each quarter of the training, "" where it does not say.
      tune: For `sweep`: the setting of the grid that is chosen on the validation set.
      finals: The runs of each optimizer with the chosen value.
      baseline: Runs of other experiments with the same settings otherwise, to be shown
        beside these: name, optimizer and, of a sweep, settings, as dilemma/padam p=0.5.
      claims: What the sources, or this package, claim of its runs.
      view: How the report shows them, by the name in `reporting.views`; "" for that of
        any run or sweep.
      within: The experiment in whose section they are shown, if that has results.
    """

    config: TrainConfig
    shows: str
    expected: str
    better: str = ACCURACY
    margin: float = 0.5
    limits: str = ""
    grid: tuple[str, ...] = ()
    tune: str | None = None
    finals: int = 0
    published: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    baseline: tuple[str, ...] = ()
    claims: Sequence[Comparison] = ()
    view: str = ""
    within: str = ""

    @property
    def budget(self) -> str:
        """The number of runs and epochs, in words."""
        runs = len(self.config.optimizers) * self.config.seeds
        for line in self.grid:
            runs *= line.count(",") + 1
        if self.tune is None:
            return f"{runs} x {self.config.epochs} epochs"
        finals = self.finals * len(self.config.optimizers)
        for line in self.grid:
            if not line.startswith(f"{self.tune}="):
                finals *= line.count(",") + 1
        return (
            f"{runs} runs to tune, more where the best is at an edge, and {finals} "
            f"finals, of {self.config.epochs} epochs each"
        )
