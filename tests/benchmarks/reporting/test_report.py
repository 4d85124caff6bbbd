"""The report says what the records say, and says how they came about."""

import json
import re
import subprocess
import sys
from base64 import b64encode

import pytest
from matplotlib.figure import Figure

from benchmarks import run_dir
from benchmarks.__main__ import main
from benchmarks.paths import ROOT
from benchmarks.reporting import report, sections
from benchmarks.reporting import results as outcomes

HEADER = {
    "started": "2026-01-02T03:04:05+00:00",
    "command": ["train", "digits"],
    "seed": 7,
    "git_revision": "0123456789abcdef with changes",
    "cpu_count": 2,
    "devices": {"platform": "cpu", "kind": "cpu", "count": 1, "processes": 1},
    "versions": {"jax": "0.1.2"},
}


CONFIG = {
    "model": "vgg-small",
    "dataset": "digits",
    "epochs": 4,
    "seed": 7,
    "seeds": 2,
    "milestones": [0.3, 0.6, 0.8],
    "recipe": [],
}


def write(folder, config, *, kind="train", **files):
    folder.mkdir(parents=True)
    run_dir.write_json(folder / "config.json", config)
    run_dir.write_json(folder / "header.json", {**HEADER, "kind": kind})
    for name, lines in files.items():
        for line in lines:
            run_dir.append(folder / f"{name}.jsonl", line)


def run_lines(*accuracies):
    return [
        {
            "epoch": i,
            "learning_rate": 0.1,
            "train_loss": 1 / i,
            "train_accuracy": a,
            "test_loss": 1 - a,
            "test_accuracy": a,
            "seconds": 1.0,
        }
        for i, a in enumerate(accuracies, start=1)
    ]


def write_sweep(folder, config, runs):
    """Write a sweep: for each run optimizer, settings, seed, records, perhaps stage."""
    about = []
    for i, (optimizer, settings, seed, lines, *stage) in enumerate(runs):
        stopped = "stopped" in lines[-1]
        about.append(
            {
                "run": f"run{i}",
                "optimizer": optimizer,
                "settings": settings,
                "seed": seed,
                "stage": "".join(stage),
                "state": "stopped" if stopped else "complete",
            }
        )
        recipes = {optimizer: {"label": optimizer.capitalize()}}
        write(
            folder / f"run{i}",
            {**config, "recipes": recipes},
            **{f"{optimizer}-seed{seed}": lines},
        )
    grid = {name: [] for name in ("optimizer", *runs[0][1], "seed")}
    write_settings = {**config, "grid": grid}
    run_dir.write_json(folder / "config.json", write_settings)
    run_dir.write_json(folder / "header.json", {**HEADER, "kind": "sweep"})
    for line in about:
        run_dir.append(folder / "sweep.jsonl", line)


def leave_waiting(folder):
    """Change a sweep's list as if its last run had not ended."""
    lines = run_dir.read(folder / "sweep.jsonl")
    lines[-1]["state"] = "waiting"
    run_dir.write_lines(folder / "sweep.jsonl", lines)


@pytest.fixture
def results(tmp_path):
    results = tmp_path / "results"
    recipes = {"padam": {"label": "Padam"}, "sgd": {"label": "SGD"}}
    write(
        results / "digits",
        {**CONFIG, "recipes": recipes},
        **{
            "padam-seed7": run_lines(0.5, 0.6, 0.7, 0.8),
            "padam-seed8": run_lines(0.7, 0.8, 0.9, 1.0),
            "sgd-seed7": run_lines(0.25),
            "sgd-seed8": [*run_lines(0.5), {"stopped": "the loss is nan"}],
        },
    )
    write_sweep(
        results / "choice-of-p",
        CONFIG,
        [
            ("padam", {"p": 0.25}, 7, run_lines(0.1, 0.2, 0.3, 0.5)),
            ("padam", {"p": 0.25}, 8, run_lines(0.1, 0.2, 0.3, 0.7)),
            ("padam", {"p": 0.125}, 7, run_lines(0.2, 0.2, 0.3, 0.9)),
            ("padam", {"p": 0.125}, 8, [{"stopped": "the loss is nan"}]),
        ],
    )
    times = {"tree": "leaf-8", "leaves": 1, "numbers": 8, "state_bytes_per_number": 8.0}
    write(
        results / "speed",
        {},
        kind="speed",
        speed=[
            {**times, "optimizer": "adam", "seconds": [0.001, 0.002, 0.004]},
            {**times, "optimizer": "padam", "seconds": [0.002, 0.003, 0.004]},
        ],
    )
    return results


