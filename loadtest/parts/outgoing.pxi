# One RTP stream that a client sends, and the recent packets that it can send again. An `Outgoing` owns its
# packets and keeps its endpoint alive; it calls aead and link.


cdef struct Sent:
    uint64_t index          # roll-over counter and sequence number
    uint64_t again_ns       # when it was last sent again; 0: never
    uint16_t size           # bytes before the tag; 0: nothing was sent from here yet
    uint16_t header         # of them, bytes of header


cdef class Outgoing:
    """One RTP stream that a client sends: synthetic packets of a wanted size, or the shape of a `Trace`.

    Video is VP8 as the forwarding path must see it (RFC 7741): a descriptor with a 15-bit picture id and,
    at the start of a frame, a frame header that says keyframe or not. What follows is filling, so a
    decoder would show nothing; servers do not decode.
    """

    cdef readonly uint32_t ssrc
    cdef readonly uint32_t packets      # sent so far; the kernel's refusals count as sent, as on a network
    cdef readonly uint32_t octets       # of payload, for sender reports (RFC 3550 6.4.1)
    cdef readonly uint32_t timestamp    # of the latest frame
    cdef Endpoint _endpoint
    cdef uint8_t _pt
    cdef bint _video
    cdef uint64_t _index                # roll-over counter and sequence number of the next packet
    cdef uint16_t _picture
    cdef uint8_t _extension[20]         # one-byte-header block with the MID, padded
    cdef int _extension_length
    cdef int _mid_packets               # packets that still carry the MID
    cdef uint32_t _rtx_ssrc             # 0: what is asked for is sent again in place
    cdef uint8_t _rtx_pt
    cdef uint64_t _rtx_index
    cdef int _kept                      # packets that can be sent again; at least BATCH
    cdef Sent *_sent                    # owned, _kept of them, by index % _kept
    cdef uint8_t *_plain                # owned, _kept datagrams: packets before sealing
    cdef uint8_t _sealed[BATCH][DATAGRAM_BYTES]
    cdef mmsghdr _messages[BATCH]
    cdef iovec _vectors[BATCH]
    cdef Trace _trace                   # what `play` plays
    cdef int _trace_at                  # its next packet
    cdef int64_t _trace_zero_us         # of `play`'s clock: when its first packet would be due
    cdef uint32_t _trace_timestamp      # that stands for its 0

    def __cinit__(self, Endpoint endpoint, uint32_t ssrc, int pt, bint video, uint16_t first_seq=0,
                  int mid_extension=0, bytes mid=b"", int mid_packets=64, uint32_t rtx_ssrc=0, int rtx_pt=0,
                  int kept=0):
        """`mid_extension` is the negotiated id (1-14), 0 for none; the first `mid_packets` carry the MID. `kept`
        packets can be sent again when the other side asks: by RTX, or in place without `rtx_ssrc`."""
        cdef int i
        if not 0 <= mid_extension <= 14 or len(mid) > 16 or (mid_extension and not mid) or not 0 <= pt <= 127:
            raise SealError(f"pt {pt}, MID {mid!r} as extension {mid_extension}")
        if not 0 <= rtx_pt <= 127 or not 0 <= kept <= 16384:
            raise SealError(f"{kept} packets kept for RTX of pt {rtx_pt}")
        self._endpoint = endpoint
        self.ssrc = ssrc
        self._pt = <uint8_t>pt
        self._video = video
        self._index = first_seq
        memset(self._extension, 0, sizeof(self._extension))
        if mid_extension:
            self._extension[0] = <uint8_t>((mid_extension << 4) | (len(mid) - 1))
            memcpy(&self._extension[1], <const uint8_t *>mid, len(mid))
            self._extension_length = (1 + <int>len(mid) + 3) // 4 * 4
            self._mid_packets = mid_packets
        self._rtx_ssrc = rtx_ssrc
        self._rtx_pt = <uint8_t>rtx_pt
        self._rtx_index = (first_seq ^ 0x2A5A) & 0x7FFF
        self._kept = kept if kept > BATCH else BATCH
        self._sent = <Sent *>calloc(self._kept, sizeof(Sent))
        self._plain = <uint8_t *>malloc(<size_t>self._kept * DATAGRAM_BYTES)
        if self._sent == NULL or self._plain == NULL:
            raise MemoryError
        for i in range(BATCH):
            self._messages[i].msg_hdr.msg_iov = &self._vectors[i]
            self._messages[i].msg_hdr.msg_iovlen = 1
        if kept and not endpoint.closed:
            endpoint._outgoing.append(self)

    def __dealloc__(self):
        free(self._sent)
        free(self._plain)

    @property
    def seq(self) -> int:
        """The sequence number of the next packet."""
        return self._index & 0xFFFF

    def send_frame(self, uint32_t timestamp, int packets, int size, bint keyframe=False) -> int:
        """Send one frame of `packets` RTP packets of `size` bytes each (before the tag); returns how many the
        kernel took. Raises SealError for a size or a number that does not fit, or before there are keys."""
        cdef int i, length
        cdef int queued = 0
        if not 1 <= packets <= BATCH or not MIN_PACKET_BYTES <= size <= MAX_PACKET_BYTES:
            raise SealError(f"a frame of {packets} packets of {size} bytes")
        self._check()
        self.timestamp = timestamp
        self._picture = (self._picture + 1) & 0x7FFF
        for i in range(packets):
            length = self._write(size, i == 0, i == packets - 1, keyframe, 0)
            queued = self._queue(length, queued)
            if queued < 0:
                raise SealError("OpenSSL could not seal")
        return self._flush(queued)

    def begin(self, Trace trace, int64_t now_us, uint32_t timestamp) -> None:
        """Play `trace` from its start; `now_us` is the caller's clock, that of `play` too."""
        self._trace = trace
        self._trace_at = 0
        self._trace_zero_us = now_us
        self._trace_timestamp = timestamp

    def play(self, int64_t now_us, bint keyframe=False) -> int:
        """Send what of the trace is due, again from its start when it has ended; returns how many packets the
        kernel took. With `keyframe`, go to the trace's next keyframe at once."""
        cdef Trace trace = self._trace
        cdef TracePacket *p
        cdef int taken = 0
        cdef int queued = 0
        self._check()
        if trace is None:
            raise SealError("no trace to play")
        if keyframe:
            self._trace_at = trace._next_keyframe(self._trace_at)
            p = &trace._packets[self._trace_at]
            self._trace_zero_us = now_us - p.at_us
            self._trace_timestamp = self.timestamp + TRACE_STEP - p.timestamp
        while True:
            p = &trace._packets[self._trace_at]
            if self._trace_zero_us + p.at_us > now_us:
                break
            self.timestamp = self._trace_timestamp + p.timestamp
            if p.flags & TRACE_FIRST:
                self._picture = (self._picture + 1) & 0x7FFF
            queued = self._queue(self._write(12 + self._mid_bytes() + p.size, (p.flags & TRACE_FIRST) != 0,
                                             (p.flags & TRACE_LAST) != 0, (p.flags & TRACE_KEY) != 0,
                                             p.size if p.flags & TRACE_PADDING else 0), queued)
            if queued < 0:
                raise SealError("OpenSSL could not seal")
            if queued == BATCH:
                taken += self._flush(queued)
                queued = 0
            self._trace_at += 1
            if self._trace_at == trace.count:
                self._trace_at = 0
                self._trace_zero_us += trace.length_us
                self._trace_timestamp += <uint32_t>(trace.length_us * 9 // 100)
        return taken + self._flush(queued)

    cdef int _check(self) except -1:
        if self._endpoint._send_rtp.ctx == NULL or self._endpoint._fd < 0:
            raise SealError("no keys yet, or closed")
        return 0

    cdef int _queue(self, int slot, int queued) noexcept nogil:
        """Seal the packet of a slot for the next `_flush`; how many are queued now, or -1."""
        cdef Sent *sent = &self._sent[slot]
        cdef int length = self._seal(self._plain + slot * DATAGRAM_BYTES, sent.header, sent.size, self.ssrc,
                                     sent.index, &self._sealed[queued][0])
        if length < 0:
            return -1
        if link_drops(&self._endpoint._up):
            self._endpoint._totals.dropped_up += 1
            return queued
        self._vectors[queued].iov_base = &self._sealed[queued][0]
        self._vectors[queued].iov_len = <size_t>length
        return queued + 1

    cdef int _flush(self, int queued) noexcept nogil:
        cdef int taken = 0
        if queued:
            taken = sendmmsg(self._endpoint._fd, self._messages, <unsigned int>queued, MSG_DONTWAIT)
            if taken < 0:
                taken = 0
            self._endpoint._totals.unsent += <uint64_t>(queued - taken)
        return taken

    cdef int _seal(self, const uint8_t *packet, int header, int size, uint32_t ssrc, uint64_t index,
                   uint8_t *to) noexcept nogil:
        """Header and sealed payload to `to`; bytes of the datagram, or -1."""
        cdef uint8_t iv[SALT_BYTES]
        memcpy(to, packet, header)
        rtp_iv(iv, self._endpoint._send_rtp.salt, ssrc, index)
        if gcm_seal(&self._endpoint._send_rtp, iv, to, header, NULL, 0, packet + header, size - header,
                    to + header) < 0:
            return -1
        return size + TAG_BYTES

    cdef inline int _mid_bytes(self) noexcept nogil:
        return 4 + self._extension_length if self._mid_packets > 0 else 0

    cdef int _write(self, int size, bint first, bint last, bint keyframe, int padding) noexcept nogil:
        """The next packet, into its slot, which is returned."""
        cdef int slot = <int>(self._index % <uint64_t>self._kept)
        cdef uint8_t *to = self._plain + slot * DATAGRAM_BYTES
        cdef int header = 12 + self._mid_bytes()
        to[0] = 0x80
        # Marker: the last packet of a video frame. Sound is marked after silence only; there is none.
        to[1] = self._pt | <uint8_t>(0x80 if last and self._video else 0)
        write16(to + 2, <uint32_t>(self._index & 0xFFFF))
        write32(to + 4, self.timestamp)
        write32(to + 8, self.ssrc)
        if header > 12:
            self._mid_packets -= 1
            to[0] |= 0x10
            write16(to + 12, 0xBEDE)
            write16(to + 14, <uint32_t>(self._extension_length // 4))
            memcpy(to + 16, self._extension, self._extension_length)
        if padding:
            to[0] |= 0x20
            memset(to + header, 0, padding)
            to[header + padding - 1] = <uint8_t>padding
        else:
            self._fill(to + header, size - header, first, keyframe)
        self._sent[slot].index = self._index
        self._sent[slot].again_ns = 0
        self._sent[slot].size = <uint16_t>size
        self._sent[slot].header = <uint16_t>header
        self._index += 1
        self.packets += 1
        self.octets += <uint32_t>(size - header)
        return slot

    cdef void _fill(self, uint8_t *payload, int length, bint first, bint keyframe) noexcept nogil:
        """VP8's descriptor and frame header, and the stamp, as far as there is room for them."""
        cdef uint8_t head[32]
        cdef uint64_t now
        memset(payload, 0x5A, length)
        if self._video:
            memset(head, 0x5A, 32)
            head[0] = 0x90 if first else 0x80      # X, and S at the start of the partition
            head[1] = 0x80                         # I: a picture id follows
            write16(head + 2, 0x8000 | self._picture)
            if first:
                # RFC 6386 9.1: the lowest bit is 0 in a keyframe; start code and size follow only there.
                head[4] = 0x10 if keyframe else 0x11
                head[5] = 0
                head[6] = 0
                if keyframe:
                    head[7] = 0x9D
                    head[8] = 0x01
                    head[9] = 0x2A
                    head[10], head[11] = 0x40, 0x01   # 320, little-endian
                    head[12], head[13] = 0xB4, 0x00   # 180
            memcpy(payload, head, STAMP_AT if length > STAMP_AT else length)
        if length >= STAMP_AT + STAMP_BYTES:
            now = clock_ns(CLOCK_MONOTONIC)
            memcpy(payload + STAMP_AT, STAMP_MARK, 4)
            write32(payload + STAMP_AT + 4, self.packets)
            write32(payload + STAMP_AT + 8, <uint32_t>(now >> 32))
            write32(payload + STAMP_AT + 12, <uint32_t>now)

    # --- sending again ---

    cdef void _answer(self, uint16_t pid, uint32_t blp, uint64_t now) noexcept nogil:
        """One entry of a generic NACK."""
        self._send_again(pid, now)
        while blp:
            pid += 1
            if blp & 1:
                self._send_again(pid, now)
            blp >>= 1

    cdef void _send_again(self, uint16_t seq, uint64_t now) noexcept nogil:
        cdef Totals *totals = self._endpoint._totals
        cdef uint64_t index = self._index - <uint16_t>(<uint16_t>self._index - seq)
        cdef Sent *sent
        cdef uint8_t *plain
        cdef uint8_t *out = &self._sealed[0][0]
        cdef uint8_t rtx[DATAGRAM_BYTES]
        cdef int length
        totals.asked += 1
        if index >= self._index:
            totals.forgotten += 1       # the next packet, or before the first
            return
        sent = &self._sent[index % <uint64_t>self._kept]
        plain = self._plain + <int>(index % <uint64_t>self._kept) * DATAGRAM_BYTES
        if sent.size == 0 or sent.index != index:
            totals.forgotten += 1
            return
        if sent.again_ns and now - sent.again_ns < RESEND_GAP_NS:
            return
        sent.again_ns = now
        if self._rtx_ssrc == 0:
            # The same index seals the same bytes: nothing but the very same packet may be sent under it.
            length = self._seal(plain, sent.header, sent.size, self.ssrc, index, out)
        else:
            if sent.size + 2 > MAX_PACKET:
                totals.forgotten += 1
                return
            memcpy(rtx, plain, sent.header)
            rtx[1] = (plain[1] & 0x80) | self._rtx_pt
            write16(rtx + 2, <uint32_t>(self._rtx_index & 0xFFFF))
            write32(rtx + 8, self._rtx_ssrc)
            write16(rtx + sent.header, seq)
            memcpy(rtx + sent.header + 2, plain + sent.header, sent.size - sent.header)
            length = self._seal(rtx, sent.header, sent.size + 2, self._rtx_ssrc, self._rtx_index, out)
            self._rtx_index += 1
        if length > 0 and self._endpoint._emit(out, length) == 0:
            totals.resent += 1
