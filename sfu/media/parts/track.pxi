# Owns sources and what is known of each track's arrival. Calls tables, cache, repair, srtp (through the
# peer's functions) and fanout (track_wait).


cdef inline uint64_t ssrc_key(uint32_t peer, uint32_t ssrc) noexcept nogil:
    return (<uint64_t> peer << 32) | ssrc


cdef inline bint source_is_current(Engine e, uint32_t index) noexcept nogil:
    """Whether a track goes by this source, for its media or its RTX."""
    cdef Source *s = &e.sources[index]
    cdef Track *t
    if s.track == NONE or s.layer >= LAYERS:
        return False
    t = &e.tracks[s.track]
    return t.layer[s.layer] == index or t.rtx[s.layer] == index


cdef void source_drop(Engine e, uint32_t index) noexcept nogil:
    """Forget a source. libsrtp keeps its replay window: a replayed packet must not bring it back."""
    cdef Source *s = &e.sources[index]
    cdef Peer *p = &e.peers[s.peer]
    cdef uint32_t *link = &p.sources
    source_detach(e, index)
    cache_clear(&s.cache, &e.pool)
    while link[0] != index:
        link = &e.sources[link[0]].next
    link[0] = s.next
    p.source_count -= 1
    hash_delete(&e.by_ssrc, ssrc_key(s.peer, s.ssrc))
    source_give(e, index)


cdef void source_detach(Engine e, uint32_t index) noexcept nogil:
    """Let a source belong to nothing; what it lacks is nobody's wish any more."""
    cdef Source *s = &e.sources[index]
    cdef Track *t
    source_forget_missing(e, index)
    if s.track != NONE and s.layer < LAYERS:
        t = &e.tracks[s.track]
        if t.layer[s.layer] == index:
            t.layer[s.layer] = NONE
        if t.rtx[s.layer] == index:
            t.rtx[s.layer] = NONE
    s.track = NONE
    s.layer = NONE


cdef inline void source_begin(Source *s, int64_t since_us) noexcept nogil:
    """What the SSRC brings from now on is other media than before, under the same numbers: no subscription goes
    on with it unasked, nor gets what the cache has of it."""
    s.generation += 1
    s.since_us = since_us
    s.keyframe_us = 0


cdef uint32_t source_add(Engine e, uint32_t peer, uint32_t ssrc) noexcept nogil:
    """A new unbound source, or NONE at a bound. Makes room by forgetting the longest silent one that
    no track goes by: first of the unbound, then of those that another SSRC took the place of."""
    cdef Peer *p = &e.peers[peer]
    cdef uint32_t i = p.sources
    cdef uint32_t oldest = NONE
    cdef uint32_t oldest_bound = NONE
    cdef uint32_t unbound = 0
    cdef uint32_t idle = 0
    while i != NONE:
        if e.sources[i].track == NONE:
            unbound += 1
            if oldest == NONE or e.sources[i].last_us < e.sources[oldest].last_us:
                oldest = i
        elif e.sources[i].heard and not source_is_current(e, i):
            idle += 1
            if oldest_bound == NONE or e.sources[i].last_us < e.sources[oldest_bound].last_us:
                oldest_bound = i
        i = e.sources[i].next
    if unbound + idle >= e.ssrcs_per_peer:
        source_drop(e, oldest if oldest != NONE else oldest_bound)
        e.sources_evicted += 1
    i = source_take(e)
    if i == NONE:
        return NONE
    if hash_put(&e.by_ssrc, ssrc_key(peer, ssrc), i) < 0:
        source_give(e, i)
        return NONE
    e.sources[i].peer = peer
    e.sources[i].ssrc = ssrc
    e.sources[i].track = NONE
    e.sources[i].layer = NONE
    e.sources[i].next = p.sources
    p.sources = i
    p.source_count += 1
    return i


cdef uint32_t track_by_mid(Engine e, uint32_t peer, const uint8_t *mid, uint32_t size) noexcept nogil:
    cdef uint32_t i = e.peers[peer].tracks
    while i != NONE:
        if e.tracks[i].mid_size == size and memcmp(e.tracks[i].mid, mid, size) == 0:
            return i
        i = e.tracks[i].next
    return NONE


cdef uint32_t track_by_type(Engine e, uint32_t peer, uint8_t pt) noexcept nogil:
    """The one track that knows a payload type, or NONE when none or several do (RFC 9143 9.2)."""
    cdef uint32_t found = NONE
    cdef uint32_t i = e.peers[peer].tracks
    while i != NONE:
        if e.tracks[i].codec[pt] != CODEC_NONE:
            if found != NONE:
                return NONE
            found = i
        i = e.tracks[i].next
    return found