@pytest.fixture
def blank_plots(monkeypatch):
    """Save no image, which takes most of the time; other tests look at plots."""

    def save(figure, path, **options):
        path.write_bytes(b"<svg/>" if path.suffix == ".svg" else b"\x89PNG")

    monkeypatch.setattr(Figure, "savefig", save)


@pytest.fixture
def report_on(tmp_path, blank_plots):
    """Write the report of a folder of results; return its text."""

    def write_report(results, *options):
        readme = tmp_path / "README.md"
        readme.write_text(
            "before\n<!-- results: begin -->stale<!-- results: end -->\nafter\n"
        )
        paths = ["--results", str(results), "--out", str(tmp_path)]
        assert main(["report", *paths, "--readme", str(readme), *options]) == 0
        return (tmp_path / "REPORT.md").read_text()

    return write_report


def rows(text, first):
    """Find the cells of a table's rows by the first of them."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_tables_show_means_deviations_and_what_diverged(results, report_on):
    text = report_on(results)
    # Two seeds that differ by 20 points: the sample deviation is 14.14.
    expected = ["60.00±14.14", "70.00±14.14", "80.00±14.14", "90.00±14.14"]
    (padam, p_quarter, p_eighth) = rows(text, "Padam")[:3]
    assert padam == ["Padam", "0.2500", *expected, "90.00±14.14"]
    assert rows(text, "SGD") == [["SGD", "1.0000", "37.50±17.68", "-", "-", "-", "-"]]
    assert "* SGD, seed 8, ended early: the loss is nan." in text
    assert "* Padam, p = 1/8, seed 8, ended early: the loss is nan." in text
    ends = ["60.00±14.14", "60.00±14.14"]  # test and train accuracy are the same here
    assert p_quarter == ["Padam", "1/4", "10.00±0.00", *ends, "2"]
    # The one that diverged counts as guessing between ten classes.
    diverged = [f"{x} (1 of 2 diverged)" for x in ("15.00±7.07", "50.00±56.57")]
    assert p_eighth == ["Padam", "1/8", *diverged, "90.00", "2, 1 diverged"]
    (timed,) = rows(text, "padam")
    assert timed[:3] == ["padam", "3", "1.50"]


def test_every_section_says_how_its_numbers_came_about(results, tmp_path):
    described = report.build(results, tmp_path / "plots")
    # In the order of the list of experiments; others and those not run come last.
    assert [s.title.split(":")[0] for s in described[:4]] == [
        "digits",
        "choice-of-p",
        "speed",
        "slides-cifar10",
    ]
    for section in described[:3]:
        assert "`python -m benchmarks train digits`" in section.text
        assert "1 x cpu, 2 cores; jax 0.1.2" in section.text
        assert "commit 0123456789 with changes; 2026-01-02" in section.text
    assert "2 seeds from 7; 0 minutes of training" in described[0].text
    assert "Which p?" in described[1].text  # the question of the experiment


def test_speed_comes_last_with_a_command_that_can_be_pasted(results, tmp_path):
    (results / "choice-of-p").rename(results / "my-sweep")
    times = {"tree": "leaf-8", "leaves": 1, "numbers": 8, "optimizer": "amsgrad"}
    times |= {"lower_seconds": [1.0, 2.0], "seconds": [3.0, 4.0]}
    write(results / "a-cluster", {"compilation": True}, kind="speed", speed=[times])
    header = json.loads((results / "a-cluster" / "header.json").read_text())
    header["command"] = ["speed", "--optimizers", "padam p=1/8", "amsgrad"]
    run_dir.write_json(results / "a-cluster" / "header.json", header)
    described = report.build(results, tmp_path / "plots")
    titles = [section.title.split(":")[0] for section in described[:4]]
    assert titles == ["digits", "my-sweep", "a-cluster", "speed"]
    assert "speed --optimizers 'padam p=1/8' amsgrad`" in described[2].text


def test_a_section_names_the_commits_and_versions_of_later_runs(results, report_on):
    later = {**HEADER, "git_revision": "fedcba9876543210", "started": "2027-08-09"}
    newer = {**later, "versions": {"jax": "0.2.0"}}
    header = {**HEADER, "kind": "train", "resumed": [later, newer]}
    run_dir.write_json(results / "digits" / "header.json", header)
    assert (
        "; commit 0123456789 with changes; 2026-01-02T03:04:05+00:00; "
        "resumed at commit fedcba9876; 2027-08-09; "
        "resumed at commit fedcba9876; 2027-08-09 (jax 0.2.0). Records"
    ) in report_on(results)


def test_the_title_names_all_networks_of_a_sweep(results, report_on):
    runs = [("sgd", {"model": m}, 7, run_lines(0.5)) for m in ("lenet", "mlp")]
    write_sweep(results / "two", CONFIG, runs)
    path = results / "two" / "config.json"
    config = json.loads(path.read_text())
    config["grid"]["model"] = ["lenet", "mlp"]
    run_dir.write_json(path, config)
    run_dir.write_json(path, {**config, "epochs": 1})
    assert "## two: lenet and mlp on digits, 1 epoch\n" in report_on(results)


def test_published_figures_stand_beside_what_was_not_run_and_what_was(
    results, report_on
):
    published = ["87.73±0.60", "92.11±0.27", "92.85±0.23", "92.86±0.11"]
    text = report_on(results)
    assert ["Padam", *["not run"] * 4] in rows(text, "Padam")
    assert ["Padam, published", *published] in rows(text, "Padam, published")
    config = {**CONFIG, "seeds": 1, "recipes": {"padam": {"label": "Padam"}}}
    lines = run_lines(0.5, 0.6, 0.7, 0.8)
    write(results / "slides-cifar10", config, **{"padam-seed7": lines})
    text = report_on(results)
    mine = ["Padam", "0.2500", "50.00", "60.00", "70.00", "80.00", "80.00"]
    assert mine in rows(text, "Padam")
    assert ["Padam, published", "", *published, ""] in rows(text, "Padam, published")
    assert "slides-cifar10: not run" not in text


def test_a_grid_of_two_settings_is_a_map(results, tmp_path):
    runs = [
        ("padam", {"p": p, "learning_rate": rate}, 7, run_lines(0.1, 0.2, p, p + rate))
        for p in (0.25, 0.125)
        for rate in (0.1, 0.01)
    ]
    config = {**CONFIG, "seeds": 1}
    write_sweep(results / "p-and-learning-rate", config, runs)
    folder = results / "p-and-learning-rate"
    section = sections.describe(folder, tmp_path)
    assert rows(section.text, "Padam")[1] == [
        "Padam",
        "1/4",
        "0.01",
        "10.00",
        "26.00",
        "26.00",
        "1",
    ]
    ((path, caption),) = section.plots
    assert path.name == "p-and-learning-rate.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert caption.endswith("test accuracy in % at the end, one seed.")


def test_a_baseline_stands_first(results, tmp_path):
    config = {**CONFIG, "seeds": 1, "epochs": 1}
    (line,) = run_lines(0.5)
    line |= {
        "distance_from_start": 3.0,
        "effective_learning_rate": [0.01, 0.1, 1.0, 10.0, 100.0],
    }
    for name, ps in (("dilemma", (0.5, 0.125)), ("dilemma-small-rate", (0.5,))):
        rate = ["learning_rate=0.001"] if "small" in name else []
        runs = [("padam", {"p": p}, 7, [line]) for p in ps]
        write_sweep(results / name, {**config, "recipe": rate}, runs)
    recipes = {"padam-falling": {"label": "falling"}}
    falling = {"padam-falling-seed7": run_lines(0.6)}
    write(results / "falling-p", {**config, "recipes": recipes}, **falling)
    text = sections.describe(results / "falling-p", tmp_path).text
    found = [row.split("|")[1].strip() for row in text.splitlines() if "| 1." in row]
    small = "Padam, learning rate = 0.001, p = 1/2"
    assert found == ["Padam, p = 1/2", "Padam, p = 1/8", small, "falling"]
    # From 0.01 to 100 are four decades.
    text = sections.describe(results / "dilemma", tmp_path).text
    assert ["Padam, p = 1/8", "4.00", "3.00", "3.00"] in rows(text, "Padam, p = 1/8")


def test_robustness_is_shown_by_method_and_b0(results, tmp_path):
    config = {**CONFIG, "seeds": 1, "epochs": 1, "recipe": ["weight_decay=0"]}
    adagrad = [("adagrad", {"b0": b}, 7, run_lines(0.9)) for b in (0.01, 100.0)]
    sgd = [
        ("sgd", {"learning_rate": a, "schedule": s}, 7, lines)
        for a, s, lines in (
            (100.0, "constant", [{"stopped": "the loss is nan"}]),
            (100.0, "inverse-sqrt", run_lines(0.7)),
            (0.01, "constant", run_lines(0.8)),
            (0.01, "inverse-sqrt", run_lines(0.6)),
        )
    ]
    write_sweep(results / "b0-mlp", config, adagrad)
    write_sweep(results / "b0-mlp-sgd", config, sgd)
    text = sections.describe(results / "b0-mlp", tmp_path).text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table[0] == "| test accuracy in %, b0 = | 0.01 | 100 |"
    assert table[2:] == [
        "| Adagrad | 90.00 | 90.00 |",
        "| Sgd, 1/b0 | diverged (1 of 1) | 80.00 |",
        "| Sgd, 1/(b0 √k) | 70.00 | 60.00 |",
    ]
    titles = [s.title for s in report.build(results, tmp_path / "plots")]
    assert not any("-sgd" in title for title in titles)


def test_text_is_judged_by_perplexity_at_every_learning_rate(results, tmp_path):
    config = {**CONFIG, "dataset": "tiny_shakespeare", "seeds": 1, "epochs": 1}
    runs = [
        ("adam", {"learning_rate": rate}, 7, lines)
        for rate, lines in (
            (0.1, run_lines(0.0)),  # a loss of 1
            (1.0, [{"stopped": "the loss is nan"}]),
        )
    ]
    write_sweep(results / "shakespeare", config, runs)
    section = sections.describe(results / "shakespeare", tmp_path)
    ((_, tried, best),) = rows(section.text, "Adam")
    assert (tried, best) == ("1: diverged (1 of 1); **0.1: 2.72**", "2.72")


def tuning_lines(*accuracies):
    """The records of a run that is measured on the validation set."""
    return [
        {key.replace("test_", "validation_"): value for key, value in line.items()}
        for line in run_lines(*accuracies)
    ]


@pytest.mark.parametrize("measured", [True, False])
def test_train_accuracy_is_that_of_the_final_weights_if_measured(measured):
    *_, line = run_lines(0.5, 0.8)
    if measured:
        line["final_train_accuracy"] = 0.95
    expected = 95.0 if measured else 80.0
    assert outcomes.train_accuracy(line) == pytest.approx(expected)


def test_settings_that_the_grid_does_not_give_are_read_from_the_recipe(
    results, tmp_path
):
    runs = [("padam", {"bias_correction": "none"}, 7, run_lines(0.1, 0.2, 0.3, 0.4))]
    write_sweep(results / "correction", {**CONFIG, "seeds": 1}, runs)
    runs = [("padam", {"p": 0.125}, 7, run_lines(0.1, 0.2, 0.3, 0.5))]
    write_sweep(results / "dilemma", {**CONFIG, "seeds": 1}, runs)
    path = results / "dilemma" / "run0" / "config.json"
    config = json.loads(path.read_text())
    config["recipes"]["padam"]["bias_correction"] = "official"
    path.write_text(json.dumps(config))
    text = sections.describe(results / "correction", tmp_path).text
    found = {row[2]: row[4] for row in rows(text, "Padam")}
    assert found == {"official": "50.00", "none": "40.00"}


@pytest.mark.parametrize("with_finals", [True, False])
def test_finals_and_what_was_tuned_are_kept_apart(results, tmp_path, with_finals):
    diverged = [*tuning_lines(0.2), {"stopped": "the loss is nan"}]
    runs = [
        ("adam", {"learning_rate": rate}, seed, lines, "tuning")
        for rate, seed, lines in (
            (0.01, 100, tuning_lines(0.2, 0.3, 0.4, 0.5)),
            (0.01, 101, tuning_lines(0.2, 0.3, 0.4, 0.7)),
            (0.1, 100, tuning_lines(0.2, 0.3, 0.4, 0.4)),
            (0.1, 101, diverged),
        )
    ]
    if with_finals:
        runs += [
            (
                "adam",
                {"learning_rate": 0.01},
                seed,
                run_lines(0.1, 0.2, 0.3, x),
                "final",
            )
            for seed, x in ((0, 0.6), (1, 0.8))
        ]
    write_sweep(results / "subset", {**CONFIG, "tune": "learning_rate"}, runs)
    section = sections.describe(results / "subset", tmp_path)
    # Means of two seeds 20 points apart; guessing one of ten classes is right in 10 %.
    tuned = "**0.01: 60.00±14.14**; 0.1: 25.00±21.21 (1 of 2 diverged)"
    ends = ["70.00±14.14", "70.00±14.14"]  # test and train accuracy are the same here
    final = ["Adam", "0.01", "10.00±0.00", *ends, "2"]
    expected = [final] * with_finals + [["Adam", tuned]]
    assert rows(section.text, "Adam") == expected
    names = ["subset.png"] * with_finals + ["subset-tuning.png", "subset-budget.png"]
    assert [plot.path.name for plot in section.plots] == names


def test_finals_count_once_no_run_is_waiting(results, report_on):
    runs = [("adam", {"learning_rate": 0.1}, 100, tuning_lines(*[0.5] * 4), "tuning")]
    ends = run_lines(0.1, 0.2, 0.3, 0.6)
    runs += [("adam", {"learning_rate": 0.1}, seed, ends, "final") for seed in (0, 1)]
    folder = results / "subset"
    write_sweep(folder, {**CONFIG, "tune": "learning_rate"}, runs)
    lines = run_dir.read(folder / "sweep.jsonl")
    assert "Finals" in report_on(results)

    lines[2]["state"] = "running"
    run_dir.write_lines(folder / "sweep.jsonl", lines)
    text = report_on(results)
    assert "Finals" not in text
    assert "of the runs planned so far 1 have not ended" in text
    ((*_, here, _),) = rows(text.partition("## Not run yet")[2], "subset")
    assert here == "unfinished"


def test_a_sweep_that_goes_on_decides_no_claim(results):
    _, runs = outcomes.find(results, "choice-of-p/padam")
    assert runs
    folder = results / "choice-of-p"
    before = len(outcomes.read(folder).runs)
    leave_waiting(folder)
    assert len(outcomes.read(folder).runs) == before - 1
    assert outcomes.find(results, "choice-of-p/padam") == (None, [])


def test_links_of_the_report_lead_to_its_sections(results, tmp_path, report_on):
    text = report_on(results)
    page = (tmp_path / "report.html").read_text()
    anchors = set(re.findall(r"\]\(#([^)]*)\)", text))
    assert {"not-run-yet", "in-the-seeds-not-here"} <= anchors
    assert "choice-of-p-vgg-small-on-digits-4-epochs" in anchors
    for anchor in anchors:
        assert f'id="{anchor}"' in page


def test_the_page_needs_no_other_file(results, tmp_path, report_on):
    report_on(results)
    page = (tmp_path / "report.html").read_text()
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 4  # that of the claims, and one of each experiment
    assert set(sources) == {
        f"data:image/svg+xml;base64,{b64encode(b'<svg/>').decode()}"
    }
    assert not list((tmp_path / "plots").glob("*/"))  # they are nowhere else


def test_readme_says_what_is_known_of_the_main_claim(results, tmp_path, report_on):
    report = report_on(results)
    text = (tmp_path / "README.md").read_text()
    start, sentences, plot, end = text.split("\n\n")
    assert start == "before\n<!-- results: begin -->"
    assert sentences in report
    said = [line.split("**")[1] for line in sentences.splitlines()]
    assert said == ["Known", "The main claim", "Scale"]
    assert plot.endswith("](benchmarks/plots/claims-gus-slides.png)")
    assert end == "<!-- results: end -->\nafter\n"
    assert "stale" not in text


def test_a_readme_without_marks_is_refused(results, tmp_path, capsys, blank_plots):
    path = tmp_path / "README.md"
    path.write_text("nothing")
    options = ["--results", str(results), "--out", str(tmp_path), "--readme", str(path)]
    assert main(["report", *options]) == 2
    assert "must have the lines <!-- results: begin -->" in capsys.readouterr().err
    assert path.read_text() == "nothing"
    path.unlink()
    assert main(["report", *options]) == 2
    assert f"--readme {path} does not exist" in capsys.readouterr().err
    assert not (tmp_path / "REPORT.md").exists()


def test_what_was_not_run_is_listed_with_its_command(results, report_on):
    text = report_on(results)
    (row,) = rows(text, "falling-p")
    command = (
        "`python -m benchmarks train falling-p --data-dir DIR --out OUT/falling-p`"
    )
    assert row[-2:] == ["not run", command]
    assert not rows(text, "digits")
    assert "train slides-cifar10 --data-dir DIR" in text


def test_records_that_cannot_be_read_are_named(results, tmp_path, capsys):
    (results / "speed" / "config.json").write_text("{")
    options = ["--results", str(results), "--out", str(tmp_path)]
    assert main(["report", *options]) == 2
    assert re.search(r"error: .*speed cannot be read", capsys.readouterr().err)


@pytest.mark.slow
def test_it_is_written_without_jax(results, tmp_path):
    program = (
        "import sys; from pathlib import Path;"
        "from benchmarks.reporting.report import build;"
        f"build(Path({str(results)!r}), Path({str(tmp_path / 'plots')!r}));"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


@pytest.mark.slow
@pytest.mark.usefixtures("blank_plots")
def test_the_committed_report_is_that_of_the_committed_results(tmp_path):
    folder = ROOT / "benchmarks"
    readme = tmp_path / "README.md"
    readme.write_text((ROOT / "README.md").read_text())
    options = ["--results", str(folder / "results"), "--readme", str(readme)]
    assert main(["report", *options, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "REPORT.md").read_text() == (folder / "REPORT.md").read_text()
    assert readme.read_text() == (ROOT / "README.md").read_text()
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert drawn == {path.name for path in (folder / "plots").iterdir()}
    for path in folder.glob("results/**/*.json*"):
        assert "/tmp" not in path.read_text()
