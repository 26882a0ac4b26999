"""Standard output and error that cannot make finished work fail: a full disk, a closed pipe, a terminal that knows only ASCII."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

_PLAIN = str.maketrans(
    {"·": "-", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "←": "<-", "’": "'", "‘": "'", "“": '"', "”": '"', "★": "*", "±": "+-"}
)
"""What is said with plain characters where the terminal knows no others."""


class TolerantStream:
    """A text stream that swallows what cannot be written, remembers why, and spells what its encoding lacks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None
        self._is_plain = not (stream.encoding or "utf-8").lower().replace("-", "").startswith("utf")
        if self._is_plain and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        text = text.translate(_PLAIN) if self._is_plain else text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates
        return self._try(lambda: self._stream.write(text)) or len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, act: Callable[[], Any]) -> Any:
        if self.failure:
            return None
        try:
            return act()
        except OSError as error:
            self.failure = error
            with open(os.devnull, "w", encoding="utf-8") as nothing:  # what is left in the buffer goes there
                os.dup2(nothing.fileno(), self._stream.fileno())
            return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def tolerate_broken_streams(main: Callable[[], None]) -> Callable[[], None]:
    """An entry point whose work goes on where its output cannot be written; afterwards a full disk is told in one line, with exit code 1."""

    @functools.wraps(main)
    def run() -> None:
        before = sys.stdout, sys.stderr
        out, err = TolerantStream(sys.stdout), TolerantStream(sys.stderr)
        sys.stdout, sys.stderr = out, err
        code: object = None
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:
            out.flush()
            err.flush()
            sys.stdout, sys.stderr = before
        if out.failure and not code and out.failure.errno != errno.EPIPE:
            print(f"the work is done, but its output could not be written: {out.failure.strerror}", file=err)
            code = 1
        if code is not None:
            raise SystemExit(code)

    return run
