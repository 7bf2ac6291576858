# One client's socket, keys and incoming streams. An `Endpoint` owns its keys, its streams and its recording;
# it calls aead, incoming, link and nack.


cdef struct Sight:
    uint64_t at_ns
    uint32_t timestamp
    uint16_t payload        # bytes, padding included
    uint8_t padding         # of them, bytes of padding
    uint8_t marker
    uint8_t start[16]       # of the payload


cdef class Endpoint:
    """One client's socket, keys and counters. Made by `Swarm.add`."""

    cdef readonly object owner
    cdef Swarm _swarm
    cdef Totals *_totals                # the swarm's, which `_swarm` keeps alive
    cdef uint32_t *_latency             # the swarm's histograms
    cdef uint32_t *_repair
    cdef uint32_t *_answer
    cdef object _socket
    cdef int _fd                        # -1 once closed
    cdef bint _damaged                  # on the swarm's list
    cdef Link _up, _down
    cdef Key _send_rtp, _send_rtcp, _receive_rtp, _receive_rtcp
    cdef uint32_t _rtcp_index           # of the next SRTCP packet that leaves
    cdef uint32_t _ssrc                 # that our feedback names as its sender's
    cdef uint64_t _rtt_ns               # smoothed; of checks at first, then of repairs too
    cdef list _outgoing                 # Outgoing: may be asked for again what they sent
    cdef Incoming *_streams             # owned, STREAMS of them
    cdef int _stream_count
    cdef int _last                      # where the latest packet's stream stands: most packets are of the same
    cdef uint32_t _clock_rates[128]     # by payload type, for the jitter
    cdef Sight *_sights                 # owned, a recording; NULL without one
    cdef int _sight_count, _sight_room

    def __cinit__(self, Swarm swarm, sock, owner):
        cdef int i
        self.owner = owner
        self._swarm = swarm
        self._totals = &swarm._totals
        self._latency = swarm._latency
        self._repair = swarm._repair
        self._answer = swarm._answer
        self._socket = sock
        self._fd = sock.fileno()
        self._outgoing = []
        for i in range(128):
            self._clock_rates[i] = 90000

    def __dealloc__(self):
        cdef int i
        key_clear(&self._send_rtp)
        key_clear(&self._send_rtcp)
        key_clear(&self._receive_rtp)
        key_clear(&self._receive_rtcp)
        for i in range(self._stream_count):
            free(self._streams[i].missing)
        free(self._streams)
        free(self._sights)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd < 0

    def close(self) -> None:
        """Close the socket and forget the owner. Safe to call again."""
        if self._fd < 0:
            return
        if self._damaged:
            self._swarm._forget(<void *>self)
            self._damaged = False
        self._swarm._endpoints.pop(self._fd, None)
        epoll_ctl(self._swarm._epoll, EPOLL_CTL_DEL, self._fd, NULL)
        self._fd = -1
        self._socket.close()
        self._outgoing.clear()
        self.owner = None

    def set_keys(self, bytes send_master, bytes receive_master) -> None:
        """Master key and salt of each direction as DTLS-SRTP gives them: 28 bytes for AES-128-GCM, 44 for
        AES-256-GCM. Raises SealError for another length."""
        cdef int key_length = <int>len(send_master) - SALT_BYTES
        if len(receive_master) != len(send_master) or key_length not in (16, 32):
            raise SealError(f"master key and salt: {len(send_master)} bytes; 28 or 44 are wanted")
        cdef const uint8_t *out = send_master
        cdef const uint8_t *into = receive_master
        self._take_streams()
        if (key_set(&self._send_rtp, out, key_length, 0) < 0 or key_set(&self._send_rtcp, out, key_length, 3) < 0
                or key_set(&self._receive_rtp, into, key_length, 0) < 0
                or key_set(&self._receive_rtcp, into, key_length, 3) < 0):
            raise SealError("OpenSSL could not take the SRTP keys")

    def set_clock_rate(self, int pt, uint32_t rate) -> None:
        """Units of RTP timestamp per second of an incoming payload type; 90000 unless set."""
        self._clock_rates[pt & 0x7F] = rate

    def set_link(self, double up, double down, double run=0, uint64_t seed=0) -> None:
        """Lose the shares `up` of what is sent and `down` of what arrives, in runs of `run` on average or, with
        0, independently. The same seed loses the same places in the order of datagrams."""
        if not 0 <= up <= 1 or not 0 <= down <= 1 or (run and not 1 <= run <= 1000):
            raise SealError(f"losses of {up} and {down} in runs of {run}")
        link_set(&self._up, up, run, 2 * seed)
        link_set(&self._down, down, run, 2 * seed + 1)

    def set_rtt(self, double rtt_s) -> None:
        """The round trip, for the pace of requests, until repairs show it."""
        if self._rtt_ns == 0:
            self._rtt_ns = <uint64_t>(rtt_s * 1e9)

    def expect(self, uint32_t sender, uint32_t ssrc, uint32_t rtx_ssrc=0) -> None:
        """A stream that will arrive and may be asked for again, and the RTX stream that repairs it (0: it is
        repaired in place); `sender` is the SSRC that the requests come from."""
        cdef Incoming *media
        cdef Incoming *rtx
        self._take_streams()
        self._ssrc = sender
        media = self._find(ssrc)
        rtx = self._find(rtx_ssrc) if rtx_ssrc else NULL
        if media == NULL or (rtx_ssrc and rtx == NULL):
            raise SealError(f"more than {STREAMS} streams")
        media.repairable = True
        if rtx != NULL:
            rtx.repairs = <int>(media - self._streams)

    def record(self, int packets) -> None:
        """Keep what the next media packets looked like, RTX left out."""
        if not 1 <= packets <= 1000000:
            raise SealError(f"a recording of {packets} packets")
        free(self._sights)
        self._sights = <Sight *>calloc(packets, sizeof(Sight))
        self._sight_count = 0
        self._sight_room = 0 if self._sights == NULL else packets
        if self._sights == NULL:
            raise MemoryError

    def take_record(self) -> list[tuple[int, int, int, int, bool, bytes]]:
        """What `record` kept and no more: (ns, timestamp, payload bytes, of them padding, marker, start)."""
        cdef list taken = []
        cdef Sight *s
        cdef int i
        for i in range(self._sight_count):
            s = &self._sights[i]
            taken.append((s.at_ns, s.timestamp, s.payload, s.padding, bool(s.marker),
                          (<bytes>s.start[:16])[:s.payload - s.padding]))
        free(self._sights)
        self._sights = NULL
        self._sight_room = self._sight_count = 0
        return taken

    def send(self, bytes datagram) -> bool:
        """Send as is (STUN, DTLS). False, and counted, if the kernel took nothing."""
        if self._fd < 0:
            return False
        return self._emit(datagram, <int>len(datagram)) == 0

    def seal_rtcp(self, bytes packet) -> bytes:
        """SRTCP of a compound RTCP packet (RFC 7714 9)."""
        cdef uint8_t out[DATAGRAM_BYTES]
        cdef int length = <int>len(packet)
        if self._send_rtcp.ctx == NULL:
            raise SealError("no keys yet")
        if length < 8 or length > DATAGRAM_BYTES - TAG_BYTES - 4:
            raise SealError(f"RTCP of {length} bytes")
        memcpy(out, <const uint8_t *>packet, length)
        length = self._seal_rtcp(out, length)
        if length < 0:
            raise SealError("OpenSSL could not seal")
        return out[:length]

    def send_rtcp(self, bytes packet) -> bool:
        """Seal and send a compound RTCP packet."""
        return self.send(self.seal_rtcp(packet))

    def stream_stats(self) -> list[tuple[int, int, int, int, int, int, int, int, float, int, int, int]]:
        """Of streams of which a packet came: (ssrc, pt, received, lost, duplicates, reordered, octets, highest
        extended seq, jitter, noticed, repaired, gave_up). RTX streams stand among them."""
        cdef list stats = []
        cdef int i
        for i in range(self._stream_count):
            s = &self._streams[i]
            if s.received:
                stats.append((s.ssrc, s.pt, s.received, s.highest - s.first + 1 - <int64_t>s.received, s.duplicates,
                              s.reordered, s.octets, s.highest, s.jitter, s.noticed, s.repaired, s.gave_up))
        return stats

    cdef int _take_streams(self) except -1:
        if self._streams == NULL:
            self._streams = <Incoming *>calloc(STREAMS, sizeof(Incoming))
            if self._streams == NULL:
                raise MemoryError
        return 0

    cdef int _emit(self, const uint8_t *data, int length) noexcept nogil:
        """Send over the simulated link: 0, also if it was lost on it, or -1 if the kernel took nothing."""
        if link_drops(&self._up):
            self._totals.dropped_up += 1
        elif c_send(self._fd, data, <size_t>length, MSG_DONTWAIT) < 0:
            self._totals.unsent += 1
            return -1
        return 0

    cdef int _seal_rtcp(self, uint8_t *packet, int length) noexcept nogil:
        """Seal in place, room for tag and index behind it; the new length, or -1."""
        cdef uint8_t iv[SALT_BYTES]
        cdef uint8_t *trailer = packet + length + TAG_BYTES
        write32(trailer, <uint32_t>0x80000000 | self._rtcp_index)
        rtcp_iv(iv, self._send_rtcp.salt, read32(packet + 4), self._rtcp_index)
        self._rtcp_index += 1
        if gcm_seal(&self._send_rtcp, iv, packet, 8, trailer, 4, packet + 8, length - 8, packet + 8) < 0:
            return -1
        return length + TAG_BYTES + 4

    cdef void _receive(self, uint8_t *data, int length, list control):
        cdef Totals *totals = self._totals
        if length < 1:
            totals.unknown += 1
        elif data[0] < 64 and length < DATAGRAM_BYTES:
            control.append((self, <bytes>data[:length]))
        elif data[0] >> 6 != 2 or length < 2 or self._receive_rtp.ctx == NULL:
            totals.unknown += 1
        elif 192 <= data[1] <= 223:
            length = self._open_rtcp(data, length)
            if length < 0:
                totals.refused += 1
            else:
                totals.rtcp += 1
                # A storm of requests is answered here and is none of Python's business.
                if self._resend(data, length):
                    control.append((self, <bytes>data[:length]))
        else:
            self._open_rtp(data, length)

    cdef bint _resend(self, const uint8_t *data, int length):
        """Answer the generic NACKs of a compound packet; whether it has anything else in it."""
        cdef bint more = False
        cdef int part, at
        cdef uint32_t ssrc
        cdef Outgoing outgoing
        cdef uint64_t now = 0
        while length >= 4:
            part = 4 + 4 * read16(data + 2)
            if part > length:
                return True
            if data[1] == TRANSPORT_FEEDBACK and data[0] & 31 == GENERIC_NACK and part >= 16:
                ssrc = read32(data + 8)
                if now == 0:
                    now = self._swarm._now()
                for outgoing in self._outgoing:
                    if outgoing.ssrc == ssrc:
                        for at in range(12, part - 3, 4):
                            outgoing._answer(read16(data + at), read16(data + at + 2), now)
            else:
                more = True
            data += part
            length -= part
        return more or length > 0

    cdef int _open_rtcp(self, uint8_t *data, int length) noexcept nogil:
        """Length of the plain packet, or -1. Only encrypted SRTCP is taken (the E bit)."""
        cdef uint8_t iv[SALT_BYTES]
        cdef int body = length - 8 - TAG_BYTES - 4
        cdef uint32_t trailer
        if body < 0:
            return -1
        trailer = read32(data + length - 4)
        if trailer >> 31 == 0:
            return -1
        rtcp_iv(iv, self._receive_rtcp.salt, read32(data + 4), trailer & 0x7FFFFFFF)
        if gcm_open(&self._receive_rtcp, iv, data, 8, data + length - 4, 4, data + 8, body) < 0:
            return -1
        return 8 + body

    cdef void _open_rtp(self, uint8_t *data, int length) noexcept nogil:
        cdef Totals *totals = self._totals
        cdef uint8_t iv[SALT_BYTES]
        cdef int header = header_length(data, length)
        cdef int body = length - header - TAG_BYTES
        cdef Incoming *s
        cdef uint32_t ssrc
        cdef int64_t index
        cdef uint64_t now
        if header < 0 or body < 0:
            totals.refused += 1
            return
        ssrc = read32(data + 8)
        s = self._find(ssrc)
        if s == NULL:
            totals.unknown += 1
            return
        index = incoming_index(s, read16(data + 2))
        if index < 0:
            totals.refused += 1
            return
        rtp_iv(iv, self._receive_rtp.salt, ssrc, <uint64_t>index)
        if gcm_open(&self._receive_rtp, iv, data, header, NULL, 0, data + header, body) < 0:
            totals.refused += 1
            return
        s.pt = data[1] & 0x7F
        now = self._swarm._now()
        if s.repairs < 0:
            self._take(s, index, data, header, body, now, False)
        elif self._place(s, index, now, False):
            s.octets += <uint64_t>(header + body)
            self._unwrap(s, data, header, body, now)

    cdef void _unwrap(self, Incoming *rtx, uint8_t *data, int header, int body, uint64_t now) noexcept nogil:
        """RFC 4588 4: the original sequence number stands before the original payload."""
        cdef Incoming *s = &self._streams[rtx.repairs]
        cdef int64_t index
        if body <= 2 or (data[0] & 0x20 and data[header + body - 1] >= body - 2):
            self._totals.rtx_empty += 1
            return
        self._totals.rtx += 1
        index = incoming_index(s, read16(data + header))
        if s.received == 0 or index < 0:
            return  # it repairs nothing of what this client has seen begin
        # The header now stands before the original payload, so that what follows sees one packet.
        memmove(data + 2, data, header)
        self._take(s, index, data + 2, header, body - 2, now, True)

    cdef void _take(self, Incoming *s, int64_t index, const uint8_t *data, int header, int body, uint64_t now,
                    bint by_rtx) noexcept nogil:
        cdef bint new = s.received == 0
        if not self._place(s, index, now, by_rtx):
            self._totals.duplicates += 1
            return
        s.octets += <uint64_t>(header + body)
        self._totals.rtp += 1
        self._totals.octets += <uint64_t>(header + body)
        self._clock(s, data, data + header, body, now, new, by_rtx)
        if self._sight_count < self._sight_room:
            self._see(data, data + header, body, now)

    cdef bint _place(self, Incoming *s, int64_t index, uint64_t now, bint by_rtx) noexcept nogil:
        """Count a packet where it belongs; False if it was there already."""
        cdef int at
        if s.received == 0:
            s.first = s.highest = index
        elif index > s.highest:
            if s.repairable and index > s.highest + 1:
                self._miss(s, s.highest + 1, index, now)
            incoming_advance(s, index)
        elif incoming_has(s, index):
            s.duplicates += 1
            return False
        else:
            at = missing_find(s, index)
            if at >= 0 and s.missing[at].asked_ns:
                self._mend(s, &s.missing[at], now)
            elif by_rtx:
                s.repaired += 1     # given up already, or by foresight of the other side
                self._totals.repaired += 1
            else:
                s.reordered += 1
            if at >= 0:
                missing_remove(s, at)
            if index < s.first:
                s.first = index
        s.window[(index % WINDOW) >> 6] |= <uint64_t>1 << (index & 63)
        s.received += 1
        return True

    cdef void _miss(self, Incoming *s, int64_t first, int64_t end, uint64_t now) noexcept nogil:
        cdef uint64_t due = now + self._swarm._reordering_ns
        cdef uint64_t lost = missing_add(s, first, end, now, due)
        s.noticed += <uint64_t>(end - first)
        self._totals.noticed += <uint64_t>(end - first)
        s.gave_up += lost
        self._totals.gave_up += lost
        if self._damaged:
            self._swarm._note_due(due)
        elif self._swarm._note_damage(<void *>self, due) == 0:
            self._damaged = True

    cdef void _mend(self, Incoming *s, Missing *m, uint64_t now) noexcept nogil:
        """A packet came that was asked for: by RTX, or again in place."""
        cdef uint64_t took = now - m.asked_ns if now > m.asked_ns else 0
        s.repaired += 1
        self._totals.repaired += 1
        self._repair[bucket((now - m.noticed_ns) // 1000 if now > m.noticed_ns else 0)] += 1
        if m.tries == 1:
            self._answer[bucket(took // 1000)] += 1
            self._rtt_ns = took if self._rtt_ns == 0 else (7 * self._rtt_ns + took) // 8

    cdef Incoming *_find(self, uint32_t ssrc) noexcept nogil:
        cdef int i
        if self._last < self._stream_count and self._streams[self._last].ssrc == ssrc:
            return &self._streams[self._last]
        for i in range(self._stream_count):
            if self._streams[i].ssrc == ssrc:
                self._last = i
                return &self._streams[i]
        if self._stream_count == STREAMS:
            return NULL
        self._last = self._stream_count
        self._stream_count += 1
        self._streams[self._last].ssrc = ssrc
        self._streams[self._last].repairs = -1
        return &self._streams[self._last]

    cdef void _clock(self, Incoming *s, const uint8_t *data, const uint8_t *payload, int length, uint64_t now,
                     bint new, bint by_rtx) noexcept nogil:
        """Jitter by RFC 3550 6.4.1, and the latency if the payload has the stamp."""
        cdef uint64_t sent
        cdef int64_t transit, difference
        if not by_rtx:
            transit = (<int64_t>(now // 1000 * self._clock_rates[data[1] & 0x7F] // 1000000)
                       - <int64_t>read32(data + 4))
            if not new:
                difference = <int64_t><int>(<uint32_t>(transit - s.transit))
                if difference < 0:
                    difference = -difference
                s.jitter += (<double>difference - s.jitter) / 16
            s.transit = transit
        if length >= STAMP_AT + STAMP_BYTES and memcmp(payload + STAMP_AT, STAMP_MARK, 4) == 0:
            sent = (<uint64_t>read32(payload + STAMP_AT + 8) << 32) | read32(payload + STAMP_AT + 12)
            if now >= sent:
                self._latency[bucket((now - sent) // 1000)] += 1

    cdef void _see(self, const uint8_t *data, const uint8_t *payload, int length, uint64_t now) noexcept nogil:
        cdef Sight *s = &self._sights[self._sight_count]
        cdef int padding = payload[length - 1] if data[0] & 0x20 and length > 0 else 0
        self._sight_count += 1
        s.at_ns = now
        s.timestamp = read32(data + 4)
        s.payload = <uint16_t>length
        s.padding = <uint8_t>(padding if padding <= length else length)
        s.marker = data[1] >> 7
        memcpy(s.start, payload, 16 if length > 16 else length)

    # --- requests: nack.pxi has the packets ---

    cdef uint64_t _ask(self, uint64_t now) noexcept nogil:
        """Ask for what is due, in one RTCP packet; the moment of the next request, or 0 if nothing is missing."""
        cdef uint8_t packet[DATAGRAM_BYTES]
        cdef uint64_t due = 0
        cdef int length = 0
        cdef int i
        cdef Incoming *s
        for i in range(self._stream_count):
            s = &self._streams[i]
            if s.missing_count and s.repairable:
                length = self._ask_for(s, packet, length, now, &due)
        if length and self._fd >= 0 and self._send_rtcp.ctx != NULL:
            length = self._seal_rtcp(packet, length)
            if length > 0:
                self._emit(packet, length)
                self._totals.nacks += 1
        return due

    cdef int _ask_for(self, Incoming *s, uint8_t *packet, int length, uint64_t now, uint64_t *due) noexcept nogil:
        """Write one stream's request behind `length` bytes of others; the new length. What finds no room stays
        due and is asked for with the next call."""
        cdef Request request
        cdef Missing *m
        cdef int kept = 0
        cdef int i
        cdef uint64_t lost = 0
        request_begin(&request, packet + length, NACK_BYTES - length)
        for i in range(s.missing_count):
            m = &s.missing[i]
            if m.due_ns <= now:
                if m.tries == ASK_TRIES or now - m.noticed_ns > GIVE_UP_NS:
                    lost += 1
                    continue
                if request_add(&request, <uint16_t>m.index):
                    self._totals.nacked += 1
                    if m.asked_ns == 0:
                        m.asked_ns = now
                    m.due_ns = now + ask_wait_ns(self._rtt_ns, m.tries)
                    m.tries += 1
            if due[0] == 0 or m.due_ns < due[0]:
                due[0] = m.due_ns
            s.missing[kept] = m[0]
            kept += 1
        s.missing_count = kept
        length += request_end(&request, self._ssrc, s.ssrc)
        if lost:
            s.gave_up += lost
            self._totals.gave_up += lost
            # A decoder that can't go on asks for a keyframe.
            if now - s.pli_ns >= PLI_GAP_NS and length + 12 <= NACK_BYTES:
                s.pli_ns = now
                self._totals.plis += 1
                length += pli_write(packet + length, self._ssrc, s.ssrc)
        return length