cdef uint32_t layer_by_rid(const Track *t, const uint8_t *rid, uint32_t size) noexcept nogil:
    cdef uint32_t i
    for i in range(t.rid_count):
        if t.rid_size[i] == size and memcmp(t.rid[i], rid, size) == 0:
            return i
    return NONE


cdef int source_bind(Engine e, uint32_t index, const rtp_packet *r) noexcept nogil:
    """Find track and layer of a source, by MID and RID where the packet has them, else by what is known:
    the SDP's SSRC, else a payload type that only one track has. 0, or a negative reason."""
    cdef Source *s = &e.sources[index]
    cdef Peer *p = &e.peers[s.peer]
    cdef const rtp_element *mid = rtp_element_of(r, p.ext_mid)
    cdef const rtp_element *rid
    cdef uint32_t track = s.track
    cdef uint32_t layer
    cdef bint is_rtx
    cdef Track *t
    if mid != NULL and (
        track == NONE
        or e.tracks[track].mid_size != mid.size
        or memcmp(e.tracks[track].mid, r.data + mid.at, mid.size) != 0
    ):
        track = track_by_mid(e, s.peer, r.data + mid.at, mid.size)
        if track == NONE:
            track = s.track
    elif track == NONE:
        track = track_by_type(e, s.peer, r.pt)
    if track == NONE:
        return drop(e, DROP_NO_TRACK)
    t = &e.tracks[track]
    if t.codec[r.pt] == CODEC_NONE:
        return drop(e, DROP_UNKNOWN_TYPE)
    is_rtx = t.codec[r.pt] == CODEC_RTX
    if track != s.track:
        if s.track != NONE:
            e.rebound += 1
            source_begin(s, s.last_us)
        source_detach(e, index)
        s.track = track
        s.heard = False
    layer = s.layer
    if t.rid_count != 0:
        rid = rtp_element_of(r, p.ext_repaired_rid if is_rtx else p.ext_rid)
        if rid != NULL:
            layer = layer_by_rid(t, r.data + rid.at, rid.size)
        if layer == NONE:
            return drop(e, DROP_NO_TRACK)
    elif layer == NONE or layer >= t.layer_count:
        layer = 0
    if layer != s.layer:
        source_detach(e, index)
        s.track = track
        s.layer = layer
        s.heard = False
    s.is_rtx = is_rtx
    return source_lead(e, index)


cdef int source_lead(Engine e, uint32_t index) noexcept nogil:
    """Let the layer go by this source, unless another one that leads it is alive: a late packet of the
    one before must not turn it back."""
    cdef Source *s = &e.sources[index]
    cdef Track *t = &e.tracks[s.track]
    cdef uint32_t *lead = &t.rtx[s.layer] if s.is_rtx else &t.layer[s.layer]
    if lead[0] == index:
        return 0
    if s.heard and lead[0] != NONE and s.last_us - e.sources[lead[0]].last_us < 500_000:
        return 0
    if not s.is_rtx and event_push(e, EVENT_LAYER, handle_of(s.track, t.generation), s.layer) < 0:
        return -1 - <int> DROP_EVENT
    lead[0] = index
    s.heard = True
    s.wanted_told = False   # who took the events may have cleared another source's, then in the lead
    return 0


cdef void source_count(Engine e, uint32_t index, Packet *p, int64_t now_us) noexcept nogil:
    """Sequence, loss and jitter (RFC 3550 A.1, A.3, A.8). SRTP has removed what is forged or doubled."""
    cdef Source *s = &e.sources[index]
    cdef int32_t ahead
    cdef int64_t transit, change
    if s.received == 0:
        s.eseq = 0x10000 + <uint32_t> p.rtp.seq - 1
        s.eseq_base = s.eseq + 1
    p.eseq = eseq_near(s.eseq, p.rtp.seq)
    ahead = eseq_diff(p.eseq, s.eseq)
    if ahead <= -<int32_t> RECEIVED:   # SRTP's replay window lets nothing so old in: it has jumped ahead
        p.eseq += 0x10000
        ahead = eseq_diff(p.eseq, s.eseq)
    if ahead > RESTART_GAP:
        s.lost_before += source_lost(s)
        s.eseq_base = p.eseq
        s.received = 0
        s.expected_before = 0
        s.received_before = 0
        e.restarts += 1
        source_forget_missing(e, index)
    elif ahead > 1 and not s.is_rtx:
        source_gap(e, index, s.eseq, p.eseq, now_us)
    if ahead > 0:
        window_advance(s.window, RECEIVED, s.eseq, p.eseq)
        s.eseq = p.eseq
    if eseq_diff(p.eseq, s.eseq_base) >= 0:
        s.received += 1
    if s.clock_rate != 0 and (p.rtp.timestamp != s.last_timestamp or s.transit == 0):
        transit = p.arrival_us * <int64_t> s.clock_rate // 1_000_000 - <int64_t> p.rtp.timestamp
        change = <int32_t> <uint32_t> (transit - s.transit)
        if change < 0:
            change = -change
        if s.transit != 0 and change < 5 * <int64_t> s.clock_rate:
            s.jitter_16 += <uint32_t> (change - ((<int64_t> s.jitter_16 + 8) >> 4))
        s.transit = transit
    s.last_timestamp = p.rtp.timestamp


