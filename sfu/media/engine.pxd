# Every struct, enum and constant of the packet path. Read this first.
#
# Tables are arrays of their full size, taken at the start; the kernel gives a page only when it is
# touched. An index into one is a uint32, NONE is no entry; a handle (index and generation) is what
# leaves the module. Nothing is removed while a batch is under way, since only Python removes.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from sfu.net.batch cimport Batch, batch_destination, batch_slot_t, batch_t


cdef extern from "bytes.h" nogil:
    uint16_t load16(const uint8_t *p)
    uint32_t load24(const uint8_t *p)
    uint32_t load32(const uint8_t *p)
    uint64_t load64(const uint8_t *p)
    void store16(uint8_t *p, uint32_t v)
    void store24(uint8_t *p, uint32_t v)
    void store32(uint8_t *p, uint32_t v)
    void store64(uint8_t *p, uint64_t v)


cdef extern from "vp8.h" nogil:
    struct vp8_numbers:
        uint8_t picture_at
        uint8_t tl0_at
        uint8_t key_at
    struct vp8_shift:
        pass
    struct vp8_sent:
        pass
    void vp8_read(vp8_numbers *v, const uint8_t *p, uint32_t n)
    vp8_shift vp8_follow(const vp8_sent *last, const vp8_numbers *v)
    void vp8_write(uint8_t *p, const vp8_numbers *v, const vp8_shift *shift)
    void vp8_note(vp8_sent *last, const vp8_numbers *v, const vp8_shift *shift)


cdef extern from "flow.h" nogil:
    struct flow_t "flow":
        int64_t last_us
        uint8_t silent
    void flow_packet(flow_t *f, uint32_t timestamp, int64_t now_us)
    int flow_ceased(const flow_t *f, int64_t newest_us)


cdef extern from "seq.h" nogil:
    enum:
        SEQMAP_PIECES
    struct piece_t "piece":
        uint32_t first
        uint32_t offset
        uint32_t source
        uint32_t generation
        uint32_t timestamp_offset
        uint32_t bend_first
        uint32_t bend_floor
        vp8_shift vp8
    struct seqmap_t "seqmap":
        uint32_t count
        uint32_t highest
    int32_t eseq_diff(uint32_t a, uint32_t b)
    uint32_t eseq_near(uint32_t near, uint16_t seq)
    bint window_has(const uint64_t *bits, uint32_t size, uint32_t n)
    void window_set(uint64_t *bits, uint32_t size, uint32_t n)
    void window_advance(uint64_t *bits, uint32_t size, uint32_t since, uint32_t to)
    piece_t *seqmap_restart(seqmap_t *m, uint32_t first, uint32_t out)
    const piece_t *seqmap_of_input(const seqmap_t *m, uint32_t number)
    const piece_t *seqmap_of_output(const seqmap_t *m, uint32_t number)
    void seqmap_sent(seqmap_t *m, uint32_t number)
    int seqmap_skip(seqmap_t *m, uint32_t number)


cdef extern from "cache.h" nogil:
    enum:
        CACHE_BLOCK
    struct cached_t "cached":
        int64_t arrival_us
        uint32_t eseq
        uint16_t size
        uint8_t keyframe
        uint8_t codec
        uint8_t *data
    struct cache_pool_t "cache_pool":
        uint8_t *memory
        uint32_t *epoch
        uint32_t blocks
        uint32_t taken
    struct cache_t "cache":
        uint32_t blocks
        uint32_t index_min
        uint32_t mask
    int cache_pool_init(cache_pool_t *p, uint64_t size)
    void cache_pool_free(cache_pool_t *p)
    void cache_init(cache_t *c, uint32_t index_min)
    void cache_clear(cache_t *c, cache_pool_t *p)
    void cache_trim(cache_t *c, cache_pool_t *p, int64_t before_us)
    cached_t *cache_put(
        cache_t *c, cache_pool_t *p, uint32_t blocks_max, int64_t before_us, uint32_t eseq, uint32_t size
    )
    uint32_t cache_block_of(const cache_pool_t *p, const cached_t *c)
    cached_t *cache_find(const cache_t *c, const cache_pool_t *p, uint32_t eseq)
    const cached_t *cache_oldest(const cache_t *c, const cache_pool_t *p)
    void cache_fit(cache_t *c, const cache_pool_t *p, double seconds, double hold_s)


