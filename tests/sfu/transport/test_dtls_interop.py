"""DTLS with other implementations: aiortc, and `openssl s_client` over real sockets."""

from __future__ import annotations

import asyncio
import re
import select
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)

from sfu.transport.dtls import DtlsEndpoint, DtlsRole
from sfu.transport.events import Closed, Connected, DtlsEvent
from sfu.wire.srtp import SrtpProfile
from tests.scenarios.dtls_nodes import OUR_CONTEXT, OURS, THEIR_FINGERPRINT, THEIRS

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 10.0


class Wire:
    """What aiortc takes for its ICE transport, with our endpoint at the other end."""

    def __init__(self, endpoint: DtlsEndpoint, role: str) -> None:
        self.endpoint = endpoint
        self.role = role
        self.state = "completed"
        self.events: list[DtlsEvent] = []
        self._to_aiortc: asyncio.Queue[bytes] = asyncio.Queue()

    async def _send(self, data: bytes) -> None:
        self.events += self.endpoint.receive_datagram(data, 0.0)
        self.flush()

    async def _recv(self) -> bytes:
        return await self._to_aiortc.get()

    def flush(self) -> None:
        """Pass on what our endpoint says."""
        for data in self.endpoint.take_datagrams():
            self._to_aiortc.put_nowait(data)


@pytest.mark.parametrize("our_role", list(DtlsRole))
async def test_aiortc_connects_in_either_role_and_says_goodbye(our_role: DtlsRole) -> None:
    certificate = RTCCertificate.generateCertificate()
    fingerprints = [f"{found.algorithm} {found.value}" for found in certificate.getFingerprints()]
    # aiortc takes the DTLS server's part where it controls ICE.
    wire = Wire(
        DtlsEndpoint(OUR_CONTEXT, our_role, fingerprints),
        "controlled" if our_role is DtlsRole.SERVER else "controlling",
    )
    transport: Any = RTCDtlsTransport(wire, [certificate])  # type: ignore[arg-type] - a stand-in
    wire.endpoint.start(0.0)
    wire.flush()
    ours = RTCDtlsParameters([RTCDtlsFingerprint("sha-256", OURS.fingerprint)])
    async with asyncio.timeout(DEADLINE_S):
        await transport.start(ours)
    assert transport.state == "connected"
    assert [type(event) for event in wire.events] == [Connected]
    async with asyncio.timeout(DEADLINE_S):
        await transport.stop()
    assert wire.events[-1] == Closed()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_openssl_s_client_connects_exports_the_same_keys_and_says_goodbye(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(THEIRS.certificate_pem)
    key.write_bytes(THEIRS.key_pem)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        arguments = ["openssl", "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}"]
        arguments += ["-cert", str(certificate), "-key", str(key)]
        arguments += ["-use_srtp", "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM"]
        arguments += ["-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", "56"]
        with subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as client:
            events = _serve(listener, client)
            output, _ = client.communicate(timeout=DEADLINE_S)
    connected, closed = events
    assert isinstance(connected, Connected)
    assert isinstance(closed, Closed)
    assert connected.keys.profile is SrtpProfile.AEAD_AES_128_GCM
    found = re.search(rb"Keying material: ([0-9A-F]+)", output)
    assert found is not None, output.decode(errors="replace")
    material = bytes.fromhex(found[1].decode())
    assert connected.keys.remote == material[:16] + material[32:44]
    assert connected.keys.local == material[16:32] + material[44:56]


def _serve(listener: socket.socket, client: subprocess.Popen[bytes]) -> list[DtlsEvent]:
    """Be the server until the client has said goodbye, which it does at the end of its input."""
    endpoint = DtlsEndpoint(OUR_CONTEXT, DtlsRole.SERVER, [THEIR_FINGERPRINT])
    events: list[DtlsEvent] = []
    deadline = time.monotonic() + DEADLINE_S
    while not any(isinstance(event, Closed) for event in events):
        now = time.monotonic()
        assert now < deadline, events
        at = endpoint.timer_at()
        wait_s = min(deadline, at if at is not None else deadline) - now
        if select.select([listener], [], [], max(0.0, wait_s))[0]:
            data, address = listener.recvfrom(2048)
            events += endpoint.receive_datagram(data, time.monotonic())
            for datagram in endpoint.take_datagrams():
                listener.sendto(datagram, address)
        else:
            events += endpoint.handle_timer(time.monotonic())
        if endpoint.is_connected and client.stdin is not None and not client.stdin.closed:
            client.stdin.write(b"Q\n")
            client.stdin.close()
    client.stdin = None
    return events
