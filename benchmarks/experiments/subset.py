"""5,000 images of CIFAR-10, which the network can fit: the main experiment."""

from dataclasses import replace
from typing import Any

from benchmarks.experiments.settings import (
    AT_THE_END,
    FIVE_RATES,
    ONE_NETWORK,
    SUBSET,
)
from benchmarks.experiments.slides import (
    FALLING_P_IS_BETTER,
    claim_choice_of_p,
    claim_rows,
    claim_table,
)
from benchmarks.experiments.types import (
    PACKAGE,
    SOUTHAMPTON,
    Comparison,
    Experiment,
)

_TUNED: Any = {"grid": (FIVE_RATES,), "tune": "learning_rate", "finals": 8}
_THREE_P = ("padam-p0.25", "padam-p0.125", "padam-p0.0625")
# The authors' correction, since their program was used.
_SOUTHAMPTON = (
    "weight_decay=0.005",
    "adam:b2=0.999",
    "amsgrad:b2=0.999",
    *(f"{name}:bias_correction=official" for name in _THREE_P),
    "padam-p0.25:learning_rate=0.1",
)


def make_subset() -> dict[str, Experiment]:
    """Build the experiments that train on 5,000 images to nearly 100 % accuracy."""
    return {
        "subset": Experiment(
            SUBSET,
            "Does Padam generalize like SGD with momentum where Adam and AMSGrad do "
            "not? The claim of the paper and of Gu's slides, with a network that fits "
            "its training set, the whole schedule, and a learning rate tuned alike for "
            "all. Of Padam one family that differs in p alone; its p = 1/2 is AMSGrad.",
            "As the paper says: the best p <= 1/4 within half a point of SGD with "
            "momentum, Adam and p = 1/2 behind. A pilot of 30 epochs at the published "
            "rates had SGD with momentum at 56 and 58 %, p = 1/4 at 54 and 57, Adam at "
            "49 %. The larger p, the smaller its best rate.",
            better=AT_THE_END + " The p is chosen on the validation set, too. The gap "
            "between training and test counts where the training accuracy is above "
            "99 % for both. Seeds 8 to 11 are added only if the interval of the first "
            "row straddles the margin.",
            limits=ONE_NETWORK + " Adam keeps its published b2 of 0.99 and decay of "
            "0.0001, where the family has 0.999 and 0.0005.",
            **_TUNED,
            claims=(
                *claim_table("subset", "subset", _SUBSET_RUNS, five_epochs=True),
                *claim_rows("subset", _BEYOND_THE_TABLE, _SUBSET_RUNS, "subset"),
                *claim_choice_of_p("subset", "subset", "last_five"),
            ),
        ),
        **_varying_p(),
        "subset-late-decay": _late_decay(),
        **_southampton(),
        **_today(),
    }


def _southampton() -> dict[str, Experiment]:
    """Build the Southampton report's own recipe and its figure 3, on the subset."""
    return {
        "subset-southampton": Experiment(
            replace(
                SUBSET,
                optimizers=("momentum", "adam", "amsgrad", *_THREE_P),
                recipe=_SOUTHAMPTON,
                schedule="constant",
                seed=0,
                seeds=3,
            ),
            "The Southampton report's own recipe, in the setting of subset: a constant "
            "learning rate, decay 0.005 and b2 = 0.999 for all. Has Padam the lowest "
            "train loss at the end, is it below that of Adam and AMSGrad early, do "
            "these end no worse than SGD with momentum, and is p = 1/16 the best at "
            "learning rate 0.1?",
            "Four times yes, says the report, of larger networks and more data. A "
            "decay of 0.005 together with a constant rate may keep every method from "
            "fitting the training set.",
            better="Train loss and mean test accuracy of the last five epochs, over "
            "common seeds; early: after a quarter of the epochs. Nothing is tuned.",
            limits=ONE_NETWORK,
            claims=_claim_southampton(),
        ),
        "subset-southampton-rates": Experiment(
            replace(
                SUBSET,
                optimizers=_THREE_P,
                recipe=_SOUTHAMPTON[:1] + _SOUTHAMPTON[3:6],
                schedule="constant",
                seed=0,
                seeds=3,
            ),
            "Figure 3 of the Southampton report, in the setting of subset: do small p "
            "prefer the larger learning rate? The rate 0.1 is in subset-southampton.",
            "0.1 is the best of the three rates for p = 1/16, and a smaller one for "
            "p = 1/4.",
            better="Mean test accuracy of the last five epochs, over common seeds.",
            limits=ONE_NETWORK,
            grid=("learning_rate=0.01,0.001",),
            baseline=tuple(f"subset-southampton/{name}" for name in _THREE_P),
            claims=_claim_rates(),
        ),
    }