cdef extern from "hash.h" nogil:
    enum:
        HASH_NONE
    struct hash_t "hash":
        uint32_t count
    int hash_init(hash_t *h, uint64_t seed, uint32_t size)
    void hash_free(hash_t *h)
    uint32_t hash_find(const hash_t *h, uint64_t key)
    int hash_put(hash_t *h, uint64_t key, uint32_t value)
    void hash_delete(hash_t *h, uint64_t key)
    uint64_t hash_bytes(const hash_t *h, const uint8_t *data, uint32_t size)


cdef extern from "rtp.h" nogil:
    enum:
        CODEC_OTHER, CODEC_VP8, CODEC_RED, CODEC_RTX, CODEC_NONE
    struct rtp_element:
        uint8_t id
        uint8_t size
        uint16_t at
    struct rtp_packet:
        const uint8_t *data
        uint32_t size
        uint32_t payload_at
        uint32_t payload_size
        uint32_t padding_size
        uint32_t timestamp
        uint32_t ssrc
        uint16_t seq
        uint8_t pt
        uint8_t marker
        uint8_t element_count
    struct rtp_target:
        uint32_t ssrc
        uint32_t timestamp
        uint16_t seq
        uint8_t pt
        uint8_t red
        uint8_t mixed
        uint8_t rtx
        uint16_t osn
        uint8_t mid_id
        uint8_t mid_size
        const uint8_t *mid
        const uint8_t *extensions
        const uint8_t *types
    uint32_t rtp_check(const uint8_t *p, uint32_t n, uint32_t tag)
    int rtp_parse(rtp_packet *r, const uint8_t *p, uint32_t n)
    int rtp_unwrap(rtp_packet *r, uint8_t *p, uint8_t pt, uint32_t ssrc)
    const rtp_element *rtp_element_of(const rtp_packet *r, uint8_t id)
    uint32_t rtp_rewrite(const rtp_packet *r, const rtp_target *t, uint8_t *out, uint32_t room)
    int codec_keyframe(uint8_t codec, const uint8_t *p, uint32_t n, const uint8_t *codecs)


cdef extern from "evp.h" nogil:
    enum:
        EVP_CALLS, EVP_SALT, EVP_TAG
    struct evp_calls_t "evp_calls":
        pass
    struct evp_sealer_t "evp_sealer":
        void *context
    int evp_sealer_take(const evp_calls_t *c, evp_sealer_t *s, const uint8_t *key, uint32_t key_size)
    int evp_sealer_init(const evp_calls_t *c, evp_sealer_t *s, const uint8_t *master, uint32_t key_size)
    void evp_sealer_free(const evp_calls_t *c, evp_sealer_t *s)
    int evp_seal(
        const evp_calls_t *c, evp_sealer_t *s, uint8_t *packet, uint32_t header, uint32_t size, uint64_t index
    )


cdef extern from "twcc.h" nogil:
    enum:
        TWCC_WINDOW
    struct twcc_t "twcc":
        uint32_t pending
    void twcc_reset(twcc_t *t)
    int twcc_record(twcc_t *t, uint16_t seq, int64_t now_us)
    uint32_t twcc_report(twcc_t *t, uint32_t sender, uint32_t media, uint8_t *out, uint32_t room)


cdef extern from "meter.h" nogil:
    enum:
        HOLD_BUCKETS
        STAGE_RECEIVE, STAGE_UNPROTECT, STAGE_FORWARD
    struct hold_meter:
        uint64_t *count
        uint64_t sum_ns
    struct stage_meter:
        uint64_t *ns
        uint64_t calls, packets_in, packets_out
        uint32_t left
    void hold_add(hold_meter *m, int64_t ns)
    void stage_begin(stage_meter *m, int64_t now_ns)
    void stage_mark(stage_meter *m, int stage, int64_t now_ns)
    void stage_end(stage_meter *m, uint32_t packets_in, uint64_t packets_out, uint64_t send_ns)


