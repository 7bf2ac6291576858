# Owns the compound under construction (`scratch`) and the times of reports. Calls the batch's send slots.
#
# Each compound begins with a receiver report of our own SSRC, which thereby is the one SSRC whose SRTCP
# index counts up.


cdef int rtcp_send(Engine e, Peer *p, uint32_t size) noexcept nogil:
    """Protect and queue the first `size` bytes of the scratch."""
    cdef uint8_t *out
    cdef int sealed = <int> size
    if p.srtp_out == NULL or p.selected == NONE:
        return drop(e, DROP_NO_KEYS)
    out = batch_slot(e.io, False)
    memcpy(out, e.scratch, size)
    if e.protect_rtcp(p.srtp_out, out, &sealed) != 0:
        batch_release(e.io)
        return drop(e, DROP_SEAL)
    batch_commit(e.io, &p.to, <uint32_t> sealed)
    p.packets_out += 1
    p.bytes_out += <uint64_t> sealed
    e.rtcp_out += 1
    return 0


cdef inline uint32_t rtcp_header(uint8_t *out, uint32_t count, uint32_t kind, uint32_t size) noexcept nogil:
    out[0] = <uint8_t> (0x80 | count)
    out[1] = <uint8_t> kind
    store16(out + 2, size // 4 - 1)
    return size


cdef uint32_t rtcp_empty_report(Engine e, const Peer *p) noexcept nogil:
    store32(e.scratch + 4, p.ssrc)
    return rtcp_header(e.scratch, 0, 201, 8)


cdef uint32_t sdes_chunk(uint8_t *out, uint32_t ssrc, const uint8_t *cname, uint32_t size) noexcept nogil:
    """RFC 3550 6.5: SSRC, CNAME item, at least one zero up to the word."""
    cdef uint32_t total = (6 + size + 4) & ~<uint32_t> 3
    memset(out, 0, total)
    store32(out, ssrc)
    out[4] = 1
    out[5] = <uint8_t> size
    memcpy(out + 6, cname, size)
    return total


cdef uint32_t rtcp_report_block(Source *s, uint8_t *out, int64_t now_us) noexcept nogil:
    """RFC 3550 6.4.1 and A.3; moves the interval on."""
    cdef uint32_t expected = s.eseq - s.eseq_base + 1
    cdef uint32_t expected_interval = expected - s.expected_before
    cdef uint32_t received_interval = s.received - s.received_before
    cdef uint64_t lost = s.lost_before + source_lost(s)
    cdef uint32_t fraction = 0
    if expected_interval != 0 and expected_interval > received_interval:
        fraction = ((expected_interval - received_interval) << 8) // expected_interval
    s.expected_before = expected
    s.received_before = s.received
    store32(out, s.ssrc)
    out[4] = <uint8_t> (fraction if fraction < 256 else 255)
    store24(out + 5, <uint32_t> (lost if lost < 0x7fffff else 0x7fffff))
    store32(out + 8, s.eseq - 0x10000)
    store32(out + 12, s.jitter_16 >> 4)
    store32(out + 16, <uint32_t> (s.sr_ntp >> 16) if s.has_sr else 0)
    store32(out + 20, <uint32_t> ((now_us - s.sr_us) * 65536 // 1_000_000) if s.has_sr else 0)
    return 24


cdef uint32_t rtcp_receiver_report(Engine e, uint32_t peer, int64_t now_us, bint *more) noexcept nogil:
    """A report about up to 31 streams that came lately and were not told of at `now_us` already."""
    cdef Peer *p = &e.peers[peer]
    cdef uint32_t at = 8
    cdef uint32_t count = 0
    cdef uint32_t i = p.sources
    cdef Source *s
    while i != NONE and count < 31:
        s = &e.sources[i]
        i = s.next
        if s.received == 0 or s.is_rtx or s.track == NONE or now_us - s.last_us > 5 * REPORT_US:
            continue
        if s.reported_us != now_us:
            s.reported_us = now_us
            at += rtcp_report_block(s, e.scratch + at, now_us)
            count += 1
    more[0] = count == 31
    store32(e.scratch + 4, p.ssrc)
    rtcp_header(e.scratch, count, 201, at)
    return at


cdef uint32_t rtcp_sender_report_of(Engine e, uint32_t index, uint8_t *out, int64_t now_us) noexcept nogil:
    """The publisher's clock as it would read now, and what this subscription is stamped at that moment."""
    cdef Egress *g = &e.egress[index]
    cdef Source *s = &e.sources[g.source]
    cdef int64_t elapsed = now_us - s.sr_us
    cdef uint64_t ntp = s.sr_ntp + (<uint64_t> (elapsed // 1_000_000) << 32)
    cdef uint32_t stamp = s.sr_timestamp + g.timestamp_offset
    ntp += ((<uint64_t> (elapsed % 1_000_000)) << 32) // 1_000_000
    stamp += <uint32_t> (elapsed * <int64_t> g.clock_rate // 1_000_000)
    store32(out + 4, g.ssrc)
    store64(out + 8, ntp)
    store32(out + 16, stamp)
    store32(out + 20, <uint32_t> g.packets)
    store32(out + 24, <uint32_t> g.octets)
    g.sr_middle[g.sr_next] = <uint32_t> (ntp >> 16)
    g.sr_us[g.sr_next] = now_us
    g.sr_next = (g.sr_next + 1) % SR_KEPT
    g.sr_sent += 1
    g.sr_at_us = now_us + REPORT_US
    return rtcp_header(out, 0, 200, 28)


cdef inline bint egress_reports(Engine e, const Egress *g, int64_t now_us) noexcept nogil:
    return g.sent and egress_in_force(e, g) and e.sources[g.source].has_sr and now_us - g.out_us < FLOWING_US


cdef void rtcp_finish(Engine e, Peer *p, uint32_t at, const uint8_t *chunks, uint32_t size, uint32_t count) noexcept nogil:
    memcpy(e.scratch + at + 4, chunks, size)
    at += rtcp_header(e.scratch + at, count, 202, 4 + size)
    rtcp_send(e, p, at)


cdef void peer_sender_reports(Engine e, uint32_t peer, uint32_t at, bint all_due, int64_t now_us) noexcept nogil:
    """Go on with a compound of `at` bytes: sender reports and descriptions, in as many compounds as it
    takes. With `all_due` those whose time has come, else only the first ones of a new source."""
    cdef Peer *p = &e.peers[peer]
    cdef uint8_t chunks[1200]
    cdef uint32_t size = sdes_chunk(chunks, p.ssrc, p.cname, p.cname_size)
    cdef uint32_t count = 1
    cdef uint32_t i = p.egress
    cdef Egress *g
    while i != NONE:
        g = &e.egress[i]
        if (g.sr_due or (all_due and g.sr_at_us <= now_us)) and egress_reports(e, g, now_us):
            if at + 28 + 4 + size + 10 + g.cname_size > RTCP_ROOM or count == 31:
                rtcp_finish(e, p, at, chunks, size, count)
                at = rtcp_empty_report(e, p)
                size = sdes_chunk(chunks, p.ssrc, p.cname, p.cname_size)
                count = 1
            at += rtcp_sender_report_of(e, i, e.scratch + at, now_us)
            size += sdes_chunk(chunks + size, g.ssrc, g.cname, g.cname_size)
            count += 1
        g.sr_due = False
        i = g.next
    if at > 8 or count > 1:
        rtcp_finish(e, p, at, chunks, size, count)


cdef void flush_sender_reports(Engine e, int64_t now_us) noexcept nogil:
    """The first sender reports of new sources, right behind their first media."""
    cdef uint32_t i
    for i in range(e.sr_due_count):
        if e.egress[e.sr_due[i]].used and e.egress[e.sr_due[i]].sr_due:
            peer_sender_reports(
                e, e.egress[e.sr_due[i]].peer, rtcp_empty_report(e, &e.peers[e.egress[e.sr_due[i]].peer]), False, now_us
            )
    e.sr_due_count = 0


cdef int peer_feedback(Engine e, uint32_t peer) noexcept nogil:
    """Tell a publisher of its arrivals; in several packets when one is too small."""
    cdef Peer *p = &e.peers[peer]
    cdef uint32_t at, size
    while p.twcc.pending != 0:
        at = rtcp_empty_report(e, p)
        size = twcc_report(p.twcc, p.ssrc, p.media_ssrc, e.scratch + at, RTCP_ROOM - at)
        if size == 0:
            continue   # a stretch in which nothing came; the report has moved on past it
        e.feedback_out += 1
        rtcp_send(e, p, at + size)
    return 0


cdef void peer_tick(Engine e, uint32_t peer, int64_t now_us) noexcept nogil:
    cdef Peer *p = &e.peers[peer]
    cdef uint8_t chunk[CNAME_MAX + 16]
    cdef uint32_t i, at
    cdef bint more = False
    if p.twcc != NULL and p.twcc.pending != 0 and p.feedback_at_us <= now_us:
        p.feedback_at_us = now_us + FEEDBACK_US
        peer_feedback(e, peer)
    if e.plis_deferred != 0:
        i = p.egress
        while i != NONE:
            if e.egress[i].pli_deferred:
                egress_ask(e, i, now_us)
            i = e.egress[i].next
    if p.report_at_us <= now_us:
        p.report_at_us = now_us + REPORT_US
        if p.xr_middle != 0:
            rtcp_send(e, p, rtcp_reference_answer(e, p, now_us))
        at = rtcp_receiver_report(e, peer, now_us, &more)
        while more:
            rtcp_finish(e, p, at, chunk, sdes_chunk(chunk, p.ssrc, p.cname, p.cname_size), 1)
            at = rtcp_receiver_report(e, peer, now_us, &more)
        peer_sender_reports(e, peer, at, True, now_us)
        i = p.sources
        while i != NONE:
            source_second(e, &e.sources[i], now_us)
            i = e.sources[i].next
        i = p.egress
        while i != NONE:
            egress_second(&e.egress[i], now_us)
            i = e.egress[i].next


cdef uint32_t rtcp_reference_answer(Engine e, Peer *p, int64_t now_us) noexcept nogil:
    """Answer a receiver's reference time with when it came (RFC 3611 4.5), so that it learns the round trip."""
    cdef uint32_t at = rtcp_empty_report(e, p)
    cdef uint8_t *out = e.scratch + at
    store32(out + 4, p.ssrc)
    out[8] = 5
    out[9] = 0
    store16(out + 10, 3)
    store32(out + 12, p.xr_ssrc)
    store32(out + 16, p.xr_middle)
    store32(out + 20, <uint32_t> ((now_us - p.xr_us) * 65536 // 1_000_000))
    p.xr_middle = 0
    return at + rtcp_header(out, 0, 207, 24)


cdef uint32_t rate_of(uint64_t total, uint64_t *before, int64_t *before_us, int64_t now_us) noexcept nogil:
    """Bits per second since the last call, whose count and time are kept; 0 at the first."""
    cdef uint64_t rate = 0
    if before_us[0] != 0 and now_us > before_us[0]:
        rate = (total - before[0]) * 8_000_000 // <uint64_t> (now_us - before_us[0])
    before[0] = total
    before_us[0] = now_us
    return <uint32_t> rate if rate >> 32 == 0 else <uint32_t> -1


cdef void egress_second(Egress *g, int64_t now_us) noexcept nogil:
    """Bitrate, and the bound of what may be resent: half of what a second brings, and a burst."""
    g.bitrate_bps = rate_of(g.bytes, &g.rate_bytes, &g.rate_us, now_us)
    g.resend_credit = min(g.resend_credit, RESEND_BURST + <int64_t> g.bitrate_bps // 16)


cdef void source_second(Engine e, Source *s, int64_t now_us) noexcept nogil:
    """Bitrate, and what the cache keeps."""
    if s.cache.blocks != 0:
        source_fit(e, s, now_us, now_us - s.rate_us if s.rate_us != 0 else 0)
    s.bitrate_bps = rate_of(s.bytes, &s.rate_bytes, &s.rate_us, now_us)


cdef bint keyframe_request(Engine e, uint32_t track, uint32_t layer, bint fir) noexcept nogil:
    """Send a PLI (RFC 4585 6.3.1) or FIR (RFC 5104 4.3.1) and watch for the keyframe."""
    cdef Track *t = &e.tracks[track]
    cdef Peer *p = &e.peers[t.peer]
    cdef uint32_t at, ssrc
    cdef uint8_t *out
    if layer >= LAYERS or t.layer[layer] == NONE:
        return False
    t.watched[layer] = True
    ssrc = e.sources[t.layer[layer]].ssrc
    at = rtcp_empty_report(e, p)
    out = e.scratch + at
    store32(out + 4, p.ssrc)
    store32(out + 8, 0 if fir else ssrc)
    if fir:
        store32(out + 12, ssrc)
        store32(out + 16, <uint32_t> t.fir_seq << 24)
        t.fir_seq += 1
        at += rtcp_header(out, 4, 206, 20)
    else:
        at += rtcp_header(out, 1, 206, 12)
    if rtcp_send(e, p, at) < 0:
        return False
    t.plis += 1
    e.plis_out += 1
    return True


cdef void remb_send(Engine e, uint32_t peer, uint64_t rate) noexcept nogil:
    """draft-alvestrand-rmcat-remb-03 2.2, for all media SSRCs that came lately, up to 255."""
    cdef Peer *p = &e.peers[peer]
    cdef uint32_t at = rtcp_empty_report(e, p)
    cdef uint8_t *out = e.scratch + at
    cdef uint32_t size = 20
    cdef uint32_t count = 0
    cdef uint32_t exponent = 0
    cdef uint32_t i = p.sources
    while i != NONE and count < 64:
        if e.sources[i].track != NONE and e.sources[i].received != 0 and not e.sources[i].is_rtx:
            store32(out + size, e.sources[i].ssrc)
            size += 4
            count += 1
        i = e.sources[i].next
    if count == 0:
        return
    while rate >> exponent > 0x3ffff:
        exponent += 1
    store32(out + 4, p.ssrc)
    store32(out + 8, 0)
    store32(out + 12, 0x52454D42)
    out[16] = <uint8_t> count
    store24(out + 17, (exponent << 18) | <uint32_t> (rate >> exponent))
    at += rtcp_header(out, 15, 206, size)
    rtcp_send(e, p, at)
