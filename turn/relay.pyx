# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The relay path: data between the clients of a TURN server and their peers, without Python.

    clients -> listener -> allocation -> channel or address -> permission -> rate -> relay socket -> peers
    clients <- listener <- head <- rate <- permission <- channel or address <- relay socket <- peers

Its structs are in relay.pxd, its parts below, what each method promises in relay.pyi. What is neither data nor junk is
STUN for Python, which decides who may send what to whom. No Python object is made on the way of data, and on UDP no
data is copied and nothing is allocated. Clients may come by TCP and TLS (streams) in place of a listener.
"""

import os

from libc.errno cimport errno
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from sfu.net.batch cimport BATCH_PATH, batch_clock_ns, batch_make_destination


cdef extern from "unistd.h" nogil:
    int close(int fd)


cdef extern from "sys/socket.h" nogil:
    enum:
        AF_INET, AF_INET6


cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CLOEXEC
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int most, int timeout_ms)


cdef enum:
    IS_LISTENER = 0x80000000     # in what epoll tells, with a listener
    IS_STREAM = 0x40000000       # ... with a stream
    IS_TIMER = 0x20000000        # ... with the timer; else allocation << 1 | side


class StaleHandle(Exception):
    """A handle whose allocation is gone."""


class TableFull(Exception):
    """A table has reached its bound; the text names it."""


class BadCertificate(ValueError):
    """A pair that TLS can't use; `number` is its place among those that were given."""

    def __init__(self, why, number):
        super().__init__(why)
        self.number = number


include "parts/tables.pxi"
include "parts/clients.pxi"
include "parts/peers.pxi"
include "parts/streams.pxi"
include "parts/splices.pxi"


cdef const uint8_t *path_key(bytes path) except NULL:
    if len(path) != BATCH_PATH:
        raise ValueError(f"a path of {BATCH_PATH} bytes, not {len(path)}")
    return <const uint8_t *> <const char *> path


cdef int fill_ip(uint8_t *out, bytes ip) except -1:
    """16 bytes of an address of 4 or 16. IPv4 in the clothes of IPv6 is none: it would pass for another's permission."""
    if len(ip) == 4:
        memset(out, 0, 10)
        out[10] = out[11] = 0xff
        memcpy(out + 12, <const char *> ip, 4)
    elif len(ip) == 16:
        memcpy(out, <const char *> ip, 16)
        if frame_is_v4(out):
            raise ValueError("an IPv4 address has 4 bytes")
    else:
        raise ValueError(f"an address of 4 or 16 bytes, not {len(ip)}")
    return 0


cdef int client_destination(batch_destination *to, const Listener *l, const uint8_t *path) except -1:
    batch_make_destination(to, l.family, path)
    if l.bound:
        if memcmp(path + 18, l.local, 16) != 0:
            raise ValueError("the listener is bound to another address")
        to.control_length = 0
    return 0


cdef SSL_CTX *tls_of(int number, bytes chain, bytes key) except NULL:
    cdef SSL_CTX *tls = NULL
    cdef int fault = tls_make(&tls, <const char *> chain, <int> len(chain), <const char *> key, <int> len(key))
    if fault == TLS_NO_CERTIFICATE:
        raise BadCertificate("no certificate in PEM, or one that can't be used", number)
    if fault == TLS_NO_KEY:
        raise BadCertificate("no private key in PEM, or one with a password", number)
    if fault == TLS_NO_PAIR:
        raise BadCertificate("the key is not the certificate's", number)
    if fault < 0:
        raise MemoryError
    return tls


cdef bytes ip_of(const uint8_t *ip):
    return ip[12:16] if frame_is_v4(ip) else ip[:16]


