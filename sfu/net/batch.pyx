# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Slots for datagrams on one UDP socket; the work is in batch.h, its promises in batch.pyi."""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy


cdef class Batch:
    def __cinit__(
        self,
        int fd,
        int family,
        *,
        uint32_t receive_slots=64,
        uint32_t send_slots=1024,
        uint32_t slot_size=2048,
    ):
        if not 0 < receive_slots <= BATCH_RECEIVE_MAX:
            raise ValueError(f"1 to {BATCH_RECEIVE_MAX} slots to receive in, not {receive_slots}")
        if not QUEUE_LEAST <= send_slots <= QUEUE_MOST:
            raise ValueError(f"{QUEUE_LEAST} to {QUEUE_MOST} slots to send from, not {send_slots}")
        if not 1500 <= slot_size <= 65536:
            raise ValueError(f"slots of 1500 to 65536 bytes, not {slot_size}")
        if batch_init(&self.state, fd, family, receive_slots, send_slots, slot_size) < 0:
            raise MemoryError

    def __dealloc__(self):
        batch_free(&self.state)

    def receive(self, int64_t now_us):
        cdef int more
        cdef uint32_t i
        cdef batch_slot_t *slot
        out = []
        for i in range(batch_receive(&self.state, now_us, &more)):
            slot = &self.state.slots[i]
            out.append((slot.path[:BATCH_PATH], slot.data[: slot.size]))
        return out

    cdef int put(self, const batch_destination *to, bytes data, bint video) except -1:
        """Queue one datagram: 1, or 0 when there is no room for it."""
        cdef uint8_t *out
        if <uint32_t> len(data) > self.state.slot_size:
            raise ValueError(f"a datagram of at most {self.state.slot_size} bytes, not {len(data)}")
        out = batch_slot(&self.state, video)
        if out == NULL:
            return 0
        memcpy(out, <const char *> data, len(data))
        batch_commit(&self.state, to, <uint32_t> len(data))
        return 1

    cdef int fill(self, batch_destination *to, bytes path) except -1:
        if len(path) != BATCH_PATH:
            raise ValueError(f"a path of {BATCH_PATH} bytes, not {len(path)}")
        batch_make_destination(to, self.state.family, <const uint8_t *> <const char *> path)
        return 0

    def send(self, bytes path not None, bytes data not None):
        cdef batch_destination to
        cdef uint64_t refused = self.state.out.drop_refused + self.state.out.drop_full
        self.fill(&to, path)
        self.put(&to, data, False)
        batch_flush(&self.state)
        return self.state.out.drop_refused + self.state.out.drop_full == refused

    def send_all(self, datagrams not None):
        cdef list paths = list(dict.fromkeys(path for path, _, _ in datagrams))
        cdef dict places = {path: i for i, path in enumerate(paths)}
        cdef batch_destination *to = <batch_destination *> calloc(len(paths) + 1, sizeof(batch_destination))
        cdef uint32_t i
        cdef uint64_t sent = self.state.out.sent
        if to == NULL:
            raise MemoryError
        try:
            for i, path in enumerate(paths):
                self.fill(&to[i], path)
            for path, data, video in datagrams:
                i = places[path]
                self.put(&to[i], data, video)
        finally:
            batch_flush(&self.state)   # before the destinations go
            free(to)
        return self.state.out.sent - sent

    def blocked(self):
        return self.state.out.blocked

    def on_writable(self):
        return batch_writable(&self.state)

    def live_slots(self):
        return self.state.out.queued + (self.state.out.taken != NULL)

    def counters(self):
        cdef batch_t *b = &self.state
        return {
            "received": b.received,
            "received_bytes": b.received_bytes,
            "receive_calls": b.receive_calls,
            "sent": b.out.sent,
            "sent_bytes": b.out.sent_bytes,
            "sent_cut": b.out.sent_cut,
            "send_calls": b.out.send_calls,
            "cuts_refused": b.out.cuts_refused,
            "drop_overflow": b.drop_overflow,
            "drop_truncated": b.drop_truncated,
            "drop_no_path": b.drop_no_path,
            "drop_send_video": b.out.drop_video,
            "drop_send_full": b.out.drop_full,
            "drop_send_refused": b.out.drop_refused,
        }
