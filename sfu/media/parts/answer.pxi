# Owns what subscriptions get out of the cache: answers to NACKs, and the start of a new subscriber. Calls
# cache, egress (egress_send, egress_seal) and repair (source_wanted_again).


cdef bint packet_read(Engine e, uint32_t source, const cached_t *kept, Packet *p) noexcept nogil:
    """A kept packet as it was when it came."""
    cdef Source *s = &e.sources[source]
    if s.track == NONE or kept.arrival_us < s.since_us or rtp_parse(&p.rtp, kept.data, kept.size) < 0:
        return False
    p.source = source
    p.source_generation = s.generation
    p.layer = s.layer
    p.eseq = kept.eseq
    p.arrival_us = kept.arrival_us
    p.keyframe = kept.keyframe
    p.codec = kept.codec
    p.next = NONE
    vp8_of(p)
    return True


cdef bint resend_allowed(const Egress *g, uint32_t number, uint32_t size, int64_t now_us) noexcept nogil:
    """Not again within a round trip, not too often, and not more than a share of what is sent anyway."""
    cdef const Resend *before = &g.resends[number % RESENDS]
    cdef int64_t wait = max(g.rtt_us - g.rtt_us // 8, RESEND_MIN_US)
    if g.resend_credit < <int64_t> size:
        return False
    if before.count == 0 or before.seq != <uint16_t> number:
        return True
    return before.count < RESENDS_PER_NUMBER and <uint32_t> (now_us // 1000) - before.at_ms >= <uint32_t> (wait // 1000)


cdef void resend_note(Egress *g, uint32_t number, uint32_t size, int64_t now_us) noexcept nogil:
    cdef Resend *note = &g.resends[number % RESENDS]
    if note.seq != <uint16_t> number:
        note.seq = <uint16_t> number
        note.count = 0
    note.count += 1
    note.at_ms = <uint32_t> (now_us // 1000)
    g.resend_credit -= size
    g.resent += 1
    g.resent_bytes += size


cdef inline void answer_refused(Engine e, Egress *g) noexcept nogil:
    g.nacks_refused += 1
    e.nacks_refused += 1


cdef void egress_answer(Engine e, uint32_t index, uint16_t seq, int64_t now_us) noexcept nogil:
    """The subscriber misses a number: send it again, send it now, or ask upstream."""
    cdef Egress *g = &e.egress[index]
    cdef uint32_t number = eseq_near(g.out_eseq, seq)
    cdef Route *r = &g.route[g.active]
    cdef const piece_t *piece = seqmap_of_output(&g.map, number)
    cdef const cached_t *kept
    cdef Packet p
    cdef bint as_rtx
    cdef int sealed
    g.nacks += 1
    e.nacks_in += 1
    if not g.sent or not egress_can_send(e, g) or eseq_diff(number, g.out_eseq) > 0 or g.out_eseq - number >= SENT:
        return
    if (
        piece == NULL
        or not e.sources[piece.source].used
        or e.sources[piece.source].generation != piece.generation
        or e.sources[piece.source].track != r.track
    ):
        return
    if e.answers_left == 0:
        answer_refused(e, g)
        return
    e.answers_left -= 1
    kept = source_cached(e, piece.source, number - piece.offset)
    if kept == NULL:
        g.nacks_missed += 1
        e.nacks_missed += 1
        if e.call_wanted_left != 0:
            e.call_wanted_left -= 1
            source_wanted_again(e, piece.source, number - piece.offset, now_us)
        return
    if not packet_read(e, piece.source, kept, &p) or r.types[p.rtp.pt] > 127:
        return
    if not window_has(g.window, SENT, number):
        if p.rtp.payload_size != 0:
            egress_send(e, g, r, piece, &p, number, now_us)
        return
    as_rtx = g.rtx_ssrc != 0 and r.rtx[r.types[p.rtp.pt]] < 128
    if (
        e.call_answers_left == 0
        or not resend_allowed(g, number, kept.size, now_us)
        or (not as_rtx and eseq_diff(number, g.plain_from) < 0)
    ):
        answer_refused(e, g)
        return
    sealed = egress_seal(e, g, r, piece, &p, number, as_rtx)
    if sealed < 0:
        return
    e.call_answers_left -= 1
    e.resent += 1
    e.resent_bytes += <uint64_t> sealed
    resend_note(g, number, <uint32_t> sealed, now_us)


cdef void egress_catch_up(Engine e, uint32_t index, uint32_t which, const Packet *first, int64_t now_us) noexcept nogil:
    """A subscription has begun with a packet that came after later ones, lost and repaired: those had been
    left out, and follow now."""
    cdef const Source *s = &e.sources[first.source]
    cdef uint32_t count = min(s.eseq - first.eseq, <uint32_t> START_PACKETS)
    cdef uint32_t i
    cdef const cached_t *kept
    cdef Packet p
    for i in range(1, count + 1):
        kept = source_cached(e, first.source, first.eseq + i)
        if kept == NULL or kept.arrival_us >= first.arrival_us:
            continue   # of this batch: its turn comes
        if packet_read(e, first.source, kept, &p):
            egress_packet(e, index, which, &p, now_us)


cdef bint egress_start_cached(Engine e, uint32_t index, int64_t now_us) noexcept nogil:
    """Begin a new subscription at the last keyframe, if that is young and all since then is here. It then
    needs no keyframe of its own. A full socket has no room for so much at once: it begins, or goes on, at the
    next keyframe."""
    cdef Egress *g = &e.egress[index]
    cdef uint32_t which = g.active
    cdef uint32_t source, i, count
    cdef Source *s
    cdef Packet p
    if g.sent or not g.video or g.pending or g.route[which].track == NONE or g.layer >= LAYERS:
        return False
    if not egress_can_send(e, g) or e.io.out.blocked:
        return False
    source = e.tracks[g.route[which].track].layer[g.layer]
    if source == NONE:
        return False
    s = &e.sources[source]
    count = s.eseq - s.keyframe_eseq + 1
    if s.keyframes == 0 or now_us - s.keyframe_us > e.start_us or count > START_PACKETS:
        return False
    for i in range(count):
        if source_cached(e, source, s.keyframe_eseq + i) == NULL:
            return False
    for i in range(count):
        if packet_read(e, source, source_cached(e, source, s.keyframe_eseq + i), &p):
            egress_packet(e, index, which, &p, now_us)
        if e.io.out.blocked and i + 1 < count:
            g.source = NONE   # the rest would push out what others wait for
            g.waiting_us = 0
            return False
    e.starts_cached += 1
    return True
