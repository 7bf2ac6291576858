"""Creating, renegotiating and viewing a session (api.md 1.2, 1.4, 1.7), and its transport (4.8)."""

from __future__ import annotations

import dataclasses
import re

import pytest

from sfu.base.ids import AppId, SessionId, ice_pwd, ice_ufrag
from sfu.negotiation.errors import NegotiationError
from sfu.negotiation.owner import set_transport_state
from sfu.negotiation.requests import NewSession, Renegotiate
from sfu.negotiation.session import create_session, renegotiate, view_session
from tests.sfu.negotiation.fake_browser import FakeBrowser
from tests.sfu.negotiation.test_life import Call, publisher
from tests.sfu.negotiation.texts import TRANSPORT, audio, data, description, section, video
from tests.sfu.negotiation.world import SECRET, World, answer, described, failed, fixture, local, remote


def without(*names: str) -> tuple[str, ...]:
    """The transport lines of a client but these."""
    return tuple(line for line in TRANSPORT if not line.startswith(tuple(f"a={name}" for name in names)))


def refusal(world: World, sdp: str) -> NegotiationError:
    """What a first offer is refused with."""
    with pytest.raises(NegotiationError) as caught:
        world.create(sdp)
    assert (caught.value.status, caught.value.code) == (406, "invalid_session_description")
    return caught.value


def test_a_session_without_offer_has_no_sdp() -> None:
    """api.md 1.2."""
    world = World()
    session, sdp = world.create()
    assert sdp is None
    record = world.records[session]
    assert (record.client, record.transport_state, record.version) == (None, "new", 0)


def test_thirdparty_is_refused() -> None:
    request = NewSession(SessionId("0" * 32), AppId("app"), 1.0, thirdparty=True)
    with pytest.raises(NegotiationError, match="thirdparty") as caught:
        create_session(request, World().context)
    assert (caught.value.status, caught.value.code) == (406, "invalid_params")


def test_data_channels_are_refused_section_by_section() -> None:
    """An m=application section is rejected with port 0; sfu-turn-go sends such an offer first."""
    world = World()
    session, sdp = world.create(fixture("chromium-156-offer-data-channel"))
    assert sdp is not None
    (media,) = described(sdp).media
    assert (media.kind, media.stopped, media.protocol) == ("application", True, "UDP/DTLS/SCTP")
    assert "BUNDLE" not in sdp.sdp
    assert world.records[session].max_message_size == 262144
    session, sdp = world.create(fixture("firefox-153-offer-audio-video-data-channel"))
    offer = described(sdp)
    assert [media.stopped for media in offer.media] == [False, False, True]
    assert offer.bundle == ("0", "1")


def test_a_refused_section_may_be_offered_again_with_its_mid() -> None:
    """A PeerConnection with a data channel offers m=application each time."""
    world = World()
    session = world.session()
    sdp = description(audio("0"), data("1"))
    for name in ("a", "b"):
        world.close(session, "0") if name == "b" else None
        response = world.tracks(session, local("0", name), sdp=sdp)
        assert [media.stopped for media in described(response.description).media] == [False, True]


def test_every_sdp_is_whole() -> None:
    """api.md 5.5, 4.8: credentials, fingerprint, a candidate for each address, end-of-candidates."""
    world = World()
    room = publisher(world, "chromium-156")
    session = world.session()
    push = world.tracks(session, local("0", "m"), sdp=description(audio("0"), video("1"))).description
    pull = world.tracks(session, remote(room, "cam")).description
    for sdp in (push, pull):
        assert sdp is not None
        lines = sdp.sdp.split("\r\n")
        assert [line for line in lines if line.startswith("a=candidate:")] == [
            "a=candidate:1 1 udp 2130706431 192.0.2.1 7000 typ host",
            "a=candidate:2 1 udp 2130706175 2001:db8::1 7000 typ host",
        ]
        assert lines.count("a=end-of-candidates") == 1
        assert "a=ice-lite" in lines
        ufrag = ice_ufrag(session, 0)
        for media in described(sdp).media:
            assert (media.ufrag, media.pwd) == (ufrag, ice_pwd(SECRET, ufrag))
            assert media.fingerprints == (world.context.fingerprint,)
            assert media.rtcp_mux
        assert sdp.sdp.endswith("\r\n")


