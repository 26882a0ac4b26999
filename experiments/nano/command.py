"""How every script here ends: one line and exit code 2 for an error that the user can mend."""

from __future__ import annotations

import sys
from collections.abc import Callable

from grasper.errors import GrasperError


def run(main: Callable[[], None]) -> None:
    """Calls `main`; an error of grasper is printed as one line without a traceback, and ends the process with 2."""
    try:
        main()
    except GrasperError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
