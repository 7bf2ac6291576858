# Owns subscriptions: routes, numbering, rewriting, sealing. Calls tables, track (source_want) and the
# batch's send slots.


cdef inline Route *route_at(Engine e, uint32_t route) noexcept nogil:
    return &e.egress[route >> 1].route[route & 1]


cdef void route_link(Engine e, uint32_t route, uint32_t track) noexcept nogil:
    cdef Route *r = route_at(e, route)
    cdef Track *t = &e.tracks[track]
    r.track = track
    r.previous = NONE
    r.next = t.routes
    if t.routes != NONE:
        route_at(e, t.routes).previous = route
    t.routes = route


cdef void route_unlink(Engine e, uint32_t route) noexcept nogil:
    cdef Route *r = route_at(e, route)
    cdef Egress *g = &e.egress[route >> 1]
    if r.track == NONE:
        return
    if e.tracks[r.track].cursor == route:
        e.tracks[r.track].cursor = r.next
    if r.previous == NONE:
        e.tracks[r.track].routes = r.next
    else:
        route_at(e, r.previous).next = r.next
    if r.next != NONE:
        route_at(e, r.next).previous = r.previous
    r.track = NONE
    if (route & 1) == g.active:
        g.source = NONE
    else:
        g.pending = False


cdef inline bint egress_in_force(Engine e, const Egress *g) noexcept nogil:
    """Whether packets of `g.source` pass, and that source is still the one it was."""
    return g.source != NONE and e.sources[g.source].used and e.sources[g.source].generation == g.last_generation


cdef void egress_sr_soon(Engine e, uint32_t index) noexcept nogil:
    """Send a sender report at the end of this call, or at the next tick when too many are due."""
    cdef Egress *g = &e.egress[index]
    if not g.sr_due and e.sr_due_count < e.egress_max:
        g.sr_due = True
        e.sr_due[e.sr_due_count] = index
        e.sr_due_count += 1


cdef inline bint egress_knows(const Egress *g, uint32_t which, const Packet *p) noexcept nogil:
    return p.rtp.payload_size > 0 and g.route[which].types[p.rtp.pt] < 128


cdef bint egress_may_switch(
    Engine e, Egress *g, uint32_t which, const Packet *p, int64_t now_us
) noexcept nogil:
    """Whether this packet of another source than the present one begins the way there."""
    cdef uint32_t leading = 1 - g.active if g.pending else g.active
    if which != leading or not egress_knows(g, which, p):
        return False
    if g.layer == NONE:
        g.layer = p.layer   # the first that flows, until control chooses
    if p.layer != g.layer:
        return False
    if e.tracks[g.route[which].track].layer[p.layer] != p.source:
        return False
    if not g.video or p.keyframe:
        return True
    if g.waiting_us == 0:
        g.waiting_us = now_us   # route_serve asks, unless the keyframe is in the same batch
    if now_us - g.waiting_us < e.keyframe_wait_us:
        return False
    if e.sources[p.source].keyframes != 0:
        g.waiting_us = now_us   # its keyframes can be told: ask again, since others would show nothing
        return False
    e.switches_blind += 1
    return True


cdef uint32_t egress_offset(Engine e, const Egress *g, const Packet *p, int64_t now_us) noexcept nogil:
    """What to add to the timestamps of the source that begins with this packet, so that they go on from
    what was sent: nothing new for the same source again, the sender reports of both sources where they
    are of one publisher; where those don't agree with the clock, the time since the last packet."""
    cdef const Source *s = &e.sources[p.source]
    cdef const Source *old = &e.sources[g.last_source] if g.last_source != NONE else NULL
    cdef int64_t rate = g.clock_rate
    cdef int64_t elapsed = (now_us - g.out_us) * rate // 1_000_000
    cdef uint32_t expected = g.out_timestamp + <uint32_t> (elapsed if elapsed > 0 else 1)
    cdef uint32_t offset
    cdef int64_t apart
    if not g.sent:
        return g.out_timestamp - p.rtp.timestamp
    if g.last_source == p.source and g.last_generation == p.source_generation:
        offset = g.timestamp_offset
    elif old == NULL or not old.used or old.generation != g.last_generation or old.peer != s.peer:
        return expected - p.rtp.timestamp
    elif not old.has_sr or not s.has_sr:
        return expected - p.rtp.timestamp
    else:
        apart = <int64_t> (s.sr_ntp - old.sr_ntp)
        if apart > <int64_t> 1 << 40 or -apart > <int64_t> 1 << 40:
            return expected - p.rtp.timestamp   # 256 s: of different clocks, and too much for the product below
        apart = ((apart >> 8) * rate + (1 << 23)) >> 24
        offset = <uint32_t> apart + old.sr_timestamp + g.timestamp_offset - s.sr_timestamp
    apart = eseq_diff(p.rtp.timestamp + offset, expected)
    return expected - p.rtp.timestamp if apart > rate or -apart > rate else offset


