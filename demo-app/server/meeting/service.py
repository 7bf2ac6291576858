"""The meeting app's rooms on one node, put together: what a server starts, mounts and stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Mount

from meeting.hall import Hall
from meeting.invites import Invites
from meeting.limits import MeetingLimits
from meeting.members import MemberSessions
from meeting.socket import RoomSockets, rules_of
from meeting.upstream import DEFAULT_LIMITS, ProxyLimits, Upstream

if TYPE_CHECKING:
    import httpx
    from starlette.routing import BaseRoute

    from meeting.members import IceServers
    from sfu.base.documents import Documents


class Meeting:
    """Rooms, their sockets and the sessions of their members. `start`, mount `routes` at `/api`, then `stop`.

    `client`, `app_id` and `secret` are as of `meeting.app.create_app`. `key` makes and checks invites and
    tokens: the same on all nodes that share `documents`. `ice_servers` makes TURN credentials for a member.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        app_id: str,
        secret: str,
        *,
        key: bytes,
        documents: Documents,
        ice_servers: IceServers,
        limits: MeetingLimits | None = None,
        proxy_limits: ProxyLimits = DEFAULT_LIMITS,
    ) -> None:
        limits = limits or MeetingLimits()
        invites = Invites(key, token_life_s=limits.token_life_s)
        upstream = Upstream(client, app_id, secret, proxy_limits)
        self._sessions = MemberSessions(
            upstream, invites, ice_servers, calls_per_second=limits.calls_per_second
        )
        self._hall = Hall(
            documents,
            invites,
            limits.room,
            rules_of(limits.socket),
            speakers=limits.socket.speakers,
            media=self._sessions,
        )
        self._sessions.rooms = self._hall
        self._sockets = RoomSockets(self._hall, invites, limits.socket)

    async def start(self) -> None:
        """Begin; before the first request."""
        await self._hall.start()

    async def stop(self) -> None:
        """End; after the last one."""
        await self._hall.stop()
        await self._sessions.stop()

    def routes(self) -> list[BaseRoute]:
        """The routes below `/api`."""
        return [*self._sockets.routes(), Mount("/room", routes=self._sessions.routes())]
