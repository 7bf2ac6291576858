from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from prometheus_client import REGISTRY

from sfu.base.ids import AppId, Mid, NodeId, PayloadType, SessionId, TrackName
from sfu.directory.memory import MemoryDirectory
from sfu.negotiation.errors import TRACK_EMPTY, TRACK_NOT_FOUND, NegotiationError
from sfu.negotiation.record import (
    ClientTransport,
    Codec,
    Fingerprint,
    MLine,
    Publication,
    SessionRecord,
    Simulcast,
)
from sfu.negotiation.requests import CloseTracks, Context, NewTracks, TrackRequest, UpdateTracks
from sfu.net.address import Address
from sfu.sessions.errors import RequestRefused
from sfu.sessions.service import ServiceLimits, SessionService

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from sfu.directory.interface import SessionCallback
    from sfu.negotiation.requests import TracksResponse

APP = AppId("app")
OTHER_APP = AppId("other")
PUBLISHER = SessionId("a" * 32)
SUBSCRIBER = SessionId("b" * 32)
MIC = TrackName("mic")
NOW = 1000.0
FINGERPRINT = Fingerprint("sha-256", "AB:" * 31 + "CD")
OPUS = Codec(PayloadType(111), "opus", 48000, 2)
CLIENT = ClientTransport("ufrag", "p" * 24, (FINGERPRINT,))
AT_ONCE = ServiceLimits(connect_wait_s=0.01, media_wait_s=0.01)
PATIENT = ServiceLimits(connect_wait_s=60, media_wait_s=60)


def context() -> Context:
    numbers = iter(range(1, 1 << 20))
    return Context(b"s" * 32, [Address("192.0.2.1", 40000)], FINGERPRINT, lambda: next(numbers))


def make_service(
    directory: MemoryDirectory, limits: ServiceLimits = PATIENT, clock: Callable[[], float] = lambda: NOW
) -> SessionService:
    shared = context()
    return SessionService(directory, lambda: shared, limits=limits, wall_clock=clock)


def blank(session: SessionId, app: AppId = APP) -> SessionRecord:
    return SessionRecord(id=session, app=app, created_at=NOW, fingerprint=FINGERPRINT, origin_id=1)


def publisher(session: SessionId = PUBLISHER, *, flowing: bool = True, app: AppId = APP) -> SessionRecord:
    """A connected session that publishes "mic"."""
    return replace(
        blank(session, app),
        client=CLIENT,
        mlines=(MLine(Mid("0"), "audio", "recvonly", (OPUS,)),),
        publications=(Publication(MIC, Mid("0"), "audio", flowing=flowing),),
        transport_state="connected",
    )


def flowing(record: SessionRecord) -> SessionRecord:
    tracks = tuple(replace(track, flowing=True) for track in record.publications)
    return replace(record, publications=tracks, transport_state="connected")


def pull(*sessions: SessionId, track: TrackName = MIC) -> NewTracks:
    return NewTracks(tuple(TrackRequest("remote", session=session, track=track) for session in sessions))


def errors(response: TracksResponse) -> list[str | None]:
    return [None if item.error is None else item.error.code for item in response.tracks]


T = TypeVar("T")


async def soon(work: Awaitable[T]) -> T:
    """The result of what must not wait."""
    async with asyncio.timeout(5):
        return await work


