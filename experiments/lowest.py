"""Print the lowest versions that pyproject.toml allows, one pin a line, for `make test-lowest`."""

from __future__ import annotations

import argparse
import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
BOUND = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)$")


def lowest_pins(pyproject: Path = PYPROJECT) -> dict[str, str]:
    """Package → lowest version, of all requirements of the package itself.

    Raises:
        ValueError: A requirement without a lower bound.
    """
    requirements = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    pins = {}
    for requirement in requirements:
        found = BOUND.match(requirement)
        if found is None:
            raise ValueError(f"{requirement!r} has no lower bound of the form name>=version")
        pins[found[1]] = found[2]
    return pins


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without", nargs="*", default=[], help="packages to leave unpinned, for example torch where only one build can be had")
    without = parser.parse_args().without
    print("\n".join(f"{name}=={version}" for name, version in lowest_pins().items() if name not in without))