cdef enum:
    NONE = 0xffffffff            # no entry; equal to HASH_NONE
    MEDIA_MAX = 1500             # bytes of an RTP or RTCP datagram that is taken in
    NAME_MAX = 16                # bytes of a mid or rid (RFC 8852 3: as short as can be)
    CNAME_MAX = 64
    LAYERS = 8                   # simulcast layers of one track
    RESTART_GAP = 1000           # numbers missing from which a source is taken to start anew
    RECEIVED = 4096              # numbers of a source of which is known whether they came
    SENT = 2048                  # numbers of a subscription of which is known whether they were sent
    MISSING_PER_SOURCE = 512     # numbers asked for at a time; a wider gap is given up at once
    REORDER_US = 5_000           # a number is missing after this time ...
    REORDER_PACKETS = 3          # ... or when so many later ones have come
    ASK_TRIES = 10               # requests for one number
    ASK_AGAIN_TRIES = 2          # more for one that was given up, each time that a subscriber still wants it
    RTX_SPAN_S = 10              # RTX stamped farther from its media is another's; chosen
    ASK_MIN_US = 20_000          # between two requests for a number, at least
    RTT_GUESS_US = 100_000       # where nothing has been measured
    RESENDS = 128                # numbers of a subscription whose resends are remembered
    RESENDS_PER_NUMBER = 8
    RESENDS_PER_REPORT = 512     # numbers of one compound's NACKs; what it asks for beyond is not heard
    HINTS_PER_PEER = 2048        # SSRCs of an SDP that wait for their first packet; others are found by MID or type
    UNKEPT_SLICES = 12           # slices for video that found no room in the cache: a large room's keyframe
    RESENDS_PER_CALL = 2048      # resends for the datagrams of one call
    WANTED_PER_CALL = 1024       # numbers NACKed in it that the node lacks: each means a walk
    CLOCK_PACKETS = 32           # forwarded between two looks at the clock
    RESEND_MIN_US = 10_000       # between two resends of a number, at least
    RESEND_BURST = 32768         # bytes beyond the share of what is sent
    INDEX_AUDIO = 128            # packets that a cache can find in its first second
    INDEX_VIDEO = 1024
    START_PACKETS = 1024         # a new subscriber gets at most so many out of the cache
    SR_KEPT = 4                  # sender reports remembered per subscription, for round-trip times
    RTCP_ROOM = 1200             # bytes of a compound that we write, before SRTCP
    EXPECTED_US = 30_000_000     # how long DTLS from an expected path is handed up
    HELD_US = 2_000_000          # a path on which its peer was heard in this time is not another's
    REPORT_US = 1_000_000        # between receiver and sender reports
    FEEDBACK_US = 50_000         # between transport-wide feedbacks
    LAYERS_US = 50_000           # between looks at which layers of a track are being sent
    BEND_SPAN = 1 << 18          # timestamps; twice the second that sender reports may be off the clock
    FLOWING_US = 2_000_000       # a subscription whose last packet is older needs no sender report
    PLI_EARN_US = 2_000_000      # a subscriber may ask for a keyframe once in this time ...
    PLI_BURST = 5                # ... or this often at once

