# Owns the numbers that sources lack, and asks publishers for them: once for all subscribers, again at the
# hop's round-trip time, up to an end. Calls tables, track (source_want) and rtcp_out (the compound).
#
#   gap seen -> untried --REORDER_US or REORDER_PACKETS--> asked --RTT, backing off--> asked .. -> given up
#                  \________________ comes late ____________/ \____ comes as RTX __________/


cdef void repair_link(Engine e, uint32_t index) noexcept nogil:
    """Put a source on the list of those with missing numbers."""
    cdef Source *s = &e.sources[index]
    s.repair_previous = NONE
    s.repair_next = e.repairs
    if e.repairs != NONE:
        e.sources[e.repairs].repair_previous = index
    e.repairs = index


cdef void repair_unlink(Engine e, uint32_t index) noexcept nogil:
    cdef Source *s = &e.sources[index]
    if s.repair_previous == NONE:
        e.repairs = s.repair_next
    else:
        e.sources[s.repair_previous].repair_next = s.repair_next
    if s.repair_next != NONE:
        e.sources[s.repair_next].repair_previous = s.repair_previous


cdef Missing *missing_add(Engine e, uint32_t index, uint32_t after, uint32_t eseq, int64_t now_us) noexcept nogil:
    """A missing number behind the entry `after` of the source's list (NONE: before all), or NULL at a bound."""
    cdef Source *s = &e.sources[index]
    cdef uint32_t i = e.missing_free
    cdef Missing *m
    if s.missing_count == MISSING_PER_SOURCE:
        return NULL
    if s.missing_count == 0:
        s.missing = NONE
    if i != NONE:
        e.missing_free = e.missings[i].next
    elif e.missing_top < e.missings_max:
        i = e.missing_top
        e.missing_top += 1
    else:
        e.missing_full += 1
        return NULL
    m = &e.missings[i]
    m.eseq = eseq
    m.seen_us = now_us
    m.asked_us = 0
    m.due_us = now_us + REORDER_US
    m.tries = 0
    if after == NONE:
        m.next = s.missing
        s.missing = i
    else:
        m.next = e.missings[after].next
        e.missings[after].next = i
    if m.next == NONE:
        s.missing_last = i
    if s.missing_count == 0:
        repair_link(e, index)
        s.repair_due_us = m.due_us
    s.missing_count += 1
    s.untried += 1
    e.missing_live += 1
    return m


cdef void missing_remove(Engine e, uint32_t index, uint32_t before, uint32_t i) noexcept nogil:
    """Take the entry `i`, which stands behind `before` (NONE: first), off the source's list."""
    cdef Source *s = &e.sources[index]
    cdef Missing *m = &e.missings[i]
    if before == NONE:
        s.missing = m.next
    else:
        e.missings[before].next = m.next
    if s.missing_last == i:
        s.missing_last = before
    s.untried -= m.tries == 0
    s.missing_count -= 1
    e.missing_live -= 1
    m.next = e.missing_free
    e.missing_free = i
    if s.missing_count == 0:
        repair_unlink(e, index)


cdef uint32_t missing_find(Engine e, const Source *s, uint32_t eseq, uint32_t *before) noexcept nogil:
    """The entry of a number, or NONE; `before` is the entry that it stands or would stand behind, NONE: first."""
    cdef uint32_t i = s.missing if s.missing_count else NONE
    before[0] = NONE
    while i != NONE and eseq_diff(e.missings[i].eseq, eseq) < 0:
        before[0] = i
        i = e.missings[i].next
    return i if i != NONE and e.missings[i].eseq == eseq else NONE


cdef void source_forget_missing(Engine e, uint32_t index) noexcept nogil:
    while e.sources[index].missing_count != 0:
        missing_remove(e, index, NONE, e.sources[index].missing)


cdef bint source_is_taken(Engine e, uint32_t index) noexcept nogil:
    """Whether a subscription gets this source, or wants its layer: of a simulcast some layers are nobody's."""
    cdef const Source *s = &e.sources[index]
    cdef const Track *t = &e.tracks[s.track]
    cdef const Egress *g
    cdef uint32_t route = t.routes
    if t.layer_count == 1:
        return route != NONE
    while route != NONE:
        g = &e.egress[route >> 1]
        if g.source == index or g.layer == s.layer or g.layer == NONE:
            return True
        route = route_at(e, route).next
    return False


cdef void source_gap(Engine e, uint32_t index, uint32_t since, uint32_t to, int64_t now_us) noexcept nogil:
    """The numbers between `since` and `to` have not come. Too many of them: a keyframe instead."""
    cdef Source *s = &e.sources[index]
    cdef Track *t = &e.tracks[s.track]
    cdef uint32_t count = to - since - 1
    cdef uint32_t i
    if not t.nack or not source_is_taken(e, index):
        return
    if count > MISSING_PER_SOURCE - s.missing_count:
        s.unrepaired += s.missing_count + count
        e.unrepaired += s.missing_count + count
        source_forget_missing(e, index)
        if t.video:
            source_want(e, index)
        return
    for i in range(1, count + 1):
        if missing_add(e, index, s.missing_last if s.missing_count else NONE, since + i, now_us) == NULL:
            return


