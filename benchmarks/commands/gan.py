"""`python -m benchmarks gan`."""

from dataclasses import asdict

from rich.console import Console
from tqdm import tqdm

from benchmarks import run_dir, run_files
from benchmarks.gan.compare import Judge, compare, load
from benchmarks.gan.config import GanConfig
from benchmarks.reporting.plots import gan as drawings
from benchmarks.training import resume
from benchmarks.training.devices import DeviceLayout


def run(config: GanConfig) -> int:
    """Tune and test each optimizer, write the records, print the table, draw."""
    if config.resume and config.out is not None:
        run_files.restore(config.out)
    images, features = load(config)
    folder = resume.open_run(config.out, "gan", asdict(config), config.resume)
    devices = DeviceLayout(count=1).describe()
    run_dir.write_header(folder, run_dir.header("gan", devices, config.seed))
    path = folder / "gan.jsonl"
    done = run_dir.read(path) if path.exists() else []
    found = compare(config, images, Judge(features, images, config.examples), done)
    lines = run_dir.record(path, tqdm(found, "gan", unit=" runs", disable=None))
    run_dir.finish(folder)
    Console().print(drawings.gan_table(lines))
    drawings.draw_gan(lines, folder / "gan.png")
    print(f"records: {folder}\nplot:    {folder / 'gan.png'}")
    return 0