# Why a datagram or packet goes no further. Order as in DROP_NAMES (parts/stats.pxi).
cdef enum Drop:
    DROP_NOT_WEBRTC              # no kind that RFC 7983 knows
    DROP_OVERSIZE                # RTP or RTCP of more than MEDIA_MAX
    DROP_UNKNOWN_PATH            # RTP, RTCP or DTLS from a path that no check has opened
    DROP_BAD_STUN                # STUN in shape only: length or cookie wrong
    DROP_CONTROL_FLOOD           # more STUN and DTLS in one call than is handed up
    DROP_NO_KEYS                 # media before the handshake ended
    DROP_BAD_HEADER              # lengths in the header do not fit the packet
    DROP_REFUSED                 # SRTP: authentication failed or replayed
    DROP_SSRC_LIMIT              # one SSRC too many from this peer
    DROP_NO_TRACK                # no track owns its SSRC, MID or payload type
    DROP_UNKNOWN_TYPE            # payload type not negotiated for the track
    DROP_BAD_RTCP                # a compound whose lengths do not fit
    DROP_NOT_MAPPED              # payload type without a place in the subscription
    DROP_LATE                    # older than the numbering of the subscription
    DROP_TWICE                   # media that came already: the original, or another RTX of it
    DROP_BAD_RTX                 # RTX without OSN, of an unknown payload type, or ahead of its media
    DROP_OVERLOAD                # waited too long to be forwarded, or too many waited, or could not wait
    DROP_NO_ROOM                 # the rewritten packet does not fit a slot, or is RED of a type that is not mapped
    DROP_SEAL                    # the cipher refused, or the index is spent
    DROP_EVENT                   # the event list is full
    DROPS

# What `take_events` returns; the numbers are also written in control.py.
cdef enum Event:
    EVENT_TRACK = 1              # first packet of a track (handle: track, value: payload type)
    EVENT_LAYER = 2              # a layer has a new SSRC or number, fell silent or is back (handle: track, value: layer)
    EVENT_WANTED = 3             # a subscription needs a keyframe (track, layer)
    EVENT_KEYFRAME = 4           # one that was asked for has begun to arrive (track, layer)


cdef struct EventRecord:
    uint64_t handle
    int64_t value
    uint32_t kind


# An address that DTLS may come from, or media too once it has a peer.
cdef struct Path:
    uint8_t key[38]
    bint used
    uint32_t peer                # NONE: expected only, until `until_us`
    uint32_t next                # next path of the same peer, or next free
    int64_t until_us
    int64_t heard_us             # when an authenticated packet of its peer last came on it; 0: never
    uint64_t hash                # key in the table of paths


# One client. Owns its paths, tracks, egress and sources; `srtp_*` belong to Python, which keeps them
# alive until the peer is removed or gets others.
cdef struct Peer:
    uint32_t generation
    bint used
    uint32_t next_free
    void *srtp_in                # srtp_t, NULL before the handshake ends
    void *srtp_out               # seals SRTCP, and RTP where `sealer` is none
    evp_sealer_t sealer          # seals RTP under AEAD; freed with the peer
    uint32_t rtp_tag             # bytes that SRTP adds
    uint32_t rtcp_trailer        # bytes that SRTCP adds
    batch_destination to         # of the selected path
    uint32_t selected            # path, or NONE: nothing can be sent
    uint32_t paths               # list, newest first
    uint32_t path_count
    uint32_t tracks              # list
    uint32_t egress              # list
    uint32_t sources             # list, most recently bound first
    uint32_t source_count
    uint32_t streams             # SSRCs that libsrtp holds state for
    uint8_t ext_mid, ext_rid, ext_repaired_rid, ext_transport_cc, ext_level
    twcc_t *twcc                 # NULL where not negotiated; taken and freed by the peer
    uint32_t media_ssrc          # a recent SSRC of its own, for the feedback's header
    uint32_t ssrc                # ours, as sender of reports
    uint8_t cname[64]
    uint32_t cname_size
    int64_t report_at_us
    int64_t feedback_at_us
    uint64_t packets_in, bytes_in, packets_out, bytes_out, refused
    uint64_t twcc_in, remb_bps
    int64_t rtt_us               # of its latest report block, 0 unknown
    int64_t ask_rtt_us           # from a NACK of ours to its RTX, smoothed; 0 unknown
    uint32_t xr_ssrc             # who sent the last reference time (RFC 3611 4.4) ...
    uint32_t xr_middle           # ... its NTP middle bits, 0: none to answer
    int64_t xr_us                # ... and when it came


