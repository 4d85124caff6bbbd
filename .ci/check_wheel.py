"""Check what a wheel holds: the library alone, and a README without relative links.

Usage: check_wheel.py WHEEL
"""

import re
import sys
import zipfile
from email.parser import Parser


def main(path: str) -> None:
    """Raise AssertionError if the wheel at `path` is not what users should get."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        info = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(wheel.read(info).decode())
    folders = {name.split("/")[0] for name in names}
    assert folders == {"padam_optax", info.split("/")[0]}, folders
    assert "padam_optax/py.typed" in names
    assert metadata["License-Expression"] == "Apache-2.0"
    needs = {re.split(r"\W", need)[0] for need in metadata.get_all("Requires-Dist", [])}
    assert needs == {"jax", "numpy", "optax"}, needs
    links = re.findall(r"\]\(([^)\s]+)\)", metadata.get_payload())
    relative = [link for link in links if not link.startswith(("https://", "#"))]
    assert links, "README has no links: is it there?"
    assert not relative, relative

    import padam_optax

    assert metadata["Version"] == padam_optax.__version__
    print(f"{path}: {len(names)} files, {len(links)} links, all absolute")


if __name__ == "__main__":
    main(sys.argv[1])
