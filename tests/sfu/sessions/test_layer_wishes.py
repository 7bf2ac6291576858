"""From a browser's simulcast offer and a subscriber's wish to the layer that leaves (api.md 1.6, 4.4)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sfu.base.ids import PayloadType, Rid
from sfu.directory.memory import MemoryDirectory
from sfu.media.layers import LayerWish
from sfu.negotiation.record import SessionRecord, Simulcast
from sfu.negotiation.requests import TrackRequest
from sfu.sessions.reconcile import Reconciler
from sfu.sessions.routes import ingress_of, wish_of
from sfu.sessions.writes import RecordWrites
from sfu.wire.rtcp import PictureLoss
from tests.sfu.media.peers import Client, Node, fresh_keys, video
from tests.sfu.negotiation.test_life import Call
from tests.sfu.negotiation.world import World, fixture, local, remote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sfu.base.ids import SessionId
    from sfu.media.tracks import IngressTrack
    from sfu.negotiation.record import Subscription

BROWSERS = ["chromium-156", "firefox-153"]


class NoTransports:
    """The driver of sessions whose transports are the test's. `told` counts when media may want its call."""

    told = 0

    def restart(self, record: SessionRecord) -> None:
        raise AssertionError(f"{record.id} restarted")

    def close(self, session: SessionId) -> None:
        raise AssertionError(f"{session} closed")

    def media_told(self) -> None:
        self.told += 1


class Stage:
    """A browser's simulcast camera, and a subscriber whose wishes go by its record."""

    def __init__(self, node: Node, browser: str) -> None:
        self.node = node
        self.world = World()
        self.directory = MemoryDirectory()
        writes = RecordWrites(self._no_write)
        self.transports = NoTransports()
        self.reconciler = Reconciler(node.media, self.directory, writes, self.transports)
        self.room = self.world.session()
        sdp = fixture(f"{browser}-offer-simulcast")
        (self.camera_mid,) = [line[6:] for line in sdp.split("\r\n") if line.startswith("a=mid:")]
        self.world.tracks(self.room, local(self.camera_mid, "cam"), sdp=sdp)
        self.call = Call(self.world, "chromium-156")
        (self.mid,) = self.call.pull((self.room, "cam"))
        (self.mline,) = self.record(self.room).mlines
        self.ingress: IngressTrack = ingress_of(self.mline)
        self.sequence = 0

    async def _no_write(self, session: SessionId, _change: object) -> SessionRecord | None:
        return await self.directory.get_session(session)

    def record(self, session: SessionId) -> SessionRecord:
        return self.world.records[session]

    async def store(self, session: SessionId) -> None:
        stored = await self.directory.get_session(session)
        record = self.record(session)
        if stored is None:
            await self.directory.create_session(record)
        else:
            await self.directory.replace_session(replace(record, version=stored.version))
        await asyncio.sleep(0)  # the watch calls back from the loop

    async def begin(self) -> None:
        """Both sessions are owned here and connected."""
        self.publisher = await self._client(self.room)
        self.subscriber = await self._client(self.call.session)

    async def _client(self, session: SessionId) -> Client:
        await self.store(session)
        sock, path = self.node.dial()
        keys = fresh_keys()
        peer = self.reconciler.adopt(self.record(session))
        self.reconciler.allow_path(session, path)
        self.reconciler.select_path(session, path)
        self.reconciler.connected(session, keys)
        return Client(self.node, peer, keys, sock, path)

    async def update(self, *requests: TrackRequest) -> list[str | None]:
        """tracks/update, to where it comes to rest; the codes of failed items."""
        response = self.world.update(self.call.session, *requests)
        await self.store(self.call.session)
        return [item.error and item.error.code for item in response.tracks]

    async def wish(self, simulcast: Simulcast) -> None:
        assert await self.update(remote(self.room, "cam", mid=self.mid, simulcast=simulcast)) == [None]

    def vp8(self) -> PayloadType:
        return next(pt for pt, codec in self.ingress.codecs.items() if codec.name == "VP8")

    def send(self, rids: str = "abc", *, key: bool = True) -> None:
        """A packet of each layer, as the browser would: MID, RID, larger the better the layer."""
        self.sequence += 1
        for rid in rids:
            packet = video(
                self.sequence, ssrc=0x30 + "abc".index(rid), mid=None, key=key, payload_type=self.vp8()
            )
            assert self.ingress.extensions.mid is not None
            assert self.ingress.extensions.rid is not None
            extensions = (
                (self.ingress.extensions.mid, self.camera_mid.encode()),
                (self.ingress.extensions.rid, rid.encode()),
            )
            payload = packet.payload + bytes(100 * (3 - "abc".index(rid))) + rid.encode()
            self.publisher.send(replace(packet, extensions=extensions, payload=payload))
        self.node.read()
        self.node.advance(1 / 30)

    def shown(self) -> str:
        """The layers of the packets that the subscriber got, in order, without repetition."""
        text = "".join(chr(packet.payload[-1]) for packet in self.subscriber.take())
        return "".join(rid for i, rid in enumerate(text) if i == 0 or text[i - 1] != rid)