cdef void source_filled(Engine e, uint32_t index, uint32_t eseq, bint repaired, int64_t now_us) noexcept nogil:
    """A number that was missing has come."""
    cdef Source *s = &e.sources[index]
    cdef Peer *p = &e.peers[s.peer]
    cdef uint32_t before
    cdef uint32_t i = missing_find(e, s, eseq, &before)
    cdef Missing *m
    cdef int64_t rtt
    if i == NONE:
        return
    m = &e.missings[i]
    rtt = now_us - m.asked_us
    if not repaired and m.asked_us != 0 and not e.tracks[s.track].has_rtx:
        # the answer, but for a packet that was late by itself; so soon it may well be that
        s.repaired += 1
        e.repaired += 1
        repaired = rtt >= ASK_MIN_US
    if repaired and m.asked_us != 0 and (m.tries == 1 or p.ask_rtt_us == 0):
        # of several requests the first is taken only while nothing better is known: never too short
        p.ask_rtt_us = rtt if p.ask_rtt_us == 0 else p.ask_rtt_us + (rtt - p.ask_rtt_us) // 8
        p.ask_rtt_us = max(p.ask_rtt_us, 1)
    missing_remove(e, index, before, i)


cdef void source_wanted_again(Engine e, uint32_t index, uint32_t eseq, int64_t now_us) noexcept nogil:
    """A subscriber misses a number that this node lacks: ask at once if nobody has yet, or if it was given up and
    is not older than what the cache holds."""
    cdef Source *s = &e.sources[index]
    cdef const cached_t *oldest
    cdef uint32_t before, i
    cdef Missing *m
    if s.track == NONE or not e.tracks[s.track].nack or eseq_diff(eseq, s.eseq_base) < 0:
        return
    if eseq_diff(eseq, s.eseq) >= 0 or s.eseq - eseq >= RECEIVED or window_has(s.window, RECEIVED, eseq):
        return
    i = missing_find(e, s, eseq, &before)
    if i == NONE:
        oldest = cache_oldest(&s.cache, &e.pool)
        if oldest == NULL or eseq_diff(eseq, oldest.eseq) < 0:
            return
        m = missing_add(e, index, before, eseq, now_us)
        if m == NULL:
            return
        m.tries = ASK_TRIES - ASK_AGAIN_TRIES
        s.untried -= 1
    else:
        m = &e.missings[i]
        if m.tries != 0:
            return
    m.due_us = now_us
    s.repair_due_us = now_us