# A number that a source lacks. Pool entries; a source's list ascends.
cdef struct Missing:
    uint32_t eseq
    uint32_t next
    int64_t seen_us              # when the gap was seen
    int64_t asked_us             # first request, 0: none yet
    int64_t due_us               # next request
    uint32_t tries


# One SSRC that a peer sends: media or RTX of one layer of a track, or not bound to any yet.
cdef struct Source:
    uint32_t generation          # of the entry, and of what it brings: another track's media is another's
    bint used
    uint32_t next_free
    uint32_t peer
    uint32_t ssrc
    uint32_t track               # NONE: unbound
    uint32_t next                # of the same peer
    uint32_t layer
    bint is_rtx
    bint heard                   # an authenticated packet has come
    bint sealed                  # libsrtp holds state for it
    uint32_t eseq                # highest
    uint32_t eseq_base           # first counted (RFC 3550 A.1)
    uint32_t received            # since eseq_base
    uint32_t expected_before, received_before   # at the last report (A.3)
    uint32_t clock_rate
    uint32_t last_timestamp
    int64_t transit              # of the last packet, in clock units (A.8)
    uint32_t jitter_16           # jitter times 16
    int64_t last_us
    uint64_t packets, bytes, keyframes, padding_only, lost_before
    flow_t flow
    bint has_sr
    uint64_t sr_ntp
    uint32_t sr_timestamp
    int64_t sr_us                # when it came
    int64_t reported_us          # when a receiver report told of it
    uint32_t keyframe_timestamp  # of the last one counted
    uint32_t keyframe_eseq       # its first packet
    int64_t keyframe_us          # when that came
    int64_t since_us             # what the cache has from before is other media
    cache_t cache                # its media; RTX is kept as what it carries
    uint64_t window[64]          # RECEIVED bits: numbers that came, or were repaired
    uint32_t missing, missing_last   # list of Missing
    uint32_t missing_count
    uint32_t untried             # of those, not asked for yet
    int64_t repair_due_us        # when the list has work
    uint32_t repair_next, repair_previous   # sources with missing numbers
    uint64_t asked, repaired, unrepaired, doubled   # numbers: requests, recovered, given up, in vain
    uint32_t level_16            # loudness of audio (RFC 6464) as 127 - dBov, smoothed, times 16
    bint voice                   # the V bit of its last packet
    bint wanted_told             # EVENT_WANTED stands in the list
    uint64_t rate_bytes          # `bytes` at rate_us
    int64_t rate_us
    uint32_t bitrate_bps


# What a client sends in one m-section.
cdef struct Track:
    uint32_t generation
    bint used
    uint32_t next_free
    uint32_t peer
    uint32_t next                # of the same peer
    bint video
    bint started                 # EVENT_TRACK was told, since added or stalled
    uint8_t mid[16]
    uint32_t mid_size
    uint8_t codec[128]           # by payload type; CODEC_NONE is not negotiated
    uint32_t clock_rate[128]
    uint8_t rtx_of[128]          # RTX payload type to that of its media, 0xff: none
    bint nack                    # the publisher takes NACKs
    bint has_rtx                 # and answers with RTX, else with the same packet again
    uint32_t rid_count
    uint8_t rid[8][16]
    uint32_t rid_size[8]
    uint32_t layer_count         # rids, or SSRCs of the SDP where there are none, at least 1
    uint32_t layer[8]            # source by layer, NONE until its SSRC is known
    uint32_t rtx[8]              # its RTX source
    bint watched[8]              # tell of the next keyframe
    uint32_t routes              # list of those who take it
    int64_t last_us              # 0: nothing yet
    uint64_t plis
    uint8_t fir_seq
    uint32_t waiting_first, waiting_last   # packets to be forwarded, in order of arrival
    uint32_t run_last            # last of those that are being forwarded now, NONE: none is
    uint32_t cursor              # route that gets them next
    uint32_t queue_next, queue_previous   # tracks on which something waits