cdef inline uint32_t piece_stamp(const piece_t *piece, uint32_t timestamp) noexcept nogil:
    """A timestamp of a source as the subscriber sees it. Never back: a source that is behind what was sent
    before it is let catch up over a bend, on which time goes a sixteenth as fast."""
    cdef uint32_t straight = timestamp + piece.timestamp_offset
    cdef uint32_t since = timestamp - piece.bend_first
    cdef uint32_t bent = piece.bend_floor + 1 + since // 16
    return bent if since < BEND_SPAN and eseq_diff(bent, straight) > 0 else straight


cdef void egress_switch(
    Engine e, uint32_t index, uint32_t which, const Packet *p, int64_t now_us
) noexcept nogil:
    """Go on with this packet's source: numbers, timestamps and picture ids continue from what was sent last."""
    cdef Egress *g = &e.egress[index]
    cdef piece_t *piece = seqmap_restart(&g.map, p.eseq, g.out_eseq + 1)
    g.timestamp_offset = egress_offset(e, g, p, now_us)
    piece.source = p.source
    piece.generation = p.source_generation
    piece.timestamp_offset = g.timestamp_offset
    piece.bend_first = p.rtp.timestamp
    piece.bend_floor = g.out_timestamp if g.sent else g.out_timestamp - 1
    piece.vp8 = vp8_follow(&g.vp8, &p.vp8)
    if which != g.active:
        g.active = which
        g.pending = False
        route_unlink(e, index * 2 + 1 - which)
    g.source = p.source
    g.last_source = p.source
    g.last_generation = p.source_generation
    g.waiting_us = 0
    e.switches += 1
    if e.sources[p.source].has_sr:
        egress_sr_soon(e, index)


cdef int egress_packet(Engine e, uint32_t index, uint32_t which, Packet *p, int64_t now_us) noexcept nogil:
    """One packet for one subscription. 0, or a negative reason."""
    cdef Egress *g = &e.egress[index]
    cdef const piece_t *piece
    cdef uint32_t number
    cdef bint begins = False
    cdef int reason
    if (
        which == g.active
        and g.source == p.source
        and g.last_generation == p.source_generation
        and eseq_diff(p.eseq, g.map.highest) > RESTART_GAP
    ):
        g.source = NONE   # what lies between is given up; video needs a keyframe
    if which != g.active or g.source != p.source or g.last_generation != p.source_generation:
        if not egress_may_switch(e, g, which, p, now_us):
            return 0
        egress_switch(e, index, which, p, now_us)
        begins = True
    if not egress_knows(g, which, p) and seqmap_skip(&g.map, p.eseq):
        return 0
    if g.route[which].types[p.rtp.pt] > 127:
        return drop(e, DROP_NOT_MAPPED)
    piece = seqmap_of_input(&g.map, p.eseq)
    if piece == NULL:
        return drop(e, DROP_LATE)
    seqmap_sent(&g.map, p.eseq)
    number = p.eseq + piece.offset
    if eseq_diff(number, g.out_eseq) <= 0:
        if g.out_eseq - number >= SENT:
            return drop(e, DROP_LATE)
        if window_has(g.window, SENT, number):
            return drop(e, DROP_TWICE)
    reason = egress_send(e, g, &g.route[which], piece, p, number, now_us)
    if begins and eseq_diff(e.sources[p.source].eseq, p.eseq) > 0:
        egress_catch_up(e, index, which, p, now_us)
    return reason


cdef int egress_send(
    Engine e, Egress *g, Route *r, const piece_t *piece, const Packet *p, uint32_t number, int64_t now_us
) noexcept nogil:
    """Send a packet for the first time, under a number that nothing was sent under. 0, or a negative reason."""
    cdef int sealed = egress_seal(e, g, r, piece, p, number, False)
    if sealed < 0:
        return sealed
    if not g.sent or eseq_diff(number, g.out_eseq) > 0:
        window_advance(g.window, SENT, g.out_eseq, number)
        g.out_index = egress_index(g, number)
        g.out_eseq = number
        g.out_timestamp = piece_stamp(piece, p.rtp.timestamp)
        g.out_us = now_us
        g.sent = True
        vp8_note(&g.vp8, &p.vp8, &piece.vp8)
    window_set(g.window, SENT, number)
    g.packets += 1
    g.bytes += <uint64_t> sealed
    g.octets += p.rtp.payload_size
    g.resend_credit += sealed // 2
    e.forwarded += 1
    e.forwarded_bytes += <uint64_t> sealed
    return 0