def test_the_origin_counts_up_and_keeps_its_id() -> None:
    """RFC 8829 5.2.2."""
    world = World()
    call = Call(world, "chromium-156")
    origins: list[tuple[str, int]] = []
    for _ in range(3):
        transceiver = call.browser.add("audio")
        sdp = call.browser.offer()
        response = world.tracks(call.session, local(transceiver.mid, f"t{len(origins)}"), sdp=sdp)
        call.accept(response)
        assert response.description is not None
        match = re.search(r"o=- (\d+) (\d+) IN IP4 0\.0\.0\.0\r\n", response.description.sdp)
        assert match is not None
        origins.append((match[1], int(match[2])))
    assert len({origin for origin, _ in origins}) == 1
    assert origins[0][1] < origins[1][1] < origins[2][1]
    assert int(origins[0][0]) < 2**62


def test_a_session_keeps_the_certificate_that_its_sdp_named() -> None:
    """design.md, Traps: on renewal nodes hold the old one too."""
    world = World()
    session = world.session()
    named = world.context.fingerprint
    world.context = dataclasses.replace(
        world.context, fingerprint=dataclasses.replace(named, value=":".join(["EE"] * 32))
    )
    response = world.tracks(session, local("0", "m"), sdp=description(audio("0")))
    assert described(response.description).media[0].fingerprints == (named,)


@pytest.mark.parametrize(
    ("setup", "answered", "role"),
    [
        ("actpass", "passive", "server"),
        ("active", "passive", "server"),
        ("passive", "active", "client"),
        (None, "passive", "server"),
    ],
)
def test_the_dtls_role_follows_the_offer(setup: str | None, answered: str, role: str) -> None:
    """api.md 4.8 DTLS."""
    world = World()
    lines = (*without("setup"), *(() if setup is None else (f"a=setup:{setup}",)))
    session, sdp = world.create(description(audio("0", transport=lines)))
    assert described(sdp).media[0].setup == answered
    assert world.records[session].dtls_role == role


@pytest.mark.parametrize(("setup", "role"), [("active", "server"), ("passive", "client")])
def test_the_dtls_role_follows_the_answer_and_stays(setup: str, role: str) -> None:
    """api.md 5.12: actpass in our offers, and the role stays fixed over all renegotiations."""
    world = World()
    room, session = publisher(world, "chromium-156"), world.session()
    world.tracks(session, remote(room, "mic"))
    text = description(audio("0", "recvonly"))
    world.answer(session, text.replace("setup:actpass", f"setup:{setup}"))
    assert world.records[session].dtls_role == role
    both = description(audio("0", "recvonly"), audio("1"))
    response = world.tracks(session, local("1", "m"), sdp=both)
    other = {"active": "passive", "passive": "active"}[setup]
    assert [media.setup for media in described(response.description).media] == [other, other]
    sdp = world.tracks(session, remote(room, "mic")).description
    assert {media.setup for media in described(sdp).media} == {"actpass"}
    three = description(audio("0", "recvonly"), audio("1"), audio("2", "recvonly"))
    with pytest.raises(NegotiationError, match="would change the DTLS roles"):
        world.answer(session, three.replace("setup:actpass", f"setup:{other}"))


@pytest.mark.parametrize("setup", ["holdconn", "nonsense"])
def test_a_setup_that_connects_nobody_is_refused(setup: str) -> None:
    error = refusal(World(), description(audio("0", transport=(*without("setup"), f"a=setup:{setup}"))))
    assert f"a=setup:{setup}" in error.text


