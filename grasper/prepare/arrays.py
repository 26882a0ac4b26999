"""The elements of a file that is one JSON list, one at a time: memory holds the longest of them, not the file."""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError
from grasper.prepare.lines import ALWAYS_ALLOWED, MIB, encoding_of, is_compressed, open_bytes

_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def elements(path: Path, config: PrepareConfig) -> Iterator[tuple[int, Any]]:
    """The elements with their number from 1.

    Raises:
        DataFormatError: The file is no list, broken, damaged, in another encoding, too large when unpacked, or an element is larger than a line may
            be; the message names the line or the element.
    """
    text = _Text(path, config)
    if text.next_letter() != "[":
        raise DataFormatError(f"{path} holds no JSON list")
    text.skip(1)
    number = 0
    while (letter := text.next_letter()) != "]":
        if number:
            if letter != ",":
                found = f"entry {number} is followed by {letter!r}, expected a comma or the end of the list"
                raise DataFormatError(f"{path} {found if letter else f'breaks off after entry {number}; fetch it again'}")
            text.skip(1)
        number += 1
        yield number, text.value(number)


class _Text:
    """A file's text, of which only a window is in memory."""

    def __init__(self, path: Path, config: PrepareConfig) -> None:
        self._path, self._window, self._is_over = path, "", False
        self._longest = config.max_line_mib * MIB
        self._pieces = self._decoded(config)
        self._line, self._column = 1, 1

    def next_letter(self) -> str:
        """The next letter that is no white space; empty at the end."""
        while True:
            self.skip(_SPACE.match(self._window).end())  # type: ignore[union-attr]
            if self._window or not self._grow():
                return self._window[:1]

    def skip(self, count: int) -> None:
        """Go on, and count lines."""
        passed, self._window = self._window[:count], self._window[count:]
        breaks = passed.count("\n")
        self._line += breaks
        self._column = len(passed) - passed.rfind("\n") if breaks else self._column + len(passed)

    def value(self, number: int) -> Any:
        """The value that begins here; reads on while it may be incomplete."""
        self.next_letter()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._window)
                if end < len(self._window) or not self._grow():
                    self.skip(end)
                    return value
            except json.JSONDecodeError as error:
                if not self._grow():
                    line = self._line + error.lineno - 1
                    column = error.colno + (self._column - 1 if error.lineno == 1 else 0)
                    raise DataFormatError(f"{self._path} line {line}: broken JSON at column {column} ({error.msg})") from None
            except (ValueError, RecursionError) as error:
                raise DataFormatError(f"{self._path} entry {number}: unusable JSON ({error})") from None
            if len(self._window) > self._longest:
                raise DataFormatError(f"{self._path} entry {number}: broken JSON, or more than prepare.max_line_mib allows")

    def _grow(self) -> bool:
        """Read as much again as there is; whether there was more."""
        wanted, parts = max(MIB, len(self._window)), [self._window]
        while wanted > 0 and (piece := next(self._pieces, "")):
            parts.append(piece)
            wanted -= len(piece)
        self._window = "".join(parts)
        return len(parts) > 1

    def _decoded(self, config: PrepareConfig) -> Iterator[str]:
        path, total = self._path, 0
        encoding = encoding_of(path, config)
        decoder = codecs.getincrementaldecoder(encoding)()
        allowed = max(ALWAYS_ALLOWED, path.stat().st_size * config.max_unpacked_ratio) if is_compressed(path) else None
        try:
            with open_bytes(path) as stream:
                while data := stream.read(MIB):
                    total += len(data)
                    if allowed is not None and total > allowed:
                        told = f"more than {config.max_unpacked_ratio} times its size"
                        raise DataFormatError(f"{path} unpacks to {told}; if that is meant, --set prepare.max_unpacked_ratio=…")
                    if piece := decoder.decode(data).removeprefix("\ufeff"):
                        yield piece
                yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise DataFormatError(f"{path} is not {encoding} text ({error.reason}); set prepare.encoding") from None
        except EOFError:
            raise DataFormatError(f"{path} is a truncated gzip file; fetch it again") from None
        except (zlib.error, pa.ArrowException, OSError) as error:
            raise DataFormatError(f"{path} cannot be decompressed ({error})") from None
