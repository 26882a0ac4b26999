"""Logins that stand in an address (`http://user:password@host`): taken out of it at once, and kept in the memory of this process alone.

A later process, which reads the address without them from the run's configuration, takes them from the environment: `GRASPER_LOGIN=user:password`.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

LOGIN_VARIABLE = "GRASPER_LOGIN"
_LOGIN = re.compile(
    r"^(?P<scheme>\s*[a-z][a-z0-9+.-]*://)(?P<login>[^/?#@:]*|[^/?#@:]*:(?!\d*(?:[/?#]|$)).*)@",  # no port behind the colon: a password
    re.IGNORECASE | re.DOTALL,
)

_remembered: dict[str, str] = {}
"""`user:password` by address without it."""


def without_login(address: str) -> str:
    """The address without `user:password@`, which is remembered for `login_of`. A password may hold any character, `@` and `/` too."""
    match = _LOGIN.match(address)
    if match is None:
        return address
    plain = match["scheme"] + address[match.end() :]
    if match["login"]:
        _remembered[plain] = unquote(match["login"])
    return plain


def login_of(address: str) -> tuple[str, str] | None:
    """User and password for an address without them: those it was given with in this process, else those of the environment."""
    login = _remembered.get(address) or os.environ.get(LOGIN_VARIABLE, "").strip()
    user, _, password = login.partition(":")
    return (user, password) if login else None
