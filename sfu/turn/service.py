"""TURN in one process of `orchard serve`: its own server, and the credentials that the HTTP API gives out.

The first process runs the server and says in a file where it listens; the others give out credentials for
it. A revocation goes into a file too, so it reaches the server from any of them and outlives them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sfu.base.log import get_logger
from sfu.base.settings import Setting
from sfu.directory.files import DataDirectoryError, WatchedFile
from sfu.directory.interface import Unavailable
from sfu.turn.follow import Follower
from sfu.turn.keys import TurnKeys, keys_of
from sfu.turn.revoked import Revocations
from turn.addresses import RELAY, relay_hosts
from turn.credentials import REALM, REVOKED, CredentialError, Credentials, RevocationsFullError
from turn.keys import new_key
from turn.limits import CREDENTIAL_MOST_S, CREDENTIAL_S
from turn.node import STRICT, NoPortError, TurnNode
from turn.tuples import Transport
from turn.urls import URLS, IceUrls, ice_urls, tls_hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfu.base.settings import Config
    from sfu.directory.files import DataDirectory
    from turn.keys import TurnKey
    from turn.told import Media

_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_LONGEST_NAME = 253  # RFC 1035 2.3.4, as text
_URLS_FILE: Final = "turn-urls.json"
_NOWHERE: Final = IceUrls((), ())


def _wrong_host(host: str) -> str | None:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return None
    labels = host.removesuffix(".").split(".")
    if host == "" or (len(host) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, labels))):
        return None
    return "want a host name such as turn.example.org, or an address without a port"


ENABLED = Setting("turn.enabled", bool, True, help="Run the TURN server inside `orchard serve`")
HOST = Setting(
    "turn.host",
    str,
    "",
    check=_wrong_host,
    help="Host name of the TURN server in the URLs that clients are given; empty: its addresses",
)

SETTINGS: Final = (ENABLED, HOST, URLS, CREDENTIAL_S)
"""What `orchard serve` reads besides what `orchard turn` does."""

log = get_logger("turn")


class CredentialRefused(Exception):
    """What was asked for can't be had; the text says why."""


class TurnAway(Exception):
    """No TURN server listens."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A credential, and the URLs that it is for."""

    urls: IceUrls
    username: str
    password: str = field(repr=False)


