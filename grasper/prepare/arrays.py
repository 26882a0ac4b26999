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
    """A file's text, of which only a window is in memory; what lies before `_at` in it has been read."""

    def __init__(self, path: Path, config: PrepareConfig) -> None:
        self._path, self._window, self._at = path, "", 0
        self._longest = config.max_line_mib * MIB
        self._pieces = self._decoded(config)
        self._line, self._column = 1, 1
        """Of the letter at `_at`."""

    def next_letter(self) -> str:
        """The next letter that is no white space; empty at the end."""
        while True:
            self._go_to(_SPACE.match(self._window, self._at).end())  # type: ignore[union-attr]
            if self._at < len(self._window) or not self._grow():
                return self._window[self._at : self._at + 1]

    def skip(self, count: int) -> None:
        """Go on by some letters."""
        self._go_to(self._at + count)

    def _go_to(self, place: int) -> None:
        self._line, self._column = self._place_of(place)
        self._at = place

    def _place_of(self, place: int) -> tuple[int, int]:
        """Line and column, from 1, of a letter in the window that was not read yet."""
        if breaks := self._window.count("\n", self._at, place):
            return self._line + breaks, place - self._window.rfind("\n", self._at, place)
        return self._line, self._column + place - self._at

    def value(self, number: int) -> Any:
        """The value that begins here; reads on while it may be incomplete."""
        self.next_letter()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._window, self._at)
                if end < len(self._window) or not self._grow():
                    self._go_to(end)
                    return value
            except json.JSONDecodeError as error:
                place = error.pos - self._at
                if not self._grow():
                    line, column = self._place_of(self._at + place)
                    raise DataFormatError(f"{self._path} line {line}: broken JSON at column {column} ({error.msg})") from None
            except (ValueError, RecursionError) as error:
                raise DataFormatError(f"{self._path} entry {number}: unusable JSON ({error})") from None
            if len(self._window) - self._at > self._longest:
                raise DataFormatError(f"{self._path} entry {number}: broken JSON, or more than prepare.max_line_mib allows")

    def _grow(self) -> bool:
        """Read as much again as there is unread; whether there was more. What has been read is let go."""
        rest = self._window[self._at :]
        wanted, parts = max(MIB, len(rest)), [rest]
        while wanted > 0 and (piece := next(self._pieces, "")):
            parts.append(piece)
            wanted -= len(piece)
        if len(parts) > 1:
            self._window, self._at = "".join(parts), 0
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