cdef bint source_is_new(Engine e, uint32_t index, Packet *p, int64_t now_us) noexcept nogil:
    """Whether the packet's media has not come before, as itself or as RTX; it has now."""
    cdef Source *s = &e.sources[index]
    if s.eseq - p.eseq >= RECEIVED or window_has(s.window, RECEIVED, p.eseq):
        s.doubled += 1
        return False
    window_set(s.window, RECEIVED, p.eseq)
    if s.missing_count != 0:
        source_filled(e, index, p.eseq, False, now_us)
        if s.untried != 0:
            s.repair_due_us = now_us   # one that waited for later packets may have waited enough
    return True


cdef inline uint64_t source_lost(const Source *s) noexcept nogil:
    """Packets lost since eseq_base; a packet that came twice does not make it negative."""
    cdef uint32_t expected
    if s.received == 0:
        return 0
    expected = s.eseq - s.eseq_base + 1
    return expected - s.received if expected > s.received else 0


cdef int rtp_in(Engine e, uint32_t path, uint32_t slot_index, int64_t now_us) noexcept nogil:
    """Authenticate, bind and count one packet; what is to be forwarded is put on its track's list."""
    cdef uint32_t peer = e.paths[path].peer
    cdef batch_slot_t *slot = &e.io.slots[slot_index]
    cdef Packet *p = &e.arriving
    cdef Peer *owner = &e.peers[peer]
    cdef int size = <int> slot.size
    cdef uint32_t index
    cdef Source *s
    cdef Track *t
    cdef const rtp_element *number
    cdef int reason
    if owner.srtp_in == NULL:
        return drop(e, DROP_NO_KEYS)
    if rtp_check(slot.data, slot.size, owner.rtp_tag) == 0:
        return drop(e, DROP_BAD_HEADER)
    index = hash_find(&e.by_ssrc, ssrc_key(peer, load32(slot.data + 8)))
    if (index == NONE or not e.sources[index].sealed) and owner.streams >= e.streams_per_peer:
        return drop(e, DROP_SSRC_LIMIT)
    if e.unprotect(owner.srtp_in, slot.data, &size) != 0:
        owner.refused += 1
        return drop(e, DROP_REFUSED)
    # authenticated from here on: nothing above may change what is known of the stream
    e.paths[path].heard_us = now_us
    if rtp_parse(&p.rtp, slot.data, <uint32_t> size) < 0:
        return drop(e, DROP_BAD_HEADER)
    if index == NONE:
        index = source_add(e, peer, p.rtp.ssrc)
        if index == NONE:
            return drop(e, DROP_SSRC_LIMIT)
    s = &e.sources[index]
    if not s.sealed:
        s.sealed = True
        owner.streams += 1
    owner.packets_in += 1
    owner.bytes_in += slot.size
    e.media_in += 1
    e.media_in_bytes += slot.size
    owner.media_ssrc = p.rtp.ssrc
    if owner.twcc != NULL:
        number = rtp_element_of(&p.rtp, owner.ext_transport_cc)
        if number != NULL and number.size == 2:
            if twcc_record(owner.twcc, load16(p.rtp.data + number.at), slot.arrival_us) < 0:
                e.late_twcc += 1
    s.last_us = slot.arrival_us
    reason = source_bind(e, index, &p.rtp)
    if reason < 0:
        return reason
    t = &e.tracks[s.track]
    s.clock_rate = t.clock_rate[p.rtp.pt]
    p.arrival_us = slot.arrival_us
    source_count(e, index, p, now_us)
    s.packets += 1
    s.bytes += slot.size
    if s.is_rtx:
        return rtx_in(e, index, slot_index, now_us)   # probes may come on it long before media does
    if not t.started and event_push(e, EVENT_TRACK, handle_of(s.track, t.generation), p.rtp.pt) == 0:
        t.started = True
    t.last_us = slot.arrival_us
    if not source_is_new(e, index, p, now_us):
        return drop(e, DROP_TWICE)
    if owner.ext_level != 0 and not t.video:
        source_level(s, &p.rtp, owner.ext_level)
    return media_in(e, index, now_us)


