"""DTLS 1.2 with use_srtp (RFC 6347, RFC 5764) over OpenSSL: a machine without socket and clock.

    waiting --ClientHello, or start()--> handshake --Finished, fingerprint right--> connected
                                             |                                          |
                                             +-- 30 s, error, wrong certificate --> over <-- close_notify

OpenSSL's own timer reads a clock of its own and starts at 1 s, so resending is done here: the records
of the last flight are kept and sent again. Records go in one by one, each followed by a step, as a
memory BIO knows no datagrams; what comes out is split into records again and packed under the MTU.

Records in the clear get fresh sequence numbers, both those that are sent again and those that are
given to OpenSSL. OpenSSL drops a ChangeCipherSpec that overtakes the messages before it but keeps its
number, and would take every repetition for a replay; and a forged high number would make it deaf to
the true ones. Alerts in the clear are not believed, since anybody can write one.

After the handshake OpenSSL's object is let go and a `RecordLayer` takes its place. A repeated last
flight of the client is answered with ours, a ClientHello is ignored (who wants a new association
restarts ICE with other fingerprints and gets a new endpoint).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, X509, dump_certificate
from prometheus_client import Counter

from sfu.transport import record_layer
from sfu.transport.events import Closed, Connected, Failed, FailReason
from sfu.transport.record_layer import RecordLayer, RecordRefused, Secrets
from sfu.wire import dtls_record
from sfu.wire.dtls_record import ContentType, DtlsRecordError, Record
from sfu.wire.srtp import SrtpKeys, SrtpProfile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sfu.transport.certificate import Certificate
    from sfu.transport.events import DtlsEvent

_DROPPED = Counter(
    "orchard_dtls_records_dropped_total", "DTLS records and datagrams that were not believed", ["reason"]
)

_DTLS_1_2 = 0xFEFD
_MAX_READ_BYTES = 1 << 16
_HASHES = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}  # RFC 8122 5, without SHA-1
_EXPORTER = b"EXTRACTOR-dtls_srtp"  # RFC 5764 4.2
_CLOSE_NOTIFY = b"\x01\x00"
_FATAL = 2
_ALERTS = {0: "close_notify", 40: "handshake_failure", 42: "bad_certificate", 46: "certificate_unknown"}

_PROFILES = {profile.value.encode(): profile for profile in SrtpProfile}


class DtlsRole(Enum):
    """Who begins the handshake: the client does."""

    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class DtlsTimers:
    """Times of a handshake, in seconds."""

    first_s: float = 0.15  # until the first resend; doubles. A round trip round the world takes 0.3
    cap_s: float = 3.0
    total_s: float = 30.0  # then the handshake has failed
    repeat_s: float = 0.05  # a peer that repeats itself is answered at most so often; chosen


@dataclass(frozen=True, slots=True)
class DtlsLimits:
    """What a handshake may hold, repeated pieces not counted (W4)."""

    max_bytes: int = 1 << 16
    max_fragments: int = 32


class DtlsContext:
    """What all sessions with one certificate share, whatever their role. Make it once per certificate."""

    def __init__(self, certificate: Certificate) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(_DTLS_1_2)
        context.set_max_proto_version(_DTLS_1_2)
        # The MTU is set for each connection; a memory BIO has none to ask for.
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_QUERY_MTU)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_cipher_list(":".join(record_layer.SUITES).encode())
        context.set_tlsext_use_srtp(b":".join(_PROFILES))
        context.use_certificate(certificate.x509)
        context.use_privatekey(certificate.key)
        # With this OpenSSL asks for a certificate and checks the proof of possession (CertificateVerify).
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
        self._context = context

    def connect(self, role: DtlsRole, judge: _Judge, mtu: int) -> SSL.Connection:
        """A fresh connection on memory BIOs whose peer `judge` will be shown."""
        connection = SSL.Connection(self._context)
        connection.set_app_data(judge)
        connection.set_ciphertext_mtu(mtu)
        if role is DtlsRole.SERVER:
            connection.set_accept_state()
        else:
            connection.set_connect_state()
        return connection


class _Judge:
    """Compares the peer's certificate with the fingerprints of the SDP (RFC 8122 5)."""

    def __init__(self, fingerprints: Iterable[str]) -> None:
        self.wanted = [wanted for text in fingerprints if (wanted := _read_fingerprint(text)) is not None]
        self.verdict: bool | None = None

    def judge(self, der: bytes) -> bool:
        """Whether the certificate is one of those named, in a time that does not tell which."""
        matches = [
            hmac.compare_digest(hashlib.new(algorithm, der).digest(), digest)
            for algorithm, digest in self.wanted
        ]
        self.verdict = any(matches)
        return self.verdict


