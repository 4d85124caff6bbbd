"""The claims of the table on Gu's slides, for any experiment that repeats it."""

from benchmarks.experiments.types import GU, SOUTHAMPTON, Comparison

_SGD, _ADAM, _AMSGRAD, _PADAM = "momentum", "adam", "amsgrad", "padam"
FALLING_P_IS_BETTER = (
    "A p that falls while the rate rises ends better than the best constant p"
)
SAY = {_SGD: "SGD with momentum", _ADAM: "Adam", _AMSGRAD: "AMSGrad"}


def claim_table(
    experiment: str,
    scale: str,
    *,
    padam: str = _PADAM,
    amsgrad: str = _AMSGRAD,
    end: str = "end",
    quarter: str = "quarter",
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
        quantity: str = end,
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

    loss, gain = "early_loss", "gain"
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
