# The sockets of all clients behind one epoll descriptor. A `Swarm` owns the descriptor, the receive memory,
# the totals and the histograms; its endpoints hold pointers into it and keep it alive.


cdef list histogram_take(uint32_t *counts):
    cdef list taken = [counts[i] for i in range(BUCKETS)]
    memset(counts, 0, BUCKETS * sizeof(uint32_t))
    return taken


cdef class Swarm:
    """The sockets of all clients of this process. One thread; `close` ends every endpoint too."""

    cdef int _epoll
    cdef dict _endpoints                # fd -> Endpoint; keeps alive what epoll's pointers name
    cdef Totals _totals
    cdef uint32_t _latency[BUCKETS]
    cdef uint32_t _repair[BUCKETS]      # from noticed to repaired
    cdef uint32_t _answer[BUCKETS]      # from the first request to repaired, where no second one was needed
    cdef uint64_t _reordering_ns        # wait before a missing packet is asked for
    cdef void **_damaged                # endpoints with anything missing, borrowed from `_endpoints`; owned array
    cdef int _damaged_count
    cdef int _damaged_room
    cdef uint64_t _now_ns               # given to `drain`; 0: the clock is read for each packet
    cdef uint64_t _due_ns               # not later than the earliest request that is due; 0: nothing is
    cdef uint8_t *_memory               # BATCH datagrams; owned, one block
    cdef mmsghdr _messages[BATCH]
    cdef iovec _vectors[BATCH]

    def __cinit__(self, double reordering_s=0.005):
        """`reordering_s`: how long a missing packet may still come of itself before it is asked for."""
        cdef int i
        if not 0 <= reordering_s <= 1:
            raise SealError(f"a reordering wait of {reordering_s} s")
        self._reordering_ns = <uint64_t>(reordering_s * 1e9)
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise OSError(errno, "epoll_create1")
        self._endpoints = {}
        self._memory = <uint8_t *>calloc(BATCH, DATAGRAM_BYTES)
        if self._memory == NULL:
            raise MemoryError
        for i in range(BATCH):
            self._vectors[i].iov_base = self._memory + i * DATAGRAM_BYTES
            self._vectors[i].iov_len = DATAGRAM_BYTES
            self._messages[i].msg_hdr.msg_iov = &self._vectors[i]
            self._messages[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        if self._epoll >= 0:
            c_close(self._epoll)
        free(self._memory)
        free(self._damaged)

    def fileno(self) -> int:
        """The epoll descriptor: readable when any client has something to read."""
        return self._epoll

    def add(self, sock: socket.socket, owner: object) -> Endpoint:
        """Take over a connected, non-blocking UDP socket; `owner` is kept for the caller."""
        cdef Endpoint endpoint = Endpoint(self, sock, owner)
        cdef epoll_event event
        event.events = <uint32_t>EPOLLIN
        event.data.ptr = <void *>endpoint
        if epoll_ctl(self._epoll, EPOLL_CTL_ADD, endpoint._fd, &event) < 0:
            raise OSError(errno, "epoll_ctl")
        self._endpoints[endpoint._fd] = endpoint
        return endpoint

    def close(self) -> None:
        """Close every endpoint and the epoll descriptor. Safe to call again; it is the end of the swarm."""
        for endpoint in list(self._endpoints.values()):
            endpoint.close()
        if self._epoll >= 0:
            c_close(self._epoll)
            self._epoll = -1

    def __len__(self) -> int:
        return len(self._endpoints)

    def drain(self, int limit=4096, uint64_t now_ns=0) -> list[tuple[Endpoint, bytes]]:
        """Read up to about `limit` datagrams from whoever has some; return those that are Python's: STUN,
        DTLS, opened RTCP. An endpoint in the list may have been closed while its neighbours were handled.
        `now_ns` is CLOCK_MONOTONIC, read for each packet if not given."""
        cdef epoll_event events[READY]
        cdef list control = []
        cdef int ready, got, i, j
        cdef Endpoint endpoint
        self._now_ns = now_ns
        while limit > 0 and self._epoll >= 0:
            ready = epoll_wait(self._epoll, events, READY, 0)
            if ready <= 0:
                break
            for i in range(ready):
                endpoint = <Endpoint>events[i].data.ptr
                got = recvmmsg(endpoint._fd, self._messages, BATCH, MSG_DONTWAIT, NULL)
                if got < 0:
                    # An ICMP error of an earlier send (ECONNREFUSED) is fetched by this read and gone.
                    limit -= 1
                    continue
                limit -= got
                for j in range(got):
                    if link_drops(&endpoint._down):
                        self._totals.dropped_down += 1
                    else:
                        endpoint._receive(self._memory + j * DATAGRAM_BYTES, <int>self._messages[j].msg_len, control)
        return control

    cdef inline uint64_t _now(self) noexcept nogil:
        return self._now_ns if self._now_ns else clock_ns(CLOCK_MONOTONIC)

    def repair(self, uint64_t now_ns=0) -> float | None:
        """Ask for what is missing and due; returns in how many seconds there is more to do, or None. Cheap when
        nothing is due, so it may be called after every `drain`. `now_ns` is CLOCK_MONOTONIC, read if not given."""
        cdef uint64_t due, at
        cdef int i = 0
        cdef Endpoint endpoint
        if self._due_ns == 0:
            return None
        if now_ns == 0:
            now_ns = clock_ns(CLOCK_MONOTONIC)
        if now_ns >= self._due_ns:
            due = 0
            while i < self._damaged_count:
                endpoint = <Endpoint>self._damaged[i]
                at = endpoint._ask(now_ns)
                if at == 0:
                    self._damaged_count -= 1
                    self._damaged[i] = self._damaged[self._damaged_count]
                    endpoint._damaged = False
                    continue
                if due == 0 or at < due:
                    due = at
                i += 1
            self._due_ns = due
        if self._due_ns == 0:
            return None
        return (self._due_ns - now_ns) / 1e9 if self._due_ns > now_ns else 0.0

    cdef int _note_damage(self, void *endpoint, uint64_t due) noexcept nogil:
        """Put an endpoint on the list of those with anything missing; -1 without memory."""
        cdef void **more
        if self._damaged_count == self._damaged_room:
            more = <void **>realloc(self._damaged, (2 * self._damaged_room + 16) * sizeof(void *))
            if more == NULL:
                return -1
            self._damaged = more
            self._damaged_room = 2 * self._damaged_room + 16
        self._damaged[self._damaged_count] = endpoint
        self._damaged_count += 1
        self._note_due(due)
        return 0

    cdef inline void _note_due(self, uint64_t due) noexcept nogil:
        if self._due_ns == 0 or due < self._due_ns:
            self._due_ns = due

    cdef void _forget(self, void *endpoint) noexcept nogil:
        """An endpoint closes: its pointer must not stay behind."""
        cdef int i
        for i in range(self._damaged_count):
            if self._damaged[i] == endpoint:
                self._damaged_count -= 1
                self._damaged[i] = self._damaged[self._damaged_count]
                return

    @property
    def totals(self) -> dict[str, int]:
        """What all clients together counted since the start; see `Totals` in parts/incoming.pxi."""
        return self._totals

    def take_latency(self) -> list[int]:
        """The histogram of one-way latency since the last call, by place (see `bucket_us`)."""
        return histogram_take(self._latency)

    def take_repair(self) -> list[int]:
        """The same of the time from a loss noticed to its repair, the reordering wait included."""
        return histogram_take(self._repair)

    def take_answer(self) -> list[int]:
        """The same of the time from the first request to the repair, where one request was enough."""
        return histogram_take(self._answer)
