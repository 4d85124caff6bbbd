"""Claims of Gu's slides about trained networks."""

import itertools
from collections.abc import Sequence

from benchmarks.reporting.claims import quantities
from benchmarks.reporting.claims.paired import Comparison
from benchmarks.reporting.claims.quantities import Quantity
from benchmarks.reporting.claims.verdict import GU, SOUTHAMPTON, THEOREM

_SGD, _ADAM, _AMSGRAD, _PADAM = "momentum", "adam", "amsgrad", "padam"
SAY = {_SGD: "SGD with momentum", _ADAM: "Adam", _AMSGRAD: "AMSGrad"}


def _table(
    experiment: str,
    scale: str,
    *,
    padam: str = _PADAM,
    amsgrad: str = _AMSGRAD,
    end: Quantity = quantities.END,
    quarter: Quantity = quantities.QUARTER,
    existed: bool = False,
) -> list[Comparison]:
    """List the claims of the slides' tables for one experiment.

    Args:
      experiment: Its name.
      scale: The column of the table of claims.
      padam: Its optimizer and settings there.
      amsgrad: The same of AMSGrad.
      end: What counts at the end.
      quarter: What counts after a quarter.
      existed: Whether the records existed when the rows on train loss and on the gain
        after the first decay were written.
    """
    runs = {_SGD: _SGD, _ADAM: _ADAM, _AMSGRAD: amsgrad, _PADAM: padam}

    def row(
        claim: str,
        first: str,
        second: str,
        relation: str,
        quantity: Quantity = end,
        family: str = "",
        late: bool = False,
    ) -> Comparison:
        return Comparison(
            claim,
            GU,
            f"{experiment}/{runs[first]}",
            f"{experiment}/{runs[second]}",
            relation,
            quantity,
            scale,
            f"{experiment} {family}" if family else "",
            after_results=late and existed,
        )

    def late(*args: object) -> Comparison:
        return row(*args, late=True)  # pyright: ignore[reportArgumentType]

    loss, gain = quantities.EARLY_LOSS, quantities.GAIN
    fast = "Padam's train loss after a quarter is at least as low as"
    return [
        row(
            "Padam ends at least as good as SGD with momentum",
            _PADAM,
            _SGD,
            "at least as good",
        ),
        *(
            row(f"Padam ends better than {SAY[x]}", _PADAM, x, "better", end, "order")
            for x in (_ADAM, _AMSGRAD)
        ),
        *(
            row(
                f"{SAY[x]} ends worse than SGD with momentum",
                x,
                _SGD,
                "worse",
                end,
                "order",
            )
            for x in (_ADAM, _AMSGRAD)
        ),
        row(
            "Padam is ahead of SGD with momentum after a quarter",
            _PADAM,
            _SGD,
            "better",
            quarter,
        ),
        late(
            "Padam's train loss after a quarter is below SGD's",
            _PADAM,
            _SGD,
            "better",
            loss,
            "speed",
        ),
        *(
            late(f"{fast} {SAY[x]}'s", _PADAM, x, "at least as good", loss, "speed")
            for x in (_ADAM, _AMSGRAD)
        ),
        late(
            "AMSGrad is faster than Adam: a lower train loss after a quarter",
            _AMSGRAD,
            _ADAM,
            "better",
            loss,
            "speed",
        ),
        late("AMSGrad ends better than Adam", _AMSGRAD, _ADAM, "better"),
        *(
            late(
                f"After the first decay {SAY[x]} gains less than SGD with momentum",
                x,
                _SGD,
                "worse",
                gain,
                "gain",
            )
            for x in (_ADAM, _AMSGRAD)
        ),
        late(
            "After the first decay Padam gains more than Adam",
            _PADAM,
            _ADAM,
            "better",
            gain,
            "gain",
        ),
    ]


