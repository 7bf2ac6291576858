# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""TURN clients and the peer they speak with, compiled: so cheap that the server is what is measured.

    plan, work    what all clients ask for: allocations, permissions, channels, refreshes, and their end (c/clients.h)
    send, run     datagrams from clients through the server to the peer and back, at a rate (c/traffic.h)

Of the server's code nothing is used, not even its codec. What each method promises is in flows.pyi.
"""

from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy, memset

import os
import socket


cdef extern from "openssl/ssl.h" nogil:
    ctypedef struct SSL_CTX:
        pass


cdef extern from "netinet/in.h" nogil:
    struct sockaddr_storage:
        pass


cdef extern from "histogram.h" nogil:
    enum:
        HISTOGRAM_PLACES


cdef extern from "stun.h" nogil:
    enum:
        STUN_TEXT


cdef extern from "line.h" nogil:
    enum:
        LINE_UDP, LINE_TCP, LINE_TLS


cdef extern from "clients.h" nogil:
    enum:
        CLIENTS_PLAN, CLIENTS_PEERS, CLIENTS_USERS, CLIENTS_WINDOW
        STEP_CHALLENGE, STEP_ALLOCATE, STEP_REFRESH, STEP_RELEASE, STEP_PERMIT, STEP_BIND
        FAULT_CONNECT, FAULT_TLS, FAULT_CLOSED, FAULT_SILENT, FAULT_MALFORMED, FAULT_CODES
    struct user_t "user":
        uint8_t *name
        uint32_t name_size
        uint8_t *key
        uint32_t key_size
    struct clients_t "clients":
        int kind
        bint joined
        sockaddr_storage server, local
        sockaddr_storage *peers
        uint32_t peer_count
        uint8_t *realm
        uint32_t realm_size
        user_t *users
        uint32_t user_count, per_user, count
        uint32_t jobs, done, lifetime_s
        uint64_t answered, sent_again
        uint64_t *faults
        uint32_t *exchange
    int clients_use_tls(clients_t *s)
    void clients_plan(clients_t *s, const int *steps, uint32_t size, uint32_t first, uint32_t jobs, uint32_t window,
                      bint passing)


cdef extern from "traffic.h" nogil:
    enum:
        TRAFFIC_STAMP, TRAFFIC_BATCH, TRAFFIC_HEAD
    struct traffic_t "traffic":
        clients_t clients
        bint channel
        uint64_t sent, refused, unsent, echoed, echo_refused, returned, strange, ended
        uint32_t *round_trip
    int traffic_init(traffic_t *t, uint32_t count, uint64_t seed, uint32_t size)
    void traffic_free(traffic_t *t)
    int traffic_open_peer(traffic_t *t)
    void traffic_begin(traffic_t *t, uint32_t senders, double per_s, uint64_t step_ns, double seconds)
    bint traffic_go_on(traffic_t *t, uint64_t slice_ns)
    void traffic_settle(traffic_t *t, uint64_t slice_ns)
    bint traffic_plan(traffic_t *t, uint64_t slice_ns)


cdef extern from "address.h" nogil:
    int address_parse(sockaddr_storage *out, const char *host, unsigned int port)


CHALLENGE, ALLOCATE, REFRESH, RELEASE, PERMIT, BIND = (
    STEP_CHALLENGE, STEP_ALLOCATE, STEP_REFRESH, STEP_RELEASE, STEP_PERMIT, STEP_BIND
)
MIN_BYTES = TRAFFIC_STAMP
MAX_BYTES = 1400
MAX_WINDOW = CLIENTS_WINDOW
_KINDS = {"udp": LINE_UDP, "tcp": LINE_TCP, "tls": LINE_TLS}
_FAULTS = {
    FAULT_CONNECT: "no connection",
    FAULT_TLS: "no TLS",
    FAULT_CLOSED: "closed by the server",
    FAULT_SILENT: "no answer",
    FAULT_MALFORMED: "malformed answer",
}


cdef list taken(uint32_t *places):
    cdef list out = [places[i] for i in range(HISTOGRAM_PLACES)]
    memset(places, 0, HISTOGRAM_PLACES * sizeof(uint32_t))
    return out


cdef int parse(sockaddr_storage *out, str host, unsigned int port) except -1:
    cdef bytes text = host.encode()
    if address_parse(out, text, port) < 0:
        raise ValueError(f"{host}: no IPv4 or IPv6 address")
    return 0


cdef class Flows:
    cdef traffic_t t
    cdef bint opened   # memory is taken

    def __cinit__(
        self,
        uint32_t count,
        *,
        str transport not None,
        tuple server not None,
        str local not None,
        peers not None,
        str realm not None,
        users not None,
        uint32_t per_user=10,
        uint32_t size=120,
        bint channel=True,
        bint joined=False,
    ):
        cdef bytes realm_bytes = realm.encode()
        cdef bytes name, key
        cdef user_t *user
        cdef clients_t *c = &self.t.clients
        if not 0 < count <= 1000000 or not per_user:
            raise ValueError(f"1 to 1000000 clients, not {count}, and one user for at least one")
        if not MIN_BYTES <= size <= MAX_BYTES:
            raise ValueError(f"{MIN_BYTES} to {MAX_BYTES} bytes, not {size}")
        if not 0 < len(peers) <= CLIENTS_PEERS or not 0 < len(users) <= CLIENTS_USERS or len(realm_bytes) > STUN_TEXT:
            raise ValueError(f"1 to {CLIENTS_PEERS} peers, 1 to {CLIENTS_USERS} users and a realm of {STUN_TEXT} bytes")
        if joined and transport != "udp":
            raise ValueError("datagrams alone are joined")
        if traffic_init(&self.t, count, int.from_bytes(os.urandom(8), "big"), size) < 0:
            raise MemoryError
        self.opened = True
        c.kind, c.joined, c.per_user, self.t.channel = _KINDS[transport], joined, per_user, channel
        parse(&c.server, server[0], server[1])
        parse(&c.local, local, 0)
        for i, host in enumerate(peers):
            parse(&c.peers[i], host, 0)
        c.peer_count = len(peers)
        memcpy(c.realm, <const char *> realm_bytes, len(realm_bytes))
        c.realm_size = len(realm_bytes)
        for name, key in users:
            user = &c.users[c.user_count]
            if len(name) > STUN_TEXT or len(key) > 32:
                raise ValueError(f"a name of {STUN_TEXT} bytes and a key of 32 at most")
            user.name = <uint8_t *> malloc(len(name) + 1)
            if user.name == NULL:
                raise MemoryError
            c.user_count += 1
            memcpy(user.name, <const char *> name, len(name))
            memcpy(user.key, <const char *> key, len(key))
            user.name_size, user.key_size = len(name), len(key)
        if c.kind == LINE_TLS and clients_use_tls(c) < 0:
            raise MemoryError
        if traffic_open_peer(&self.t) < 0:
            raise OSError(errno, f"the peer at {peers[0]}: {os.strerror(errno)}")
        for i in range(1, c.peer_count):
            parse(&c.peers[i], peers[i], self.peer_port())

    def __dealloc__(self):
        self.close()

    def close(self):
        if self.opened:
            traffic_free(&self.t)
            self.opened = False

    cdef int check(self) except -1:
        if not self.opened:
            raise ValueError("closed")
        return 0

    cdef unsigned int peer_port(self):
        cdef const uint8_t *p = <const uint8_t *> &self.t.clients.peers[0]
        return p[2] << 8 | p[3]   # sin_port and sin6_port lie at one place

    def plan(self, steps, *, uint32_t first=0, jobs=None, uint32_t window=64, bint passing=False, uint32_t lifetime_s=600):
        cdef int places[32]
        cdef uint32_t count
        self.check()
        count = self.t.clients.count - first if jobs is None else jobs
        if self.t.clients.done < self.t.clients.jobs:
            raise ValueError("the last plan is not done")
        if not 0 < len(steps) <= CLIENTS_PLAN or not 0 < window <= CLIENTS_WINDOW:
            raise ValueError(f"1 to {CLIENTS_PLAN} steps and a window of 1 to {CLIENTS_WINDOW}")
        if first > self.t.clients.count or (not passing and count > self.t.clients.count - first):
            raise ValueError(f"there are {self.t.clients.count} clients")
        for i, step in enumerate(steps):
            if not (CHALLENGE <= step <= PERMIT or BIND <= step < BIND + 64):
                raise ValueError(f"no step {step}")
            places[i] = step
        self.t.clients.lifetime_s = lifetime_s
        if passing and window > self.t.clients.count:
            window = self.t.clients.count
        clients_plan(&self.t.clients, places, len(steps), first, count, window, passing)

    def work(self, double seconds):
        cdef bint more
        self.check()
        with nogil:
            more = traffic_plan(&self.t, <uint64_t> (seconds * 1e9))
        return more

    @property
    def done(self):
        return self.t.clients.done

    def send(self, double per_s, *, double seconds, double step_s=0.001, senders=None):
        cdef uint32_t count = self.t.clients.count if senders is None else senders
        self.check()
        if not 0 < count <= self.t.clients.count or not 0 < per_s <= 1e8 or not 1e-5 <= step_s <= 1 or not seconds > 0:
            raise ValueError(f"{count} senders, {per_s} datagrams a second, {step_s} s a step, {seconds} s")
        traffic_begin(&self.t, count, per_s, <uint64_t> (step_s * 1e9), seconds)

    def run(self, double seconds):
        cdef bint more
        self.check()
        with nogil:
            more = traffic_go_on(&self.t, <uint64_t> (seconds * 1e9))
        return more

    def settle(self, double seconds):
        self.check()
        with nogil:
            traffic_settle(&self.t, <uint64_t> (seconds * 1e9))

    def counts(self):
        return {
            "sent": self.t.sent,
            "refused": self.t.refused,
            "unsent": self.t.unsent,
            "echoed": self.t.echoed,
            "echo_refused": self.t.echo_refused,
            "returned": self.t.returned,
            "strange": self.t.strange,
            "ended": self.t.ended,
            "answered": self.t.clients.answered,
            "sent_again": self.t.clients.sent_again,
        }

    def faults(self):
        cdef int i
        return {
            _FAULTS.get(i, f"error {i}"): self.t.clients.faults[i]
            for i in range(FAULT_CODES)
            if self.t.clients.faults[i]
        }

    def take_round_trips(self):
        return taken(self.t.round_trip)

    def take_exchanges(self):
        return taken(self.t.clients.exchange)