cdef int64_t ask_again_us(Engine e, const Source *s, uint32_t tries) noexcept nogil:
    """How long to wait for the answer to request number `tries`: a round trip and some, a quarter more each time."""
    cdef const Peer *p = &e.peers[s.peer]
    cdef int64_t wait = p.ask_rtt_us
    cdef uint32_t i
    if wait == 0:
        wait = p.rtt_us if p.rtt_us != 0 else RTT_GUESS_US
    wait = max(wait + wait // 8, ASK_MIN_US)
    for i in range(1, tries):
        wait += wait // 4
    return min(wait, 1_000_000)


cdef void source_give_up(Engine e, uint32_t index, uint32_t eseq) noexcept nogil:
    """A number will not come. Video that needs it goes on at a keyframe; one that came since will do."""
    cdef Source *s = &e.sources[index]
    s.unrepaired += 1
    e.unrepaired += 1
    if e.tracks[s.track].video and (s.keyframes == 0 or eseq_diff(eseq, s.keyframe_eseq) >= 0):
        if source_is_taken(e, index):
            source_want(e, index)


cdef uint32_t source_ask(Engine e, uint32_t index, uint8_t *out, uint32_t room, int64_t now_us) noexcept nogil:
    """Write a NACK (RFC 4585 6.2.1) of what is due; the bytes written, 0 for nothing. What finds no room
    is due again at once."""
    cdef Source *s = &e.sources[index]
    cdef uint32_t before = NONE
    cdef uint32_t i = s.missing
    cdef uint32_t size = 12
    cdef uint32_t following, distance
    cdef uint32_t first = 0
    cdef int64_t hold_us = e.hold_us[e.tracks[s.track].video]
    cdef Missing *m
    s.repair_due_us = now_us + 10_000_000
    while i != NONE:
        m = &e.missings[i]
        following = m.next
        if m.tries == 0 and eseq_diff(s.eseq, m.eseq) >= REORDER_PACKETS:
            m.due_us = min(m.due_us, now_us)
        if m.due_us <= now_us:
            if m.tries >= ASK_TRIES or now_us - m.seen_us >= hold_us:
                source_give_up(e, index, m.eseq)
                missing_remove(e, index, before, i)
                i = following
                continue
            distance = m.eseq - first
            if size > 12 and 1 <= distance <= 16:
                store16(out + size - 2, load16(out + size - 2) | <uint32_t> 1 << (distance - 1))
            elif size + 4 <= room:
                first = m.eseq
                store16(out + size, first & 0xFFFF)
                store16(out + size + 2, 0)
                size += 4
            else:
                s.repair_due_us = now_us
                break
            s.untried -= m.tries == 0
            m.tries += 1
            if m.asked_us == 0:
                m.asked_us = now_us
            m.due_us = now_us + ask_again_us(e, s, m.tries)
            s.asked += 1
            e.asked += 1
        s.repair_due_us = min(s.repair_due_us, m.due_us)
        before = i
        i = following
    if size == 12:
        return 0
    store32(out + 4, e.peers[s.peer].ssrc)
    store32(out + 8, s.ssrc)
    e.nacks_out += 1
    return rtcp_header(out, 1, 205, size)


cdef void peer_ask(Engine e, uint32_t peer, int64_t now_us) noexcept nogil:
    """Ask a publisher for what is due, of all its sources in as few compounds as it takes."""
    cdef Peer *p = &e.peers[peer]
    cdef uint32_t at = rtcp_empty_report(e, p)
    cdef uint32_t i = p.sources
    while i != NONE:
        if e.sources[i].missing_count != 0 and e.sources[i].repair_due_us <= now_us:
            if RTCP_ROOM - at < 16:
                rtcp_send(e, p, at)
                at = rtcp_empty_report(e, p)
            at += source_ask(e, i, e.scratch + at, RTCP_ROOM - at, now_us)
            if e.sources[i].missing_count != 0 and e.sources[i].repair_due_us <= now_us:
                rtcp_send(e, p, at)   # full: the same source goes on
                at = rtcp_empty_report(e, p)
                continue
        i = e.sources[i].next
    if at > 8:
        rtcp_send(e, p, at)


cdef void repair_run(Engine e, int64_t now_us) noexcept nogil:
    """Ask for all that is due."""
    cdef uint32_t i = e.repairs
    cdef uint32_t following
    while i != NONE:
        following = e.sources[i].repair_next
        if e.sources[i].repair_due_us <= now_us:
            peer_ask(e, e.sources[i].peer, now_us)
            if following != NONE and e.sources[following].missing_count == 0:
                following = e.repairs   # it went with what its peer gave up: what is left is not due
        i = following


cdef int64_t repair_at_us(Engine e) noexcept nogil:
    """When `repair_run` has work, 0: not for now."""
    cdef uint32_t i = e.repairs
    cdef int64_t at = 0
    while i != NONE:
        if at == 0 or e.sources[i].repair_due_us < at:
            at = e.sources[i].repair_due_us
        i = e.sources[i].repair_next
    return at


cdef int rtx_in(Engine e, uint32_t index, uint32_t slot_index, int64_t now_us) noexcept nogil:
    """Take what an RTX packet repeats for what it is, if it is missing. 0, or a negative reason."""
    cdef Packet *p = &e.arriving
    cdef Source *rtx = &e.sources[index]
    cdef Track *t = &e.tracks[rtx.track]
    cdef uint32_t media = t.layer[rtx.layer]
    cdef uint8_t pt = t.rtx_of[p.rtp.pt]
    cdef int64_t since
    cdef Source *s
    e.rtx_in += 1
    if p.rtp.payload_size == 0:
        return 0   # padding, as probes are
    if media == NONE or pt > 127 or rtp_unwrap(&p.rtp, e.io.slots[slot_index].data, pt, e.sources[media].ssrc) < 0:
        return drop(e, DROP_BAD_RTX)
    s = &e.sources[media]
    p.eseq = eseq_near(s.eseq, p.rtp.seq)
    if s.received == 0 or eseq_diff(p.eseq, s.eseq) > 0 or eseq_diff(p.eseq, s.eseq_base) < 0:
        return drop(e, DROP_BAD_RTX)
    since = eseq_diff(s.last_timestamp, p.rtp.timestamp)
    if since > RTX_SPAN_S * <int64_t> s.clock_rate or -since > RTX_SPAN_S * <int64_t> s.clock_rate:
        return drop(e, DROP_BAD_RTX)   # of the SSRC that led the layer before: its numbers mean something else
    if s.eseq - p.eseq >= RECEIVED or window_has(s.window, RECEIVED, p.eseq):
        s.doubled += 1
        return drop(e, DROP_TWICE)
    window_set(s.window, RECEIVED, p.eseq)
    source_filled(e, media, p.eseq, True, now_us)
    s.repaired += 1
    e.repaired += 1
    return media_in(e, media, now_us)
