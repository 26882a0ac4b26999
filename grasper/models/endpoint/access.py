"""The way to a server: its address, the secrets that go with it, and how they are kept out of every message."""

from __future__ import annotations

import base64
import re
import unicodedata
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import httpx

from grasper.errors import ConfigError
from grasper.login import login_of, without_login

CONNECT_SECONDS = 4.0
HIDDEN = "***"
_SHARED_CHARACTERS = 6
_LEAST_SECRET = 4
"""Shorter ones are no secrets, and would take letters out of every message."""


@dataclass(frozen=True)
class Access:
    """Where a server is, and what opens it."""

    base_url: str
    """Without a login."""
    headers: dict[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    def redact(self, text: str) -> str:
        """The text without the secrets, and without words that hold the beginning or the end of one, as servers quote refused keys."""
        for secret in self.secrets:
            for spelling in (secret, quote(secret, safe="")):
                text = text.replace(spelling, HIDDEN)
        telling = [part for secret in self.secrets if len(secret) >= 3 * _SHARED_CHARACTERS for part in _ends(secret)]
        return re.sub(r"[^\s\"'<>]+", lambda word: HIDDEN if any(part in word[0] for part in telling) else word[0], text) if telling else text

    def clean(self, body: bytes) -> bytes:
        """An answer without the secrets, where they are long enough not to be words of it."""
        for secret in self.secrets:
            if len(secret) >= 2 * _SHARED_CHARACTERS:
                body = body.replace(secret.encode(), HIDDEN.encode())
        return body


def make_access(base_url: str, api_key: str | None = None, *, key_name: str = "the key's variable") -> Access:
    """The way to a server.

    Args:
        base_url: Address up to and with the version; a login in it is taken out and sent as basic authentication, unless there is a key.
        api_key: Bearer token; None or empty sends none.
        key_name: Where the key came from, for messages.

    Raises:
        ConfigError: The address is none, or the key holds a character that no key has; the message never shows the key.
    """
    plain = without_login(base_url).strip().rstrip("/")
    try:
        address = urlsplit(plain)
        is_usable = address.scheme in ("http", "https") and bool(address.hostname) and (address.port or 1) > 0
        httpx.URL(plain)
    except (ValueError, httpx.InvalidURL):
        is_usable = False
    if not is_usable:
        raise ConfigError(f"model.base_url is {plain!r}, expected an address such as http://localhost:8000/v1")
    if address.query or address.fragment:
        raise ConfigError(f"model.base_url is {address.scheme}://{address.netloc}{address.path} with more behind it; keys belong in {key_name}")
    if api_key:
        _check_key(api_key, key_name)
        return Access(plain, {"Authorization": f"Bearer {api_key}"}, _secrets(api_key))
    if (login := login_of(without_login(base_url))) is not None:
        token = base64.b64encode(":".join(login).encode()).decode()
        return Access(plain, {"Authorization": f"Basic {token}"}, _secrets(token, login[1], ":".join(login)))
    return Access(plain, {}, ())


def open_http(access: Access, *, concurrency: int, silence_seconds: float) -> httpx.AsyncClient:
    """A client for one server. A proxy from the environment is used, but not towards this machine itself.

    Raises:
        ConfigError: The environment names a proxy that cannot be used.
    """
    try:
        return httpx.AsyncClient(
            headers={"Accept-Encoding": "identity", **access.headers},
            timeout=httpx.Timeout(silence_seconds, connect=min(CONNECT_SECONDS, silence_seconds), pool=None),
            limits=httpx.Limits(max_connections=concurrency),
            verify=urlsplit(access.base_url).scheme == "https",  # loading certificates that are not asked for takes longer than a request
            trust_env=not _is_this_machine(access.base_url),
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        cause = re.sub(r"://[^\s'\"@]*@", "://", str(error).splitlines()[0])
        raise ConfigError(
            f"the proxy that ALL_PROXY, HTTP_PROXY or HTTPS_PROXY names cannot be used ({cause}); write socks5:// and `pip install 'httpx[socks]'`, "
            f"unset it, or add {urlsplit(access.base_url).hostname} to NO_PROXY"
        ) from None


def _is_this_machine(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def _check_key(key: str, name: str) -> None:
    for place, character in enumerate(key, start=1):
        if "!" <= character <= "~":
            continue
        what = {"\r": "a carriage return", "\n": "a line break", " ": "a space", "\t": "a tab"}.get(character)
        what = what or f"U+{ord(character):04X} ({unicodedata.name(character, 'no character')})"
        where = "ends with" if place == len(key) else "begins with" if place == 1 else f"holds at place {place}"
        raise ConfigError(f"the key in {name} {where} {what}, which no key has; set it again without")


def _secrets(*values: str) -> tuple[str, ...]:
    return tuple(value for value in values if len(value) >= _LEAST_SECRET)


def _ends(secret: str) -> tuple[str, str]:
    return secret[:_SHARED_CHARACTERS], secret[-_SHARED_CHARACTERS:]
