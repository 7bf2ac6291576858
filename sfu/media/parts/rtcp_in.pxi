# Owns nothing: takes RTCP apart and tells egress and track what it says. Whole compounds are checked
# before the first packet of one is believed; every read stands under the length of its packet.


cdef bint rtcp_fits(const uint8_t *data, uint32_t size) noexcept nogil:
    """Whether packets of version 2 fill the datagram exactly (RFC 3550 A.2, reduced-size allowed)."""
    cdef uint32_t at = 0
    cdef uint32_t length
    while at < size:
        if size - at < 4 or data[at] >> 6 != 2:
            return False
        length = 4 + 4 * <uint32_t> load16(data + at + 2)
        if length > size - at:
            return False
        at += length
    return True


cdef int rtcp_in(Engine e, uint32_t path, uint8_t *data, uint32_t received, int64_t now_us) noexcept nogil:
    cdef uint32_t peer = e.paths[path].peer
    cdef Peer *p = &e.peers[peer]
    cdef int size = <int> received
    cdef uint32_t index, at, length
    if p.srtp_in == NULL:
        return drop(e, DROP_NO_KEYS)
    if received < 8 + p.rtcp_trailer or data[0] >> 6 != 2:
        return drop(e, DROP_BAD_HEADER)
    index = hash_find(&e.by_ssrc, ssrc_key(peer, load32(data + 4)))
    if (index == NONE or not e.sources[index].sealed) and p.streams >= e.streams_per_peer:
        return drop(e, DROP_SSRC_LIMIT)
    if e.unprotect_rtcp(p.srtp_in, data, &size) != 0:
        p.refused += 1
        return drop(e, DROP_REFUSED)
    e.paths[path].heard_us = now_us
    if index == NONE:
        index = source_add(e, peer, load32(data + 4))
        if index == NONE:
            return drop(e, DROP_SSRC_LIMIT)
    if not e.sources[index].sealed:
        e.sources[index].sealed = True
        p.streams += 1
    e.sources[index].last_us = now_us if e.sources[index].track == NONE else e.sources[index].last_us
    e.rtcp_in += 1
    e.answers_left = RESENDS_PER_REPORT
    if not rtcp_fits(data, <uint32_t> size):
        return drop(e, DROP_BAD_RTCP)
    at = 0
    while at < <uint32_t> size:
        length = 4 + 4 * <uint32_t> load16(data + at + 2)
        rtcp_packet(e, peer, data + at, length, now_us)
        at += length
    return 0


cdef void rtcp_packet(Engine e, uint32_t peer, const uint8_t *data, uint32_t size, int64_t now_us) noexcept nogil:
    """One packet of a compound; unknown kinds and those too short for what they say are passed over."""
    cdef uint32_t count = data[0] & 0x1f
    cdef uint8_t kind = data[1]
    if kind == 200 and size >= 28:
        rtcp_sender_report(e, peer, data, now_us)
        rtcp_report_blocks(e, peer, data + 28, size - 28, count, now_us)
    elif kind == 201 and size >= 8:
        rtcp_report_blocks(e, peer, data + 8, size - 8, count, now_us)
    elif kind == 203:
        e.byes_in += 1   # what it names goes silent; the stall clock of its track decides
    elif kind == 205 and size >= 12:
        rtcp_transport_feedback(e, peer, data, size, count, now_us)
    elif kind == 206 and size >= 12:
        rtcp_payload_feedback(e, peer, data, size, count, now_us)
    elif kind == 207 and size >= 8:
        rtcp_extended(e, peer, data, size, now_us)


cdef void rtcp_extended(Engine e, uint32_t peer, const uint8_t *data, uint32_t size, int64_t now_us) noexcept nogil:
    """Keep a receiver's reference time (RFC 3611 4.4) until the next report answers it; other blocks pass."""
    cdef Peer *p = &e.peers[peer]
    cdef uint32_t at = 8
    cdef uint32_t length
    while at + 4 <= size:
        length = 4 + 4 * <uint32_t> load16(data + at + 2)
        if length > size - at:
            return
        if data[at] == 4 and length == 12:
            p.xr_ssrc = load32(data + 4)
            p.xr_middle = <uint32_t> (load64(data + at + 4) >> 16)
            p.xr_us = now_us
        at += length


