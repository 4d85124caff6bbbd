"""Every study by name: what it asks, its cost, the rule that judges it. Needs no JAX.

The rules were written before the first run. A study shows that measurements agree with
a claim, or do not, on a problem made for the purpose; it proves no theorem.
"""

from typing import NamedTuple


class Plan(NamedTuple):
    """What a study asks.

    Attributes:
      title: The heading.
      question: What it asks, and where the claim is from.
      budget: The problem, and how many runs of how many steps.
      rule: What decides.
      expected: The claimed or derived result.
      limits: What it cannot show.
    """

    title: str
    question: str
    budget: str
    rule: str
    expected: str
    limits: str


PLANS: dict[str, Plan] = {
    "least-squares": Plan(
        "p and generalization in over-parameterized least squares",
        "Does a smaller p close the generalization gap of adaptive methods? The "
        "constructed problem of Wilson et al. 2017, section 3.3, which Gu's slides "
        "cite.",
        "100 points, labels ±1, 60 % of them +1 on average. Features: the label; 1; "
        "1; and for each point one feature of its own if its label is +1, five if it "
        "is -1. Whole batches, half the mean squared error, 6,000 steps from 0. p "
        "from 0 (SGD with momentum) to 1/2 in steps of 1/16, nine learning rates, ten "
        "draws of the labels, with and without the running maximum.",
        "Only runs count whose training error (mean square) ends below 1e-4. Holds if "
        "in every draw all of them have a test error above 30 % at p = 1/2 and below "
        "1 % at every p ≤ 1/4, and each draw has such runs at each of these p. Does "
        "not hold if one of them has not. Undecided if a draw has none.",
        "At p = 1/2 every negative point is classified wrong, at p ≤ 1/4 none, at "
        "every learning rate.",
        "A problem constructed against adaptive methods: it shows that p can decide, "
        "not how often it does.",
    ),
    "condition-number": Plan(
        "Rates of gradient descent, momentum and Nesterov on quadratics",
        "Do the linear rates of Oxford's slides hold: (κ-1)/(κ+1) for gradient "
        "descent, (√κ-1)/(√κ+1) for Polyak's momentum, √((√κ-1)/√κ) for Nesterov's? "
        "The slides' line for Nesterov takes the gradient at θ, which is Polyak's "
        "method; here it is taken at the look-ahead point.",
        "κ from 10 to 10⁴ in half decades, ten curvatures from 1 to κ, evenly spaced "
        "in their logarithm, random starts. The constants that are optimal for each "
        "method. Steps until the formula promises e^-100; the rate is measured over "
        "their second half.",
        "Holds for a method if in all draws and at all κ the measured -log(rate) is "
        "at least 0.95 of the formula's. A formula is called tight if it is at most "
        "1.05 of it.",
        "Gradient descent and Polyak meet their formulas. Nesterov's is an upper "
        "bound: on a quadratic the iterates shrink by 1 - 1/√κ, about twice as fast.",
        "Quadratics, and constants that know κ.",
    ),
    "adagrad-norm": Plan(
        "AdaGrad-Norm against its bounds, and the growth of b",
        "Does AdaGrad-Norm reach ‖∇‖² ≤ ε within the steps of its theorem for every "
        "b0, and does b_k go to a constant in whole batches and grow as √k in "
        "mini-batches? Oxford's slides; Ward, Wu and Bottou 2019.",
        "Bounds: quadratics with curvatures L (1, 0.3, 0.05, 0.001), L = 0.5, 4 and "
        "20, η = 1, random starts, 25 values of b0 from 10⁻³ to 10³, ε = L²/1000. "
        "Growth: least squares with 256 points in 8 dimensions and noisy labels, "
        "whole or in mini-batches of 16, 10,000 steps.",
        "Bounds: holds if no run needs more steps than its bound. Growth: holds if in "
        "all draws the slope of log b against log k over the last decade is at most "
        "0.02 in whole batches, and within 0.05 of 1/2 in mini-batches.",
        "Far fewer steps than the bounds. In mini-batches b_k is about c √k with c "
        "the root mean square of the gradient's noise at the minimum.",
        "Convex quadratics; the theorem is for smooth losses of any shape.",
    ),
    "nonconvex": Plan(
        "Rates of Padam on a nonconvex loss, in T and in d",
        "Do the gradients shrink as Theorem 3 and Corollary 4 of Gu's slides say: "
        "E‖∇f(θ_out)‖² of order 1/√T, and for p ≤ 1/4 growing more slowly with the "
        "dimension d (d^1/4) than for AMSGrad and SGD (d^1/2)?",
        "f = Σ x²/(1+x²) from a random point with f = 1, whatever d is. Noise of ±1 "
        "on a random 1, 10 or 100 % of the coordinates in each step. d = 10 to 10⁴ "
        "and T = 100 to 10⁵ in decades, those with d T ≤ 10⁷; a learning rate c/√T "
        "with the best of five c, a factor of five apart; five draws. θ_out is a "
        "random iterate: its expectation is the mean over the iterates. Padam as "
        "Algorithm 1, b1 = 0.9, b2 = 0.999, p = 1/8, 1/4, 1/2; SGD without momentum.",
        "In T: holds if the slope of log E‖∇f‖² against log T, over T at d = 10 and "
        "100, is at most -0.45 for every p and every share of noise. In d: the slope "
        "against log d at T = 1,000, paired by draw; holds if for p = 1/8 and 1/4 it "
        "is smaller than for p = 1/2 and for SGD at every share (upper end of the 95 "
        "% interval of the difference below 0), does not hold if at one share it is "
        "not smaller (lower end above -0.05), else undecided. The best c is chosen by "
        "the mean over the draws; where it is at the edge of the five this is said.",
        "Slopes of about -1/2 in T. In d the same slope for all p: the corollary "
        "assumes Σ‖g_{1:T,i}‖ ≪ √(dT), which noise spread evenly over the coordinates "
        "does not meet, and where all coordinates look alike Padam is SGD with "
        "another learning rate.",
        "Consistency, not proof: one loss, one kind of noise; upper bounds cannot be "
        "refuted by runs that do better, nor their order by one problem.",
    ),
    "step-size": Plan(
        "When a gradient step increases the loss",
        "Is ½ ε² gᵀHg > ε gᵀg the sign that a step of size ε is too long? Chen's "
        "lecture, on ill-conditioned problems.",
        "Gradient descent on the ravine (condition number 100), Beale's and "
        "Rosenbrock's valleys, 40 learning rates a factor of 1.25 apart, 300 steps; "
        "at each step the predicted and the actual sign of the change. Steps count "
        "while the loss is below 10⁶ and its relative change above 10⁻⁹.",
        "On the quadratic the criterion is exact: checked if it is right in all "
        "steps. Elsewhere it holds if it is right in at least 95 % of the steps of "
        "each surface.",
        "Right in every step of the ravine, where rates above 2/100 fail in the end; "
        "nearly always right where steps are short against the curvature's change.",
        "Two variables.",
    ),
}
STUDIES = tuple(PLANS)