cdef int egress_seal(
    Engine e, Egress *g, Route *r, const piece_t *piece, const Packet *p, uint32_t number, bint as_rtx
) noexcept nogil:
    """Rewrite into a send slot, protect, queue: as media, or as the next RTX packet. The size, or a negative
    reason. The same number always makes the same bytes as media, as long as the way is the same."""
    cdef Peer *to = &e.peers[g.peer]
    cdef rtp_target target
    cdef uint8_t *out
    cdef uint32_t size, payload
    cdef int sealed
    cdef uint64_t packet_index = g.rtx_index + 1 if as_rtx else egress_index(g, number)
    target.ssrc = g.ssrc
    target.timestamp = piece_stamp(piece, p.rtp.timestamp)
    target.seq = <uint16_t> number
    target.pt = r.types[p.rtp.pt]
    target.red = p.codec == CODEC_RED
    target.mixed = g.mixed
    target.rtx = as_rtx
    target.mid_id = g.mid_id
    target.mid_size = <uint8_t> g.mid_size
    target.mid = g.mid
    target.extensions = r.extensions
    target.types = r.types
    if as_rtx:
        target.osn = target.seq
        target.seq = <uint16_t> packet_index
        target.ssrc = g.rtx_ssrc
        target.pt = r.rtx[target.pt]
    out = batch_slot(e.io, g.video)
    if out == NULL:
        return -1   # counted by the queue, which is full
    size = rtp_rewrite(&p.rtp, &target, out, e.io.slot_size - to.rtp_tag)
    if size == 0:
        batch_release(e.io)
        return drop(e, DROP_NO_ROOM)
    payload = p.rtp.payload_size + (2 if as_rtx else p.rtp.padding_size)
    vp8_write(out + size - payload + (2 if as_rtx else 0), &p.vp8, &piece.vp8)
    sealed = peer_seal(e, to, out, size - payload, &size, packet_index)
    if sealed < 0:
        batch_release(e.io)
        return sealed
    batch_commit(e.io, &to.to, size)
    if as_rtx:
        g.rtx_index = packet_index
    to.packets_out += 1
    to.bytes_out += size
    return <int> size


cdef inline bint egress_can_send(Engine e, const Egress *g) noexcept nogil:
    return not g.held and e.peers[g.peer].srtp_out != NULL and e.peers[g.peer].selected != NONE


cdef void egress_ask(Engine e, uint32_t index, int64_t now_us) noexcept nogil:
    """The subscriber wants a keyframe. One that asks too often waits for its turn: deferred, not lost."""
    cdef Egress *g = &e.egress[index]
    cdef uint32_t route = 1 - g.active if g.pending else g.active
    cdef uint32_t source = g.source if egress_in_force(e, g) else NONE
    cdef int64_t earned = (now_us - g.pli_earned_us) // PLI_EARN_US
    if g.pli_deferred:
        g.pli_deferred = False
        e.plis_deferred -= 1
    if earned > 0:
        g.pli_credit = PLI_BURST if earned + g.pli_credit > PLI_BURST else g.pli_credit + <uint32_t> earned
        g.pli_earned_us = now_us
    if source == NONE and g.route[route].track != NONE and g.layer < LAYERS:
        source = e.tracks[g.route[route].track].layer[g.layer]
    if g.held or not g.video or source == NONE:
        return
    if g.pli_credit == 0:
        g.pli_deferred = True
        e.plis_deferred += 1
        return
    g.pli_credit -= 1
    source_want(e, source)


cdef void egress_drop(Engine e, uint32_t index) noexcept nogil:
    """Remove a subscription. The control keeps the index of its SSRC: under AEAD none may come twice."""
    cdef Egress *g = &e.egress[index]
    cdef uint32_t *link = &e.peers[g.peer].egress
    route_unlink(e, index * 2)
    route_unlink(e, index * 2 + 1)
    if g.pli_deferred:
        e.plis_deferred -= 1
    while link[0] != index:
        link = &e.egress[link[0]].next
    link[0] = g.next
    hash_delete(&e.by_egress, ssrc_key(g.peer, g.ssrc))
    egress_give(e, index)
