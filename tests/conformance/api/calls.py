"""The API's operations as a client calls them, each answer checked for what holds of all answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.conformance.api.description import Description

if TYPE_CHECKING:
    import httpx

    from tests.conformance.api.peer import Peer
    from tests.conformance.api.server import Server

Json = dict[str, Any]


def checked(response: httpx.Response) -> Json:
    """The JSON of an answer, of whatever status."""
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["vary"] == "Origin"
    return response.json()


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Status and errorCode of a request that was refused."""
    body = checked(response)
    assert isinstance(body["errorDescription"], str)
    return response.status_code, body["errorCode"]


class Session:
    """A session and the client that holds its PeerConnection."""

    def __init__(self, client: httpx.AsyncClient, peer: Peer, session: str) -> None:
        self.client = client
        self.peer = peer
        self.id = session
        self.url = f"/sessions/{session}"

    async def tracks_new(self, **body: Any) -> httpx.Response:
        """`POST tracks/new`."""
        return await self.client.post(f"{self.url}/tracks/new", json=body)

    async def renegotiate(self, description: Json) -> httpx.Response:
        """`PUT renegotiate`."""
        return await self.client.put(f"{self.url}/renegotiate", json={"sessionDescription": description})

    async def tracks_close(self, **body: Any) -> httpx.Response:
        """`PUT tracks/close`."""
        return await self.client.put(f"{self.url}/tracks/close", json=body)

    async def tracks_update(self, *tracks: Json) -> httpx.Response:
        """`PUT tracks/update`."""
        return await self.client.put(f"{self.url}/tracks/update", json={"tracks": tracks})

    async def state(self) -> Json:
        """`GET` of the session."""
        response = await self.client.get(self.url)
        assert response.status_code == 200
        return checked(response)

    async def statuses(self) -> dict[str, str]:
        """The status of each track that the session holds, by name."""
        return {track["trackName"]: track["status"] for track in (await self.state())["tracks"]}

    async def push(self, **names_by_kind: str) -> Json:
        """Publish a new transceiver of each kind by the client's offer; `audio="mic"`."""
        new = {name: self.peer.add(kind) for kind, name in names_by_kind.items()}
        return await self.push_transceivers(new)

    async def push_transceivers(self, named: dict[str, Any]) -> Json:
        """Publish transceivers under names by the client's offer."""
        offer = await self.peer.offer()
        tracks = [
            {"location": "local", "mid": transceiver.mid, "trackName": name}
            for name, transceiver in named.items()
        ]
        response = await self.tracks_new(sessionDescription=offer, tracks=tracks)
        assert response.status_code == 200
        body = checked(response)
        await self.peer.accept(body["sessionDescription"])
        await self.peer.connected(self.id)
        return body

    async def pull(self, *tracks: tuple[str, str], **extra: Any) -> Json:
        """Pull tracks (publisher, name) by the server's offer, and answer it."""
        response = await self.tracks_new(tracks=[remote(*track, **extra) for track in tracks])
        assert response.status_code == 200
        body = checked(response)
        await self.complete(body)
        return body

    async def complete(self, body: Json) -> None:
        """Answer the server's offer, if there is one."""
        if body["requiresImmediateRenegotiation"]:
            answer = await self.peer.answer(body["sessionDescription"])
            response = await self.renegotiate(answer)
            assert (response.status_code, checked(response)) == (200, {})
            await self.peer.connected(self.id)


def remote(session: str, name: str, **extra: Any) -> Json:
    """An entry that pulls a track."""
    return {"location": "remote", "sessionId": session, "trackName": name, **extra}


async def open_session(server: Server, client: httpx.AsyncClient) -> Session:
    """A session without an offer."""
    response = await client.post("/sessions/new")
    assert response.status_code == 201
    return Session(client, server.peer(), checked(response)["sessionId"])


def offer_of(body: Json) -> Description:
    """The offer in an answer."""
    assert body["sessionDescription"]["type"] == "offer"
    return Description(body["sessionDescription"])


def answer_of(body: Json) -> Description:
    """The SDP answer in an answer."""
    assert body["sessionDescription"]["type"] == "answer"
    return Description(body["sessionDescription"])
