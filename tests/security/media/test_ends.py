"""Sessions that end, vanish and change while packets are in flight: nothing is left, nobody else is hurt."""

from __future__ import annotations

import asyncio

import pytest
from httpx import HTTPStatusError

from loadtest.description import new_section
from sfu.base.ids import SessionId
from tests.security.media.world import Site, hears, transaction_of, until


async def test_w35_sessions_are_deleted_while_their_packets_are_in_flight(site: Site) -> None:
    """Publisher and subscribers go in turn, each behind a burst that nobody has read yet."""
    for doomed in (0, 1, 2):
        callers = [await site.connected() for _ in range(3)]
        for listener in callers[1:]:
            await listener.pull(callers[0])
            await hears(listener, callers[0])
        callers[0].speak(60)
        await site.server.node.directory.delete_session(SessionId(callers[doomed].session))
        callers[0].speak(60)
        await until(lambda gone=callers[doomed]: gone.said_goodbye)
        callers[0].speak(20)
        left = [one for number, one in enumerate(callers) if number not in (0, doomed)]
        for listener in left:
            if doomed:
                await hears(listener, callers[0])
        for caller in callers:
            await site.server.node.directory.delete_session(SessionId(caller.session))
        await site.all_gone()


async def test_forty_subscribers_outlive_their_publisher(site: Site) -> None:
    """It says goodbye in mid-burst; each keeps its connection and hears another one at once."""
    publisher, heir = await site.connected(), await site.connected()
    crowd = [await site.connected() for _ in range(40)]
    for listener in crowd:
        await listener.pull(publisher)
    await hears(crowd[-1], publisher)
    publisher.speak(100)
    publisher.say_goodbye()
    publisher.speak(100)
    await until(lambda: site.sizes()["transports"] == 41)
    assert not any(listener.said_goodbye or listener.failed for listener in crowd)
    for listener in crowd[::8]:
        await listener.pull(heir)
        await hears(listener, heir)


async def test_ice_restarts_before_anybody_has_claimed_the_session(site: Site) -> None:
    caller = await site.caller()
    caller.send(caller.check())
    await until(lambda: site.sizes()["unclaimed"] == 1)
    await caller.restart_ice()
    await caller.restart_ice()
    caller.start()
    await until(lambda: caller.keyed)
    listener = await site.connected()
    await listener.pull(caller)
    await hears(listener, caller)


async def test_a_session_that_is_deleted_while_it_is_claimed_leaves_nothing(site: Site) -> None:
    for early in (True, False):
        callers = [await site.caller() for _ in range(20)]
        for number, caller in enumerate(callers):
            caller.start()
            if early:
                await site.server.node.directory.delete_session(SessionId(caller.session))
                continue
            for _ in range(number % 7):
                await asyncio.sleep(0)
            await site.server.node.directory.delete_session(SessionId(caller.session))
        for caller in callers:
            caller.stop()
        await site.all_gone()


async def test_w29_churn_leaves_nothing_behind(site: Site) -> None:
    """Forty calls, some with a goodbye, some deleted; what the node holds is back at nothing."""
    for round_number in range(2):
        callers = [await site.connected() for _ in range(20)]
        for listener in callers[1:6]:
            await listener.pull(callers[0])
        for number, caller in enumerate(callers):
            if (number + round_number) % 2:
                caller.say_goodbye()
            else:
                await site.server.node.directory.delete_session(SessionId(caller.session))
        await site.all_gone()
        for caller in callers:
            caller.stop()


async def test_names_that_media_cannot_carry_are_refused_before_they_are_believed(site: Site) -> None:
    """A mid of 17 characters fits no one-byte header extension: refused, and the session goes on."""
    caller = await site.connected()
    caller.add_section(new_section("m" * 17, "audio", 7, "long"))
    with pytest.raises(HTTPStatusError) as refused:
        await caller.restart_ice()
    assert refused.value.response.json()["errorCode"] == "invalid_session_description"
    listener = await site.connected()
    await listener.pull(caller)
    await hears(listener, caller)


async def test_a_fault_in_one_session_costs_no_other_its_datagrams(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should an error of ours get through, the session that met it is alone with it."""
    unlucky, talker, listener = await site.connected(), await site.connected(), await site.connected()
    await listener.pull(talker)
    from sfu.transport.endpoint import Endpoint

    true = Endpoint.receive_check

    def broken(self: Endpoint, check: object, path: object, now: float) -> object:
        if getattr(check, "session", "") == unlucky.session:
            raise ZeroDivisionError
        return true(self, check, path, now)  # pyright: ignore[reportArgumentType] -- passed on

    monkeypatch.setattr(Endpoint, "receive_check", broken)
    checks = [talker.check() for _ in range(3)]
    for check in checks:
        unlucky.send(unlucky.check())
        talker.send(check)
    await until(lambda: [talker.answers[transaction_of(check)] for check in checks] == [1] * 3)
    await hears(listener, talker)
