"""Session descriptions that want the server's time: each costs little, and none of it is the event loop's."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

import pytest

from sfu.base.ids import AppId, TrackName
from sfu.directory.memory import MemoryDirectory
from sfu.negotiation.errors import NegotiationError
from sfu.negotiation.record import Fingerprint
from sfu.negotiation.requests import SDP_BYTES, Context, NewTracks, SessionDescription, TrackRequest
from sfu.net.address import Address
from sfu.sessions.service import SessionService
from tests.sfu.negotiation.world import fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

APP = AppId("app")
LARGEST = int(SDP_BYTES.default)
CPU_S = 2.0  # what any of them may take on a slow machine; the worst takes a fifth of it
DIGEST = ":".join(["AA"] * 32)
HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
OPUS = ("a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1")


def section(mid: int, lines: Sequence[str] = OPUS, kind: str = "audio", formats: str = "111") -> str:
    text = [f"m={kind} 9 UDP/TLS/RTP/SAVPF {formats}", f"a=mid:{mid}", "a=rtcp-mux", "a=sendonly", *lines]
    text += [
        "a=ice-ufrag:abcd",
        f"a=ice-pwd:{'p' * 24}",
        f"a=fingerprint:sha-256 {DIGEST}",
        "a=setup:actpass",
    ]
    return "\r\n".join(text) + "\r\n"


def offer(sections: Sequence[str]) -> str:
    """As many of the sections as fit, in one group."""
    fitting: list[str] = []
    room = LARGEST - 10_000
    for text in sections:
        if len(text) > room:
            break
        room -= len(text)
        fitting.append(text)
    group = " ".join(str(mid) for mid in range(len(fitting)))
    return f"{HEAD}a=group:BUNDLE {group}\r\n{''.join(fitting)}"


def _many_codecs(mid: int) -> str:
    pts = [*range(96, 128), *range(1, 64)]
    lines = [line for pt in pts for line in (f"a=rtpmap:{pt} H264/90000", f"a=fmtp:{pt} x={mid}-{pt}")]
    return section(mid, lines, "video", " ".join(map(str, pts)))


def _long(line: str) -> str:
    return offer([section(0, [*OPUS, line])])


BOMBS: dict[str, Callable[[], str]] = {
    "300 sections": lambda: offer([section(mid) for mid in range(300)]),
    "1000 sections": lambda: offer(
        [section(mid, ["a=rtpmap:0 PCMU/8000"], formats="0") for mid in range(1000)]
    ),
    "codecs": lambda: offer([_many_codecs(mid) for mid in range(1000)]),
    "feedback": lambda: offer(
        [section(mid, [*OPUS, *(f"a=rtcp-fb:* {n}" for n in range(3900))]) for mid in range(12)]
    ),
    "ssrcs": lambda: offer(
        [section(mid, [*OPUS, *(f"a=ssrc:{n} msid:a b" for n in range(64))]) for mid in range(1000)]
    ),
    "extensions": lambda: offer(
        [section(mid, [*OPUS, *(f"a=extmap:{n} urn:x:{n}" for n in range(16, 80))]) for mid in range(1000)]
    ),
    "group": lambda: f"{HEAD}a=group:BUNDLE {'0 ' * 380_000}\r\n{section(0)}",
    "layers": lambda: _long("a=simulcast:send " + "a;" * 380_000),
    "directions": lambda: _long("a=simulcast:" + "send a " * 100_000),
    "spaces": lambda: _long("a=rtpmap:111 " + " " * 760_000 + "x"),
    "parameters": lambda: _long("a=fmtp:111 " + ";" * 760_000),
    "lines": lambda: HEAD + "x\n" * 380_000,
    "empty sections": lambda: HEAD + "m=\n" * 250_000,
    "same mids": lambda: HEAD + section(7) * 2000,
    "one character too many": lambda: HEAD + "\x00" * 780_000,
    "no ends of lines": lambda: "v=0" + "\r" * 780_000,
    "astral": lambda: HEAD + "s=" + "\U0001f4a3" * 190_000,
}


@pytest.mark.parametrize("name", BOMBS)
async def test_no_description_takes_long_or_the_event_loop(name: str) -> None:
    """api.md 1.13: an offer of hundreds of sections is one call of many."""
    threads: set[int] = set()

    def fresh() -> int:
        threads.add(threading.get_ident())
        return len(threads) + int(time.perf_counter_ns()) % (1 << 30)

    bomb = BOMBS[name]()
    context = Context(b"s" * 32, [Address("192.0.2.1", 1)], Fingerprint("sha-256", DIGEST), fresh)
    service = SessionService(MemoryDirectory(), lambda: context)
    for tracks in (False, True):
        session = (await service.create_session(APP)).id
        threads.clear()
        refusal: NegotiationError | None = None
        began = time.process_time()
        try:
            if tracks:
                request = NewTracks(description=SessionDescription("offer", bomb), auto_discover=True)
                await service.new_tracks(APP, session, request)
            else:
                await service.create_session(APP, SessionDescription("offer", bomb))
        except NegotiationError as error:
            refusal = error
        assert time.process_time() - began < CPU_S
        if refusal is not None:
            assert (refusal.status, refusal.code) == (406, "invalid_session_description")
            assert len(refusal.text) < 400
        if tracks:
            assert threading.get_ident() not in threads
    service.close()


async def test_a_session_of_many_sections_never_has_the_event_loop_to_itself() -> None:
    """Each call writes all sections, whatever its own size."""
    threads: set[int] = set()

    def fresh() -> int:
        threads.add(threading.get_ident())
        return int(time.perf_counter_ns()) % (1 << 32)

    context = Context(b"s" * 32, [Address("192.0.2.1", 1)], Fingerprint("sha-256", DIGEST), fresh)
    service = SessionService(MemoryDirectory(), lambda: context)
    session = (await service.create_session(APP)).id
    text = offer([section(mid) for mid in range(300)])
    await service.new_tracks(APP, session, NewTracks(description=SessionDescription("offer", text)))
    threads.clear()
    response = await service.new_tracks(
        APP, session, NewTracks((TrackRequest("local", track=TrackName("t"), kind="audio"),))
    )
    assert response.renegotiate
    assert threading.get_ident() not in threads
    service.close()


async def test_an_offer_of_a_browser_with_300_sections_is_answered() -> None:
    """Twice what a browser was recorded with: 440 KB."""
    recorded = fixture("chromium-156-offer-120-mlines").removesuffix("\r\n")
    head, *sections = recorded.split("\r\nm=")
    count = 300
    group = " ".join(map(str, range(count)))
    text = re.sub(r"a=group:BUNDLE[^\r]*", f"a=group:BUNDLE {group}", head)
    for mid in range(count):
        text += "\r\nm=" + re.sub(r"a=mid:\S+", f"a=mid:{mid}", sections[mid % len(sections)])
    context = Context(
        b"s" * 32, [Address("192.0.2.1", 1)], Fingerprint("sha-256", DIGEST), lambda: next(numbers)
    )
    numbers = iter(range(1, 1 << 30))
    service = SessionService(MemoryDirectory(), lambda: context)
    created = await service.create_session(APP, SessionDescription("offer", text + "\r\n"))
    assert created.description is not None
    assert created.description.sdp.count("\r\nm=") == count
    service.close()