cdef void source_level(Source *s, const rtp_packet *r, uint8_t ext) noexcept nogil:
    """Loudness and voice as the publisher's client measured them (RFC 6464 3), for the choice of speakers."""
    cdef const rtp_element *level = rtp_element_of(r, ext)
    if level == NULL or level.size < 1:
        return
    s.voice = r.data[level.at] >> 7
    s.level_16 += 127 - (r.data[level.at] & 0x7f) - (s.level_16 + 8) // 16


cdef int media_in(Engine e, uint32_t index, int64_t now_us) noexcept nogil:
    """Media that is new here, come as itself or as RTX: keep it, and let it wait for its forwarding."""
    cdef Packet *p = &e.arriving
    cdef Source *s = &e.sources[index]
    cdef Track *t = &e.tracks[s.track]
    p.codec = t.codec[p.rtp.pt]
    p.keyframe = t.video and codec_keyframe(
        p.codec, p.rtp.data + p.rtp.payload_at, p.rtp.payload_size, t.codec
    )
    if p.keyframe:
        source_keyframe(e, s, t, p)
    if p.rtp.payload_size == 0:
        s.padding_only += 1
        e.padding_in += 1
    else:
        source_flows(e, s, t, p)
    vp8_of(p)
    source_keep(e, s, t.video, p)
    p.source = index
    p.source_generation = s.generation
    p.layer = s.layer
    if t.routes == NONE:
        return 0
    if not p.kept:
        e.unkept[e.unkept_count] = s.track
        e.unkept_count += 1
    return track_wait(e, s.track, p, now_us)


cdef void source_keyframe(Engine e, Source *s, Track *t, const Packet *p) noexcept nogil:
    """A keyframe begins; several of its packets may say so, and its first may come last."""
    if s.keyframes == 0 or s.keyframe_timestamp != p.rtp.timestamp:
        if s.keyframes != 0 and eseq_diff(p.eseq, s.keyframe_eseq) < 0:
            return   # of an earlier keyframe, repaired late
        s.keyframes += 1
        s.keyframe_timestamp = p.rtp.timestamp
        s.keyframe_eseq = p.eseq
        s.keyframe_us = p.arrival_us
        e.keyframes_in += 1
    elif eseq_diff(p.eseq, s.keyframe_eseq) < 0:
        s.keyframe_eseq = p.eseq
    if t.watched[s.layer] and event_push(e, EVENT_KEYFRAME, handle_of(s.track, t.generation), s.layer) == 0:
        t.watched[s.layer] = False


cdef void source_want(Engine e, uint32_t index) noexcept nogil:
    """A subscription can't go on without a keyframe of this source. Told once until the events are taken."""
    cdef Source *s = &e.sources[index]
    if s.wanted_told or s.track == NONE or s.layer >= LAYERS:   # the RIDs are others now: its next one decides
        return
    if event_push(e, EVENT_WANTED, handle_of(s.track, e.tracks[s.track].generation), s.layer) == 0:
        s.wanted_told = True


cdef void track_drop(Engine e, uint32_t index) noexcept nogil:
    """Remove a track: its sources with libsrtp's state of them, and the routes that lead from it."""
    cdef Track *t = &e.tracks[index]
    cdef Peer *p = &e.peers[t.peer]
    cdef uint32_t *link = &p.tracks
    cdef uint32_t i = p.sources
    cdef uint32_t following
    track_forget_waiting(e, index)
    while t.routes != NONE:
        route_unlink(e, t.routes)
    while i != NONE:
        following = e.sources[i].next
        if e.sources[i].track == index:
            if e.sources[i].sealed and p.srtp_in != NULL:
                e.forget_stream(p.srtp_in, htonl(e.sources[i].ssrc))
                p.streams -= 1
            source_drop(e, i)
        i = following
    while link[0] != index:
        link = &e.tracks[link[0]].next
    link[0] = t.next
    track_give(e, index)
