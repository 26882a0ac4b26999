"""Text files line by line: compression told by content, any encoding, and bounds on what a line and a compressed file may unpack to."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError

MIB = 2**20
_WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
ALWAYS_ALLOWED = 64 * MIB
"""A small file may unpack to this much, whatever the ratio."""


def numbered_lines(path: Path, config: PrepareConfig, skipped: Counter[str] | None = None) -> Iterator[str]:
    """The decoded lines of a plain, gzip or zstd text file, with their line ends.

    Args:
        skipped: Counts lines that are not in the encoding where `invalid_rows` is `skip`; each is blank instead, which no reader takes for a row.

    Raises:
        DataFormatError: The file is empty, truncated, damaged, binary, in another encoding or too large when unpacked; the message names the line.
    """
    number, encoding = 0, encoding_of(path, config)
    codec = _after_first(encoding)
    try:
        with open_bytes(path) as stream:
            for raw in _bounded_lines(stream, path, config, encoding):
                number += 1
                if number == 1 and b"\x00" in raw and encoding not in _WIDE:
                    hint = " (UTF-16? --set prepare.encoding=utf-16)" if raw[1:2] == b"\x00" or raw[:1] == b"\x00" else ""
                    raise DataFormatError(f"{path} line 1 holds binary data, expected text (CSV or JSONL){hint}")
                try:
                    line = raw.decode(codec)
                except UnicodeDecodeError:
                    if skipped is None or config.invalid_rows != "skip" or number == 1:
                        raise
                    skipped["encoding"] += 1
                    line = "\n"
                yield line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeDecodeError as error:
        told = "UTF-8 text" if encoding.startswith("utf-8") else f"{encoding} text"
        ways = (
            "convert the file to UTF-8, or say what it is, for example --set prepare.encoding=cp1252; prepare.invalid_rows=skip leaves such lines out"
        )
        raise DataFormatError(f"{path} line {number} is not {told} ({error.reason}); {ways}") from None
    except EOFError:
        raise DataFormatError(f"{path} is a truncated gzip file: it breaks off after line {number}; fetch it again") from None
    except (gzip.BadGzipFile, zlib.error, pa.ArrowException, OSError) as error:
        raise DataFormatError(f"{path} cannot be decompressed beyond line {number} ({error})") from None
    if number == 0:
        raise DataFormatError(f"{path} is empty, expected reviews")


def head(path: Path, count: int) -> bytes:
    """The first `count` bytes, decompressed."""
    with open_bytes(path) as stream:
        return stream.read(count)


def _bounded_lines(stream: BinaryIO, path: Path, config: PrepareConfig, encoding: str) -> Iterator[bytes]:
    limit, total = config.max_line_mib * MIB, 0
    allowed = max(ALWAYS_ALLOWED, path.stat().st_size * config.max_unpacked_ratio)
    end = "\n".encode(_after_first(encoding))
    for number, raw in enumerate(_split(stream, limit, end), start=1):
        total += len(raw)
        if len(raw) > limit:
            raise DataFormatError(f"{path} line {number} has more than {config.max_line_mib} MiB; if that is meant, --set prepare.max_line_mib=…")
        if total > allowed and is_compressed(path):
            told = f"more than {config.max_unpacked_ratio} times its size"
            raise DataFormatError(f"{path} unpacks to {told} (line {number}); if that is meant, --set prepare.max_unpacked_ratio=…")
        yield raw


def _split(stream: BinaryIO, limit: int, end: bytes) -> Iterator[bytes]:
    """Lines of at most `limit` + 1 bytes; in wide encodings a line end is several bytes."""
    if len(end) == 1:
        yield from iter(lambda: stream.readline(limit + 1), b"")
        return
    kept = b""
    while chunk := stream.read(MIB - MIB % len(end)):
        *whole, kept = _at_characters(kept + chunk, end)
        yield from whole
        if len(kept) > limit:
            yield kept
            return
    if kept:
        yield kept


def _at_characters(data: bytes, end: bytes) -> list[bytes]:
    """The data split behind line ends that begin at a whole character."""
    width, parts, start, place = len(end), [], 0, data.find(end)
    while place >= 0:
        if place % width == 0:
            parts.append(data[start : place + width])
            start = place + width
        place = data.find(end, place + 1)
    return [*parts, data[start:]]


def encoding_of(path: Path, config: PrepareConfig) -> str:
    """The encoding that a byte order mark tells, else the configured one, else UTF-8."""
    try:
        start = head(path, 4)
    except (EOFError, OSError, zlib.error, pa.ArrowException):
        start = b""  # told when the lines are read
    marked = next((encoding for mark, encoding in _MARKS if start.startswith(mark)), None)
    if marked == "utf-16":
        return "utf-16-le" if start.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    if marked == "utf-32":
        return "utf-32-le"
    if config.encoding in ("utf-16", "utf-32"):
        return f"{config.encoding}-le"
    return marked or config.encoding or "utf-8"


def _after_first(encoding: str) -> str:
    return "utf-8" if encoding == "utf-8-sig" else encoding


def is_compressed(path: Path) -> bool:
    """Whether the file begins like gzip or zstd."""
    with path.open("rb") as handle:
        magic = handle.read(4)
    return magic.startswith(b"\x1f\x8b") or magic == b"\x28\xb5\x2f\xfd"


def open_bytes(path: Path) -> BinaryIO:
    """The decompressed content as a stream."""
    with path.open("rb") as handle:
        magic = handle.read(4)
    if magic.startswith(b"\x1f\x8b"):
        return io.BufferedReader(gzip.open(path, "rb"), MIB)
    if magic == b"\x28\xb5\x2f\xfd":
        return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
    return path.open("rb")


def refuse_bomb(path: Path, unpacked: int, config: PrepareConfig) -> None:
    """Refuse a file that unpacks to far more than its size."""
    if unpacked > max(ALWAYS_ALLOWED, path.stat().st_size * config.max_unpacked_ratio):
        told = f"more than {config.max_unpacked_ratio} times its size"
        raise DataFormatError(f"{path} unpacks to {told}; if that is meant, --set prepare.max_unpacked_ratio=…")