def _choice_of_p(
    experiment: str, scale: str, end: Quantity, *, existed: bool
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


def _dilemma() -> list[Comparison]:
    """List the claims about the small-learning-rate dilemma."""
    ps = (("1/2", "0.5"), ("1/4", "0.25"), ("1/8", "0.125"), ("1/16", "0.0625"))
    wider = [
        Comparison(
            f"p = {large} spreads the effective rates wider than p = {small}",
            f"{GU}; by construction log v̂^p has p times the spread of log v̂",
            f"dilemma/padam p={a}",
            f"dilemma/padam p={b}",
            "better",
            quantities.SPREAD,
            "small",
            "dilemma spread",
            THEOREM,
        )
        for (large, a), (small, b) in itertools.pairwise(ps)
    ]
    large, small = "dilemma/padam", "dilemma-small-rate/padam"
    return [
        *wider,
        Comparison(
            "p = 1/2 needs a small learning rate: 0.1 is worse than 0.001",
            GU,
            f"{large} p=0.5",
            f"{small} p=0.5",
            "worse",
            scale="small",
            family="dilemma rate",
        ),
        Comparison(
            "p = 1/8 bears a large learning rate: 0.1 is better than 0.001",
            GU,
            f"{large} p=0.125",
            f"{small} p=0.125",
            "better",
            scale="small",
            family="dilemma rate",
        ),
        Comparison(
            "Padam with p = 1/4 ends at least as good as SGD with momentum",
            GU,
            f"{large} p=0.25",
            "dilemma-sgd/momentum",
            "at least as good",
            scale="small",
            after_results=True,
        ),
        Comparison(
            "SGD with momentum ends as far from the initial weights as Padam, p = 1/8",
            f"{GU}, figure of ‖θ - θ₀‖",
            "dilemma-sgd/momentum",
            f"{large} p=0.125",
            "alike",
            quantities.DISTANCE,
            "small",
            after_results=True,
        ),
        *_choice_of_p("dilemma", "small", quantities.END, existed=True),
        *_choice_of_p("choice-of-p", "full, CIFAR-10", quantities.END, existed=False),
    ]


def _subset() -> list[Comparison]:
    """List the claims of the main experiment beyond those of the slides' table."""
    better = [
        Comparison(
            f"At train accuracy above 99 %, {SAY[x]} has a lower test accuracy than "
            "SGD with momentum",
            GU,
            f"subset/{runs}",
            "subset/momentum",
            "worse",
            quantities.FITTED,
            "subset",
            "subset fitted",
        )
        for x, runs in ((_ADAM, "adam"), (_AMSGRAD, "padam p=0.5"))
    ]
    equal = [
        Comparison(
            f"At equal train loss {SAY[x]} has a lower test accuracy than SGD with "
            "momentum",
            GU,
            f"subset/{runs}",
            "subset/momentum",
            "worse",
            quantities.EQUAL_LOSS,
            "subset",
            "subset equal loss",
        )
        for x, runs in ((_ADAM, "adam"), (_AMSGRAD, "padam p=0.5"))
    ]
    return [
        *better,
        *equal,
        Comparison(
            "At equal train loss Padam has a test accuracy at least as good as SGD "
            "with momentum",
            GU,
            "subset/padam p=best",
            "subset/momentum",
            "at least as good",
            quantities.EQUAL_LOSS,
            "subset",
            "subset equal loss",
        ),
        Comparison(
            "Padam reaches 90 % of what SGD with momentum has before its first decay "
            "in fewer epochs",
            GU,
            "subset/padam p=best",
            "subset/momentum",
            "better",
            quantities.EPOCHS_TO_90,
            "subset",
        ),
        *_choice_of_p("subset", "subset", quantities.LAST_FIVE, existed=False),
    ]


COMPARISONS: Sequence[Comparison] = (
    *_table(
        "subset",
        "subset",
        padam="padam p=best",
        amsgrad="padam p=0.5",
        end=quantities.LAST_FIVE,
        quarter=quantities.QUARTER_FIVE,
    ),
    *_subset(),
    *_table("small-image-cifar10", "small images"),
    *_table("small-cifar10", "small", existed=True),
    *_table("digits", "digits", existed=True),
    *_table("slides-cifar10", "full, CIFAR-10"),
    *_table("slides-cifar100", "full, CIFAR-100"),
    *_dilemma(),
)