def _read_fingerprint(text: str) -> tuple[str, bytes] | None:
    """Hash and digest of `sha-256 AB:CD:...`, or None for what can match no certificate."""
    name, _, digits = text.strip().partition(" ")
    algorithm = _HASHES.get(name.lower())
    try:
        digest = bytes.fromhex(digits.replace(":", ""))
    except ValueError:
        return None
    if algorithm is None or len(digest) != hashlib.new(algorithm).digest_size:
        return None
    return algorithm, digest


def _verify(connection: SSL.Connection, certificate: X509, _error: int, depth: int, _ok: int) -> bool:
    """OpenSSL's question about each certificate of the peer's chain: the first alone says who it is."""
    if depth > 0:
        return True
    judge = connection.get_app_data()
    return isinstance(judge, _Judge) and judge.judge(dump_certificate(FILETYPE_ASN1, certificate))


class _State(Enum):
    WAITING = "waiting"
    HANDSHAKE = "handshake"
    CONNECTED = "connected"
    OVER = "over"


class DtlsEndpoint:
    """One end of one DTLS association. All its datagrams come from paths that passed a check."""

    def __init__(
        self,
        context: DtlsContext,
        role: DtlsRole,
        fingerprints: Iterable[str],
        *,
        timers: DtlsTimers | None = None,
        limits: DtlsLimits | None = None,
        mtu: int = 1200,
    ) -> None:
        """`fingerprints` are the peer's as the SDP writes them; `mtu` bounds each datagram, in bytes."""
        self._context = context
        self._role = role
        self._judge = _Judge(fingerprints)
        self._timers = timers or DtlsTimers()
        self._limits = limits or DtlsLimits()
        self._mtu = mtu
        self._state = _State.WAITING
        self._connection: SSL.Connection | None = None
        self._layer: RecordLayer | None = None
        self._outbox: list[bytes] = []
        self._flight: list[Record] = []  # what we said last
        self._flight_key: int | None = None  # the first message_seq in it that can be read
        self._sent_at = 0.0
        self._resend_s = 0.0
        self._resend_at: float | None = None
        self._deadline: float | None = None
        self._pieces: set[tuple[int, int, int, int]] = set()  # of the peer's messages, to bound them
        self._piece_bytes = 0
        self._last_seq = -1  # the peer's highest message_seq seen
        self._answered_seq = -1  # the same when our last flight was made
        self._clear_sent = 0  # records of epoch 0 so far
        self._clear_received = 0
        self._next_sequence = 0  # of our records of epoch 1
        self._used_nonces: set[int] = set()
        self._has_refused = False  # a ClientHello that OpenSSL can't work with
        self._alert: str | None = None

    @property
    def is_connected(self) -> bool:
        """Whether `Connected` was given and nobody has closed since."""
        return self._state is _State.CONNECTED

    def start(self, now: float) -> list[DtlsEvent]:
        """As the client: send the ClientHello. Does nothing in the other role or a second time."""
        if self._role is not DtlsRole.CLIENT or self._state is not _State.WAITING:
            return []
        return self._begin(now) or self._step(now)

    def receive_datagram(self, data: bytes, now: float) -> list[DtlsEvent]:
        """A datagram of this association. What can't be part of it is dropped and counted."""
        try:
            records = dtls_record.split(data)
        except DtlsRecordError:
            return count_dropped("malformed")
        events: list[DtlsEvent] = []
        for record in records:
            if self._state is _State.OVER:
                return events + count_dropped("over")
            if self._state is _State.CONNECTED:
                events += self._receive_after(record, now)
            else:
                events += self._receive_handshake(record, now)
        return events

    def close(self) -> None:
        """Say goodbye if there is somebody to say it to; the association is over, without an event."""
        if self._layer is not None and self._state is _State.CONNECTED:
            self._outbox.append(self._layer.seal(ContentType.ALERT, _CLOSE_NOTIFY))
        self._end()

    def timer_at(self) -> float | None:
        """The moment at which `handle_timer` has work, or None."""
        if self._state is not _State.HANDSHAKE or self._deadline is None:
            return None
        return self._deadline if self._resend_at is None else min(self._resend_at, self._deadline)

    def handle_timer(self, now: float) -> list[DtlsEvent]:
        """Do what is due at `now`; too early a call does nothing."""
        if self._state is not _State.HANDSHAKE or self._deadline is None:
            return []
        if now >= self._deadline:
            refused = self._has_refused and not self._flight
            return self._fail(FailReason.HANDSHAKE_ERROR if refused else FailReason.HANDSHAKE_TIMEOUT)
        if self._resend_at is None or now < self._resend_at:
            return []
        self._resend_s = min(2 * self._resend_s, self._timers.cap_s)
        self._resend_at = now + self._resend_s
        self._renew_flight()
        self._send_flight(now)
        return []

    def take_datagrams(self) -> list[bytes]:
        """What is to be sent now, in order."""
        datagrams, self._outbox = self._outbox, []
        return datagrams

    # The handshake

    def _begin(self, now: float) -> list[DtlsEvent]:
        if not self._judge.wanted:
            return self._fail(FailReason.NO_FINGERPRINT)
        self._state = _State.HANDSHAKE
        self._deadline = now + self._timers.total_s
        self._connection = self._context.connect(self._role, self._judge, self._mtu)
        return []

    def _receive_handshake(self, record: Record, now: float) -> list[DtlsEvent]:
        if record.content_type is ContentType.ALERT and record.epoch == 0:
            self._hear_alert(record)
            return count_dropped("clear_alert")
        if (
            record.content_type not in (ContentType.HANDSHAKE, ContentType.CHANGE_CIPHER_SPEC)
            or record.epoch > 1
        ):
            return count_dropped("unexpected")
        if self._state is _State.WAITING and not self._is_client_hello(record):
            return count_dropped("unexpected")
        try:
            is_repeated = self._note_pieces(record)
        except DtlsRecordError:
            return count_dropped("malformed")
        except _TooMuch:
            return count_dropped("limit")
        if is_repeated:
            self._answer_repeated(now)
            return []
        if self._state is _State.WAITING and (failed := self._begin(now)):
            return failed
        if self._connection is None:
            return count_dropped("unexpected")
        if record.epoch == 0:
            record = dtls_record.renumber(record, self._clear_received)
            self._clear_received += 1
        self._connection.bio_write(record.data)
        return self._step(now)

    def _is_client_hello(self, record: Record) -> bool:
        if self._role is DtlsRole.CLIENT or record.content_type is not ContentType.HANDSHAKE or record.epoch:
            return False
        return record.payload[:1] == bytes((dtls_record.CLIENT_HELLO,))

    def _note_pieces(self, record: Record) -> bool:
        """Bound what a peer makes us hold. Returns whether it repeats what our last flight answered."""
        if record.content_type is not ContentType.HANDSHAKE:
            return False
        if record.epoch:
            pieces = {(record.epoch, record.sequence, 0, len(record.data))}
            message_seqs: list[int] = []
            length = 0
        else:
            found = dtls_record.fragments(record)
            pieces = {(0, piece.message_seq, piece.offset, piece.length) for piece in found}
            message_seqs = [piece.message_seq for piece in found]
            length = max(piece.message_length for piece in found)
        new = pieces - self._pieces
        more = sum(piece[3] for piece in new)
        if (
            len(self._pieces) + len(new) > self._limits.max_fragments
            or max(self._piece_bytes + more, length) > self._limits.max_bytes
        ):
            raise _TooMuch
        self._pieces |= new
        self._piece_bytes += more
        self._last_seq = max([self._last_seq, *message_seqs])
        return bool(message_seqs) and max(message_seqs) <= self._answered_seq

    def _step(self, now: float) -> list[DtlsEvent]:
        """Let OpenSSL read what it was given and say what it has to say."""
        connection = self._connection
        if connection is None:
            return []
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            self._take_flight(connection, now)
            return []
        except SSL.Error:
            return self._handle_error(connection)
        self._take_flight(connection, now)
        return self._finish(connection)

    def _take_flight(self, connection: SSL.Connection, now: float) -> None:
        """Send what OpenSSL wrote, and keep it if it is a flight of ours."""
        records = _read_records(connection)
        if not records:
            return
        self._note_sealed(records)
        flight = [record for record in records if record.content_type is not ContentType.ALERT]
        if flight:
            key = _first_message_seq(flight)
            if key != self._flight_key or not self._flight:
                self._flight_key = key
                self._resend_s = self._timers.first_s
                self._resend_at = now + self._resend_s
                self._answered_seq = self._last_seq
            self._flight = flight
            self._sent_at = now
        self._send(records)

    def _note_sealed(self, records: list[Record]) -> None:
        """Remember which sequence numbers and nonces OpenSSL has used under the new keys."""
        for record in records:
            if record.epoch == record_layer.EPOCH:
                self._next_sequence = max(self._next_sequence, record.sequence + 1)
                self._used_nonces.add(int.from_bytes(record.payload[: record_layer.NONCE_LENGTH], "big"))

    def _renew_flight(self) -> None:
        """As the client: have the Finished sealed afresh where OpenSSL does it.

        A server that has our last flight, and whose answer was lost, takes the same bytes for a replay.
        OpenSSL writes the flight anew only once its own clock's timer, from 1 s, has run out.
        """
        if self._role is not DtlsRole.CLIENT or self._connection is None:
            return
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error:
            return  # it has resent too often; the bytes of before still do
        records = _read_records(self._connection)
        if records:
            self._note_sealed(records)
            self._flight = records

    def _send_flight(self, now: float) -> None:
        self._sent_at = now
        self._send(self._flight)

    def _send(self, records: list[Record]) -> None:
        numbered: list[Record] = []
        for record in records:
            if record.epoch == 0:
                numbered.append(dtls_record.renumber(record, self._clear_sent))
                self._clear_sent += 1
            else:
                numbered.append(record)
        self._outbox += dtls_record.pack(numbered, self._mtu)

    def _answer_repeated(self, now: float) -> None:
        """The peer says again what our last flight answered: that was lost, or is on its way."""
        if now - self._sent_at >= self._timers.repeat_s:
            self._send_flight(now)

    def _handle_error(self, connection: SSL.Connection) -> list[DtlsEvent]:
        """OpenSSL refuses what it was given."""
        records = _read_records(connection)
        if self._role is DtlsRole.SERVER and not self._flight:
            # Nothing was agreed on yet: what was no ClientHello must not stand in the way of one.
            self._connection = self._context.connect(self._role, self._judge, self._mtu)
            self._pieces.clear()
            self._piece_bytes, self._last_seq, self._has_refused = 0, -1, True
            return count_dropped("bad_hello")
        self._send(records)
        if self._judge.verdict is False:
            return self._fail(FailReason.WRONG_FINGERPRINT)
        return self._fail(FailReason.HANDSHAKE_ERROR)

    def _finish(self, connection: SSL.Connection) -> list[DtlsEvent]:
        """The handshake has ended: keep the keys, let OpenSSL go."""
        if self._judge.verdict is not True:
            return self._fail(FailReason.WRONG_FINGERPRINT)
        suite = connection.get_cipher_name()
        profile = _PROFILES.get(connection.get_selected_srtp_profile())
        master, client_random = connection.master_key(), connection.client_random()
        server_random = connection.server_random()
        if suite is None or master is None or client_random is None or server_random is None:
            return self._fail(FailReason.HANDSHAKE_ERROR)
        is_client = self._role is DtlsRole.CLIENT
        self._layer = RecordLayer.derive(
            Secrets(suite, master, client_random, server_random),
            is_client=is_client,
            next_sequence=self._next_sequence,
            used_nonces=frozenset(self._used_nonces),
        )
        self._state = _State.CONNECTED
        if profile is None:
            self.close()
            return [Failed(FailReason.NO_SRTP_PROFILE, self._alert)]
        material = connection.export_keying_material(_EXPORTER, profile.exported_bytes)
        if is_client:
            self._flight = []  # the server has it, or it would not have finished
        self._forget()
        return [Connected(SrtpKeys.from_exporter(profile, material, is_client=is_client))]

    def _hear_alert(self, record: Record) -> None:
        if len(record.payload) == 2:
            number = record.payload[1]
            self._alert = _ALERTS.get(number, f"alert {number}")

    # After it

    def _receive_after(self, record: Record, now: float) -> list[DtlsEvent]:
        if record.epoch != record_layer.EPOCH or self._layer is None:
            return count_dropped("after_handshake")
        if record.content_type is ContentType.HANDSHAKE and self._flight:
            self._answer_repeated(now)
            return []
        if record.content_type is not ContentType.ALERT:
            return count_dropped("after_handshake")
        try:
            alert = self._layer.open(record)
        except RecordRefused:
            return count_dropped("forged")
        if alert == _CLOSE_NOTIFY or alert[:1] == bytes((_FATAL,)):
            self._end()
            return [Closed()]
        return []

    def _fail(self, reason: FailReason) -> list[DtlsEvent]:
        self._end()
        return [Failed(reason, self._alert)]

    def _end(self) -> None:
        self._state = _State.OVER
        self._layer = None
        self._flight = []
        self._forget()

    def _forget(self) -> None:
        """Let go what only a handshake needs."""
        self._connection = None
        self._resend_at = self._deadline = None
        self._pieces.clear()


class _TooMuch(Exception):
    """A handshake is larger than ours ever are."""


def count_dropped(reason: str) -> list[DtlsEvent]:
    """Nothing has happened, but it is counted."""
    _DROPPED.labels(reason).inc()
    return []


def _read_records(connection: SSL.Connection) -> list[Record]:
    try:
        return dtls_record.split(connection.bio_read(_MAX_READ_BYTES))
    except SSL.WantReadError:
        return []


def _first_message_seq(records: list[Record]) -> int | None:
    for record in records:
        if record.content_type is ContentType.HANDSHAKE and record.epoch == 0:
            return dtls_record.fragments(record)[0].message_seq
    return None
