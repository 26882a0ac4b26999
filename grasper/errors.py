"""Every error that grasper raises on purpose.

Each inherits `GrasperError` and the built-in it stands for, so callers may catch either. The command line prints the message and exits with 2.
A message says what was expected, what came, where, and what to do next.
"""

from __future__ import annotations

import errno


class GrasperError(Exception):
    """Base of all errors with a message meant for the user."""


class ConfigError(GrasperError, ValueError):
    """A configuration key or value that grasper does not know or cannot use."""


class DataFormatError(GrasperError, ValueError):
    """Input data that do not fit the schema; the message names file, line and field."""


class MissingFileError(GrasperError, FileNotFoundError):
    """A file or folder that should exist."""


class UnknownIdError(GrasperError, KeyError):
    """A user, item or example that the data do not hold."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class UnknownNameError(GrasperError, ValueError):
    """A name that no registry knows: of a metric, an encoder, a source, …"""


class UnknownMethodError(UnknownNameError):
    """A method name that is not registered."""


class PluginError(GrasperError, ImportError):
    """A plugin that cannot be loaded, or whose part has the name of another."""


class RunMismatchError(GrasperError, RuntimeError):
    """A run folder written by another configuration or by damaged files."""


class RunLockedError(GrasperError, RuntimeError):
    """Another process is writing into the run folder."""


class ModelNotFoundError(GrasperError, OSError):
    """A language model that is neither on disk nor reachable."""


class ModelError(GrasperError, RuntimeError):
    """A language model that answered in an unusable way."""


class BudgetSpentError(GrasperError, RuntimeError):
    """The budget for requests to a server holds no further one; nothing is lost."""


class AdapterError(GrasperError, ValueError):
    """An adapter that does not belong to the base model, or is damaged."""


class CheckpointError(GrasperError, OSError):
    """A checkpoint of a training that cannot be written."""


class PromptTooLongError(GrasperError, ValueError):
    """Instructions that do not fit the context even without any review."""


class RewardError(GrasperError, ValueError):
    """A reward that is not a finite number."""


class LeakError(GrasperError, AssertionError):
    """A target's text was about to reach its own prompt, index, feature or training pair."""


class MemoryLimitError(GrasperError, MemoryError):
    """Work that would need more memory than there is."""


class ShapeError(GrasperError, ValueError):
    """Tensors or arrays whose shapes do not fit together."""


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explain_system_error(error: BaseException) -> str:
    """What the operating system refused, in one line: a full disk, a missing permission; empty for an error of any other kind.

    Libraries that are not written in Python put a full disk into errors of their own, and only their words tell.
    """
    if any(words in str(error) for words in ("No space left on device", "File too large (os error", "Disk quota exceeded")):
        code, strerror = errno.ENOSPC, "no space left on the disk"
    elif isinstance(error, OSError) and error.errno is not None and error.strerror:
        code, strerror = error.errno, error.strerror[:1].lower() + error.strerror[1:]
    elif isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return f"{error.object[max(error.start - 30, 0) : error.end + 30]!r} holds bytes that are not UTF-8; give the file or folder another name"
    else:
        return ""
    place = f"{error.filename}: " if isinstance(error, OSError) and isinstance(error.filename, str) else ""
    return f"{place}{strerror}; " + ("make room, the same command resumes" if code in _FULL else "--debug tells where")
