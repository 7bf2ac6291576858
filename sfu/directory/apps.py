"""Making apps and exchanging their secrets: pure functions on `App`.

A secret is exchanged in two steps, so that no caller is ever locked out: `rotate` adds a new secret and
keeps the one in use, then, when every caller has the new one, `finish_rotation` drops the old.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sfu.base.ids import AppId
from sfu.directory.interface import SECRETS_PER_APP, App, digest_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

_ID = re.compile(r"[0-9a-f]{32}")
_ID_BYTES = 16
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class IssuedApp:
    """An app and the secret just made for it: the one moment at which the secret is known."""

    app: App
    secret: str

    def __repr__(self) -> str:
        return f"IssuedApp({self.app.id})"


def new_app(name: str, wall_now: float) -> IssuedApp:
    """An app with an id of 32 hex digits and a secret of 64 (256 random bits)."""
    secret = secrets.token_hex(_SECRET_BYTES)
    app = App(AppId(secrets.token_hex(_ID_BYTES)), name, (digest_secret(secret),), wall_now)
    return IssuedApp(app, secret)


def given_app(text: str, wall_now: float) -> App:
    """The app that `ID:SECRET` describes. Raises ValueError with what is wrong, without the secret."""
    id_, colon, secret = text.partition(":")
    if not colon or not secret:
        raise ValueError("want ID:SECRET")
    if _ID.fullmatch(id_) is None:
        raise ValueError("the id must be 32 lower-case hex digits")
    if len(secret) < _SECRET_BYTES:
        raise ValueError(f"the secret must have at least {_SECRET_BYTES} characters")
    if not all("!" <= character <= "~" for character in secret):
        raise ValueError("the secret must be ASCII without spaces: it goes into an HTTP header")
    return App(AppId(id_), "given at start", (digest_secret(secret),), wall_now)


def wrong_given(texts: Sequence[str]) -> str | None:
    """What is wrong with the setting of given apps, or None."""
    for text in texts:
        try:
            given_app(text, 0.0)
        except ValueError as error:
            return str(error)
    return None


def rotate(app: App) -> IssuedApp:
    """The app with a new secret beside the newest that it had; older ones end."""
    secret = secrets.token_hex(_SECRET_BYTES)
    digests = (digest_secret(secret), *app.secret_digests)[:SECRETS_PER_APP]
    return IssuedApp(replace(app, secret_digests=digests), secret)


def finish_rotation(app: App) -> App:
    """The app with its newest secret alone."""
    return replace(app, secret_digests=app.secret_digests[:1])
