# Owns nothing: tells which layers of simulcast are being sent, and reads what a layer counts by itself.
# Calls tables.


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
