"""What to run on one GPU."""

# For one GPU: what to run one after the other. Three seeds decide a claim; one seed
# decides none. A command that is cut off goes on from its last checkpoint when it is
# given again, so ten minutes at a time are enough.
_PIECEWISE = ("--dtype", "bfloat16", "--keep", "1", "--checkpoint-seconds", "20")
_GPU_RUNS = {
    "slides-cifar10": "train slides-cifar10 --seeds 3",
    "slides-cifar100": "train slides-cifar100 --seeds 3",
    "choice-of-p": "sweep choice-of-p --seeds 3",
    "slides-cifar10-resnet18": "train slides-cifar10 --model resnet18 --seeds 3",
    "slides-cifar10-wrn16-4": "train slides-cifar10 --model wrn16-4 --seeds 3",
}


def gpu_commands(data_dir: str = "DIR", out: str = "OUT") -> list[list[str]]:
    """Return the commands to run on one GPU, without `python -m benchmarks`."""
    trained = []
    for name, run in _GPU_RUNS.items():
        paths = ["--data-dir", data_dir, "--out", f"{out}/{name}"]
        trained.append([*run.split(), *paths, *_PIECEWISE, "--resume"])
    trees = ["--trees", "leaf-100000000", "resnet50-imagenet", "resnet18"]
    return [*trained, ["speed", *trees, "--out", f"{out}/speed-gpu"]]
