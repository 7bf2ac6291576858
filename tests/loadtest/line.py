"""One endpoint of the light client, and libsrtp at the other end of its wire."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

import pylibsrtp

from loadtest.seal import Endpoint, Swarm

if TYPE_CHECKING:
    from collections.abc import Sequence

SSRC = 0x11223344
RTX_SSRC = 0x55667788
# Of libsrtp's srtp_profile_t and srtp_ssrc_type_t; the binding declares no types for its constants.
AES_128_GCM, AES_256_GCM = 7, 8
ANY_INBOUND, ANY_OUTBOUND = 2, 3


class Line:
    """An endpoint of a swarm of its own, and the plain socket at the other end."""

    def __init__(self, master_bytes: int = 28, *, reordering_s: float = 0.005) -> None:
        self.far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.far.bind(("127.0.0.1", 0))
        self.far.setblocking(False)
        near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        near.connect(self.far.getsockname())
        self.far.connect(near.getsockname())
        self.swarm = Swarm(reordering_s)
        self.endpoint = self.swarm.add(near, "owner")
        self.out_master, self.in_master = os.urandom(master_bytes), os.urandom(master_bytes)
        self.endpoint.set_keys(self.out_master, self.in_master)

    def feed(self, packets: Sequence[bytes], now_ns: int = 0) -> list[tuple[Endpoint, bytes]]:
        """Let packets arrive, few enough for the socket's buffer."""
        for packet in packets:
            self.far.send(packet)
        return self.swarm.drain(now_ns=now_ns)

    def sent(self) -> list[bytes]:
        """What left since the last call."""
        packets: list[bytes] = []
        while True:
            try:
                packets.append(self.far.recv(4096))
            except BlockingIOError:
                return packets

    def close(self) -> None:
        """Close both ends."""
        self.swarm.close()
        self.far.close()


def sender(master: bytes, profile: int = AES_128_GCM) -> pylibsrtp.Session:
    """libsrtp's half that protects."""
    return pylibsrtp.Session(pylibsrtp.Policy(key=master, ssrc_type=ANY_OUTBOUND, srtp_profile=profile))


def receiver(master: bytes, profile: int = AES_128_GCM) -> pylibsrtp.Session:
    """libsrtp's half that unprotects."""
    policy = pylibsrtp.Policy(key=master, ssrc_type=ANY_INBOUND, srtp_profile=profile)
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    return pylibsrtp.Session(policy)


def rtp(seq: int, *, ssrc: int = SSRC, pt: int = 96, payload: bytes = b"x" * 50, timestamp: int = 0) -> bytes:
    """A plain RTP packet."""
    return struct.pack("!BBHII", 0x80, pt, seq & 0xFFFF, timestamp, ssrc) + payload


def rtx(seq: int, original: bytes) -> bytes:
    """The RTX packet (RFC 4588 4) of a plain RTP packet without extension."""
    return rtp(seq, ssrc=RTX_SSRC, pt=97, payload=original[2:4] + original[12:])


def rr(ssrc: int = SSRC) -> bytes:
    """An empty receiver report."""
    return struct.pack("!BBHI", 0x80, 201, 1, ssrc)
