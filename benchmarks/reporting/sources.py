"""The sources of claims and published figures, and what is out of scope."""

from rich.table import Table

from benchmarks.reporting.tables import as_markdown

# (name in the report, authors, year, title, where, what is used of it)
_SOURCES = (
    (
        "Gu's slides",
        "Quanquan Gu, joint work with Jinghui Chen and Dongruo Zhou",
        "2018",
        "Closing the Generalization Gap of Adaptive Gradient Methods in Training Deep "
        "Neural Networks, slides of November 2",
        "seed document 000",
        "Algorithm, theorems, and the two tables of VGGNet, which are the published "
        "figures of slides-cifar10 and slides-cifar100. All else is shown as curves "
        "without figures.",
    ),
    (
        "Oxford's slides",
        "Jared Tanner",
        "",
        "Optimization algorithms for training DNNs: momentum, AdaGrad, and Adam; "
        "Theories of Deep Learning, C6.5, lecture 8",
        "seed document 001",
        "Figures 1 to 3 over b0, of Ward et al.; figures 2 and 3 of Kingma and Ba; "
        "rates on quadratics.",
    ),
    (
        "Southampton's report",
        "Keyan Shi, Tong Ye, Chizhou Zhang",
        "",
        "Closing the Generalization Gap of Adaptive Gradient Methods in Training Deep "
        "Neural Network, Reproduce Challenge",
        "seed document 002",
        "Figures 1 to 3 and the recipe of its table 1. Its text says VGGNet of figure "
        "2, the caption ResNet.",
    ),
    (
        "Buffalo's slides",
        "Changyou Chen",
        "2019",
        "Optimization for Training Deep Models, slides of February 28",
        "seed document 003",
        "Momentum, initial weights, decays, L-BFGS, Santa.",
    ),
    (
        "the paper, Chen et al.",
        "Jinghui Chen, Dongruo Zhou, Yiqi Tang, Ziyan Yang, Yuan Cao, Quanquan Gu",
        "2018, 2020",
        "Closing the Generalization Gap of Adaptive Gradient Methods in Training Deep "
        "Neural Networks, IJCAI",
        "[arXiv 1806.06763](https://arxiv.org/abs/1806.06763)",
        "The recipes that slides and reports leave open; no figure is quoted.",
    ),
    (
        "Mittal et al.",
        "Harshal Mittal and others",
        "2019",
        "ICLR Reproducibility Challenge Report (Padam: Closing the Generalization Gap "
        "of Adaptive Gradient Methods in Training Deep Neural Networks)",
        "[arXiv 1901.09517](https://arxiv.org/abs/1901.09517)",
        "The setting of reproduction-*; no figure is quoted.",
    ),
    (
        "Wilson et al.",
        "Ashia C. Wilson and others",
        "2017",
        "The marginal value of adaptive gradient methods in machine learning, NeurIPS",
        "named by Gu's slides",
        "The constructed least squares of section 3.3.",
    ),
    (
        "Reddi et al.",
        "Sashank J. Reddi, Satyen Kale, Sanjiv Kumar",
        "2018",
        "On the convergence of Adam and beyond, ICLR",
        "named by Gu's slides",
        "AMSGrad, and the game in which Adam fails.",
    ),
    (
        "Kingma and Ba",
        "Diederik P. Kingma, Jimmy Ba",
        "2015",
        "Adam: A method for stochastic optimization, ICLR",
        "[arXiv 1412.6980](https://arxiv.org/abs/1412.6980)",
        "Figures 2 and 3, as Oxford's slides show them.",
    ),
    (
        "Ward, Wu and Bottou",
        "Rachel Ward, Xiaoxia Wu, Léon Bottou",
        "2018, 2019",
        "AdaGrad stepsizes: sharp convergence over nonconvex landscapes",
        "[arXiv 1806.01811](https://arxiv.org/abs/1806.01811)",
        "AdaGrad-Norm, as Oxford's slides show it.",
    ),
    (
        "Chen et al. 2016",
        "Changyou Chen and others",
        "2016",
        "Bridging the gap between stochastic gradient MCMC and stochastic "
        "optimization, AISTATS",
        "named by Buffalo's slides",
        "Santa.",
    ),
)

# (document, what, why it is not here)
_MISSING = (
    (
        "Gu's slides",
        "Train loss and test error of VGGNet, ResNet and WideResNet at full size, "
        "CIFAR-10 and CIFAR-100",
        "needs a GPU; the commands are under [not run yet](#not-run-yet)",
    ),
    (
        "Gu's slides",
        "ImageNet, top-1 and top-5",
        "needs the data and many GPUs; top-5 is not measured",
    ),
    (
        "Gu's slides",
        "Open: the best dependence of the rate on the dimension",
        "a question for a proof; measured slopes are among the constructed problems",
    ),
    (
        "Gu's slides",
        "Open: a theory of generalization",
        "no experiment decides it; the least squares of Wilson et al. are one example",
    ),
    (
        "Gu's slides",
        "Adam: the default setting works for most problems",
        "no set of problems is named",
    ),
    (
        "Oxford's slides",
        "Snapshots over b0 at epochs 5, 20 and 60",
        "the end of shorter runs is shown",
    ),
    (
        "Oxford's slides",
        "Bound of stochastic AdaGrad-Norm on E‖∇‖^{4/3}",
        "not measured; the growth of b is",
    ),
    (
        "Oxford's slides",
        "SFO beside Adam; Adam over 45 epochs and more",
        "SFO is not implemented; runs have 3 or 4 epochs",
    ),
    (
        "Southampton's report",
        "WideResNet, ResNet and VGGNet over 100 epochs on all of CIFAR-10",
        "needs a GPU; its recipe is run on the subset",
    ),
    (
        "Southampton's report",
        "GANs",
        "a small one is implemented, on MNIST: python -m benchmarks gan",
    ),
    (
        "Buffalo's slides",
        "Santa on ImageNet with GoogleNet",
        "needs many GPUs; Santa is run on MNIST",
    ),
    (
        "Buffalo's slides",
        "Local minima, cliffs, exploding gradients, identifiability, symmetry",
        "background, no claim about an optimizer",
    ),
    (
        "Buffalo's slides",
        "Biases of 0.1 for ReLU and 1 for LSTM",
        "not varied",
    ),
    ("Buffalo's slides", "Newton's method and BFGS", "only L-BFGS is run"),
)


def write_sources() -> str:
    """List the sources of claims and published figures."""
    heads = ("here", "authors", "year", "title", "where", "what is from it")
    table = Table(*heads)
    for row in _SOURCES:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    return "\n\n".join(
        [
            "A section shows a published figure beside ours only if it can be read "
            "in one of these; none is quoted from memory.",
            as_markdown(table),
        ]
    )


def write_missing() -> str:
    """List what the documents ask or show and this report does not."""
    table = Table("document", "what", "why not")
    for row in _MISSING:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    return as_markdown(table)