# One of the two ways of a subscription: the one in force and the one to come at a keyframe.
# Numbered egress * 2 + which.
cdef struct Route:
    uint32_t track               # NONE: from nowhere
    uint32_t next, previous      # of the same track
    uint8_t types[128]           # publisher's payload type to subscriber's, 0xff: not forwarded
    uint8_t extensions[256]      # publisher's id to subscriber's, 0: stripped
    uint8_t rtx[128]             # subscriber's payload type to that of its RTX, 0xff: none


# When a number was resent last.
cdef struct Resend:
    uint32_t at_ms
    uint16_t seq
    uint8_t count                # 0: free


# One subscription of one peer.
cdef struct Egress:
    uint32_t generation
    bint used
    uint32_t next_free
    uint32_t peer
    uint32_t next                # of the same peer
    bint video
    bint held
    bint mixed                   # extmap-allow-mixed
    uint32_t ssrc
    uint32_t rtx_ssrc            # 0: no RTX
    uint64_t rtx_index           # SRTP index of the newest packet on it
    uint32_t clock_rate
    uint8_t mid[16]
    uint32_t mid_size
    uint8_t mid_id
    uint8_t cname[64]
    uint32_t cname_size
    Route route[2]
    uint32_t active              # which route is in force
    bint pending                 # the other one waits for a keyframe
    uint32_t layer               # wanted; NONE: none chosen yet
    uint32_t source              # whose packets pass; NONE while out of sync
    uint32_t last_source         # to whom ts_offset belongs, with its generation
    uint32_t last_generation
    int64_t waiting_us           # since when packets wait for a keyframe; 0: not
    seqmap_t map
    uint32_t out_eseq            # newest number sent
    uint64_t out_index           # its SRTP index: with the roll-overs since the keys
    uint64_t window[32]          # SENT bits: no number is sent twice with different bytes
    uint32_t plain_from          # first number whose header was made as it would be made now
    Resend resends[128]          # by number modulo RESENDS
    int64_t resend_credit        # bytes that may be resent
    uint64_t rate_bytes          # `bytes` at rate_us
    int64_t rate_us
    uint32_t bitrate_bps
    bint sent                    # anything at all
    uint32_t timestamp_offset    # of the present source, as sender reports tell it
    vp8_sent vp8                 # of the newest number
    uint32_t out_timestamp       # of the newest number
    int64_t out_us
    uint64_t packets, bytes, octets
    bint sr_due                  # at the next chance, for the first time with this source
    int64_t sr_at_us
    uint32_t sr_middle[4]        # NTP middle bits of sent reports (RFC 3550 6.4.1, LSR)
    int64_t sr_us[4]
    uint32_t sr_next
    uint64_t sr_sent
    uint32_t lost, jitter        # as its receiver reports
    uint8_t fraction_lost
    int64_t rtt_us               # 0 unknown
    uint64_t nacks, plis         # numbers and pictures that its receiver missed
    uint64_t resent, resent_bytes
    uint64_t nacks_refused       # too soon, too often, too much
    uint64_t nacks_missed        # not in the cache
    int64_t pli_earned_us        # credit for keyframe requests
    uint32_t pli_credit
    bint pli_deferred


# One received RTP packet on its way; its bytes lie in the cache, or in the receive slot.
cdef struct Packet:
    rtp_packet rtp
    uint32_t source
    uint32_t source_generation
    uint32_t layer
    uint32_t eseq
    int64_t arrival_us
    bint keyframe
    uint8_t codec                # of its payload type when it came: what it leaves as must not change after
    vp8_numbers vp8
    int64_t waits_since_us       # when it was read from the socket
    bint kept                    # its bytes lie in the cache, in this block ...
    uint32_t block
    uint32_t epoch               # ... as long as that has this epoch
    bint gone                    # they do no more
    uint32_t next                # of the same track


ctypedef int (*srtp_call)(void *session, void *packet, int *size) noexcept nogil
ctypedef int (*srtp_forget)(void *session, uint32_t ssrc_network_order) noexcept nogil


