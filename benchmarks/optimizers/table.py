"""Every optimizer of the benchmarks, once: its formula, its recipe, its builder."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import optax

import padam_optax
from benchmarks.optimizers.types import Optimizer, Run


def _l2_then(make: Callable[..., Any]) -> Callable[..., Any]:
    """Add decay * θ to the gradient of every tensor, biases and BatchNorm's too.

    The published recipes decay every tensor, so these do.
    """

    def build(*, weight_decay: float | None, **settings: Any) -> Any:
        if weight_decay is None:
            return make(**settings)
        return optax.chain(optax.add_decayed_weights(weight_decay), make(**settings))

    return build


def _polyak(learning_rate: optax.Schedule, momentum: float) -> Any:
    # The rate enters the momentum: a decay of the rate leaves the old steps as large as
    # they were, where optax.sgd shrinks them with it.
    return optax.chain(
        optax.scale_by_learning_rate(learning_rate), optax.trace(momentum)
    )


def _adagrad(learning_rate: optax.Schedule, eps: float) -> Any:
    # optax.adagrad adds ε inside the root and starts the sum at 0.1.
    total = optax.chain(padam_optax.square(), optax.trace(1.0))
    return optax.chain(
        padam_optax.scale_by_partial_adaptive(
            b1=0.0, eps=eps, p=0.5, second_moment=total
        ),
        optax.scale_by_learning_rate(learning_rate),
    )


def _adagrad_mean(learning_rate: optax.Schedule) -> Any:
    return optax.chain(
        optax.scale_by_rss(initial_accumulator_value=0.0, eps=0.0),
        optax.scale_by_schedule(lambda k: -learning_rate(k) * (k + 1.0) ** 0.5),
    )


def _adam_uncorrected(
    learning_rate: optax.Schedule, b1: float, b2: float, eps: float, p: float = 0.5
) -> Any:
    second = optax.chain(padam_optax.square(), padam_optax.moving_average(b2))
    return optax.chain(
        padam_optax.scale_by_partial_adaptive(b1, b2, eps, p, second_moment=second),
        optax.scale_by_learning_rate(learning_rate),
    )


def _padam_falling(
    learning_rate: optax.Schedule,
    p_start: float,
    p: float,
    until: float,
    typical_root: float,
    run: Run,
    **settings: Any,
) -> Any:
    falling = padam_optax.schedules.linear_p_schedule(
        p_start, p, max(1, round(until * run.steps))
    )
    return _vary(falling, p, learning_rate, typical_root, **settings)


def _padam_stepped(
    learning_rate: optax.Schedule,
    p_start: float,
    p_ref: float,
    typical_root: float,
    run: Run,
    **settings: Any,
) -> Any:
    # Where the multi-stage schedule divides the rate.
    p = optax.piecewise_constant_schedule(
        p_start, {round(share * run.steps): 0.5 for share in (0.3, 0.6, 0.8)}
    )
    return _vary(p, p_ref, learning_rate, typical_root, **settings)


def _vary(p: optax.Schedule, p_ref: float, rate: Any, root: float, **settings: Any):
    rate = padam_optax.diagnostics.learning_rate_for(p, p_ref, rate, root)
    return padam_optax.padam(rate, p=p, **settings)


def _muon(learning_rate: optax.Schedule, beta: float, weight_decay: float) -> Any:
    def as_matrices(params: Any) -> Any:
        """Take kernels as matrices, with all inputs of an output in a column."""

        def one(x: Any) -> Any:
            if x.ndim < 2:
                return None
            axes = tuple(range(x.ndim - 1))
            return optax.contrib.MuonDimensionNumbers(axes, x.ndim - 1)

        return jax.tree.map(one, params)

    return optax.contrib.muon(
        learning_rate,
        beta=beta,
        weight_decay=weight_decay,
        adam_weight_decay=weight_decay,
        muon_weight_dimension_numbers=as_matrices,
        consistent_rms=0.2,
    )


def _padam_compressed(weight_decay: float | None, format: Any, **settings: Any) -> Any:
    return padam_optax.experimental.quantize_state(
        _l2_then(padam_optax.padam)(weight_decay=weight_decay, **settings), format
    )


def _lbfgs(learning_rate: optax.Schedule, memory_size: float) -> Any:
    del learning_rate  # the line search finds the length of a step
    return optax.lbfgs(memory_size=round(memory_size))  # a search draws any number


def _santa(integrator: Literal["sss", "euler"]) -> Callable[..., Any]:
    def build(learning_rate: optax.Schedule, burn_in: float, run: Run) -> Any:
        # Santa's rate is for the gradient of the sum over the data set.
        return padam_optax.contrib.santa(
            lambda count: learning_rate(count) / run.num_examples,
            run.num_examples,
            round(burn_in * run.steps),
            run.seed,
            integrator=integrator,
        )

    return build


def _family() -> dict[str, Optimizer]:
    """Build the rows that differ in p, and in the rate that suits it, alone.

    The rates are where a search begins, and were written before it: AMSGrad's for
    p = 1/2 and Padam's for p <= 1/8 as published, between them by the rule of
    `padam_optax.diagnostics.learning_rate_for` (0.0215 at 1/4, 0.00235 at 0.4),
    rounded to half decades.
    """
    rows = {}
    rates = {0.5: 1e-3, 0.4: 3.16e-3, 0.25: 0.0316, 1 / 8: 0.1, 1 / 16: 0.1}
    for p, rate in rates.items():
        rows[f"padam-p{p:g}"] = Optimizer(
            f"Padam, p = {_FRACTIONS[p]}",
            "as Padam, with m/c1 and v/c2",
            "one family of p: padam_optax's consistent correction",
            {**_PADAM, "learning_rate": rate, "p": p, "bias_correction": "consistent"},
            padam_optax.padam,
        )
    return rows


_FRACTIONS = {0.5: "1/2", 0.4: "0.4", 0.25: "1/4", 0.125: "1/8", 0.0625: "1/16"}
_SGD = {"learning_rate": 0.1, "weight_decay": 5e-4}
_SGDM = {**_SGD, "momentum": 0.9}
_ADAM = {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.99, "weight_decay": 1e-4}
_PADAM = {
    "learning_rate": 0.1,
    "b1": 0.9,
    "b2": 0.999,
    "p": 0.125,
    "bias_correction": "official",
    "weight_decay": 5e-4,
}

# The recipes of momentum, adam, amsgrad, adamw and padam are those of the paper's CIFAR
# experiments (Chen et al., IJCAI 2020), as the authors' released program sets them.
# The others have the decay of their family there, and usual rates. Lectures: Gu 2018,
# Chen 2019, Oxford C6.5.
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer("SGD", "θ -= α g", "all lectures", _SGD, _l2_then(optax.sgd)),
    "momentum": Optimizer(
        "SGD + momentum",
        "m = β m + g;  θ -= α m",
        "Gu",
        _SGDM,
        _l2_then(optax.sgd),
    ),
    "polyak": Optimizer(
        "Polyak",
        "v = β v - α g;  θ += v",
        "Chen, Oxford",
        _SGDM,
        _l2_then(_polyak),
    ),
    "nesterov": Optimizer(
        "Nesterov",
        "v = β v - α g(θ + β v);  θ += v;  the weights held are θ + β v",
        "Chen, Oxford",
        _SGDM,
        _l2_then(lambda **settings: optax.sgd(nesterov=True, **settings)),
    ),
    "adagrad": Optimizer(
        "AdaGrad",
        "r += g²;  θ -= α g / (√r + ε)",
        "Chen, Oxford",
        {"learning_rate": 0.01, "eps": 1e-7, "weight_decay": 1e-4},
        _l2_then(_adagrad),
    ),
    "adagrad-mean": Optimizer(
        "AdaGrad, mean",
        "v = mean of all g²;  θ -= α g / √v",
        "Gu",
        {"learning_rate": 1e-3, "weight_decay": 1e-4},
        _l2_then(_adagrad_mean),
    ),
    "rmsprop": Optimizer(
        "RMSProp",
        "r = ρ r + (1-ρ) g²;  θ -= α g / √(r + ε)",
        "Oxford",
        {"learning_rate": 1e-3, "decay": 0.9, "eps": 1e-8, "weight_decay": 1e-4},
        _l2_then(optax.rmsprop),
    ),
    "adadelta": Optimizer(
        "AdaDelta",
        "r = ρ r + (1-ρ) g²;  Δ = -√(s + ε)/√(r + ε) g;  s = ρ s + (1-ρ) Δ²;  θ += α Δ",
        "Zeiler 2012; Oxford",
        {"learning_rate": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 1e-4},
        _l2_then(optax.adadelta),
    ),
    "adam": Optimizer(
        "Adam",
        "m = β1 m + (1-β1) g;  v = β2 v + (1-β2) g²;  θ -= α (m/c1) / (√(v/c2) + ε)",
        "Kingma and Ba 2015; Chen, Oxford",
        _ADAM,
        _l2_then(optax.adam),
    ),
    "adam-uncorrected": Optimizer(
        "Adam, uncorrected",
        "m, v as Adam;  θ -= α m / (√v + ε)",
        "Gu, where ε is 0",
        {**_ADAM, "eps": 1e-8},
        _l2_then(_adam_uncorrected),
    ),
    # Optax corrects v before it takes the maximum, the authors' program after: the two
    # differ in the first steps only.
    "amsgrad": Optimizer(
        "AMSGrad",
        "m, v as Adam;  v̂ = max(v̂, v/c2);  θ -= α (m/c1) / (√v̂ + ε)",
        "Reddi et al. 2018, as trained with",
        _ADAM,
        _l2_then(optax.amsgrad),
        corrects_before_max=True,
    ),
    "amsgrad-uncorrected": Optimizer(
        "AMSGrad, uncorrected",
        "m, v as Adam;  v̂ = max(v̂, v);  θ -= α m / (√v̂ + ε)",
        "Gu, where ε is 0",
        {**_ADAM, "eps": 1e-8},
        _l2_then(lambda **settings: padam_optax.padam(p=0.5, **settings)),
    ),
    "adamw": Optimizer(
        "AdamW",
        "as Adam, and θ -= α λ θ beside it",
        "Loshchilov and Hutter 2019",
        {**_ADAM, "b2": 0.999, "weight_decay": 2.5e-2},
        optax.adamw,
    ),
    "yogi": Optimizer(
        "Yogi",
        "v -= (1-β2) sign(v - g²) g² from 1e-6, m from 1e-6, then as Adam",
        "Zaheer et al. 2018",
        {**_ADAM, "learning_rate": 0.01, "b2": 0.999, "eps": 1e-3},
        _l2_then(optax.yogi),
    ),
    "adabelief": Optimizer(
        "AdaBelief",
        "s = β2 s + (1-β2) (g-m)² + ε₀, then as Adam with s in place of v",
        "Zhuang et al. 2020",
        {**_ADAM, "b2": 0.999, "eps": 1e-8, "eps_root": 1e-16},
        _l2_then(optax.adabelief),
    ),
    "lion": Optimizer(
        "Lion",
        "u = sign(β1 m + (1-β1) g);  m = β2 m + (1-β2) g;  θ -= α (u + λ θ)",
        "Chen et al. 2023; a tenth of AdamW's rate, ten times its λ",
        {"learning_rate": 1e-4, "b1": 0.9, "b2": 0.99, "weight_decay": 0.25},
        optax.lion,
    ),
    "muon": Optimizer(
        "Muon",
        "m = β m + (1-β) g;  θ -= α (0.2 √max(rows, columns) UVᵀ + λ θ), "
        "UΣVᵀ = β m + (1-β) g; vectors as AdamW",
        "Jordan et al. 2024, scaled as Liu et al. 2025; with AdamW's rate and decay",
        {"learning_rate": 1e-3, "beta": 0.95, "weight_decay": 2.5e-2},
        _muon,
    ),
    "schedule-free": Optimizer(
        "schedule-free SGD",
        "y = (1-β) z + β x;  z -= α g(y);  x = mean of all z, which is evaluated",
        "Defazio et al. 2024",
        {"learning_rate": 1.0, "b1": 0.9, "weight_decay": 5e-4},
        optax.contrib.schedule_free_sgd,
        takes_schedule=False,
    ),
    "lbfgs": Optimizer(
        "L-BFGS",
        "θ -= a H g, H from the last differences of θ and g, a by a zoom line search",
        "Chen; Nocedal and Wright",
        {"learning_rate": 1.0, "memory_size": 10},
        _lbfgs,
    ),
    "padam": Optimizer(
        "Padam",
        "m, v as Adam;  v̂ = max(v̂, v);  θ -= α (√c2/c1) m / (√v̂ + ε)^2p",
        "Chen et al. 2020, with the authors' correction",
        _PADAM,
        padam_optax.padam,
    ),
    **_family(),
    "padamw": Optimizer(
        "PadamW",
        "as Padam, and θ -= α λ θ beside it",
        "the decay of AdamW; α λ as in its recipe",
        {**_PADAM, "weight_decay": 2.5e-4},
        padam_optax.padamw,
    ),
    # The typical root is the one at which the rate of p = 1/2 is AMSGrad's 0.001.
    "padam-falling": Optimizer(
        "Padam, p falling",
        "as Padam; p falls to its end in the first part, and α x^(2p-2p_end) rises",
        "proposed in Southampton's report; one way to do it",
        {
            **_PADAM,
            "p_start": 0.5,
            "until": 0.3,
            "typical_root": 0.01 ** (1 / 0.75),
        },
        _l2_then(_padam_falling),
        needs_run=True,
    ),
    "padam-stepped": Optimizer(
        "Padam, p stepped",
        "as Padam; p is halved at 30, 60 and 80 % of the run, α x^(2p-2p_ref) rises",
        "proposed in Southampton's report; another way to do it",
        {
            **{k: v for k, v in _PADAM.items() if k != "p"},
            "p_start": 0.5,
            "p_ref": 0.125,
            "typical_root": 0.01 ** (1 / 0.75),
        },
        _l2_then(_padam_stepped),
        needs_run=True,
    ),
    "padam-uncorrected": Optimizer(
        "Padam, uncorrected",
        "m, v as Adam;  v̂ = max(v̂, v);  θ -= α m / (√v̂ + ε)^2p",
        "Chen et al. 2020, as printed",
        {**_PADAM, "bias_correction": "none"},
        padam_optax.padam,
    ),
    "padam-compressed": Optimizer(
        "Padam, few bits",
        "as Padam, its state kept in 8 or 16 bits between the steps",
        "padam_optax.experimental.quantize_state",
        {**_PADAM, "format": "8-bit"},
        _padam_compressed,
    ),
    "adagrad-norm": Optimizer(
        "AdaGrad-Norm",
        "b² += ‖g‖² over all tensors;  θ -= α g / b",
        "Ward et al. 2019; Oxford",
        {"learning_rate": 1.0, "b0": 0.1, "weight_decay": 5e-4},
        _l2_then(padam_optax.contrib.adagrad_norm),
    ),
    "santa-e": Optimizer(
        "Santa-E",
        "u = (1-A) u - α q g + noise;  A += u² - α/β;  θ += q u;  q = (λ + √v)^-1/2",
        "Chen et al. 2016; Chen",
        {"learning_rate": 1e-4, "burn_in": 0.5},
        _santa("euler"),
        needs_run=True,
    ),
    "santa-sss": Optimizer(
        "Santa-SSS",
        "as Santa-E, in the symmetric splitting: half steps of θ, A and the friction",
        "Chen et al. 2016; Chen",
        {"learning_rate": 1e-4, "burn_in": 0.5},
        _santa("sss"),
        needs_run=True,
    ),
}