@pytest.fixture(params=BROWSERS)
async def stage(request: pytest.FixtureRequest, node: Node) -> AsyncIterator[Stage]:
    stage = Stage(node, request.param)
    await stage.begin()
    yield stage
    for session in (stage.call.session, stage.room):
        stage.reconciler.release(session)


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.close()


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_browsers_offer_names_three_layers_and_the_ids_that_tell_them_apart(
    node: Node, browser: str
) -> None:
    stage = Stage(node, browser)
    ingress = stage.ingress
    assert ingress.rids == ("a", "b", "c")
    ids = (ingress.extensions.mid, ingress.extensions.rid, ingress.extensions.repaired_rid)
    assert None not in ids
    assert len(set(ids)) == 3
    assert ingress.codecs[stage.vp8()].rtx is not None
    if browser.startswith("firefox"):
        assert len(ingress.ssrcs) == len(ingress.rtx_ssrcs) == 3
    else:
        assert ingress.ssrcs == ()


async def test_a_wish_by_update_reaches_what_is_sent(stage: Stage) -> None:
    stage.send()
    assert stage.shown() == "a"
    await stage.wish(Simulcast(preferred_rid="c"))
    stage.send(key=False)
    asked = {p.ssrc for p in stage.publisher.take_rtcp() if isinstance(p, PictureLoss)}
    assert 0x32 in asked
    stage.send()
    assert stage.shown() == "ac"
    await stage.wish(Simulcast())
    for _ in range(60):
        stage.send()
    assert stage.shown()[-1] == "a"


async def test_the_driver_hears_of_a_wish_that_media_may_want_its_call_for(stage: Stage) -> None:
    stage.send()
    told = stage.transports.told
    await stage.wish(Simulcast(preferred_rid="c"))
    assert stage.transports.told == told + 1


async def test_a_wish_of_the_pull_holds_from_the_start(node: Node) -> None:
    stage = Stage(node, "chromium-156")
    wish = Simulcast(preferred_rid="c")
    stage.world.update(stage.call.session, remote(stage.room, "cam", mid=stage.mid, simulcast=wish))
    await stage.begin()
    stage.send()
    stage.send()
    assert stage.shown() == "c"


async def test_what_to_do_without_the_wanted_layer_is_the_subscribers_to_say(stage: Stage) -> None:
    stage.send()
    await stage.wish(Simulcast(preferred_rid="b"))
    stage.send()
    stage.shown()
    for _ in range(60):
        stage.send("ac")
    assert stage.shown() == ""
    await stage.wish(Simulcast(preferred_rid="b", rid_not_available="asciibetical"))
    stage.send("ac")
    assert stage.shown() == "c"
    stage.send()
    stage.send()
    assert stage.shown()[-1] == "b"


async def test_the_publication_and_the_wish_may_change_in_one_update(stage: Stage) -> None:
    stage.send()
    other = stage.world.session()
    sdp = fixture("chromium-156-offer-simulcast")
    stage.world.tracks(other, local("0", "screen"), sdp=sdp)
    wish = Simulcast(preferred_rid="c")
    assert await stage.update(remote(other, "screen", mid=stage.mid, simulcast=wish)) == [None]
    assert await stage.update(remote(stage.room, "cam", mid=stage.mid, simulcast=wish)) == [None]
    stage.send()
    stage.send()
    assert stage.shown()[-1] == "c"


async def test_a_layer_that_the_publisher_lacks_is_told(stage: Stage) -> None:
    wish = Simulcast(preferred_rid="x")
    assert await stage.update(remote(stage.room, "cam", mid=stage.mid, simulcast=wish)) == [
        "update_track_error"
    ]
    assert stage.record(stage.call.session).subscriptions[0].simulcast is None


def test_a_pull_without_preference_leaves_the_choice_to_the_server() -> None:
    def of(simulcast: Simulcast | None) -> LayerWish:
        world = World()
        room = world.session()
        world.tracks(room, local("0", "cam"), sdp=fixture("chromium-156-offer-simulcast"))
        pull: Subscription = _pulled(world, room, simulcast)
        return wish_of(pull)

    assert of(None) == of(Simulcast()) == LayerWish()
    assert of(Simulcast("b")) == LayerWish(Rid("b"))
    assert of(Simulcast("b", rid_not_available="asciibetical")) == LayerWish(Rid("b"), fallback=True)


def _pulled(world: World, room: SessionId, simulcast: Simulcast | None) -> Subscription:
    session = world.session()
    world.tracks(session, remote(room, "cam", simulcast=simulcast))
    return world.records[session].subscriptions[0]
