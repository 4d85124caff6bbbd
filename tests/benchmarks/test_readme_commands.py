"""The README's commands for a clone exist."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]


def test_commands_of_make_are_targets():
    readme, makefile = ((ROOT / x).read_text() for x in ("README.md", "Makefile"))
    targets = re.findall(r"^make ([\w-]+)", readme, re.MULTILINE)
    assert {"train", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
