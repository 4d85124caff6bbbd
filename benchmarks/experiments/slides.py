"""The claims of the table in Gu's slides, for any experiment that repeats it."""

from collections.abc import Iterable, Mapping

from benchmarks.experiments.types import GU, SOUTHAMPTON, Comparison

FALLING_P_IS_BETTER = (
    "A p that falls while the rate rises ends better than the best constant p"
)
SAY = {
    "momentum": "SGD with momentum",
    "adam": "Adam",
    "amsgrad": "AMSGrad",
    "padam": "Padam",
}
# What is claimed of two optimizers, which these are, how their quantity compares, and
# the family.
Row = tuple[str, str, str, str, str]

_FAST = "{}'s train loss after a quarter is at least as low as {}'s"
_GAINS = "After the first decay {} gains less than {}"
_TABLE: tuple[Row, ...] = (
    ("{} ends at least as good as {}", "padam momentum", "at least as good", "end", ""),
    ("{} ends better than {}", "padam adam", "better", "end", "order"),
    ("{} ends better than {}", "padam amsgrad", "better", "end", "order"),
    ("{} ends worse than {}", "adam momentum", "worse", "end", "order"),
    ("{} ends worse than {}", "amsgrad momentum", "worse", "end", "order"),
    ("{} is ahead of {} after a quarter", "padam momentum", "better", "quarter", ""),
)
# Written when the records of small runs existed.
_LATER: tuple[Row, ...] = (
    (
        "{}'s train loss after a quarter is below SGD's",
        *("padam momentum", "better", "early_loss", "speed"),
    ),
    (_FAST, "padam adam", "at least as good", "early_loss", "speed"),
    (_FAST, "padam amsgrad", "at least as good", "early_loss", "speed"),
    (
        "{} is faster than {}: a lower train loss after a quarter",
        *("amsgrad adam", "better", "early_loss", "speed"),
    ),
    ("{} ends better than {}", "amsgrad adam", "better", "end", ""),
    (_GAINS, "adam momentum", "worse", "gain", "gain"),
    (_GAINS, "amsgrad momentum", "worse", "gain", "gain"),
    (
        "After the first decay {} gains more than {}",
        *("padam adam", "better", "gain", "gain"),
    ),
)


def claim_rows(
    experiment: str,
    rows: Iterable[Row],
    runs: Mapping[str, str],
    scale: str,
    source: str = GU,
    *,
    existed: bool = False,
) -> list[Comparison]:
    """Turn the rows of a table into claims about one experiment.

    Args:
      experiment: Its name.
      rows: The table.
      runs: Optimizer and settings of those that have other ones than their name there.
      scale: The column of the table of claims.
      source: Who claims it.
      existed: Whether the records existed when the rows were written.
    """
    claims = []
    for claim, pair, relation, quantity, family in rows:
        first, second = pair.split()
        claims.append(
            Comparison(
                claim.format(SAY[first], SAY[second]),
                source,
                f"{experiment}/{runs.get(first, first)}",
                f"{experiment}/{runs.get(second, second)}",
                relation,
                quantity,
                scale,
                f"{experiment} {family}" if family else "",
                after_results=existed,
            )
        )
    return claims


def claim_table(
    experiment: str,
    scale: str,
    runs: Mapping[str, str] | None = None,
    *,
    five_epochs: bool = False,
    existed: bool = False,
) -> list[Comparison]:
    """List the claims of the slides' tables for one experiment; see `claim_rows`.

    With `five_epochs` accuracies are means of five epochs. `existed` is about the rows
    on train loss and on the gain after the first decay.
    """
    named = {"end": "last_five", "quarter": "quarter_five"} if five_epochs else {}
    first, later = (
        [(*row[:3], named.get(row[3], row[3]), row[4]) for row in table]
        for table in (_TABLE, _LATER)
    )
    return [
        *claim_rows(experiment, first, runs or {}, scale),
        *claim_rows(experiment, later, runs or {}, scale, existed=existed),
    ]


def claim_choice_of_p(
    experiment: str, scale: str, end: str = "end", *, existed: bool = False
) -> list[Comparison]:
    """List the claims about the best p."""
    pairs = (
        (GU, "0.125", ("0.25", "0.0625")),
        (SOUTHAMPTON, "0.0625", ("0.25", "0.125")),
    )
    say = {"0.25": "1/4", "0.125": "1/8", "0.0625": "1/16"}
    where = "" if experiment == "subset" else " at learning rate 0.1"
    return [
        Comparison(
            f"p = {say[best]} ends better than p = {say[other]}{where}",
            source,
            f"{experiment}/padam p={best}",
            f"{experiment}/padam p={other}",
            "better",
            end,
            scale,
            f"{experiment} p, {source}",
            after_results=existed,
        )
        for source, best, others in pairs
        for other in others
    ]
