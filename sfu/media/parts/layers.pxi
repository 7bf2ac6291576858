# Owns nothing: tells which layers of simulcast are being sent, keeps them with their RIDs, and reads what a
# layer counts by itself. Calls tables and track.


cdef inline void vp8_of(Packet *p) noexcept nogil:
    """Where the running numbers of a packet stand; a packet of another codec has none."""
    vp8_read(&p.vp8, p.rtp.data + p.rtp.payload_at, p.rtp.payload_size if p.codec == CODEC_VP8 else 0)


cdef inline void source_flows(Engine e, Source *s, Track *t, const Packet *p) noexcept nogil:
    """Media has come; of a layer that had ceased this is told."""
    flow_packet(&s.flow, p.rtp.timestamp, p.arrival_us)
    if s.flow.silent and event_push(e, EVENT_LAYER, handle_of(s.track, t.generation), s.layer) == 0:
        s.flow.silent = 0


cdef bint peer_layers(Engine e, uint32_t peer) noexcept nogil:
    """Tell which layers of simulcast have ceased while others of their track go on. False: the peer has none."""
    cdef uint32_t i = e.peers[peer].tracks
    cdef uint32_t layer
    cdef int64_t newest_us
    cdef bint some = False
    cdef Track *t
    cdef Source *s
    while i != NONE:
        t = &e.tracks[i]
        if t.layer_count > 1:
            some = True
            newest_us = 0
            for layer in range(t.layer_count):
                if t.layer[layer] != NONE and e.sources[t.layer[layer]].flow.last_us > newest_us:
                    newest_us = e.sources[t.layer[layer]].flow.last_us
            for layer in range(t.layer_count):
                if t.layer[layer] == NONE:
                    continue
                s = &e.sources[t.layer[layer]]
                if s.flow.last_us != 0 and not s.flow.silent and flow_ceased(&s.flow, newest_us):
                    s.flow.silent = event_push(e, EVENT_LAYER, handle_of(i, t.generation), layer) == 0
        i = t.next
    return some


cdef void track_renumber(Engine e, uint32_t index, const Track *before) noexcept nogil:
    """The RIDs were negotiated anew. A layer keeps its sources and subscribers under the number that its RID
    has now: its packets may not say the RID again. Where the RID is gone, they wait to be told another."""
    cdef Track *t = &e.tracks[index]
    cdef uint32_t now[8]
    cdef uint32_t layer, i
    cdef Source *s
    cdef Egress *g
    for layer in range(LAYERS):
        now[layer] = NONE
        t.layer[layer] = t.rtx[layer] = NONE
        t.watched[layer] = False
    for layer in range(before.rid_count):
        now[layer] = layer_by_rid(t, before.rid[layer], before.rid_size[layer])
        if now[layer] != NONE:
            t.layer[now[layer]] = before.layer[layer]
            t.rtx[now[layer]] = before.rtx[layer]
    i = e.peers[t.peer].sources
    while i != NONE:
        s = &e.sources[i]
        if s.track == index and s.layer < LAYERS:
            s.layer = now[s.layer]
            s.wanted_told = False   # under the old number
            if s.layer == NONE:
                source_forget_missing(e, i)
                source_begin(s, s.last_us + 1)
        i = s.next
    i = t.routes
    while i != NONE:
        g = &e.egress[i >> 1]
        if (i & 1) == (1 - g.active if g.pending else g.active) and g.layer < LAYERS:
            g.layer = now[g.layer]
            g.waiting_us = 0   # ask anew, under the new number
        i = route_at(e, i).next
    i = t.waiting_first
    while i != NONE:
        if now[e.packets[i].layer] != NONE:
            e.packets[i].layer = now[e.packets[i].layer]
        i = e.packets[i].next
    event_push(e, EVENT_LAYER, handle_of(index, t.generation), 0)   # for all to be chosen anew
