"""An LSTM on the characters of Shakespeare."""

from dataclasses import replace

from benchmarks.experiments.settings import FOUR
from benchmarks.experiments.slides import SAY
from benchmarks.experiments.types import SOUTHAMPTON, Comparison, Experiment
from benchmarks.training.config import TrainConfig

_TEXT = TrainConfig(
    dataset="tiny_shakespeare",
    model="lstm-1",
    optimizers=FOUR,
    recipe=("weight_decay=0",),
    batch_size=64,
    epochs=3,
    seeds=2,
)

_RATES = "learning_rate=1,0.1,0.01,0.001"
_LOWEST = (
    "Mean test perplexity per character after the last epoch, at each optimizer's best "
    "of four learning rates; the best on the test set, for all alike."
)


def _claim_lstm(first: str, second: str, scale: str) -> list[Comparison]:
    """List the claims about LSTMs, at each optimizer's best learning rate."""
    return [
        Comparison(
            f"On an LSTM, Padam at p = 0.4 ends at least as good as {SAY[x]}",
            f"{SOUTHAMPTON}, asked for",
            f"{first}/padam p=0.4 learning_rate=best",
            f"{second}/{x} learning_rate=best",
            "at least as good",
            "perplexity",
            scale,
            f"LSTM, {scale}",
        )
        for x in ("momentum", "adam", "amsgrad")
    ]


TEXT_RUNS: dict[str, Experiment] = {
    "shakespeare": Experiment(
        _TEXT,
        "Beyond CNNs, as the Southampton report asks: an LSTM on characters.",
        "None published for this set.",
        better=_LOWEST,
        margin=1.0,
        grid=(_RATES,),
        view="best rates",
    ),
    "shakespeare-tuned": Experiment(
        replace(
            _TEXT,
            optimizers=("momentum", "adam", "amsgrad", "padam-p0.4", "padam-p0.125"),
            recipe=("weight_decay=0", "adam:b2=0.999", "amsgrad:b2=0.999"),
            seed=100,
        ),
        "Is Padam at p = 0.4 as good as Adam on an LSTM if nothing but p differs? The "
        "same b2 = 0.999 for all, learning rates half a decade apart from 0.001 to 3 "
        "and beyond where the best is at an edge, chosen on the last tenth of the "
        "training text.",
        "p = 0.4 within 1 % of Adam's perplexity, both below SGD with momentum and "
        "p = 1/8.",
        better="Mean test perplexity per character after the last epoch, for each "
        "optimizer at the learning rate with the lowest loss on the validation text; "
        "over five common seeds.",
        margin=1.0,
        limits="Three epochs of a small text and one layer: who trains fastest.",
        grid=("learning_rate=3.16,1,0.316,0.1,0.0316,0.01,0.00316,0.001",),
        tune="learning_rate",
        finals=5,
        claims=(
            *_claim_lstm("shakespeare-tuned", "shakespeare-tuned", "tuned"),
            Comparison(
                "On an LSTM, Padam at p = 0.4 ends better than at p = 1/8",
                f"{SOUTHAMPTON}, asked for",
                "shakespeare-tuned/padam p=0.4 learning_rate=best",
                "shakespeare-tuned/padam p=0.125 learning_rate=best",
                "better",
                "perplexity",
                "tuned",
                "LSTM, tuned",
            ),
        ),
    ),
    "shakespeare-p": Experiment(
        replace(_TEXT, optimizers=("padam",)),
        "Which p suits an LSTM? That of 1/8 is in shakespeare.",
        "A larger p than for CNNs: the paper's authors take 0.4 for theirs.",
        better=_LOWEST,
        grid=("p=0.4,0.2", _RATES),
        margin=1.0,
        baseline=("shakespeare/padam",),
        claims=_claim_lstm("shakespeare-p", "shakespeare", "small"),
        view="best rates",
    ),
}
