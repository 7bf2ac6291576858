# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The packet path: one pass from the socket back to the socket (docs/protocols/media.md).

    batch receive -> demux -> track: unprotect, bind, count -> egress: number, rewrite, protect -> batch send

Its structs are in engine.pxd, its parts below in the order in which a packet meets them, what each
method promises in engine.pyi. No Python object is made on the way of a packet, and nothing is
allocated.
"""

from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from sfu.net.batch cimport (
    BATCH_PATH,
    batch_clock_ns,
    batch_commit,
    batch_flush,
    batch_make_destination,
    batch_receive,
    batch_release,
    batch_slot,
    batch_writable,
)


cdef extern from "arpa/inet.h" nogil:
    uint32_t htonl(uint32_t value)


class StaleHandle(Exception):
    """A handle whose peer, track or egress is gone."""


class TableFull(Exception):
    """A table has reached its bound; the text names it."""


include "parts/tables.pxi"
include "parts/demux.pxi"
include "parts/peer.pxi"
include "parts/cache.pxi"
include "parts/layers.pxi"
include "parts/track.pxi"
include "parts/seal.pxi"
include "parts/repair.pxi"
include "parts/rtcp_in.pxi"
include "parts/egress.pxi"
include "parts/fanout.pxi"
include "parts/answer.pxi"
include "parts/rtcp_out.pxi"
include "parts/stats.pxi"
include "parts/probe.pxi"
include "parts/probe_tables.pxi"


cdef const uint8_t *path_key(bytes path) except NULL:
    if len(path) != BATCH_PATH:
        raise ValueError(f"a path of {BATCH_PATH} bytes, not {len(path)}")
    return <const uint8_t *> <const char *> path


cdef uint32_t fill_name(uint8_t *out, bytes name, int most) except? 0:
    if not 0 < len(name) <= most:
        raise ValueError(f"a name of 1 to {most} bytes, not {name!r}")
    memcpy(out, <const char *> name, len(name))
    return <uint32_t> len(name)


cdef class Engine:
    def __cinit__(
        self,
        int fd,
        int family,
        *,
        bytes seed not None,
        functions not None,
        ciphers,
        uint32_t peers_max=20_000,
        uint32_t paths_max=80_000,
        uint32_t tracks_max=50_000,
        uint32_t egress_max=200_000,
        uint32_t sources_max=200_000,
        uint32_t ssrcs_per_peer=64,
        uint32_t streams_per_peer=512,
        uint32_t paths_per_peer=8,
        uint32_t expected_max=8_192,
        uint32_t events_max=65_536,
        uint32_t control_per_read=128,
        uint32_t reads_per_call=8,
        uint32_t send_queue,
        int64_t keyframe_wait_us=3_000_000,
        uint64_t cache_size,
        uint64_t cache_audio_size,
        uint64_t cache_video_size,
        int64_t cache_audio_us,
        int64_t cache_video_us,
        int64_t start_us,
        uint32_t missing_max,
        uint32_t waiting_max,
        int64_t slice_us,
        int64_t overload_us,
    ):
        cdef uint64_t seed_word
        cdef uint32_t i
        if len(seed) < 8:
            raise ValueError(f"a seed of at least 8 bytes, not {len(seed)}")
        if not peers_max or not paths_max or not tracks_max or not egress_max or not sources_max:
            raise ValueError("every table has room for at least one entry")
        if not ssrcs_per_peer or paths_per_peer < 2 or not expected_max or not events_max or not control_per_read:
            raise ValueError("at least 1 SSRC, 2 paths, 1 expected path, 1 event and 1 control datagram")
        memcpy(&seed_word, <const char *> seed, 8)
        self.batch = Batch(fd, family, send_slots=send_queue)
        self.io = &self.batch.state
        self.peers_max, self.paths_max, self.tracks_max = peers_max, paths_max, tracks_max
        self.egress_max, self.sources_max, self.expected_max = egress_max, sources_max, expected_max
        self.ssrcs_per_peer, self.streams_per_peer = ssrcs_per_peer, streams_per_peer
        self.paths_per_peer, self.control_per_read = paths_per_peer, control_per_read
        self.events_max = events_max
        self.reads_per_call, self.keyframe_wait_us = reads_per_call, keyframe_wait_us
        self.hold_us = [cache_audio_us, cache_video_us]
        self.blocks_max = [
            <uint32_t> (cache_audio_size // CACHE_BLOCK), <uint32_t> (cache_video_size // CACHE_BLOCK)
        ]
        self.start_us, self.missings_max = start_us, missing_max
        self.missing_free = self.repairs = NONE
        self.packets_max, self.slice_ns, self.overload_us = waiting_max, slice_us * 1000, overload_us
        self.packet_free = NONE
        self.queue_first = [NONE, NONE]
        self.queue_last = [NONE, NONE]
        self.peer_free = self.path_free = self.track_free = self.egress_free = self.source_free = NONE
        self.paths = <Path *> calloc(paths_max, sizeof(Path))
        self.peers = <Peer *> calloc(peers_max, sizeof(Peer))
        self.tracks = <Track *> calloc(tracks_max, sizeof(Track))
        self.egress = <Egress *> calloc(egress_max, sizeof(Egress))
        self.sources = <Source *> calloc(sources_max, sizeof(Source))
        self.packets = <Packet *> calloc(waiting_max, sizeof(Packet))
        self.unkept = <uint32_t *> calloc(self.io.receive_slots, sizeof(uint32_t))
        self.sr_due = <uint32_t *> calloc(egress_max, sizeof(uint32_t))
        self.events = <EventRecord *> calloc(events_max, sizeof(EventRecord))
        self.missings = <Missing *> calloc(missing_max, sizeof(Missing))
        if (
            not self.paths or not self.peers or not self.tracks or not self.egress or not self.sources
            or not self.packets or not self.unkept or not self.sr_due or not self.events or not self.missings
            or cache_pool_init(&self.pool, cache_size) < 0
            or hash_init(&self.by_path, seed_word, 1024) < 0
            or hash_init(&self.by_ssrc, seed_word, 1024) < 0
            or hash_init(&self.by_egress, seed_word, 1024) < 0
        ):
            raise MemoryError
        protect, unprotect, protect_rtcp, unprotect_rtcp, forget = functions
        self.protect = <srtp_call> <size_t> protect
        self.unprotect = <srtp_call> <size_t> unprotect
        self.protect_rtcp = <srtp_call> <size_t> protect_rtcp
        self.unprotect_rtcp = <srtp_call> <size_t> unprotect_rtcp
        self.forget_stream = <srtp_forget> <size_t> forget
        if len(ciphers) not in (0, EVP_CALLS):
            raise ValueError(f"{EVP_CALLS} functions of OpenSSL or none, not {len(ciphers)}")
        for i, address in enumerate(ciphers):
            (<size_t *> &self.evp)[i] = address
        self.has_ciphers = bool(ciphers)

    def __dealloc__(self):
        cdef uint32_t i
        if self.peers != NULL:
            for i in range(self.peer_top):
                if self.peers[i].used:
                    free(self.peers[i].twcc)
                    evp_sealer_free(&self.evp, &self.peers[i].sealer)
        if self.sources != NULL and self.pool.memory != NULL:
            for i in range(self.source_top):
                if self.sources[i].used:
                    cache_clear(&self.sources[i].cache, &self.pool)
        cache_pool_free(&self.pool)
        free(self.paths)
        free(self.peers)
        free(self.tracks)
        free(self.egress)
        free(self.sources)
        free(self.packets)
        free(self.unkept)
        free(self.sr_due)
        free(self.events)
        free(self.missings)
        hash_free(&self.by_path)
        hash_free(&self.by_ssrc)
        hash_free(&self.by_egress)

    # handles

    cdef uint32_t peer_of(self, uint64_t handle) except? NONE:
        cdef uint32_t i = <uint32_t> handle
        if i >= self.peer_top or not self.peers[i].used or self.peers[i].generation != handle >> 32:
            raise StaleHandle(f"peer {handle:#x}")
        return i

    cdef uint32_t track_of(self, uint64_t handle) except? NONE:
        cdef uint32_t i = <uint32_t> handle
        if i >= self.track_top or not self.tracks[i].used or self.tracks[i].generation != handle >> 32:
            raise StaleHandle(f"track {handle:#x}")
        return i

    cdef uint32_t egress_of(self, uint64_t handle) except? NONE:
        cdef uint32_t i = <uint32_t> handle
        if i >= self.egress_top or not self.egress[i].used or self.egress[i].generation != handle >> 32:
            raise StaleHandle(f"egress {handle:#x}")
        return i

    # datagrams and time

    def on_readable(self, int64_t now_us):
        cdef uint32_t calls, i, received, path
        cdef uint32_t count = 0
        cdef uint32_t handed_up = 0
        cdef uint32_t strange = 0
        cdef int more = 1
        cdef int kind
        cdef bint known
        cdef bint timed = self.stages.left == 0
        cdef int64_t began_ns = batch_clock_ns()
        cdef uint64_t forwarded = self.forwarded
        self.io.out.timed = timed
        self.io.out.timed_ns = 0
        self.call_answers_left = RESENDS_PER_CALL
        self.call_wanted_left = WANTED_PER_CALL
        if timed:
            stage_begin(&self.stages, began_ns)
        out = []
        # All that waits is read first: what the kernel drops it drops blindly, sound as well as video.
        for calls in range(self.reads_per_call):
            received = batch_receive(self.io, now_us, &more)
            if timed:
                stage_mark(&self.stages, STAGE_RECEIVE, batch_clock_ns())
            for i in range(received):
                kind = datagram_in(self, i, now_us, &path)
                if kind <= 0:
                    continue
                # strangers may fill half of what is handed up, so that peers always have the other half
                known = path != NONE and self.paths[path].peer != NONE
                if handed_up >= self.control_per_read or (not known and strange >= (self.control_per_read + 1) // 2):
                    drop(self, DROP_CONTROL_FLOOD)
                    continue
                handed_up += 1
                strange += not known
                out.append((
                    self.io.slots[i].path[:BATCH_PATH],
                    self.io.slots[i].data[: self.io.slots[i].size],
                    kind,
                    handle_of(self.paths[path].peer, self.peers[self.paths[path].peer].generation) if known else 0,
                ))
            if timed:
                stage_mark(&self.stages, STAGE_UNPROTECT, batch_clock_ns())
            with nogil:
                fan_out_unkept(self, now_us, began_ns + UNKEPT_SLICES * self.slice_ns)
            count += received
            if not more:
                break
        with nogil:
            fan_out(self, now_us, batch_clock_ns() + self.slice_ns)
            repair_run(self, now_us)
            flush_sender_reports(self, now_us)
            batch_flush(self.io)
        if timed:
            stage_mark(&self.stages, STAGE_FORWARD, batch_clock_ns())
        stage_end(&self.stages, count, self.forwarded - forwarded, self.io.out.timed_ns)
        self.io.out.timed = False
        hold_add(&self.holds, batch_clock_ns() - began_ns)
        return out

    def tick(self, int64_t now_us):
        cdef uint32_t i
        cdef int64_t next_us = 0
        cdef int64_t due
        cdef int64_t began_ns = batch_clock_ns()
        cdef Peer *p
        with nogil:
            for i in range(self.peer_top):
                p = &self.peers[i]
                if not p.used or p.srtp_out == NULL or p.selected == NONE:
                    continue
                peer_tick(self, i, now_us)
                due = now_us + FEEDBACK_US if p.twcc != NULL or self.plis_deferred else p.report_at_us
                if peer_layers(self, i) and due > now_us + LAYERS_US:
                    due = now_us + LAYERS_US
                if next_us == 0 or due < next_us:
                    next_us = due
            batch_flush(self.io)
        hold_add(&self.holds, batch_clock_ns() - began_ns)
        return next_us

    def forward(self, int64_t now_us):
        cdef int64_t began_ns = batch_clock_ns()
        if self.packet_live == 0:
            return
        with nogil:
            fan_out(self, now_us, began_ns + self.slice_ns)
            flush_sender_reports(self, now_us)
            batch_flush(self.io)
        hold_add(&self.holds, batch_clock_ns() - began_ns)

    def behind(self):
        return self.packet_live != 0 and not self.io.out.blocked

    def repair(self, int64_t now_us):
        cdef int64_t began_ns = batch_clock_ns()
        with nogil:
            repair_run(self, now_us)
            batch_flush(self.io)
        hold_add(&self.holds, batch_clock_ns() - began_ns)

    def repair_at(self):
        return repair_at_us(self)

    def send(self, bytes path not None, bytes data not None):
        return self.batch.send(path, data)

    def blocked(self):
        return self.io.out.blocked

    def on_writable(self):
        batch_writable(self.io)

    def take_events(self):
        cdef uint32_t i, track, source
        cdef EventRecord *record
        out = []
        for i in range(self.event_count):
            record = &self.events[i]
            out.append((record.kind, record.handle, record.value))
            if record.kind == EVENT_WANTED:
                track = <uint32_t> record.handle
                source = self.tracks[track].layer[record.value]
                if source != NONE:
                    self.sources[source].wanted_told = False
        self.event_count = 0
        return out

    # peers and paths

    def add_peer(self, bytes cname not None, uint32_t ssrc):
        cdef uint32_t i = peer_take(self)
        cdef Peer *p
        if i == NONE:
            raise TableFull(f"{self.peers_max} peers")
        p = &self.peers[i]
        p.selected = p.paths = p.tracks = p.egress = p.sources = NONE
        p.ssrc = ssrc
        try:
            p.cname_size = fill_name(p.cname, cname, CNAME_MAX)
        except ValueError:
            peer_give(self, i)
            raise
        return handle_of(i, p.generation)

    def remove_peer(self, uint64_t peer):
        peer_drop(self, self.peer_of(peer))

    def set_srtp(
        self,
        uint64_t peer,
        size_t inbound,
        size_t outbound,
        uint32_t rtp_tag,
        uint32_t rtcp_trailer,
        bytes sealing not None,
    ):
        cdef Peer *p = &self.peers[self.peer_of(peer)]
        cdef uint32_t i = p.sources
        if rtp_tag > 32 or rtcp_trailer > 32:
            raise ValueError(f"a tag of at most 32 bytes, not {rtp_tag} and {rtcp_trailer}")
        if len(sealing) not in (0, 16 + EVP_SALT, 32 + EVP_SALT) or (sealing and not self.has_ciphers):
            raise ValueError(f"a key and salt for a cipher that there is, not {len(sealing)} bytes")
        if peer_set_sealer(self, p, <const uint8_t *> <const char *> sealing, <uint32_t> len(sealing)) < 0:
            raise MemoryError
        p.srtp_in = <void *> inbound
        p.srtp_out = <void *> outbound
        p.rtp_tag = rtp_tag
        p.rtcp_trailer = rtcp_trailer
        p.streams = 0
        while i != NONE:
            self.sources[i].sealed = False
            i = self.sources[i].next

    def expect_path(self, bytes path not None, int64_t now_us):
        cdef const uint8_t *key = path_key(path)
        cdef uint32_t i = path_find(self, key)
        if i == NONE:
            if self.expected_live >= self.expected_max:
                expected_sweep(self, now_us)
            i = path_put(self, key)
            if i == NONE:
                raise TableFull(f"{self.paths_max} paths")
        if self.paths[i].peer == NONE:
            self.paths[i].until_us = now_us + EXPECTED_US

    def allow_path(self, uint64_t peer, bytes path not None, int64_t now_us):
        if path_is_held(self, self.peer_of(peer), path_key(path), now_us):
            return False
        self.take_path(peer, path)
        return True

    def take_path(self, uint64_t peer, bytes path not None):
        cdef uint32_t i = self.peer_of(peer)
        if path_allow(self, i, path_key(path)) == NONE:
            raise TableFull(f"{self.paths_max} paths")

    def forget_path(self, bytes path not None):
        cdef uint32_t i = path_find(self, path_key(path))
        if i == NONE:
            return False
        path_remove(self, i)
        return True

    def select_path(self, uint64_t peer, bytes path not None, int64_t now_us):
        cdef uint32_t i = self.peer_of(peer)
        cdef uint32_t found
        if path_is_held(self, i, path_key(path), now_us):
            return False
        found = path_allow(self, i, path_key(path))
        if found == NONE:
            raise TableFull(f"{self.paths_max} paths")
        path_select(self, i, found)
        return True

    def set_extensions(
        self,
        uint64_t peer,
        uint8_t mid,
        uint8_t rid,
        uint8_t repaired_rid,
        uint8_t transport_cc,
        uint8_t level,
        bint feedback,
    ):
        cdef uint32_t i = self.peer_of(peer)
        cdef Peer *p = &self.peers[i]
        p.ext_mid, p.ext_rid, p.ext_repaired_rid, p.ext_transport_cc = mid, rid, repaired_rid, transport_cc
        p.ext_level = level
        peer_set_twcc(self, i, feedback and transport_cc != 0)

    def send_remb(self, uint64_t peer, uint64_t bitrate_bps):
        remb_send(self, self.peer_of(peer), bitrate_bps)
        batch_flush(self.io)

    # tracks

    cdef int fill_track(self, uint32_t index, bytes mid, codecs, rids, uint32_t ssrc_count, bint nack) except -1:
        cdef Track *t = &self.tracks[index]
        cdef uint32_t i, rid_count = <uint32_t> len(rids)
        if rid_count > LAYERS:
            raise ValueError(f"at most {LAYERS} rids, not {rid_count}")
        t.mid_size = fill_name(t.mid, mid, NAME_MAX)
        t.nack = nack
        t.has_rtx = False
        memset(t.codec, CODEC_NONE, sizeof(t.codec))
        memset(t.rtx_of, 0xFF, sizeof(t.rtx_of))
        memset(t.rid, 0, sizeof(t.rid))
        for pt, number, clock_rate, repeats in codecs:
            if not 0 <= pt < 128 or not 0 <= number < CODEC_NONE or not 0 < clock_rate < 1 << 24:
                raise ValueError(f"no payload type, codec and clock rate: {pt}, {number}, {clock_rate}")
            if repeats != 0xFF and not 0 <= repeats < 128:
                raise ValueError(f"no payload type to repeat: {repeats}")
            t.codec[<uint32_t> pt] = number
            t.rtx_of[<uint32_t> pt] = repeats
            t.has_rtx = t.has_rtx or repeats != 0xFF
            t.clock_rate[<uint32_t> pt] = clock_rate
        for i in range(rid_count):
            t.rid_size[i] = fill_name(t.rid[i], rids[i], NAME_MAX)
        for i in range(rid_count, LAYERS):
            t.rid_size[i] = 0
        t.rid_count = rid_count
        t.layer_count = rid_count or min(max(ssrc_count, 1), <uint32_t> LAYERS)
        return 0

    cdef uint32_t hints_forget(self, uint32_t track, ssrcs) except? NONE:
        """Drop those SSRCs of a track that never came and are not among `ssrcs`; how many such the peer has left."""
        cdef set kept = {number for pair in ssrcs for number in pair}
        cdef uint32_t i = self.peers[self.tracks[track].peer].sources
        cdef uint32_t left = 0
        cdef uint32_t following
        cdef Source *s
        while i != NONE:
            s = &self.sources[i]
            following = s.next
            if s.track != NONE and not s.heard and not s.sealed:
                if s.track == track and s.ssrc not in kept:
                    source_drop(self, i)
                else:
                    left += 1
            i = following
        return left

    cdef int hint(self, uint32_t track, ssrcs) except -1:
        """Put the SDP's SSRCs in place before their first packet, unless they are known already. Those of the
        SDP before that never came go."""
        cdef Track *t = &self.tracks[track]
        cdef uint32_t hints = self.hints_forget(track, ssrcs)
        cdef uint32_t layer, source, ssrc
        cdef bint is_rtx
        for layer, pair in enumerate(ssrcs[:LAYERS]):
            for is_rtx, number in enumerate(pair):
                ssrc = number
                if ssrc == 0:
                    continue
                source = hash_find(&self.by_ssrc, ssrc_key(t.peer, ssrc))
                if source == NONE and hints < HINTS_PER_PEER:
                    source = source_add(self, t.peer, ssrc)
                    hints += source != NONE
                if source == NONE:
                    continue   # no room: its first packet finds the track by MID or type
                if self.sources[source].track == NONE:
                    self.sources[source].track = track
                    self.sources[source].layer = NONE if t.rid_count else layer
                    self.sources[source].is_rtx = is_rtx
                    self.sources[source].heard = False
        return 0

    def add_track(self, uint64_t peer, bytes mid not None, bint video, codecs, ssrcs, rids, bint nack):
        cdef uint32_t owner = self.peer_of(peer)
        cdef uint32_t i = track_take(self)
        cdef uint32_t layer
        cdef Track *t
        if i == NONE:
            raise TableFull(f"{self.tracks_max} tracks")
        t = &self.tracks[i]
        try:
            self.fill_track(i, mid, codecs, rids, <uint32_t> len(ssrcs), nack)
        except BaseException:
            track_give(self, i)
            raise
        t.peer = owner
        t.video = video
        t.routes = t.waiting_first = t.waiting_last = t.run_last = t.cursor = NONE
        for layer in range(LAYERS):
            t.layer[layer] = t.rtx[layer] = NONE
        t.next = self.peers[owner].tracks
        self.peers[owner].tracks = i
        try:
            self.hint(i, ssrcs)
        except BaseException:
            track_drop(self, i)
            raise
        return handle_of(i, t.generation)

    def update_track(self, uint64_t track, bytes mid not None, codecs, ssrcs, rids, bint nack):
        cdef uint32_t i = self.track_of(track)
        cdef Track before = self.tracks[i]
        cdef Track *t
        try:
            self.fill_track(i, mid, codecs, rids, <uint32_t> len(ssrcs), nack)
        except BaseException:
            self.tracks[i] = before
            raise
        t = &self.tracks[i]
        if (
            t.rid_count != before.rid_count
            or memcmp(t.rid, before.rid, sizeof(t.rid)) != 0
            or memcmp(t.rid_size, before.rid_size, sizeof(t.rid_size)) != 0
        ):
            track_renumber(self, i, &before)
        self.hint(i, ssrcs)

    def remove_track(self, uint64_t track):
        track_drop(self, self.track_of(track))

    def take_stalled(self, int64_t now_us, int64_t limit_us):
        cdef uint32_t i
        cdef Track *t
        out = []
        for i in range(self.track_top):
            t = &self.tracks[i]
            if t.used and t.started and now_us - t.last_us >= limit_us:
                t.started = False
                out.append((handle_of(i, t.generation), now_us - t.last_us))
        return out

    def request_keyframe(self, uint64_t track, uint32_t layer, bint fir):
        sent = keyframe_request(self, self.track_of(track), layer, fir)
        batch_flush(self.io)
        return bool(sent)

    # subscriptions

    def add_egress(
        self,
        uint64_t peer,
        bytes mid not None,
        uint8_t mid_id,
        bint mixed,
        uint32_t ssrc,
        uint32_t rtx_ssrc,
        uint32_t clock_rate,
        bytes cname not None,
        bint video,
        uint64_t index,
        uint32_t timestamp,
        uint64_t rtx_index,
    ):
        cdef uint32_t owner = self.peer_of(peer)
        cdef uint32_t i
        cdef Egress *g
        if not 0 < clock_rate < 1 << 24:
            raise ValueError(f"a clock rate in Hz, not {clock_rate}")
        if hash_find(&self.by_egress, ssrc_key(owner, ssrc)) != NONE:
            raise ValueError(f"SSRC {ssrc} is another subscription's of this peer")
        i = egress_take(self)
        if i == NONE:
            raise TableFull(f"{self.egress_max} subscriptions")
        g = &self.egress[i]
        try:
            g.mid_size = fill_name(g.mid, mid, NAME_MAX)
            g.cname_size = fill_name(g.cname, cname, CNAME_MAX)
            if hash_put(&self.by_egress, ssrc_key(owner, ssrc), i) < 0:
                raise MemoryError
        except BaseException:
            egress_give(self, i)
            raise
        g.peer = owner
        g.video = video
        g.held = True
        g.mixed = mixed
        g.ssrc = ssrc
        g.rtx_ssrc = rtx_ssrc
        g.rtx_index = rtx_index - 1
        g.resend_credit = RESEND_BURST
        g.clock_rate = clock_rate
        g.mid_id = mid_id
        g.route[0].track = g.route[1].track = NONE
        g.layer = NONE
        g.source = g.last_source = NONE
        g.out_eseq = 0x10000 + <uint32_t> index - 1
        g.out_index = index - 1
        g.plain_from = g.out_eseq + 1
        g.out_timestamp = timestamp
        g.pli_credit = PLI_BURST
        g.next = self.peers[owner].egress
        self.peers[owner].egress = i
        return handle_of(i, g.generation)

    def update_egress(self, uint64_t egress, bytes mid not None, uint8_t mid_id, bint mixed):
        cdef Egress *g = &self.egress[self.egress_of(egress)]
        g.plain_from = g.out_eseq + 1
        g.mid_size = fill_name(g.mid, mid, NAME_MAX)
        g.mid_id = mid_id
        g.mixed = mixed

    def route_egress(self, uint64_t egress, uint64_t track, types, extensions, rtx):
        cdef uint32_t i = self.egress_of(egress)
        cdef uint32_t source_track = NONE if track == 0 else self.track_of(track)
        cdef Egress *g = &self.egress[i]
        cdef uint32_t which
        cdef Route route
        memset(route.types, 0xFF, sizeof(route.types))
        memset(route.extensions, 0, sizeof(route.extensions))
        memset(route.rtx, 0xFF, sizeof(route.rtx))
        for key, value in types:
            if not 0 <= key < 128 or not 0 <= value < 128:
                raise ValueError(f"no payload types: {key}, {value}")
            route.types[<uint32_t> key] = value
        for key, value in extensions:
            if not 0 < key < 256 or not 0 < value < 256:
                raise ValueError(f"no extension ids: {key}, {value}")
            route.extensions[<uint32_t> key] = value
        for key, value in rtx:
            if not 0 <= key < 128 or not 0 <= value < 128:
                raise ValueError(f"no payload types: {key}, {value}")
            route.rtx[<uint32_t> key] = value
        if source_track != NONE and self.tracks[source_track].video != g.video:
            raise ValueError("a subscription takes tracks of its own kind")
        if source_track == NONE:
            route_unlink(self, i * 2)
            route_unlink(self, i * 2 + 1)
            g.waiting_us = 0
            return
        if g.route[g.active].track == source_track:
            which = g.active
            route_unlink(self, i * 2 + 1 - which)
        else:
            which = g.active if g.route[g.active].track == NONE else 1 - g.active
            if g.route[which].track != source_track:
                route_unlink(self, i * 2 + which)
                route_link(self, i * 2 + which, source_track)
            g.pending = which != g.active
            g.layer = NONE
            g.waiting_us = 0
        memcpy(g.route[which].types, route.types, sizeof(route.types))
        memcpy(g.route[which].extensions, route.extensions, sizeof(route.extensions))
        memcpy(g.route[which].rtx, route.rtx, sizeof(route.rtx))
        g.plain_from = g.out_eseq + 1

    def select_layer(self, uint64_t egress, uint32_t layer):
        cdef Egress *g = &self.egress[self.egress_of(egress)]
        if layer >= LAYERS:
            raise ValueError(f"a layer under {LAYERS}, not {layer}")
        if g.layer == layer:
            return False
        g.layer = layer
        g.waiting_us = 0
        return g.pending or not egress_in_force(self, g) or self.sources[g.source].layer != layer

    def hold_egress(self, uint64_t egress):
        cdef Egress *g = &self.egress[self.egress_of(egress)]
        if not g.held:
            g.held = True
            g.source = NONE
            g.waiting_us = 0

    def start_egress(self, uint64_t egress, int64_t now_us):
        cdef uint32_t i = self.egress_of(egress)
        cdef bint cached
        if not self.egress[i].held:
            return False
        self.egress[i].held = False
        with nogil:
            cached = egress_start_cached(self, i, now_us)
            flush_sender_reports(self, now_us)
            batch_flush(self.io)
        return cached

    def remove_egress(self, uint64_t egress):
        egress_drop(self, self.egress_of(egress))

    # statistics

    def counters(self):
        return engine_counters(self)

    def take_holds(self):
        cdef uint32_t i
        out = [self.holds.count[i] for i in range(HOLD_BUCKETS)], self.holds.sum_ns
        memset(&self.holds, 0, sizeof(self.holds))
        return out

    def peer_stats(self, uint64_t peer):
        cdef Peer *p = &self.peers[self.peer_of(peer)]
        cdef uint64_t lost = 0
        cdef uint32_t i = p.sources
        while i != NONE:
            lost += self.sources[i].lost_before + source_lost(&self.sources[i])
            i = self.sources[i].next
        return {
            "lost": lost,
            "packets_in": p.packets_in,
            "bytes_in": p.bytes_in,
            "packets_out": p.packets_out,
            "bytes_out": p.bytes_out,
            "refused": p.refused,
            "rtt_us": p.rtt_us,
            "repair_rtt_us": p.ask_rtt_us,
            "remb_bps": p.remb_bps,
            "sources": p.source_count,
            "streams": p.streams,
        }

    def track_stats(self, uint64_t track):
        cdef Track *t = &self.tracks[self.track_of(track)]
        cdef uint32_t layer
        out = []
        for layer in range(LAYERS):
            if t.layer[layer] != NONE:
                one = source_stats(self, t.layer[layer], t.rtx[layer])
                one["layer"] = layer
                out.append(one)
        return out

    def track_seen(self, uint64_t track):
        cdef Track *t = &self.tracks[self.track_of(track)]
        return t.last_us, t.plis

    def egress_stats(self, uint64_t egress):
        return egress_numbers(self, self.egress_of(egress))

    def live(self):
        return {
            "peers": self.peer_live,
            "paths": self.path_live,
            "expected": self.expected_live,
            "tracks": self.track_live,
            "egress": self.egress_live,
            "sources": self.source_live,
            "slots": self.io.out.queued + (self.io.out.taken != NULL),
            "missing": self.missing_live,
            "waiting": self.packet_live,
            "cache_bytes": <uint64_t> self.pool.taken * CACHE_BLOCK,
        }
