# For tests alone: single steps of the packet path over bytes, to be held against tests/reference.


def probe_keyframe(int codec, bytes payload not None, dict codecs not None):
    """Whether a payload begins a keyframe; `codecs` maps payload types inside RED to codec numbers."""
    cdef uint8_t table[128]
    memset(table, CODEC_NONE, 128)
    for pt, number in codecs.items():
        table[<int> pt & 127] = number
    return bool(codec_keyframe(<uint8_t> codec, <const uint8_t *> <const char *> payload, <uint32_t> len(payload), table))


def probe_rewrite(
    bytes packet not None,
    *,
    uint32_t ssrc,
    uint16_t seq,
    uint32_t timestamp,
    dict types not None,
    dict extensions not None,
    bytes mid=b"",
    int mid_id=0,
    bint mixed=False,
    bint red=False,
    int osn=-1,
    uint32_t room=2048,
):
    """The packet as a subscriber would get it before SRTP, or None when it is not forwarded."""
    cdef rtp_packet parsed
    cdef rtp_target target
    cdef uint8_t out[4096]
    cdef uint8_t type_map[128]
    cdef uint8_t extension_map[256]
    cdef uint32_t size
    memset(type_map, 0xFF, 128)
    memset(extension_map, 0, 256)
    for key, value in types.items():
        type_map[<int> key & 127] = value
    for key, value in extensions.items():
        extension_map[<int> key & 255] = value
    if rtp_parse(&parsed, <const uint8_t *> <const char *> packet, <uint32_t> len(packet)) < 0:
        return None
    if type_map[parsed.pt] > 127:
        return None
    target.ssrc = ssrc
    target.seq = seq
    target.timestamp = timestamp
    target.pt = type_map[parsed.pt]
    target.red = red
    target.mixed = mixed
    target.rtx = osn >= 0
    target.osn = <uint16_t> osn
    target.mid_id = <uint8_t> mid_id
    target.mid_size = <uint8_t> len(mid)
    target.mid = <const uint8_t *> <const char *> mid
    target.extensions = extension_map
    target.types = type_map
    size = rtp_rewrite(&parsed, &target, out, room if room < 4096 else 4096)
    return out[:size] if size else None


cdef class ProbeNumbers:
    """A subscriber's numbering by itself."""

    cdef seqmap_t state

    def restart(self, uint32_t number, uint32_t out, uint32_t source):
        seqmap_restart(&self.state, number, out).source = source

    def number_of(self, uint32_t number):
        cdef const piece_t *piece = seqmap_of_input(&self.state, number)
        if piece == NULL:
            return None
        seqmap_sent(&self.state, number)
        return <uint32_t> (number + piece.offset)

    def skip(self, uint32_t number):
        return bool(seqmap_skip(&self.state, number))

    def input_of(self, uint32_t out):
        cdef const piece_t *piece = seqmap_of_output(&self.state, out)
        return None if piece == NULL else (piece.source, <uint32_t> (out - piece.offset))


cdef class ProbeCache:
    """One cache, and a second that takes what the pool has beside it."""

    cdef cache_pool_t pool
    cdef cache_t one, other
    cdef uint32_t blocks_max, others

    def __cinit__(self, uint32_t blocks, uint32_t blocks_max):
        self.blocks_max = blocks_max
        cache_init(&self.one, 128)
        cache_init(&self.other, 128)
        if cache_pool_init(&self.pool, <uint64_t> blocks * CACHE_BLOCK) < 0:
            raise MemoryError

    def __dealloc__(self):
        if self.pool.memory != NULL:
            cache_clear(&self.one, &self.pool)
            cache_clear(&self.other, &self.pool)
        cache_pool_free(&self.pool)

    def put(self, uint32_t number, bytes data not None, int64_t now_us, int64_t before_us):
        return probe_put(&self.one, &self.pool, self.blocks_max, number, data, now_us, before_us)

    def find(self, uint32_t number):
        cdef cached_t *kept = cache_find(&self.one, &self.pool, number)
        return None if kept == NULL else kept.data[: kept.size]

    def fit(self, double seconds, double hold_s):
        cache_fit(&self.one, &self.pool, seconds, hold_s)

    def clear(self):
        cache_clear(&self.one, &self.pool)

    def fill_other(self, bytes data not None):
        self.others += 1
        return probe_put(&self.other, &self.pool, 0xffffffff, self.others, data, 0, 0)

    def clear_other(self):
        cache_clear(&self.other, &self.pool)

    def taken(self):
        return self.pool.taken