async def turns(count: int = 5) -> None:
    """Let other tasks run until they wait."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def directory() -> MemoryDirectory:
    return MemoryDirectory()


class TestSessions:
    async def test_a_new_session_is_in_the_directory(self, directory: MemoryDirectory) -> None:
        service = make_service(directory)
        created = await service.create_session(APP, correlation_id="call 42")
        record = await directory.get_session(created.id)
        assert record is not None
        assert (record.app, record.created_at, record.correlation_id) == (APP, NOW, "call 42")
        assert record.transport_state == "new"

    async def test_a_draining_node_takes_no_sessions_and_serves_those_it_has(
        self, directory: MemoryDirectory
    ) -> None:
        service = make_service(directory)
        created = await service.create_session(APP)
        service.drain()
        with pytest.raises(RequestRefused) as refusal:
            await service.create_session(APP)
        assert (refusal.value.status, refusal.value.code) == (503, "temporarily_unavailable_error")
        await service.view_session(APP, created.id)

    async def test_past_the_bound_there_are_no_new_sessions(self, directory: MemoryDirectory) -> None:
        service = make_service(directory, ServiceLimits(sessions=2))
        first = await service.create_session(APP)
        await service.create_session(OTHER_APP)
        with pytest.raises(RequestRefused) as refusal:
            await service.create_session(APP)
        assert refusal.value.status == 503
        await service.delete_session(APP, first.id)
        await service.create_session(APP)

    async def test_api_1_13_a_session_that_never_connects_expires(self, directory: MemoryDirectory) -> None:
        now = NOW
        service = make_service(directory, ServiceLimits(unconnected_life_s=30), clock=lambda: now)
        created = await service.create_session(APP)
        now = NOW + 29.9
        await service.view_session(APP, created.id)
        now = NOW + 30
        record = await directory.get_session(created.id)
        assert record is not None
        assert record.created_at <= service.expired_before()
        with pytest.raises(RequestRefused) as refusal:
            await service.view_session(APP, created.id)
        assert (refusal.value.status, refusal.value.code) == (410, "session_error")

    async def test_a_session_that_connected_does_not_expire(self, directory: MemoryDirectory) -> None:
        service = make_service(directory, clock=lambda: NOW + 1e6)
        await directory.create_session(publisher())
        await service.view_session(APP, PUBLISHER)

    @pytest.mark.parametrize(
        ("session", "app"),
        [
            (SessionId("c" * 32), APP),
            (SessionId("nonsense"), APP),
            (PUBLISHER, OTHER_APP),
            (SUBSCRIBER, APP),
        ],
    )
    async def test_unknown_foreign_and_closed_sessions_are_all_the_same(
        self, directory: MemoryDirectory, session: SessionId, app: AppId
    ) -> None:
        service = make_service(directory)
        await directory.create_session(publisher())
        await directory.create_session(replace(publisher(SUBSCRIBER), transport_state="closed"))
        calls: list[Coroutine[None, None, object]] = [
            service.view_session(app, session),
            service.delete_session(app, session),
            service.new_tracks(app, session, pull(PUBLISHER)),
            service.close_tracks(app, session, CloseTracks(("0",), force=True)),
        ]
        for call in calls:
            with pytest.raises(RequestRefused) as refusal:
                await call
            assert (refusal.value.status, refusal.value.code) == (410, "session_error")
        assert await directory.count_sessions() == 2

    async def test_a_destroyed_session_is_gone(self, directory: MemoryDirectory) -> None:
        service = make_service(directory)
        created = await service.create_session(APP)
        await service.delete_session(APP, created.id)
        assert await directory.get_session(created.id) is None
        with pytest.raises(RequestRefused) as refusal:
            await service.delete_session(APP, created.id)
        assert refusal.value.status == 410


class TestOneChangeAtATime:
    async def test_api_1_0_a_change_during_another_is_406(self, directory: MemoryDirectory) -> None:
        service = make_service(directory)
        await directory.create_session(blank(SUBSCRIBER))
        silent = await directory.create_session(publisher(flowing=False))
        waiting = asyncio.create_task(service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER)))
        await turns()
        before = await directory.get_session(SUBSCRIBER)
        with pytest.raises(RequestRefused) as refusal:
            await service.close_tracks(APP, SUBSCRIBER, CloseTracks(("0",), force=True))
        assert (refusal.value.status, refusal.value.subcode) == (406, "signaling_state_not_stable")
        assert await directory.get_session(SUBSCRIBER) == before
        await service.view_session(APP, SUBSCRIBER)  # to look is no change
        await directory.replace_session(flowing(silent))
        assert errors(await soon(waiting)) == [None]

    async def test_sessions_do_not_wait_for_each_other(self, directory: MemoryDirectory) -> None:
        service = make_service(directory)
        await directory.create_session(blank(SUBSCRIBER))
        await directory.create_session(publisher(flowing=False))
        waiting = asyncio.create_task(service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER)))
        await turns()
        response = await service.close_tracks(APP, PUBLISHER, CloseTracks(("0",), force=True))
        assert errors(response) == [None]
        assert errors(await soon(waiting)) == ["not_found_track_error"]

    async def test_a_refused_change_gives_the_turn_back(self, directory: MemoryDirectory) -> None:
        service = make_service(directory)
        await directory.create_session(blank(SUBSCRIBER))
        for _ in range(2):
            with pytest.raises(NegotiationError):
                await service.new_tracks(APP, SUBSCRIBER, NewTracks())

    async def test_what_the_owner_writes_meanwhile_is_kept(self) -> None:
        def owner_writes(record: SessionRecord) -> SessionRecord:
            return replace(record, owner=NodeId("n1"))

        directory = RacingDirectory(owner_writes)
        service = make_service(directory)
        await directory.create_session(publisher())
        response = await service.close_tracks(APP, PUBLISHER, CloseTracks(("0",), force=True))
        assert errors(response) == [None]
        record = await directory.get_session(PUBLISHER)
        assert record is not None
        assert record.owner == NodeId("n1")
        assert [track.state for track in record.publications] == ["closed"]
        assert directory.refused == 1

    async def test_api_1_0_the_second_of_two_calls_on_two_nodes_is_406(self) -> None:
        def other_call(record: SessionRecord) -> SessionRecord:
            return replace(record, mlines=(*record.mlines, MLine(Mid("1"), "video", "inactive")))

        directory = RacingDirectory(other_call)
        service = make_service(directory)
        await directory.create_session(publisher())
        with pytest.raises(RequestRefused) as refusal:
            await service.close_tracks(APP, PUBLISHER, CloseTracks(("0",), force=True))
        assert refusal.value.status == 406
        record = await directory.get_session(PUBLISHER)
        assert record is not None
        assert [track.state for track in record.publications] == ["open"]

    async def test_a_session_destroyed_meanwhile_is_gone(self) -> None:
        directory = RacingDirectory(lambda _record: None)
        service = make_service(directory)
        await directory.create_session(publisher())
        with pytest.raises(RequestRefused) as refusal:
            await service.close_tracks(APP, PUBLISHER, CloseTracks(("0",), force=True))
        assert refusal.value.status == 410

    async def test_refusals_are_counted_by_reason(self, directory: MemoryDirectory) -> None:
        def counted() -> float:
            return REGISTRY.get_sample_value("orchard_sessions_refused_total", {"reason": "unknown"}) or 0

        before = counted()
        with pytest.raises(RequestRefused):
            await make_service(directory).view_session(APP, PUBLISHER)
        assert counted() == before + 1


class TestWaitingForTheTransport:
    async def test_api_1_13_a_pull_before_connected_is_425_in_the_end(
        self, directory: MemoryDirectory
    ) -> None:
        service = make_service(directory, AT_ONCE)
        await directory.create_session(publisher())
        await directory.create_session(replace(blank(SUBSCRIBER), client=CLIENT))
        with pytest.raises(RequestRefused) as refusal:
            await service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER))
        assert (refusal.value.status, refusal.value.code) == (425, "session_error")
        assert refusal.value.text.startswith("Session is not ready yet. Please ensure the PeerConnection")

    async def test_a_pull_goes_on_when_the_session_connects(self, directory: MemoryDirectory) -> None:
        service = make_service(directory)
        await directory.create_session(publisher())
        unconnected = await directory.create_session(replace(blank(SUBSCRIBER), client=CLIENT))
        waiting = asyncio.create_task(service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER)))
        await turns()
        assert not waiting.done()
        await directory.replace_session(replace(unconnected, transport_state="connected"))
        assert errors(await soon(waiting)) == [None]

    async def test_a_session_whose_checks_got_lost_need_not_wait_for_the_next(
        self, directory: MemoryDirectory
    ) -> None:
        service = make_service(directory, AT_ONCE)
        await directory.create_session(publisher())
        silent = replace(blank(SUBSCRIBER), client=CLIENT, transport_state="disconnected")
        await directory.create_session(silent)
        assert errors(await service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER))) == [None]

    async def test_a_session_that_closes_meanwhile_is_410(self, directory: MemoryDirectory) -> None:
        service = make_service(directory)
        await directory.create_session(publisher())
        unconnected = await directory.create_session(replace(blank(SUBSCRIBER), client=CLIENT))
        waiting = asyncio.create_task(service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER)))
        await turns()
        await directory.replace_session(replace(unconnected, transport_state="closed"))
        with pytest.raises(RequestRefused) as refusal:
            await soon(waiting)
        assert refusal.value.status == 410

    async def test_the_first_pull_of_a_session_has_nothing_to_wait_for(
        self, directory: MemoryDirectory
    ) -> None:
        service = make_service(directory)
        await directory.create_session(publisher())
        await directory.create_session(blank(SUBSCRIBER))
        response = await soon(service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER)))
        assert response.renegotiate
        assert errors(response) == [None]

    async def test_an_unanswered_offer_is_told_at_once(self, directory: MemoryDirectory) -> None:
        service = make_service(directory)
        await directory.create_session(publisher())
        await directory.create_session(publisher(SessionId("c" * 32), flowing=False))
        await directory.create_session(blank(SUBSCRIBER))
        await service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER))
        with pytest.raises(NegotiationError) as refusal:
            await soon(service.new_tracks(APP, SUBSCRIBER, pull(SessionId("c" * 32))))
        assert refusal.value.status == 406

    async def test_too_many_tracks_are_told_at_once(self, directory: MemoryDirectory) -> None:
        service = make_service(directory)
        await directory.create_session(publisher(flowing=False))
        await directory.create_session(blank(SUBSCRIBER))
        with pytest.raises(NegotiationError) as refusal:
            await soon(service.new_tracks(APP, SUBSCRIBER, pull(*[PUBLISHER] * 65)))
        assert (refusal.value.status, refusal.value.code) == (406, "invalid_params")


class TestWaitingForMedia:
    async def test_api_5_6_a_pull_waits_for_the_publishers_media(self, directory: MemoryDirectory) -> None:
        service = make_service(directory)
        await directory.create_session(blank(SUBSCRIBER))
        silent = await directory.create_session(
            replace(publisher(flowing=False), transport_state="new", created_at=NOW)
        )
        waiting = asyncio.create_task(service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER)))
        await turns()
        connected = await directory.replace_session(replace(silent, transport_state="connected"))
        await turns()
        assert not waiting.done()
        await directory.replace_session(flowing(connected))
        assert errors(await soon(waiting)) == [None]

    async def test_a_published_track_whose_offer_waits_for_its_answer_is_waited_for(
        self, directory: MemoryDirectory
    ) -> None:
        service = make_service(directory)
        await directory.create_session(blank(SUBSCRIBER))
        offered = replace(publisher(), publications=(Publication(MIC, Mid("0"), "audio", "offered"),))
        stored = await directory.create_session(offered)
        waiting = asyncio.create_task(service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER)))
        await turns()
        assert not waiting.done()
        await directory.replace_session(replace(publisher(), version=stored.version))
        assert errors(await soon(waiting)) == [None]

    @pytest.mark.parametrize(
        ("record", "error"),
        [
            (publisher(flowing=False), TRACK_EMPTY),
            (replace(publisher(flowing=False), transport_state="new"), TRACK_NOT_FOUND),
            (replace(publisher(flowing=False), transport_state="disconnected"), TRACK_NOT_FOUND),
        ],
    )
    async def test_api_1_13_media_that_does_not_come_is_an_error_of_the_item(
        self, directory: MemoryDirectory, record: SessionRecord, error: object
    ) -> None:
        service = make_service(directory, AT_ONCE)
        await directory.create_session(blank(SUBSCRIBER))
        await directory.create_session(record)
        response = await service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER))
        [item] = response.tracks
        assert (item.mid, item.session, item.track, item.error) == ("", PUBLISHER, MIC, error)
        assert not response.renegotiate
        assert response.description is None

    @pytest.mark.parametrize(
        "record",
        [
            None,
            replace(publisher(), publications=()),
            replace(publisher(), publications=(Publication(MIC, Mid("0"), "audio", "closed"),)),
            replace(publisher(), publications=(Publication(MIC, Mid("0"), "audio", "ended"),)),
            replace(publisher(flowing=False), transport_state="closed"),
            publisher(app=OTHER_APP),
        ],
    )
    async def test_api_1_13_a_track_that_is_not_published_is_not_waited_for(
        self, directory: MemoryDirectory, record: SessionRecord | None
    ) -> None:
        service = make_service(directory)
        await directory.create_session(blank(SUBSCRIBER))
        if record is not None:
            await directory.create_session(record)
        response = await soon(service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER)))
        assert [item.error for item in response.tracks] == [TRACK_NOT_FOUND]

    async def test_a_publisher_that_leaves_ends_the_wait(self, directory: MemoryDirectory) -> None:
        service = make_service(directory)
        await directory.create_session(blank(SUBSCRIBER))
        await directory.create_session(publisher(flowing=False))
        waiting = asyncio.create_task(service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER)))
        await turns()
        await directory.delete_session(PUBLISHER)
        assert errors(await soon(waiting)) == ["not_found_track_error"]

    async def test_api_5_9_failed_items_do_not_block_the_good_ones(self, directory: MemoryDirectory) -> None:
        service = make_service(directory, AT_ONCE)
        sessions = [SessionId(f"{number:032x}") for number in range(5)]
        await directory.create_session(blank(SUBSCRIBER))
        for number, session in enumerate(sessions):
            await directory.create_session(publisher(session, flowing=number % 2 == 0))
        response = await service.new_tracks(APP, SUBSCRIBER, pull(*sessions))
        assert errors(response) == [None, "empty_track_error"] * 2 + [None]
        assert [item.mid for item in response.tracks] == ["0", "", "1", "", "2"]
        assert response.renegotiate

    async def test_all_silent_publishers_are_waited_for_at_once(self, directory: MemoryDirectory) -> None:
        wait_s = 0.05
        service = make_service(directory, ServiceLimits(media_wait_s=wait_s))
        sessions = [SessionId(f"{number:032x}") for number in range(64)]
        await directory.create_session(blank(SUBSCRIBER))
        for session in sessions:
            await directory.create_session(publisher(session, flowing=False))
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        response = await service.new_tracks(APP, SUBSCRIBER, pull(*sessions))
        assert errors(response) == ["empty_track_error"] * 64
        assert loop.time() - began_at < 32 * wait_s

    async def test_no_watch_is_left_behind(self) -> None:
        directory = CountingDirectory()
        service = make_service(directory, AT_ONCE)
        await directory.create_session(blank(SUBSCRIBER))
        await directory.create_session(publisher(flowing=False))
        await service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER))
        assert (directory.opened, directory.closed) == (1, 1)


class TestUpdating:
    async def test_api_1_6_another_source_is_waited_for(self, directory: MemoryDirectory) -> None:
        service, mid = await self.subscribed(directory)
        other = SessionId("c" * 32)
        silent = await directory.create_session(publisher(other, flowing=False))
        request = UpdateTracks((TrackRequest("remote", mid=mid, session=other, track=MIC),))
        waiting = asyncio.create_task(service.update_tracks(APP, SUBSCRIBER, request))
        await turns()
        assert not waiting.done()
        await directory.replace_session(flowing(silent))
        assert errors(await soon(waiting)) == [None]
        record = await directory.get_session(SUBSCRIBER)
        assert record is not None
        assert [pull.publisher for pull in record.subscriptions] == [other]

    async def test_api_1_6_a_layer_of_a_silent_track_is_not_waited_for(
        self, directory: MemoryDirectory
    ) -> None:
        service, mid = await self.subscribed(directory)
        record = await directory.get_session(PUBLISHER)
        assert record is not None
        silent = tuple(replace(track, flowing=False) for track in record.publications)
        await directory.replace_session(replace(record, publications=silent))
        request = UpdateTracks((TrackRequest("remote", mid, PUBLISHER, MIC, simulcast=Simulcast("q")),))
        response = await soon(service.update_tracks(APP, SUBSCRIBER, request))
        assert errors(response) == ["update_track_error"]  # not simulcast, rather than not found

    async def subscribed(self, directory: MemoryDirectory) -> tuple[SessionService, str]:
        """A session that pulls the publisher's track, its offer taken for answered; and the pull's mid."""
        service = make_service(directory)
        await directory.create_session(publisher())
        await directory.create_session(blank(SUBSCRIBER))
        response = await service.new_tracks(APP, SUBSCRIBER, pull(PUBLISHER))
        record = await directory.get_session(SUBSCRIBER)
        assert record is not None
        answered = replace(
            record,
            client=CLIENT,
            transport_state="connected",
            pending=None,
            mlines=tuple(replace(mline, offered=False) for mline in record.mlines),
            subscriptions=tuple(replace(pull, state="open") for pull in record.subscriptions),
        )
        await directory.replace_session(answered)
        [item] = response.tracks
        assert item.mid is not None
        return service, item.mid


class TestTheOwnersWrites:
    async def test_an_unchanged_record_is_not_stored(self, directory: MemoryDirectory) -> None:
        stored = await directory.create_session(publisher())
        assert await make_service(directory).update(PUBLISHER, lambda record: record) is stored
        assert await directory.get_session(PUBLISHER) is stored

    async def test_a_change_is_made_again_on_what_another_stored(self) -> None:
        directory = RacingDirectory(lambda record: replace(record, correlation_id="other"))
        await directory.create_session(publisher())
        service = make_service(directory)
        record = await service.update(PUBLISHER, lambda record: replace(record, owner=NodeId("n1")))
        assert record is not None
        assert (record.correlation_id, record.owner, record.version) == ("other", NodeId("n1"), 3)

    async def test_a_session_that_is_gone_is_none(self, directory: MemoryDirectory) -> None:
        assert await make_service(directory).update(PUBLISHER, lambda record: record) is None


class RacingDirectory(MemoryDirectory):
    """Another writer is faster, once: before the first replace it stores what `faster` makes."""

    def __init__(self, faster: Callable[[SessionRecord], SessionRecord | None]) -> None:
        super().__init__()
        self._faster: Callable[[SessionRecord], SessionRecord | None] | None = faster
        self.refused = 0

    async def replace_session(self, record: SessionRecord) -> SessionRecord:
        if self._faster is not None:
            faster, self._faster = self._faster, None
            stored = await self.get_session(record.id)
            assert stored is not None
            changed = faster(stored)
            if changed is None:
                await self.delete_session(record.id)
            else:
                await super().replace_session(changed)
            self.refused += 1
        return await super().replace_session(record)


class CountingDirectory(MemoryDirectory):
    """Counts the watches that were opened, and those that were closed."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = 0
        self.closed = 0

    def _forget_watch(self, watch: Any) -> None:
        self.closed += 1
        super()._forget_watch(watch)

    def watch(self, session: SessionId, callback: SessionCallback) -> Any:
        self.opened += 1
        return super().watch(session, callback)
