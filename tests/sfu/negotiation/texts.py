"""Small session descriptions of clients, for what no browser writes."""

from __future__ import annotations

TRANSPORT = (
    "a=ice-ufrag:user",
    "a=ice-pwd:password-of-the-client-0",
    "a=fingerprint:sha-256 " + ":".join(["CD"] * 32),
    "a=setup:actpass",
)
OPUS = ("a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1")
VP8 = (
    "a=rtpmap:96 VP8/90000",
    "a=rtcp-fb:96 nack",
    "a=rtcp-fb:96 nack pli",
    "a=rtcp-fb:96 transport-cc",
    "a=rtpmap:97 rtx/90000",
    "a=fmtp:97 apt=96",
)


def description(*sections: str, head: tuple[str, ...] = (), bundle: str | None = None) -> str:
    """A session description; `bundle` replaces the group of all mids ("" for none)."""
    mids = [line[6:] for text in sections for line in text.split("\r\n") if line.startswith("a=mid:")]
    group = " ".join(mids) if bundle is None else bundle
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", *head]
    if group:
        lines.append(f"a=group:BUNDLE {group}")
    return "\r\n".join([*lines, *sections]) + "\r\n"


def section(
    kind: str,
    mid: str,
    direction: str,
    formats: str,
    *lines: str,
    transport: tuple[str, ...] = TRANSPORT,
    port: int = 9,
) -> str:
    """A media section."""
    return "\r\n".join(
        [
            f"m={kind} {port} UDP/TLS/RTP/SAVPF {formats}",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{mid}",
            f"a={direction}",
            "a=rtcp-mux",
            *transport,
            *lines,
        ]
    )


def audio(mid: str, direction: str = "sendonly", *lines: str, transport: tuple[str, ...] = TRANSPORT) -> str:
    """An audio section with Opus."""
    return section("audio", mid, direction, "111", *OPUS, *lines, transport=transport)


def video(mid: str, direction: str = "sendonly", *lines: str, transport: tuple[str, ...] = TRANSPORT) -> str:
    """A video section with VP8 and its RTX."""
    return section("video", mid, direction, "96 97", *VP8, *lines, transport=transport)


def data(mid: str) -> str:
    """A section for data channels."""
    return "\r\n".join(
        [
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{mid}",
            *TRANSPORT,
            "a=sctp-port:5000",
            "a=max-message-size:262144",
        ]
    )