def _varying_p() -> dict[str, Experiment]:
    """Build two schedules in which p falls while the rate rises, tuned as in subset."""
    rows = {}
    for name, optimizer, milestones, how, claimed, limit in (
        (
            "subset-varying-p",
            "padam-falling",
            (0.6, 0.8, 0.9),
            "From 1/2 to 1/8 over 60 % of the run, during which the base rate is "
            "constant; it is divided by ten at 60, 80 and 90 %.",
            "",
            "The learning rate is divided later than in subset, where it is at 30, 60 "
            "and 80 %. Whether a difference is due to that, subset-late-decay shows. ",
        ),
        (
            "subset-stepped-p",
            "padam-stepped",
            (0.3, 0.6, 0.8),
            "1/2, 1/4, 1/8, 1/16, stepping where the base rate is divided by ten.",
            " (p stepped at the milestones)",
            "",
        ),
    ):
        recipe = ("until=0.6",) if optimizer == "padam-falling" else ()
        rows[name] = Experiment(
            replace(
                SUBSET,
                optimizers=(optimizer,),
                milestones=milestones,
                recipe=(*recipe, "bias_correction=consistent"),
            ),
            "Is a p that falls, while the learning rate rises by the rule of "
            "padam_optax.diagnostics.learning_rate_for, better than the best constant "
            f"p of subset? Proposed by the Southampton report. {how} Tuned as much as "
            "each p there.",
            "None published. Within a point of the best constant p.",
            better=AT_THE_END,
            limits=f"{limit}{ONE_NETWORK} Two schedules of many; a p that learns "
            "itself by its hypergradient is not tried.",
            **_TUNED,
            claims=(
                Comparison(
                    f"{FALLING_P_IS_BETTER}{claimed}",
                    SOUTHAMPTON,
                    f"{name}/{optimizer}",
                    "subset/padam p=best",
                    "better",
                    "last_five",
                    "subset",
                    "subset-varying-p",
                ),
            ),
        )
    return rows


def _late_decay() -> Experiment:
    """Build the control of subset-varying-p: its learning rate, but a constant p."""
    late = "subset-late-decay/padam p=0.25"

    return Experiment(
        replace(
            SUBSET,
            optimizers=("padam-p0.25",),
            milestones=(0.6, 0.8, 0.9),
            recipe=("bias_correction=consistent",),
        ),
        "Is it the falling p or the later decay of the learning rate that puts "
        "subset-varying-p ahead of subset? p = 1/4, the constant p that subset chose, "
        "with the milestones and the bias correction of subset-varying-p, tuned alike.",
        "Most of the lead comes from the later decay.",
        better=AT_THE_END,
        limits=f"{ONE_NETWORK} p = 1/8, where the falling p ends, is not tried.",
        **_TUNED,
        claims=(
            _ask(
                "subset-late-decay",
                f"{FALLING_P_IS_BETTER} with the same late decay",
                "subset-varying-p/padam-falling",
                late,
                "better",
            ),
            _ask(
                "subset-late-decay",
                "The best constant p ends better with a late decay",
                late,
                "subset/padam p=best",
                "better",
            ),
        ),
    )


# Whose runs stand for Padam and AMSGrad in subset.
_SUBSET_RUNS = {"padam": "padam p=best", "amsgrad": "padam p=0.5"}
_FITTED = "At train accuracy above 99 %, {} has a lower test accuracy than {}"
_EQUAL = "At equal train loss {} has a lower test accuracy than {}"
_BEYOND_THE_TABLE = (
    (_FITTED, "adam momentum", "worse", "fitted", "fitted"),
    (_FITTED, "amsgrad momentum", "worse", "fitted", "fitted"),
    (_EQUAL, "adam momentum", "worse", "equal_loss", "equal loss"),
    (_EQUAL, "amsgrad momentum", "worse", "equal_loss", "equal loss"),
    (
        "At equal train loss {} has a test accuracy at least as good as {}",
        *("padam momentum", "at least as good", "equal_loss", "equal loss"),
    ),
    (
        "{} reaches 90 % of what {} has before its first decay in fewer epochs",
        *("padam momentum", "better", "epochs_to_90", ""),
    ),
)