def test_an_answer_must_choose_a_role() -> None:
    world = World()
    session = world.session()
    world.tracks(session, remote(publisher(world, "chromium-156"), "mic"))
    with pytest.raises(NegotiationError, match="must be active or passive"):
        world.answer(session, description(audio("0", "recvonly")))


def test_sections_of_one_transport_have_one_setup() -> None:
    active = (*without("setup"), "a=setup:active")
    assert "differs" in refusal(World(), description(audio("0"), audio("1", transport=active))).text


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (without("fingerprint"), "a=fingerprint with SHA-256 or better is missing"),
        ((*without("fingerprint"), "a=fingerprint:sha-1 " + ":".join(["0A"] * 20)), "SHA-256 or better"),
        (without("ice-ufrag"), "a=ice-ufrag and a=ice-pwd are missing"),
        (without("ice-pwd"), "a=ice-ufrag and a=ice-pwd are missing"),
    ],
)
def test_an_offer_without_credentials_or_fingerprint_is_refused(lines: tuple[str, ...], reason: str) -> None:
    """W3: an empty list of fingerprints is never taken."""
    assert reason in refusal(World(), description(audio("0", transport=lines))).text


def test_rtcp_mux_is_required() -> None:
    assert "a=rtcp-mux" in refusal(World(), description(audio("0")).replace("a=rtcp-mux\r\n", "")).text


def test_bundled_sections_may_leave_the_transport_to_the_first() -> None:
    """RFC 9143 7.1.3."""
    world = World()
    session, sdp = world.create(description(audio("0"), video("1", transport=())))
    assert [media.stopped for media in described(sdp).media] == [False, False]
    client = world.records[session].client
    assert client is not None
    assert client.ufrag == "user"


def test_sections_outside_the_bundle_are_refused() -> None:
    """There is one transport."""
    world = World()
    _, sdp = world.create(description(audio("0"), video("1"), video("2"), bundle="0 2"))
    answered = described(sdp)
    assert [media.stopped for media in answered.media] == [False, True, False]
    assert answered.bundle == ("0", "2")


def test_an_offer_without_bundle_gets_its_first_section_and_no_group() -> None:
    """sfu.md 5.3, Chromium: an answer's group names only what the offer's group named."""
    world = World()
    _, sdp = world.create(description(audio("0"), video("1"), bundle=""))
    answered = described(sdp)
    assert [media.stopped for media in answered.media] == [False, True]
    assert answered.bundle is None


def test_an_unknown_protocol_or_codec_is_refused_section_by_section() -> None:
    world = World()
    plain = audio("0").replace("UDP/TLS/RTP/SAVPF", "RTP/AVP")
    odd = section("video", "1", "sendonly", "99", "a=rtpmap:99 x-strange/90000")
    _, sdp = world.create(description(plain, odd, audio("2")))
    answered = described(sdp)
    assert [(media.stopped, media.protocol) for media in answered.media] == [
        (True, "RTP/AVP"),
        (True, "UDP/TLS/RTP/SAVPF"),
        (False, "UDP/TLS/RTP/SAVPF"),
    ]
    assert answered.bundle == ("2",)


def test_an_offer_can_t_shrink_move_or_change_sections() -> None:
    """RFC 8829 5.2.2: m-lines keep their places."""
    world = World()
    session, _ = world.create(description(audio("0"), video("1")))
    for text, reason in (
        (description(audio("0")), "has 1 media sections, the session has 2"),
        (description(video("1"), audio("0")), "Section 0 is a=mid:0 in this session, not 1"),
        (description(audio("0"), audio("1")), "a=mid:1 is video in this session"),
        (description(audio("0"), video("2")), "Section 1 is a=mid:1 in this session, not 2"),
    ):
        with pytest.raises(NegotiationError, match=reason):
            world.tracks(session, sdp=text)


