"""What this package claims, and what it asks beyond the sources."""

from collections.abc import Sequence

from benchmarks.reporting.claims import quantities
from benchmarks.reporting.claims.paired import Comparison
from benchmarks.reporting.claims.verdict import PACKAGE


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


def _uncorrected() -> list[Comparison]:
    """List what Padam does without the authors' correction, on small images."""
    name = "small-image-cifar10"
    rows = (
        (
            "At p = 1/8 the correction 'none' ends like the authors', with its hidden "
            "warm-up",
            "padam",
            "alike",
            quantities.END,
        ),
        (
            "At p = 1/8 the correction 'none' is ahead of the authors' after a quarter",
            "padam",
            "better",
            quantities.QUARTER,
        ),
        (
            "Padam without the authors' correction ends at least as good as SGD with "
            "momentum",
            "momentum",
            "at least as good",
            quantities.END,
        ),
    )
    return [
        Comparison(
            claim,
            "this package",
            f"{name}/padam-uncorrected",
            f"{name}/{second}",
            relation,
            quantity,
            "small images",
            kind=PACKAGE,
        )
        for claim, second, relation, quantity in rows
    ]


_TODAY = {
    "adamw": "AdamW",
    "yogi": "Yogi",
    "adabelief": "AdaBelief",
    "lion": "Lion",
    "muon": "Muon",
    "schedule-free": "Schedule-free SGD",
}


def _today() -> list[Comparison]:
    """Compare Padam, and Adam, with what is used today, each at its tuned rate."""

    def row(claim: str, first: str, second: str, relation: str) -> Comparison:
        return Comparison(
            claim,
            "asked by this package",
            first,
            second,
            relation,
            quantities.LAST_FIVE,
            "subset",
            f"subset-today {relation}",
            PACKAGE,
            decided_in="subset-today",
        )

    padam, adam = "subset/padam p=best", "subset/adam"
    return [
        *(
            row(
                f"Padam ends at least as good as {label}",
                padam,
                f"subset-today/{name}",
                "at least as good",
            )
            for name, label in _TODAY.items()
        ),
        *(
            row(
                f"{_TODAY[name]} ends better than Adam",
                f"subset-today/{name}",
                adam,
                "better",
            )
            for name in ("adamw", "muon")
        ),
    ]


COMPARISONS: Sequence[Comparison] = (*_package(), *_uncorrected(), *_today())
