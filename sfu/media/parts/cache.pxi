# Owns what is kept of each source's media, and the pool that all share. Calls no other part.


cdef inline cached_t *source_cached(Engine e, uint32_t source, uint32_t eseq) noexcept nogil:
    """The packet with a number, or NULL when it is not kept."""
    return cache_find(&e.sources[source].cache, &e.pool, eseq)


cdef inline int64_t cache_hold_us(Engine e, bint video) noexcept nogil:
    """How long packets are kept now: less when the pool's last quarter is being used up."""
    cdef uint32_t quarter = e.pool.blocks // 4
    cdef uint32_t left = e.pool.blocks - e.pool.taken
    if left >= quarter:
        return e.hold_us[video]
    return max(e.hold_us[video] // 8, e.hold_us[video] * left // quarter)


cdef void source_keep(Engine e, Source *s, bint video, Packet *p) noexcept nogil:
    """Store a packet, and let the rest of its way read it from there."""
    cdef int64_t before_us = p.arrival_us - cache_hold_us(e, video)
    cdef cached_t *kept
    if s.cache.blocks == 0:
        s.cache.index_min = INDEX_VIDEO if video else INDEX_AUDIO
    kept = cache_put(&s.cache, &e.pool, e.blocks_max[video], before_us, p.eseq, p.rtp.size)
    p.kept = kept != NULL
    p.gone = False
    if kept == NULL:
        e.cache_full += 1
        return
    p.block = cache_block_of(&e.pool, kept)
    p.epoch = e.pool.epoch[p.block]
    kept.arrival_us = p.arrival_us
    kept.keyframe = p.keyframe
    kept.codec = p.codec
    memcpy(kept.data, p.rtp.data, p.rtp.size)
    p.rtp.data = kept.data


cdef void source_fit(Engine e, Source *s, int64_t now_us, int64_t elapsed_us) noexcept nogil:
    """Once a second: forget what is too old, also of a silent source, and fit the index to the rate."""
    cdef bint video = s.track != NONE and e.tracks[s.track].video
    if now_us - s.last_us > e.hold_us[video]:
        cache_clear(&s.cache, &e.pool)
        return
    cache_trim(&s.cache, &e.pool, now_us - e.hold_us[video])
    cache_fit(&s.cache, &e.pool, elapsed_us / 1e6, e.hold_us[video] / 1e6)
