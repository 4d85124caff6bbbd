"""AdaGrad-Norm, Santa, and the second moments of AdaBelief and Yogi."""

from padam_optax.contrib._adagrad_norm import (
    ScaleByAdagradNormState as ScaleByAdagradNormState,
    adagrad_norm as adagrad_norm,
    scale_by_adagrad_norm as scale_by_adagrad_norm,
)
from padam_optax.contrib._santa import (
    SantaState as SantaState,
    santa as santa,
)
from padam_optax.contrib._second_moments import (
    squared_deviation as squared_deviation,
    yogi_average as yogi_average,
)