cdef class Relay:
    def __cinit__(
        self,
        *,
        bytes seed not None,
        uint32_t allocations_max=5_000,
        uint32_t permissions_max=40_000,
        uint32_t channels_max=40_000,
        uint32_t permissions_each=64,
        uint32_t channels_each=64,
        uint32_t control_per_call=128,
        int64_t slice_us=5_000,
        uint32_t streams_max=0,
        uint32_t listeners_max=32,
        uint32_t stranger_bytes=2048,
        uint32_t control_bytes=CONTROL_MAX,
        uint32_t write_queue=262_144,
    ):
        cdef epoll_event event
        cdef uint64_t seed_word
        self.epoll = self.timer = -1
        if len(seed) < 8:
            raise ValueError(f"a seed of at least 8 bytes, not {len(seed)}")
        if not 0 < allocations_max < 1 << 24:
            raise ValueError(f"1 to {(1 << 24) - 1} allocations, not {allocations_max}")
        if not permissions_max or not channels_max or not permissions_each or not channels_each:
            raise ValueError("room for at least one permission and one channel")
        if not control_per_call or slice_us <= 0:
            raise ValueError("at least one message handed up per call, and some time for each")
        if streams_max >= 1 << 24:
            raise ValueError(f"at most {(1 << 24) - 1} streams, not {streams_max}")
        if not 0 < listeners_max <= 65536:
            raise ValueError(f"1 to 65536 listeners, not {listeners_max}")
        if stranger_bytes > CONTROL_MAX or control_bytes > CONTROL_MAX:
            raise ValueError(f"messages of at most {CONTROL_MAX} bytes are handed up")
        memcpy(&seed_word, <const char *> seed, 8)
        self.listeners_max = listeners_max
        self.allocations_max, self.permissions_max, self.channels_max = allocations_max, permissions_max, channels_max
        self.permissions_each, self.channels_each = permissions_each, channels_each
        self.controls_max, self.slice_ns = control_per_call, slice_us * 1000
        self.allocation_free = self.permission_free = self.channel_free = NONE
        self.streams_max, self.stream_queue = streams_max, write_queue
        self.strange.control = self.strange.data = stranger_bytes
        self.known.control, self.known.data = control_bytes, 0xffffffff   # as much as 16 bits can say
        self.stream_free = self.ended_first = self.ended_last = self.staged_for = NONE
        self.id_state = hash_mix(seed_word ^ 0x9e3779b97f4a7c15)
        self.swept_us = -SWEEP_US
        burst_init(&self.up)
        burst_init(&self.down)
        crc_init(&self.crc)
        self.listeners = <Listener *> calloc(listeners_max, sizeof(Listener))
        self.allocations = <Allocation *> calloc(allocations_max, sizeof(Allocation))
        self.permissions = <Permission *> calloc(permissions_max, sizeof(Permission))
        self.channels = <Channel *> calloc(channels_max, sizeof(Channel))
        self.controls = <Control *> calloc(control_per_call, sizeof(Control))
        if (
            not self.listeners or not self.allocations or not self.permissions or not self.channels
            or not self.controls
            or intake_init(&self.io) < 0
            or hash_init(&self.by_path, seed_word, 256) < 0
            or hash_init(&self.by_channel, seed_word, 256) < 0
            or hash_init(&self.by_peer, seed_word, 256) < 0
            or hash_init(&self.by_ip, seed_word, 256) < 0
        ):
            raise MemoryError
        if streams_max:
            self.streams = <stream_t *> calloc(streams_max, sizeof(stream_t))
            self.stream_controls = <StreamControl *> calloc(control_per_call, sizeof(StreamControl))
            self.stream_in = <uint8_t *> malloc(STREAM_BYTES)
            self.stage = <uint8_t *> malloc(STREAM_BYTES)
            self.paused = <uint32_t *> calloc(control_per_call, sizeof(uint32_t))
            self.throttled = <uint32_t *> calloc(streams_max, sizeof(uint32_t))
            if (
                not self.streams or not self.stream_controls or not self.stream_in or not self.stage
                or not self.paused or not self.throttled
            ):
                raise MemoryError
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.timer = timer_make()
        event.events = EPOLLIN
        event.data.u64 = IS_TIMER
        if self.epoll < 0 or self.timer < 0 or epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.timer, &event) < 0:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        cdef uint32_t i
        if self.allocations != NULL:
            for i in range(self.allocation_top):
                if self.allocations[i].used:
                    socket_close(self, &self.allocations[i], 0)
                    socket_close(self, &self.allocations[i], 1)
        if self.epoll >= 0:
            close(self.epoll)
        if self.timer >= 0:
            close(self.timer)
        if self.streams != NULL:
            for i in range(self.stream_top):
                if self.streams[i].used:
                    stream_close(&self.streams[i])
        SSL_CTX_free(self.tls)
        free(self.streams)
        free(self.stream_controls)
        free(self.stream_in)
        free(self.stage)
        free(self.paused)
        free(self.throttled)
        intake_free(&self.io)
        free(self.listeners)
        free(self.allocations)
        free(self.permissions)
        free(self.channels)
        free(self.controls)
        hash_free(&self.by_path)
        hash_free(&self.by_channel)
        hash_free(&self.by_peer)
        hash_free(&self.by_ip)

    cdef uint32_t allocation_of(self, uint64_t handle) except? NONE:
        cdef uint32_t i = <uint32_t> handle
        if i >= self.allocation_top or not self.allocations[i].used or self.allocations[i].generation != handle >> 32:
            raise StaleHandle(f"allocation {handle:#x}")
        return i

    # sockets and time

    def fileno(self):
        return self.epoll

    def add_listener(self, int fd, int family):
        cdef epoll_event event
        cdef bint bound
        cdef uint32_t i
        for i in range(self.listeners_max):
            if not self.listeners[i].used:
                break
        else:
            raise TableFull(f"listeners: {self.listeners_max}")
        bound = socket_bound(fd, self.listeners[i].local)
        if socket_family(fd) != family or socket_listens(fd, family, bound) < 0:
            raise ValueError(f"descriptor {fd} is no UDP socket of family {family}")
        event.events = EPOLLIN
        event.data.u64 = IS_LISTENER | i
        if epoll_ctl(self.epoll, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        self.listeners[i].used = True
        self.listeners[i].fd, self.listeners[i].family, self.listeners[i].bound = fd, family, bound
        self.listeners[i].mark = hash_mix(i + 1)
        self.listeners[i].want = 1
        return i

    def remove_listener(self, uint32_t listener):
        self.listener_of(listener)
        for i in range(self.allocation_top):
            if self.allocations[i].used and self.allocations[i].listener == listener:
                raise ValueError("allocations are left")
        epoll_ctl(self.epoll, EPOLL_CTL_DEL, self.listeners[listener].fd, NULL)
        self.lost += socket_lost(self.listeners[listener].fd)
        self.listeners[listener].used = False

    cdef Listener *listener_of(self, uint32_t listener) except NULL:
        if listener >= self.listeners_max or not self.listeners[listener].used:
            raise ValueError(f"no listener {listener}")
        return &self.listeners[listener]

    def on_readable(self, int64_t now_us):
        self.now_us, self.now_ns = now_us, now_us * 1000
        self.control_count = self.strange_count = self.stream_control_count = 0
        self.handshakes, self.sated = HANDSHAKES, False
        self.calls += 1
        with nogil:
            streams_resume(self)
            relay_run(self)
        return (
            self.control_count != 0 or self.stream_control_count != 0 or self.icmp_count != 0 or self.ended_first != NONE
        )

    def take_messages(self):
        cdef uint32_t i
        cdef Control *c
        out = []
        for i in range(self.control_count):
            c = &self.controls[i]
            out.append((c.listener, c.path[:BATCH_PATH], c.data[: c.size]))
        self.control_count = 0
        return out

    def send(self, uint32_t listener, bytes path not None, bytes data not None):
        cdef batch_destination to
        cdef const uint8_t *key = path_key(path)
        cdef Listener *l = self.listener_of(listener)
        cdef uint64_t sent = self.down.sent
        if len(data) > PAYLOAD_MAX:
            raise ValueError(f"a datagram of at most {PAYLOAD_MAX} bytes, not {len(data)}")
        client_destination(&to, l, key)
        burst_use(&self.down, l.fd)
        burst_head(&self.down)
        burst_put(
            &self.down, &to, frame_is_v4(key), 0, 0, <const uint8_t *> <const char *> data, <uint32_t> len(data), 0
        )
        burst_flush(&self.down)
        self.replies += 1
        return self.down.sent != sent

    def take_icmp(self):
        cdef uint32_t i
        cdef icmp_error *e
        out = []
        for i in range(self.icmp_count):
            e = &self.icmp[i].error
            out.append((self.icmp[i].handle, ip_of(e.peer), load16(e.peer + 16), e.type, e.code, e.data))
        self.icmp_count = 0
        return out

    # streams

    cdef uint32_t stream_of(self, uint64_t stream) except? NONE:
        cdef uint32_t i = <uint32_t> stream
        if i >= self.stream_top or not self.streams[i].used or self.streams[i].generation != stream >> 32:
            raise StaleHandle(f"stream {stream:#x}")
        return i

    def set_certificates(self, pairs not None):
        cdef SSL_CTX *first = NULL
        cdef SSL_CTX *last = NULL
        cdef SSL_CTX *made
        if not pairs:
            raise ValueError("at least one certificate")
        try:
            for number, (chain, key) in enumerate(pairs):
                made = tls_of(number, chain, key)
                if first == NULL:
                    first = made
                elif tls_follow(last, made) < 0:
                    SSL_CTX_free(made)
                    raise MemoryError
                last = made
        except BaseException:
            SSL_CTX_free(first)
            raise
        SSL_CTX_free(self.tls)   # connections that were made with it keep it
        self.tls = first

    def add_stream(self, int fd, bint tls, int64_t now_us):
        cdef epoll_event event
        cdef stream_t *s
        cdef uint32_t i
        if tls and self.tls == NULL:
            raise ValueError("no certificate")
        i = stream_take(self)
        if i == NONE:
            raise TableFull(f"streams: {self.streams_max}")
        s = &self.streams[i]
        if stream_open(s, fd, self.tls if tls else NULL) < 0:
            stream_give(self, i)
            raise OSError(errno, os.strerror(errno))
        s.since_us = s.unallocated_us = now_us
        event.events = s.armed = EPOLLIN
        event.data.u64 = IS_STREAM | i
        if epoll_ctl(self.epoll, EPOLL_CTL_ADD, fd, &event) < 0:
            raised = OSError(errno, os.strerror(errno))
            s.fd = -1   # it stays the caller's
            stream_close(s)
            stream_give(self, i)
            raise raised
        self.streams_opened += 1
        return handle_of(i, s.generation)

    def drop_stream(self, uint64_t stream):
        cdef uint32_t i = self.stream_of(stream)
        if self.streams[i].allocation != NONE:
            raise ValueError("an allocation is left")
        if self.streams[i].spliced and self.streams[i].end == END_NONE:
            splice_over(self, i, END_CLOSED)
        if self.streams[i].end == END_NONE:
            epoll_ctl(self.epoll, EPOLL_CTL_DEL, self.streams[i].fd, NULL)
        else:
            stream_untold(self, i)
        stream_close(&self.streams[i])
        stream_give(self, i)

    def send_stream(self, uint64_t stream, bytes data not None):
        cdef uint32_t i = self.stream_of(stream)
        cdef stream_t *s = &self.streams[i]
        if s.end not in (END_NONE, END_CLOSED) or not s.open:
            return False
        if stream_queued(s) + len(data) > self.stream_queue + STREAM_REPLIES:
            stream_fail(self, i, END_UNREAD)
            return False
        if stream_put(s, <const uint8_t *> <const char *> data, <uint32_t> len(data)) < 0:
            stream_fail(self, i, END_CLOSED)
            return False
        if s.spliced:
            splice_arm(self, i)
            splice_arm(self, s.other)
        elif s.end == END_NONE:
            stream_arm(s, self.epoll, IS_STREAM | i)
        self.stream_bytes_out += len(data)
        self.replies += 1
        return True

    def take_stream_messages(self):
        cdef uint32_t i
        cdef StreamControl *c
        out = []
        for i in range(self.stream_control_count):
            c = &self.stream_controls[i]
            out.append((c.stream, c.data[: c.size]))
        self.stream_control_count = 0
        return out

    def end_overdue(
        self, int64_t now_us, int64_t handshake_us, int64_t message_us, int64_t unallocated_us, int64_t half_closed_us
    ):
        self.now_us, self.now_ns = now_us, now_us * 1000
        streams_overdue(self, handshake_us, message_us, unallocated_us, half_closed_us)

    def take_ended(self):
        cdef uint32_t i = self.ended_first
        out = []
        while i != NONE:
            out.append((handle_of(i, self.streams[i].generation), END_NAMES[self.streams[i].end - 1]))
            i = self.streams[i].next
        self.ended_first = self.ended_last = NONE
        return out

    # data connections

    cdef uint32_t spliced_of(self, uint64_t stream) except? NONE:
        cdef uint32_t i = self.stream_of(stream)
        if not self.streams[i].spliced or self.streams[i].is_peer:
            raise ValueError("no data connection")
        return i

    def splice(self, uint64_t stream, uint64_t handle, int fd):
        cdef epoll_event event
        cdef uint32_t client = self.stream_of(stream)
        cdef uint32_t owner = self.allocation_of(handle)
        cdef uint32_t peer
        if self.streams[client].allocation != NONE or self.streams[client].spliced or not self.streams[client].open:
            raise ValueError("the stream has another use")
        if self.streams[client].end != END_NONE:
            raise StaleHandle(f"stream {stream:#x} is over")
        peer = stream_take(self)
        if peer == NONE:
            raise TableFull(f"streams: {self.streams_max}")
        if stream_open(&self.streams[peer], fd, NULL) < 0:
            stream_give(self, peer)
            raise OSError(errno, os.strerror(errno))
        event.events = self.streams[peer].armed = EPOLLIN
        event.data.u64 = IS_STREAM | peer
        if epoll_ctl(self.epoll, EPOLL_CTL_ADD, fd, &event) < 0:
            raised = OSError(errno, os.strerror(errno))
            self.streams[peer].fd = -1   # it stays the caller's
            stream_close(&self.streams[peer])
            stream_give(self, peer)
            raise raised
        splice_made(self, client, peer, owner)

    def splice_bytes(self, uint64_t stream):
        cdef stream_t *s = &self.streams[self.spliced_of(stream)]
        return s.bytes_in, s.bytes_out

    def end_splice(self, uint64_t stream):
        cdef uint32_t i = self.spliced_of(stream)
        if self.streams[i].end == END_NONE:
            splice_over(self, i, END_ALLOCATION)

    # allocations

    def add_streamed(self, uint64_t stream, uint64_t packets_per_s, uint64_t bytes_per_s):
        cdef uint32_t at = self.stream_of(stream)
        cdef uint32_t i
        if self.streams[at].allocation != NONE:
            raise ValueError("the client on this stream has an allocation")
        i = allocation_take(self)
        if i == NONE:
            raise TableFull(f"allocations: {self.allocations_max}")
        self.allocations[i].stream = at
        self.streams[at].allocation = i
        allocation_rates(&self.allocations[i], packets_per_s, bytes_per_s)
        return handle_of(i, self.allocations[i].generation)

    def add(self, uint32_t listener, bytes path not None, uint64_t packets_per_s, uint64_t bytes_per_s):
        cdef const uint8_t *key = path_key(path)
        cdef Listener *l = self.listener_of(listener)
        cdef uint64_t hashed = path_hash(self, listener, key)
        cdef batch_destination to
        cdef Allocation *a
        cdef uint32_t i
        client_destination(&to, l, key)
        if hash_find(&self.by_path, hashed) != NONE:
            raise ValueError("the client on this path has an allocation")
        i = allocation_take(self)
        if i == NONE:
            raise TableFull(f"allocations: {self.allocations_max}")
        if hash_put(&self.by_path, hashed, i) < 0:
            allocation_give(self, i)
            raise MemoryError
        a = &self.allocations[i]
        a.listener = listener
        a.hash = hashed
        memcpy(a.path, key, BATCH_PATH)
        a.to = to
        a.client_v4 = frame_is_v4(key)
        allocation_rates(a, packets_per_s, bytes_per_s)
        return handle_of(i, a.generation)

    def remove(self, uint64_t handle):
        allocation_drop(self, self.allocation_of(handle))

    def attach(self, uint64_t handle, int fd):
        cdef uint32_t i = self.allocation_of(handle)
        cdef int family = socket_family(fd)
        cdef uint32_t side = family == AF_INET6
        cdef RelaySocket *s = &self.allocations[i].sockets[side]
        cdef epoll_event event
        if family < 0 or socket_relays(fd, family) < 0:
            raise ValueError(f"descriptor {fd} is no UDP socket")
        if s.fd >= 0:
            raise ValueError("the allocation has a relayed address of this family")
        event.events = EPOLLIN
        event.data.u64 = <uint64_t> i << 1 | side
        if epoll_ctl(self.epoll, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        s.fd = fd
        s.dont_fragment = False
        s.want = 1
        self.socket_live += 1

    def detach(self, uint64_t handle, int family):
        cdef uint32_t i = self.allocation_of(handle)
        if family != AF_INET and family != AF_INET6:
            raise ValueError(f"no family {family}")
        family_drop(self, i, family == AF_INET6)

    # who may be sent to

    def set_own_ports(self, ranges not None):
        cdef uint32_t i
        if len(ranges) > OWN_PORTS:
            raise ValueError(f"at most {OWN_PORTS} ranges of ports, not {len(ranges)}")
        for i, (low, high) in enumerate(ranges):
            self.own_low[i], self.own_high[i] = low, high
        self.own_count = len(ranges)

    def set_told(self, rows not None):
        cdef uint32_t i
        cdef Told *t
        if len(rows) > TOLD:
            raise ValueError(f"at most {TOLD} ranges of ports at told addresses, not {len(rows)}")
        for ip, low, high, local, local_low in rows:
            if not 0 < low <= high < 65536 or not 0 < local_low <= 65535 - (high - low) or len(ip) != len(local):
                raise ValueError(f"ports {low} to {high} do not fit those from {local_low} on, or the addresses each other")
        self.told_count = 0
        for i, (ip, low, high, local, local_low) in enumerate(rows):
            t = &self.told[i]
            fill_ip(t.ip, ip)
            fill_ip(t.local, local)
            t.low, t.high, t.local_low = low, high, local_low
        self.told_count = len(rows)

    def has_room(self, uint64_t handle, uint32_t permissions, uint32_t channels):
        make_room(self, self.allocation_of(handle), permissions, channels)
        return tables_have_room(self, permissions, channels)

    def permit(self, uint64_t handle, bytes ip not None, int64_t until_us, bint own_ports):
        cdef uint32_t owner = self.allocation_of(handle)
        cdef uint8_t key[16]
        cdef uint32_t i
        fill_ip(key, ip)
        make_room(self, owner, 1, 1)
        i = permission_find(self, owner, key)
        if i == NONE:
            i = permission_put(self, owner, key)
        if i == NONE:
            raise TableFull(f"permissions: {self.permissions_each} of an allocation, {self.permissions_max} in all")
        self.permissions[i].until_us = until_us
        self.permissions[i].own_ports = own_ports

    def bind(self, uint64_t handle, uint16_t channel, bytes ip not None, uint16_t port, int64_t until_us):
        cdef uint32_t owner = self.allocation_of(handle)
        cdef uint8_t peer[18]
        cdef uint32_t i, other, permission
        if not 0x4000 <= channel <= 0x7fff or port == 0:
            raise ValueError(f"a channel of 0x4000 to 0x7fff and a port, not {channel:#x} and {port}")
        fill_ip(peer, ip)
        store16(peer + 16, port)
        make_room(self, owner, 1, 1)
        permission = permission_find(self, owner, peer)
        if permission == NONE:
            raise ValueError("a channel needs a permission first")
        i = hash_find(&self.by_channel, channel_key(owner, channel))
        other = channel_of_peer(self, owner, peer)
        if i == NONE or i != other:
            if i != NONE:
                channel_unbind(self, owner, i)
            if other != NONE:
                channel_unbind(self, owner, other)
            i = channel_put(self, owner, channel, peer, permission)
        if i == NONE:
            raise TableFull(f"channels: {self.channels_each} of an allocation, {self.channels_max} in all")
        self.channels[i].until_us = until_us

    # figures

    def counts(self, uint64_t handle):
        cdef Allocation *a = &self.allocations[self.allocation_of(handle)]
        return {
            "packets_in": a.packets_in,
            "bytes_in": a.bytes_in,
            "packets_out": a.packets_out,
            "bytes_out": a.bytes_out,
            "dropped": a.dropped,
        }

    def counters(self):
        cdef int i
        out = {
            "received": self.received,
            "control_in": self.control_in,
            "replies": self.replies,
            "channel_in": self.channel_in,
            "send_in": self.send_in,
            "channel_out": self.channel_out,
            "data_out": self.data_out,
            "sent": self.up.sent + self.down.sent,
            "sent_bytes": self.up.sent_bytes + self.down.sent_bytes,
            "sent_cut": self.up.sent_cut + self.down.sent_cut,
            "cuts_refused": self.up.cuts_refused + self.down.cuts_refused,
            "calls": self.calls,
            "wait_calls": self.waits,
            "receive_calls": self.io.calls,
            "send_calls": self.up.calls + self.down.calls,
            "drop_overflow": self.lost + lost_by_open_sockets(self),
            "drop_send_full": self.up.drop_full + self.down.drop_full,
            "drop_send_refused": self.up.drop_refused + self.down.drop_refused,
        }
        out["streams_opened"] = self.streams_opened
        out["stream_bytes_in"] = self.stream_bytes_in
        out["stream_bytes_out"] = self.stream_bytes_out
        out["splices"] = self.splices
        out["spliced_in"] = self.spliced_in
        out["spliced_out"] = self.spliced_out
        out["throttled"] = self.throttles
        for i in range(1, ENDS):
            out["end_" + END_NAMES[i - 1]] = self.ends[i]
        for i in range(DROPS):
            out["drop_" + DROP_NAMES[i]] = self.drops[i]
        return out

    def live(self):
        return {
            "allocations": self.allocation_live,
            "sockets": self.socket_live,
            "permissions": self.permission_live,
            "channels": self.channel_live,
            "streams": self.stream_live,
            "splices": self.splice_live,
        }