class TurnService:
    """TURN of one process; `start`, then `drain`, then `stop`.

    `media` is that of all processes. With `listens` this process runs the server.
    """

    def __init__(
        self,
        config: Config,
        data: DataDirectory,
        *,
        media: Sequence[Media],
        listens: bool,
    ) -> None:
        self._config = config
        self._data = data
        self._media = media
        self._listens = listens
        self._keys = TurnKeys(data)
        self._revocations = Revocations(data)
        self._told_urls = WatchedFile(data, _URLS_FILE, _read_urls)
        self._urls: IceUrls | None = None  # None: another process knows
        self._following: asyncio.Task[None] | None = None
        self._follower: Follower | None = None
        self._node: TurnNode | None = None
        self._credentials: Credentials

    def start(self) -> None:
        """Run the server, if it is this process's. Raises TurnError, DataDirectoryError.

        Where not one UDP port can be had, that is said, and there is no server, unless `turn.strict_ports`.
        """
        config = self._config
        signers = keys_of(config, self._keys)
        if self._listens:
            self._urls = _NOWHERE
            node = TurnNode(config, media=self._media, keys=signers)
            try:
                node.start()
                self._node = node
            except NoPortError as error:
                if config[STRICT]:
                    raise
                log.warning("turn.off", error=str(error))
        if self._node is None:
            self._credentials = Credentials(
                config[REALM], signers, max_ttl_s=config[CREDENTIAL_MOST_S], max_revoked=config[REVOKED]
            )
        else:
            self._credentials = self._node.credentials
            self._follower = Follower(self._node, config, self._data)
            self._following = asyncio.create_task(self._follower.follow_forever(), name="turn follower")
            self._urls = self._own_urls(self._node)
            log.info("turn.started", urls=self._urls.turn)
            own = [
                url for url in self._urls.turn if url not in config[URLS]
            ]  # proxies have their own certificates
            if unnamed := self._node.unnamed(tls_hosts(own)):
                log.warning("turn.not_named", hosts=unnamed, mend=f"{HOST.flag} with a name of a certificate")
        if self._urls is not None:
            self._data.write(_URLS_FILE, json.dumps(self._urls._asdict()).encode())

    def drain(self) -> None:
        """Take no new allocations; those that are there go on."""
        if self._node is not None:
            self._node.drain()

    def reload(self) -> None:
        """Read the certificates anew, if the server is this process's."""
        if self._node is not None:
            self._node.reload()

    async def empty(self) -> None:
        """Until there is no allocation."""
        if self._node is not None:
            await self._node.empty()

    async def stop(self) -> None:
        """End the server and all allocations."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self._node is not None:
            self._node.stop()

    @property
    def node(self) -> TurnNode | None:
        """The server, if it is this process's and could listen."""
        return self._node

    # what the HTTP API asks for

    def key(self, key_id: str) -> TurnKey | None:
        """A TURN key as it stands, or None. Raises Unavailable."""
        try:
            return self._keys.current().get(key_id)
        except DataDirectoryError as error:
            raise Unavailable(str(error)) from error

    def key_named(self, name: str) -> str:
        """The id of a key for the server's own use, made if there is none; nobody knows its token.

        Raises DataDirectoryError.
        """
        ids: list[str] = []

        def find(keys: dict[str, TurnKey]) -> None:
            ids.extend(key.id for key in keys.values() if key.name == name)
            if not ids:
                key = new_key(name, time.time()).key
                keys[key.id] = key
                ids.append(key.id)

        self._keys.change(find)
        return ids[0]

    def issue(self, key_id: str, ttl_s: int | None, identifier: str) -> Issued:
        """A credential by a key, and where it may be used. Raises CredentialRefused, TurnAway, Unavailable.

        It lasts `ttl_s` or, if that is too long, as long as one may: clients of the published API ask for
        more than they know it to give.
        """
        urls = self._current_urls()
        if not urls.turn:
            raise TurnAway("No TURN server of this deployment listens; its log says why")
        self._take_keys()
        most_s = self._config[CREDENTIAL_MOST_S]
        ttl_s = min(self._config[CREDENTIAL_S] if ttl_s is None else ttl_s, most_s)
        try:
            minted = self._credentials.mint(key_id, ttl_s, identifier, time.time())
        except CredentialError as error:
            raise CredentialRefused(str(error)) from None
        return Issued(urls, minted.username, minted.password)

    async def revoke(self, key_id: str, username: str) -> bool:
        """End a credential and its allocations; False if it is not of the key.

        Raises Unavailable if it can't be kept.
        """
        self._take_keys()
        try:
            if not self._credentials.revoke(username, time.time(), key_id=key_id):
                return False
            if self._node is not None:
                self._node.revoke(username)  # ends what was allocated, whatever becomes of the file
            await asyncio.to_thread(self._revocations.add, username)
        except (RevocationsFullError, DataDirectoryError) as error:
            raise Unavailable(str(error)) from error
        return True

    def _take_keys(self) -> None:
        """Know the keys as they stand: one that was made a moment ago is as good as any."""
        if self._follower is not None:
            self._follower.look()
            return
        try:
            self._credentials.keys = keys_of(self._config, self._keys)
        except DataDirectoryError as error:
            raise Unavailable(str(error)) from error

    def _current_urls(self) -> IceUrls:
        if self._urls is not None:
            return self._urls
        try:
            return self._told_urls.current()
        except DataDirectoryError as error:
            raise Unavailable(str(error)) from error

    def _own_urls(self, node: TurnNode) -> IceUrls:
        config = self._config
        relays = relay_hosts(config[RELAY])
        told = (
            [relay.told for relay in relays.values()]
            if config[RELAY]
            else [at.told.host for at in self._media]
        )
        by_family = {":" in host: host for host in reversed(told)}
        return ice_urls(
            [
                *((Transport.UDP, listen) for listen in node.listens),
                *((Transport.TCP, listen) for listen in node.tcp_listens),
                *((Transport.TLS, listen) for listen in node.tls_listens),
            ],
            name=config[HOST],
            hosts=[by_family[family] for family in sorted(by_family)],  # IPv4 before IPv6
            told={relay.host: relay.told for relay in relays.values()},
            more=config[URLS],
        )


def _read_urls(content: bytes | None) -> IceUrls:
    """What the process with the server wrote; nowhere if it has not yet, or it is no such document."""
    try:
        document: Any = json.loads(content or b"{}")
        return IceUrls(*(tuple(str(url) for url in document[name]) for name in IceUrls._fields))
    except (ValueError, TypeError, KeyError):
        return _NOWHERE