# Southampton's findings, in their recipe: constant rate, decay 0.005.
_LOWER = "{} ends with a lower train loss than {} (constant rate)"
_BELOW = "{}'s train loss is below {}'s after a quarter (constant rate)"
_AS_GOOD = "{} ends at least as good as {} (constant rate)"
_FOUND = (
    (_LOWER, "padam momentum", "better", "last_loss", "loss"),
    (_LOWER, "padam adam", "better", "last_loss", "loss"),
    (_LOWER, "padam amsgrad", "better", "last_loss", "loss"),
    (_BELOW, "padam adam", "better", "early_loss", "early"),
    (_BELOW, "padam amsgrad", "better", "early_loss", "early"),
    (_AS_GOOD, "adam momentum", "at least as good", "last_five", "late"),
    (_AS_GOOD, "amsgrad momentum", "at least as good", "last_five", "late"),
)


def _claim_southampton() -> list[Comparison]:
    name = "subset-southampton"
    runs = {"padam": "padam p=0.125"}
    return [
        *claim_rows(name, _FOUND, runs, "subset", SOUTHAMPTON),
        *(
            Comparison(
                f"p = 1/16 ends better than p = {say} at learning rate 0.1 (constant "
                "rate)",
                SOUTHAMPTON,
                f"{name}/padam p=0.0625",
                f"{name}/padam p={p}",
                "better",
                "last_five",
                "subset",
                f"{name} p",
            )
            for say, p in (("1/8", "0.125"), ("1/4", "0.25"))
        ),
    ]


def _claim_rates() -> list[Comparison]:
    """List the claims of figure 3 on p and the learning rate, at a constant rate."""
    large, small = "subset-southampton/padam", "subset-southampton-rates/padam"
    rows = [
        (
            f"At p = 1/16 the learning rate 0.1 ends better than {rate}",
            f"{large} p=0.0625",
            f"{small} p=0.0625 learning_rate={rate}",
        )
        for rate in (0.01, 0.001)
    ]
    rows.append(
        (
            "At p = 1/4 the better of the learning rates 0.01 and 0.001 ends better "
            "than 0.1",
            f"{small} p=0.25 learning_rate=best",
            f"{large} p=0.25",
        )
    )
    return [
        Comparison(
            f"{claim} (constant rate)",
            f"{SOUTHAMPTON}, figure 3",
            first,
            second,
            "better",
            "last_five",
            "subset",
            "subset-southampton-rates",
            decided_in="subset-southampton-rates",
        )
        for claim, first, second in rows
    ]


def _ask(
    experiment: str,
    claim: str,
    first: str,
    second: str,
    relation: str,
    family: str | None = None,
) -> Comparison:
    """Return a question of this package that the experiment decides."""
    return Comparison(
        claim,
        "asked by this package",
        first,
        second,
        relation,
        "last_five",
        "subset",
        f"{family or experiment} {relation}",
        PACKAGE,
        decided_in=experiment,
    )


# Each experiment is run and judged by itself, but all six rows are decided together.
_TODAY = {
    "subset-today": {"adamw": "AdamW", "lion": "Lion"},
    "subset-muon": {"muon": "Muon"},
    "subset-variants": {
        "yogi": "Yogi",
        "adabelief": "AdaBelief",
        "schedule-free": "Schedule-free SGD",
    },
}


def _today() -> dict[str, Experiment]:
    """Build the comparison with optimizers of today, on the subset."""
    averages = (
        " The rate of schedule-free stays constant, as is meant. Measured are its "
        "averages, with the statistics of BatchNorm of the weights that it trains with."
    )
    return {
        name: Experiment(
            replace(SUBSET, optimizers=tuple(optimizers)),
            f"How does Padam compare with {', '.join(optimizers.values())}, at equal "
            "tuning? The optimizers of Optax beside those of subset.",
            "Nobody knows. AdamW and Muon above Adam.",
            better=AT_THE_END,
            limits=ONE_NETWORK
            + " Only the learning rate is tuned, no decay."
            + averages * ("schedule-free" in optimizers),
            **_TUNED,
            claims=_claim_today(name),
        )
        for name, optimizers in _TODAY.items()
    }


def _claim_today(experiment: str) -> list[Comparison]:
    """Compare Padam and Adam with recent optimizers, each at its tuned rate."""
    rows = [
        (
            f"Padam ends at least as good as {label}",
            "subset/padam p=best",
            f"{experiment}/{name}",
            "at least as good",
        )
        for name, label in _TODAY[experiment].items()
    ] + [
        (
            f"{label} ends better than Adam",
            f"{experiment}/{name}",
            "subset/adam",
            "better",
        )
        for name, label in _TODAY[experiment].items()
        if name in ("adamw", "muon")
    ]
    return [_ask(experiment, *row, family="subset-today") for row in rows]
