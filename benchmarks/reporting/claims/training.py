"""The claims about trained networks that compare two optimizers."""

import itertools
from collections.abc import Sequence

from benchmarks.reporting.claims import paired
from benchmarks.reporting.claims.paired import Comparison, Quantity
from benchmarks.reporting.claims.verdict import (
    BUFFALO,
    GU,
    PACKAGE,
    SOUTHAMPTON,
    THEOREM,
)

_SGD, _ADAM, _AMSGRAD, _PADAM = "momentum", "adam", "amsgrad", "padam"
_SAY = {_SGD: "SGD with momentum", _ADAM: "Adam", _AMSGRAD: "AMSGrad"}


def _table(
    experiment: str,
    scale: str,
    *,
    padam: str = _PADAM,
    amsgrad: str = _AMSGRAD,
    end: Quantity = paired.END,
    quarter: Quantity = paired.QUARTER,
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

    loss, gain = paired.EARLY_LOSS, paired.GAIN
    fast = "Padam's train loss after a quarter is at least as low as"
    return [
        row(
            "Padam ends at least as good as SGD with momentum",
            _PADAM,
            _SGD,
            "at least as good",
        ),
        *(
            row(f"Padam ends better than {_SAY[x]}", _PADAM, x, "better", end, "order")
            for x in (_ADAM, _AMSGRAD)
        ),
        *(
            row(
                f"{_SAY[x]} ends worse than SGD with momentum",
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
            late(f"{fast} {_SAY[x]}'s", _PADAM, x, "at least as good", loss, "speed")
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
                f"After the first decay {_SAY[x]} gains less than SGD with momentum",
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
            paired.SPREAD,
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
            paired.DISTANCE,
            "small",
            after_results=True,
        ),
        *_choice_of_p("dilemma", "small", paired.END, existed=True),
        *_choice_of_p("choice-of-p", "full, CIFAR-10", paired.END, existed=False),
    ]


def _subset() -> list[Comparison]:
    """List the claims of the main experiment beyond those of the slides' table."""
    better = [
        Comparison(
            f"At train accuracy above 99 %, {_SAY[x]} has a lower test accuracy than "
            "SGD with momentum",
            GU,
            f"subset/{runs}",
            "subset/momentum",
            "worse",
            paired.FITTED,
            "subset",
            "subset fitted",
        )
        for x, runs in ((_ADAM, "adam"), (_AMSGRAD, "padam p=0.5"))
    ]
    equal = [
        Comparison(
            f"At equal train loss {_SAY[x]} has a lower test accuracy than SGD with "
            "momentum",
            GU,
            f"subset/{runs}",
            "subset/momentum",
            "worse",
            paired.EQUAL_LOSS,
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
            paired.EQUAL_LOSS,
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
            paired.EPOCHS_TO_90,
            "subset",
        ),
        *_choice_of_p("subset", "subset", paired.LAST_FIVE, existed=False),
    ]


def _varying_p() -> list[Comparison]:
    claim = "A p that falls while the rate rises ends better than the best constant p"
    return [
        Comparison(
            claim,
            SOUTHAMPTON,
            "falling-p/padam-falling",
            "dilemma/padam p=best",
            "better",
            scale="small",
        ),
        *(
            Comparison(
                f"{claim}{how}",
                SOUTHAMPTON,
                f"{experiment}/{optimizer}",
                "subset/padam p=best",
                "better",
                paired.LAST_FIVE,
                "subset",
                "subset-varying-p",
            )
            for experiment, optimizer, how in (
                ("subset-varying-p", "padam-falling", ""),
                (
                    "subset-stepped-p",
                    "padam-stepped",
                    " (p stepped at the milestones)",
                ),
            )
        ),
    ]


def _lstm() -> list[Comparison]:
    """List the claims about LSTMs, at each optimizer's best learning rate."""
    return [
        Comparison(
            f"On an LSTM, Padam at p = 0.4 ends at least as good as {_SAY[x]}",
            f"{SOUTHAMPTON}, asked for",
            f"{first} p=0.4 learning_rate=best",
            f"{second}/{x} learning_rate=best",
            "at least as good",
            paired.PERPLEXITY,
            scale,
            f"LSTM, {scale}",
        )
        for first, second, scale in (
            ("shakespeare-p/padam", "shakespeare", "small"),
            ("shakespeare-tuned/padam", "shakespeare-tuned", "tuned"),
        )
        for x in (_SGD, _ADAM, _AMSGRAD)
    ]


def _southampton() -> list[Comparison]:
    """List Southampton's findings, in their recipe: constant rate, decay 0.005."""
    name = "subset-southampton"

    def row(
        claim: str, first: str, second: str, relation: str, what: Quantity, family: str
    ) -> Comparison:
        return Comparison(
            f"{claim} (constant rate)",
            SOUTHAMPTON,
            f"{name}/{first}",
            f"{name}/{second}",
            relation,
            what,
            "subset",
            f"{name} {family}",
        )

    padam = "padam p=0.125"
    return [
        *(
            row(
                f"Padam ends with a lower train loss than {_SAY[x]}",
                padam,
                x,
                "better",
                paired.LAST_LOSS,
                "loss",
            )
            for x in (_SGD, _ADAM, _AMSGRAD)
        ),
        *(
            row(
                f"Padam's train loss is below {_SAY[x]}'s after a quarter",
                padam,
                x,
                "better",
                paired.EARLY_LOSS,
                "early",
            )
            for x in (_ADAM, _AMSGRAD)
        ),
        *(
            row(
                f"{_SAY[x]} ends at least as good as SGD with momentum",
                x,
                _SGD,
                "at least as good",
                paired.LAST_FIVE,
                "late",
            )
            for x in (_ADAM, _AMSGRAD)
        ),
        *(
            row(
                f"p = 1/16 ends better than p = {say} at learning rate 0.1",
                "padam p=0.0625",
                f"padam p={p}",
                "better",
                paired.LAST_FIVE,
                "p",
            )
            for say, p in (("1/8", "0.125"), ("1/4", "0.25"))
        ),
    ]


def _package() -> list[Comparison]:
    """List the claims that this package makes."""
    official = "dilemma/padam p=0.125"
    rows = [
        (
            f"At p = 1/8 the correction {name!r} ends like the authors', with its "
            "hidden warm-up",
            f"correction/padam bias_correction={name}",
            official,
            "small",
            "correction",
        )
        for name in ("none", "consistent")
    ]
    compressed = "padam-compressed"
    rows += [
        (
            "Moments in 8 bits end like float32",
            f"few-bits-cifar10/{compressed}",
            "small-cifar10/padam",
            "small",
            "",
        ),
        *(
            (
                f"Moments in {bits} bits end like float32",
                f"few-bits-digits/{compressed} format={bits}-bit",
                "digits/padam",
                "digits",
                "few bits digits",
            )
            for bits in (8, 16)
        ),
    ]
    return [
        Comparison(
            claim,
            "this package",
            first,
            second,
            "alike",
            scale=scale,
            family=family,
            kind=PACKAGE,
        )
        for claim, first, second, scale, family in rows
    ]


def _after_training_error_0() -> list[Comparison]:
    """Ask whether the test error still falls once the train error is 0."""
    return [
        Comparison(
            f"Test error still falls after the train error of {say} is 0",
            BUFFALO,
            f"digits/{x}",
            "",
            "better",
            paired.FALL_AFTER_0,
            "digits",
            "test error after 0",
            after_results=True,
        )
        for x, say in ((_SGD, "SGD with momentum"), (_ADAM, "Adam"), (_PADAM, "Padam"))
    ]


COMPARISONS: Sequence[Comparison] = (
    *_table(
        "subset",
        "subset",
        padam="padam p=best",
        amsgrad="padam p=0.5",
        end=paired.LAST_FIVE,
        quarter=paired.QUARTER_FIVE,
    ),
    *_subset(),
    *_table("small-image-cifar10", "small images"),
    *_table("small-cifar10", "small", existed=True),
    *_table("digits", "digits", existed=True),
    *_table("slides-cifar10", "full, CIFAR-10"),
    *_table("slides-cifar100", "full, CIFAR-100"),
    *_dilemma(),
    *_southampton(),
    *_varying_p(),
    *_lstm(),
    *_after_training_error_0(),
    *_package(),
)