cdef class Engine:
    cdef Batch batch             # slots; shared with nobody
    cdef batch_t *io             # its state
    cdef hash_t by_path          # hash of a path -> path
    cdef hash_t by_ssrc          # peer << 32 | ssrc -> source
    cdef hash_t by_egress        # peer << 32 | ssrc -> egress
    cdef Path *paths
    cdef Peer *peers
    cdef Track *tracks
    cdef Egress *egress
    cdef Source *sources
    cdef Packet *packets         # those that wait to be forwarded
    cdef Packet arriving         # the one being read
    cdef uint32_t paths_max, peers_max, tracks_max, egress_max, sources_max
    cdef uint32_t path_top, peer_top, track_top, egress_top, source_top   # entries ever used
    cdef uint32_t path_free, peer_free, track_free, egress_free, source_free
    cdef uint32_t path_live, peer_live, track_live, egress_live, source_live
    cdef uint32_t expected_live, expected_max
    cdef uint32_t ssrcs_per_peer, paths_per_peer, streams_per_peer
    cdef uint32_t control_per_read, reads_per_call
    cdef int64_t keyframe_wait_us
    cdef srtp_call protect, unprotect, protect_rtcp, unprotect_rtcp
    cdef srtp_forget forget_stream
    cdef evp_calls_t evp         # addresses in OpenSSL
    cdef bint has_ciphers        # else libsrtp seals everything
    cdef uint32_t packets_max, packet_top, packet_free, packet_live
    cdef uint32_t queue_first[2], queue_last[2]   # tracks on which audio, video waits
    cdef uint32_t *unkept        # tracks with packets of this batch that are not in the cache
    cdef uint32_t unkept_count
    cdef int64_t slice_ns        # how long one call may forward
    cdef int64_t overload_us     # video that waited longer is given up
    cdef uint32_t call_answers_left   # resends that this call may still make
    cdef uint32_t call_wanted_left    # numbers that it may still ask publishers for
    cdef uint32_t *sr_due        # egress whose first sender report is due
    cdef uint32_t sr_due_count
    cdef uint32_t plis_deferred
    cdef cache_pool_t pool
    cdef int64_t hold_us[2]      # how long the cache keeps audio, video
    cdef uint32_t blocks_max[2]  # ... and how much of one source
    cdef int64_t start_us        # a keyframe as young as this starts a new subscriber from the cache
    cdef Missing *missings
    cdef uint32_t missings_max, missing_top, missing_free, missing_live
    cdef uint32_t repairs        # list of sources with missing numbers
    cdef uint32_t answers_left   # numbers that this compound may still ask for
    cdef EventRecord *events
    cdef uint32_t event_count, events_max
    cdef uint8_t scratch[2048]   # a compound under construction
    cdef uint64_t drops[32]
    cdef uint64_t forwarded, forwarded_bytes, media_in, media_in_bytes, rtcp_in, rtcp_out
    cdef uint64_t stun_in, dtls_in, rtx_in, padding_in, rebound, keyframes_in, sources_evicted
    cdef uint64_t nacks_in, plis_in, firs_in, rembs_in, twcc_in, byes_in, feedback_out, plis_out, late_twcc
    cdef uint64_t restarts, switches, switches_blind
    cdef hold_meter holds        # of each call that may forward or report
    cdef stage_meter stages      # of one batch in 64
    cdef uint64_t nacks_out, asked, repaired, unrepaired, missing_full, cache_full
    cdef uint64_t resent, resent_bytes, nacks_refused, nacks_missed, starts_cached, shed

    cdef uint32_t peer_of(self, uint64_t handle) except? NONE
    cdef uint32_t track_of(self, uint64_t handle) except? NONE
    cdef uint32_t egress_of(self, uint64_t handle) except? NONE
    cdef int fill_track(self, uint32_t index, bytes mid, codecs, rids, uint32_t ssrc_count, bint nack) except -1
    cdef uint32_t hints_forget(self, uint32_t track, ssrcs) except? NONE
    cdef int hint(self, uint32_t track, ssrcs) except -1
