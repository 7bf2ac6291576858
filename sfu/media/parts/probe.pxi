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
    target.mid_id = <uint8_t> mid_id
    target.mid_size = <uint8_t> len(mid)
    target.mid = <const uint8_t *> <const char *> mid
    target.extensions = extension_map
    target.types = type_map
    size = rtp_rewrite(&parsed, &target, out, room if room < 4096 else 4096)
    return out[:size] if size else None


def probe_seqmap(list steps not None):
    """Run ("restart", in, out), ("send", in) and ("skip", in) steps; the output number or None of each
    send, and whether the skip closed up."""
    cdef seqmap_t state
    cdef uint32_t number
    memset(&state, 0, sizeof(state))
    out = []
    for step in steps:
        if step[0] == "restart":
            seqmap_restart(&state, <uint32_t> step[1], <uint32_t> step[2])
        elif step[0] == "send":
            out.append(number if seqmap_send(&state, <uint32_t> step[1], &number) else None)
        else:
            out.append(bool(seqmap_skip(&state, <uint32_t> step[1])))
    return out


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
