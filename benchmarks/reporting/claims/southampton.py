"""Claims of the Southampton report about trained networks."""

from collections.abc import Sequence

from benchmarks.reporting.claims import quantities
from benchmarks.reporting.claims.gu import SAY
from benchmarks.reporting.claims.paired import Comparison
from benchmarks.reporting.claims.quantities import Quantity
from benchmarks.reporting.claims.verdict import SOUTHAMPTON


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
                f"Padam ends with a lower train loss than {SAY[x]}",
                padam,
                x,
                "better",
                quantities.LAST_LOSS,
                "loss",
            )
            for x in ("momentum", "adam", "amsgrad")
        ),
        *(
            row(
                f"Padam's train loss is below {SAY[x]}'s after a quarter",
                padam,
                x,
                "better",
                quantities.EARLY_LOSS,
                "early",
            )
            for x in ("adam", "amsgrad")
        ),
        *(
            row(
                f"{SAY[x]} ends at least as good as SGD with momentum",
                x,
                "momentum",
                "at least as good",
                quantities.LAST_FIVE,
                "late",
            )
            for x in ("adam", "amsgrad")
        ),
        *(
            row(
                f"p = 1/16 ends better than p = {say} at learning rate 0.1",
                "padam p=0.0625",
                f"padam p={p}",
                "better",
                quantities.LAST_FIVE,
                "p",
            )
            for say, p in (("1/8", "0.125"), ("1/4", "0.25"))
        ),
    ]


def _rates() -> list[Comparison]:
    """List what figure 3 says of p and the learning rate, at a constant rate."""
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
            quantities.LAST_FIVE,
            "subset",
            "subset-southampton-rates",
            decided_in="subset-southampton-rates",
        )
        for claim, first, second in rows
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
                quantities.LAST_FIVE,
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
    tuned = "shakespeare-tuned/padam"
    return [
        *(
            Comparison(
                f"On an LSTM, Padam at p = 0.4 ends at least as good as {SAY[x]}",
                f"{SOUTHAMPTON}, asked for",
                f"{first} p=0.4 learning_rate=best",
                f"{second}/{x} learning_rate=best",
                "at least as good",
                quantities.PERPLEXITY,
                scale,
                f"LSTM, {scale}",
            )
            for first, second, scale in (
                ("shakespeare-p/padam", "shakespeare", "small"),
                ("shakespeare-tuned/padam", "shakespeare-tuned", "tuned"),
            )
            for x in ("momentum", "adam", "amsgrad")
        ),
        Comparison(
            "On an LSTM, Padam at p = 0.4 ends better than at p = 1/8",
            f"{SOUTHAMPTON}, asked for",
            f"{tuned} p=0.4 learning_rate=best",
            f"{tuned} p=0.125 learning_rate=best",
            "better",
            quantities.PERPLEXITY,
            "tuned",
            "LSTM, tuned",
        ),
    ]


COMPARISONS: Sequence[Comparison] = (
    *_southampton(),
    *_rates(),
    *_varying_p(),
    *_lstm(),
)