def test_a_client_uses_a_stopped_place_again_with_a_new_mid() -> None:
    world = World()
    call = Call(world, "firefox-153")
    keep, mid = call.push("audio"), call.push("audio")
    call.close(mid)
    again = call.push("video")
    assert [(mline.mid, mline.kind) for mline in world.records[call.session].mlines] == [
        (keep, "audio"),
        (again, "video"),
    ]
    assert [track.name for track in world.records[call.session].publications] == ["track-1", "track-3"]


def test_a_mid_does_not_move_to_a_free_place() -> None:
    world = World()
    session, _ = world.create(description(audio("0"), audio("1"), audio("2")))
    stopped = description(audio("0"), audio("1").replace(" 9 ", " 0 "), audio("2"), bundle="0 2")
    world.tracks(session, sdp=stopped)
    with pytest.raises(NegotiationError, match="moved to another place"):
        world.tracks(session, sdp=description(audio("0"), audio("2"), audio("3")))


@pytest.mark.parametrize("browser", ["chromium-156", "firefox-153"])
def test_new_credentials_restart_ice(browser: str) -> None:
    """ICE restart by the client's offer: new generation, new ufrag of ours, same certificate and role."""
    world = World()
    session = world.session()
    first = fixture(f"{browser}-offer-audio-video-sendonly")
    world.tracks(session, local("0", "m"), sdp=first)
    restarted = re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:anew", first)
    answered = world.restart(session, restarted)
    media = described(answered.description).media[0]
    assert media.ufrag == ice_ufrag(session, 1)
    assert media.pwd == ice_pwd(SECRET, ice_ufrag(session, 1))
    record = world.records[session]
    assert record.client is not None
    assert (record.generation, record.client.ufrag, record.dtls_role) == (1, "anew", "server")
    assert record.association == 0
    assert [track.state for track in record.publications] == ["open"]
    world.restart(session, restarted)
    assert world.records[session].generation == 1


def test_a_fingerprint_changes_only_with_an_ice_restart() -> None:
    """W2: a new DTLS association needs an ICE restart with a new fingerprint."""
    world = World()
    session, _ = world.create(description(audio("0")))
    other = description(audio("0")).replace("CD:CD", "EF:EF")
    with pytest.raises(NegotiationError, match="a=fingerprint changed without an ICE restart"):
        world.restart(session, other)
    world.restart(session, other.replace("ice-ufrag:user", "ice-ufrag:anew"))
    client = world.records[session].client
    assert client is not None
    assert client.fingerprints[0].value.startswith("EF:EF")
    assert world.records[session].association == 1


def test_an_answer_does_not_restart_ice() -> None:
    """RFC 8839 4.4.1.1.1: only an offer asks for a restart."""
    world = World()
    call = Call(world, "chromium-156")
    call.push("audio")
    response = world.tracks(call.session, remote(publisher(world, "chromium-156"), "mic"))
    assert response.description is not None
    call.browser.restart_ice()
    sdp = call.browser.answer(response.description.sdp)
    with pytest.raises(NegotiationError, match="changed in an answer"):
        world.answer(call.session, sdp)
    assert world.records[call.session].pending is not None


def test_an_accepted_answer_leaves_an_empty_response() -> None:
    """api.md 1.4: `{}`."""
    world = World()
    session = world.session()
    sdp = world.tracks(session, remote(publisher(world, "chromium-156"), "mic")).description
    assert sdp is not None
    text = FakeBrowser("chromium-156").answer(sdp.sdp)
    answered = world.answer(session, text)
    assert (answered.description, answered.tracks) == (None, ())
    with pytest.raises(NegotiationError, match="no offer of this session") as caught:
        world.answer(session, text)  # api.md 1.0: repeating an accepted answer can fail
    assert (caught.value.status, caught.value.code) == (406, "invalid_session_description")