cdef bint probe_put(
    cache_t *c, cache_pool_t *pool, uint32_t blocks_max, uint32_t number, bytes data, int64_t now_us, int64_t before_us
):
    cdef cached_t *kept = cache_put(c, pool, blocks_max, before_us, number, <uint32_t> len(data))
    if kept == NULL:
        return False
    kept.arrival_us = now_us
    memcpy(kept.data, <const char *> data, len(data))
    return True


def probe_vp8(list steps not None):
    """Payloads as a subscriber gets them in turn; True begins another source with this one."""
    cdef vp8_numbers numbers
    cdef vp8_shift shift
    cdef vp8_sent sent
    cdef bint begins
    cdef bytearray out
    memset(&shift, 0, sizeof(shift))
    memset(&sent, 0, sizeof(sent))
    result = []
    for begins, payload in steps:
        out = bytearray(payload)
        vp8_read(&numbers, <const uint8_t *> <const char *> payload, <uint32_t> len(payload))
        if begins:
            shift = vp8_follow(&sent, &numbers)
        vp8_write(<uint8_t *> <char *> out, &numbers, &shift)
        vp8_note(&sent, &numbers, &shift)
        result.append(bytes(out))
    return result


def probe_flow(list packets not None, list newest_us not None):
    """Whether a layer whose (timestamp, us) these are has ceased by each of those moments."""
    cdef flow_t state
    memset(&state, 0, sizeof(state))
    for timestamp, at_us in packets:
        flow_packet(&state, <uint32_t> timestamp, <int64_t> at_us)
    return [bool(flow_ceased(&state, <int64_t> moment)) for moment in newest_us]


def probe_twcc(list arrivals not None, uint32_t sender, uint32_t media, uint32_t room=1200):
    """Record (sequence number, µs) in turn; None asks for a report. The feedback packets, in order."""
    cdef twcc_t *state = <twcc_t *> malloc(sizeof(twcc_t))
    cdef uint8_t packet[4096]
    cdef uint32_t size
    if state == NULL:
        raise MemoryError
    memset(state, 0, sizeof(twcc_t))
    out = []
    try:
        for arrival in [*arrivals, None]:
            if arrival is not None:
                twcc_record(state, <uint16_t> arrival[0], <int64_t> arrival[1])
                continue
            while state.pending:
                size = twcc_report(state, sender, media, packet, room)
                if size:
                    out.append(packet[:size])
    finally:
        free(state)
    return out


def probe_seal(ciphers not None, bytes key not None, list packets not None, *, bint session=False):
    """Seal (packet, bytes of header, index) in turn under a master key and its salt, or with `session` under
    a session key and its salt; None for a key that is refused."""
    cdef evp_calls_t calls
    cdef evp_sealer_t sealer
    cdef uint8_t out[4096]
    cdef uint32_t i, size
    cdef const uint8_t *bare = <const uint8_t *> <const char *> key
    for i in range(EVP_CALLS):
        (<size_t *> &calls)[i] = ciphers[i]
    size = <uint32_t> len(key) - EVP_SALT
    if (evp_sealer_take(&calls, &sealer, bare, size) if session else evp_sealer_init(&calls, &sealer, bare, size)) < 0:
        return None
    sealed = []
    try:
        for packet, header, index in packets:
            size = <uint32_t> len(packet)
            if not 12 <= header <= size <= 4096 - EVP_TAG:
                raise ValueError(f"a packet of {size} bytes with a header of {header}")
            memcpy(out, <const char *> packet, size)
            if evp_seal(&calls, &sealer, out, <uint32_t> header, size, <uint64_t> index) == 0:
                sealed.append(out[: size + EVP_TAG])
    finally:
        evp_sealer_free(&calls, &sealer)
    return sealed
