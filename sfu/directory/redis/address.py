"""Where Redis is and how to get in, read from a URL; the URL itself is shown to nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from sfu.base.settings import Listen

_PORT = 6379
_SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files for TLS, empty for none: whom to trust (else the system's), and who we are."""

    ca: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A server: `host` and `port`, or the `path` of a Unix socket; and the database on it."""

    host: str = ""
    port: int = _PORT
    path: str = ""
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """Read `redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]` or `unix://[[USER]:PASSWORD@]/PATH`.

        User and password are percent-encoded. Raises ValueError with what is wrong, without the URL.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("not a URL; the port is a number up to 65535") from None
        if parts.scheme not in _SCHEMES:
            raise ValueError("want redis://HOST, rediss://HOST (with TLS) or unix:///PATH")
        if parts.query or parts.fragment:
            raise ValueError("ends with the database: no ? and no #; percent-encode those of a password")
        username, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.scheme == "unix":
            if parts.hostname or not parts.path.strip("/"):
                raise ValueError("want unix:///PATH, an absolute path")
            return cls(path=unquote(parts.path), username=username, password=password)
        if not parts.hostname:
            raise ValueError("names no host")
        database = parts.path.removeprefix("/") or "0"
        if not (database.isascii() and database.isdigit()):
            raise ValueError("the path is the number of a database")
        return cls(
            host=parts.hostname,
            port=_PORT if port is None else port,
            database=int(database),
            username=username,
            password=password,
            tls=parts.scheme == "rediss",
        )

    def __str__(self) -> str:
        return self.path or str(Listen(self.host, self.port))


def wrong_url(url: str) -> str | None:
    """What is wrong with a URL of Redis, or None; without one there is no Redis."""
    if url:
        try:
            RedisAddress.parse(url)
        except ValueError as error:
            return str(error)
    return None