def test_a_bad_answer_leaves_the_offer_pending() -> None:
    world = World()
    session = world.session()
    sdp = world.tracks(session, remote(publisher(world, "chromium-156"), "mic")).description
    assert sdp is not None
    good = FakeBrowser("chromium-156").answer(sdp.sdp)
    for bad, reason in (
        ("v=0\r\n", "0 media sections, the offer had 1"),
        (good.replace("a=mid:0", "a=mid:5"), "a=mid:5"),
        (good.replace("m=audio", "m=video"), "video a=mid:0"),
        (good.replace("a=rtcp-mux\r\n", ""), "rtcp-mux"),
        (good + good[good.index("m=") :].replace("a=mid:0", "a=mid:1"), "2 media sections"),
    ):
        with pytest.raises(NegotiationError, match=reason):
            world.answer(session, bad)
        assert world.records[session].pending is not None
    assert failed(world.answer(session, good).tracks) == []


def test_a_refused_section_can_t_be_revived_by_an_answer() -> None:
    world = World()
    call = Call(world, "chromium-156")
    keep, mid = call.push("audio"), call.push("video")
    call.close(mid)
    sdp = world.tracks(call.session, remote(publisher(world, "chromium-156"), "mic")).description
    assert sdp is not None
    text = description(audio(keep), video(mid), audio("2", "recvonly")).replace("actpass", "active")
    text = text.replace("ice-ufrag:user", "ice-ufrag:user0")
    with pytest.raises(NegotiationError, match=f"revives section a=mid:{mid}"):
        world.answer(call.session, text)


def test_the_type_must_fit() -> None:
    world = World()
    session = world.session()
    record = world.records[session]
    with pytest.raises(NegotiationError, match="no offer"):
        renegotiate(record, Renegotiate(answer(description(audio("0")))), world.context)
    with pytest.raises(NegotiationError, match="Expecting an offer, not an answer"):
        create_session(
            NewSession(session, AppId("a"), 1.0, description=answer(description(audio("0")))), world.context
        )


def test_an_sdp_that_can_t_be_read_says_so() -> None:
    """api.md 1.0: "Unable to parse SDP ..."."""
    assert refusal(World(), "nonsense").text.startswith("Unable to parse SDP: ")


def test_w14_an_sdp_past_its_bound_is_refused() -> None:
    text = description(audio("0", "sendonly", "a=x:" + "y" * 800_000))
    assert "longer than 786432 bytes" in refusal(World(), text).text


def test_plan_b_is_refused() -> None:
    lines = [f"a=ssrc:{n} msid:stream track-{n}" for n in (1, 2)]
    assert "Plan B is not supported" in refusal(World(), description(video("video", "sendonly", *lines))).text


def test_a_closed_session_takes_nothing() -> None:
    """api.md 1.0: 410 session_error."""
    world = World()
    session, _ = world.create(description(audio("0")))
    world.records[session] = set_transport_state(world.records[session], "closed")
    for call in (
        lambda: world.tracks(session, local("0", "m")),
        lambda: world.answer(session, description(audio("0"))),
        lambda: world.restart(session, description(audio("0"))),
        lambda: world.close(session, "0"),
        lambda: world.update(session, remote(session, "m", mid="0")),
    ):
        with pytest.raises(NegotiationError, match="Session appears to be disconnected") as caught:
            call()
        assert (caught.value.status, caught.value.code) == (410, "session_error")


def test_the_view_lists_what_is_published_and_pulled() -> None:
    """api.md 1.7."""
    world = World()
    room = publisher(world, "chromium-156")
    call = Call(world, "chromium-156")
    call.push("audio")
    call.pull((room, "cam"))
    view = view_session(world.records[call.session])
    assert [
        (item.location, item.mid, item.session, item.track, item.kind, item.status) for item in view.tracks
    ] == [
        ("local", "0", None, "track-1", "audio", "active"),
        ("remote", "1", room, "cam", "video", "active"),
    ]
