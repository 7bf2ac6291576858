"""Taking a session over: by its known id, by its checks, by its address."""

from __future__ import annotations

import asyncio
import secrets

from sfu.base.ids import SessionId, new_session_id
from tests.security.media.world import (
    DEADLINE_S,
    Site,
    check_of,
    client_hello,
    hears,
    silent,
    transaction_of,
    until,
)


async def test_who_knows_a_session_id_gets_no_answer_and_no_media(site: Site) -> None:
    """Ids are public to other members of the app, and so may the client's ufrag be."""
    victim, other = await site.connected(), await site.connected()
    await other.pull(victim)
    await hears(other, victim)
    stranger = site.stranger()
    for pwd in ("", "guess", site.pwd(other.session), site.pwd(victim.session, 1), secrets.token_hex(16)):
        for generation in (0, 1, 0xFFFF):
            if pwd != site.pwd(victim.session, generation):
                ufrag = victim.credentials.ufrag
                stranger.send(check_of(victim.session, generation, ufrag, pwd))
    stranger.send(client_hello())
    stranger.send(victim.sound())
    await hears(other, victim)
    assert silent(stranger)
    assert site.sizes()["paths"] == 2


async def test_a_member_with_credentials_of_its_own_opens_no_session_of_others(site: Site) -> None:
    """The check of one session, with the id of another written into it, is signed by neither."""
    victim, member = await site.connected(), await site.connected()
    checks = [
        member.check().replace(member.session.encode(), victim.session.encode()),
        check_of(new_session_id(), 0, "ufrag", site.pwd(member.session)),
        member.check(),
    ]
    member.send(*checks)
    *foreign, own = map(transaction_of, checks)
    await until(lambda: member.answers[own] == 1)
    assert [member.answers[one] for one in foreign] == [0, 0]


async def test_w37_checks_of_an_old_generation_are_not_answered(site: Site) -> None:
    """ICE restarts as often as one likes: the newest credentials that were used hold."""
    caller, listener = await site.connected(), await site.connected()
    await listener.pull(caller)
    stale = site.pwd(caller.session)
    ufrag = caller.credentials.ufrag
    for _ in range(20):
        await caller.restart_ice()
    caller.send(caller.check(20))
    await hears(listener, caller)
    stranger = site.stranger()
    stranger.send(check_of(caller.session, 0, ufrag, stale))
    stranger.send(caller.check(19))
    await hears(listener, caller)
    assert silent(stranger)


async def test_w37_a_replayed_check_moves_nothing_and_gets_no_answer(site: Site) -> None:
    """Whoever once saw a check may send it again, from an address of his own and for ever."""
    listener, speaker = await site.connected(), await site.connected()
    await listener.pull(speaker)
    seen = [listener.check() for _ in range(10)]
    first, *others = map(transaction_of, seen)
    listener.send(*seen)
    await until(lambda: [listener.answers[one] for one in (first, *others)] == [1] * 10)
    stranger = site.stranger()
    for check in seen:
        stranger.send(check)
    await hears(listener, speaker)
    assert silent(stranger)
    listener.send(seen[0])  # a client that missed the answer gets it again
    await until(lambda: listener.answers[first] == 2)


async def test_w1_w6_a_check_from_a_forged_address_does_not_take_the_path_of_its_owner(site: Site) -> None:
    """A client signs checks of its own session and sends them from the address of another client."""
    victim, listener = await site.connected(), await site.connected()
    thief, late = await site.connected(), await site.caller()
    await listener.pull(victim)
    await hears(listener, victim)
    for _ in range(50):
        victim.send(thief.check(), late.check(), victim.sound())
        await asyncio.sleep(0)
    await hears(listener, victim)
    await listener.pull(thief)
    await hears(listener, thief)


async def test_a_path_that_was_lost_comes_back_with_the_next_check(site: Site) -> None:
    """A client that is silent for a while may lose its path to a forged check, but not for good."""
    victim, listener, thief = await site.connected(), await site.connected(), await site.connected()
    victim.send(thief.check())  # no media of the victim has come yet
    victim.send(victim.check())
    await listener.pull(victim)
    await hears(listener, victim)


async def test_a_4_tuple_carries_a_new_session_at_once_after_an_old_one(site: Site) -> None:
    """The old one is alive to all appearances: it said no goodbye and spoke a moment ago."""
    old, listener = await site.connected(), await site.connected()
    await listener.pull(old)
    await hears(listener, old)
    old.stop()
    new = await site.connected(old.sock.dup())
    await listener.pull(new)
    await hears(listener, new)
    assert site.sizes()["transports"] == 3


async def test_hellos_from_the_address_of_an_unclaimed_session_reach_that_session_alone(site: Site) -> None:
    """W2: DTLS of a session that is up goes on past checks of another that came from its address."""
    victim, late = await site.connected(), await site.caller()
    victim.send(late.check(), victim.check())
    victim.say_goodbye()
    await until(lambda: site.sizes()["transports"] == 0)


async def test_checks_of_a_session_that_is_gone_are_met_with_silence(site: Site) -> None:
    """A client that missed the goodbye notices, and its checks cost no look-up each."""
    caller = await site.connected()
    caller.stop()
    await site.server.node.directory.delete_session(SessionId(caller.session))
    await until(lambda: site.sizes()["transports"] == 0)
    stranger = site.stranger()
    async with asyncio.timeout(DEADLINE_S):
        while True:  # the first check after the end is answered while the session is looked for
            stranger.send(caller.check())
            await site.connected()  # what was sent before has been read by then
            if silent(stranger):
                break
    assert site.sizes()["unclaimed"] == 0