cdef void rtcp_sender_report(Engine e, uint32_t peer, const uint8_t *data, int64_t now_us) noexcept nogil:
    cdef uint32_t index = hash_find(&e.by_ssrc, ssrc_key(peer, load32(data + 4)))
    cdef Source *s
    cdef uint32_t route
    cdef bint first
    if index == NONE:
        return
    s = &e.sources[index]
    first = not s.has_sr
    s.has_sr = True
    s.sr_ntp = load64(data + 8)
    s.sr_timestamp = load32(data + 16)
    s.sr_us = now_us
    if not first or s.track == NONE:
        return
    route = e.tracks[s.track].routes
    while route != NONE:
        if e.egress[route >> 1].source == index:
            egress_sr_soon(e, route >> 1)
        route = route_at(e, route).next


cdef void rtcp_report_blocks(
    Engine e, uint32_t peer, const uint8_t *data, uint32_t size, uint32_t count, int64_t now_us
) noexcept nogil:
    """What a subscriber says of our streams; blocks about streams that we do not send it are passed over."""
    cdef Egress *g
    cdef uint32_t i, k, index, middle
    cdef int64_t rtt
    for i in range(count):
        if size < 24:
            return
        index = hash_find(&e.by_egress, ssrc_key(peer, load32(data)))
        if index != NONE:
            g = &e.egress[index]
            g.fraction_lost = data[4]
            g.lost = load24(data + 5)
            g.jitter = load32(data + 12)
            middle = load32(data + 16)
            for k in range(SR_KEPT):
                if middle != 0 and g.sr_us[k] != 0 and g.sr_middle[k] == middle:
                    rtt = now_us - g.sr_us[k] - (<int64_t> load32(data + 20) * 1_000_000 >> 16)
                    if 0 <= rtt < 60_000_000:
                        g.rtt_us = rtt if rtt > 0 else 1
                        e.peers[peer].rtt_us = g.rtt_us
                    break
        data += 24
        size -= 24


cdef void rtcp_transport_feedback(
    Engine e, uint32_t peer, const uint8_t *data, uint32_t size, uint32_t form, int64_t now_us
) noexcept nogil:
    cdef uint32_t index, at, bits
    cdef uint16_t number
    if form == 1:
        index = hash_find(&e.by_egress, ssrc_key(peer, load32(data + 8)))
        if index == NONE:
            return
        at = 12
        while at + 4 <= size:
            number = load16(data + at)
            bits = <uint32_t> load16(data + at + 2) << 1 | 1
            while bits != 0:
                if bits & 1:
                    egress_answer(e, index, number, now_us)
                number += 1
                bits >>= 1
            at += 4
    elif form == 15 and size >= 20:
        e.twcc_in += 1
        e.peers[peer].twcc_in += 1


cdef void rtcp_payload_feedback(
    Engine e, uint32_t peer, const uint8_t *data, uint32_t size, uint32_t form, int64_t now_us
) noexcept nogil:
    cdef uint32_t index, at
    cdef uint64_t rate
    if form == 1:
        e.plis_in += 1
        index = hash_find(&e.by_egress, ssrc_key(peer, load32(data + 8)))
        if index != NONE:
            e.egress[index].plis += 1
            egress_ask(e, index, now_us)
    elif form == 4:
        at = 12
        while at + 8 <= size:
            e.firs_in += 1
            index = hash_find(&e.by_egress, ssrc_key(peer, load32(data + at)))
            if index != NONE:
                e.egress[index].plis += 1
                egress_ask(e, index, now_us)
            at += 8
    elif form == 15 and size >= 20 and load32(data + 12) == 0x52454D42:   # "REMB"
        e.rembs_in += 1
        rate = <uint64_t> (load24(data + 17) & 0x3ffff)
        at = data[17] >> 2
        e.peers[peer].remb_bps = rate << at if at < 40 else 0xffffffffff
