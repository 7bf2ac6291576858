# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Slots for datagrams on one UDP socket; the work is in batch.h, its promises in batch.pyi."""

from libc.string cimport memcpy


cdef class Batch:
    def __cinit__(
        self,
        int fd,
        int family,
        *,
        uint32_t receive_slots=64,
        uint32_t send_slots=128,
        uint32_t slot_size=2048,
    ):
        if not 0 < receive_slots <= BATCH_SLOTS_MAX or not 0 < send_slots <= BATCH_SLOTS_MAX:
            raise ValueError(f"a batch of 1 to {BATCH_SLOTS_MAX} slots, not {receive_slots} and {send_slots}")
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

    def send(self, bytes path not None, bytes data not None):
        cdef batch_destination to
        cdef uint8_t *out
        if len(path) != BATCH_PATH:
            raise ValueError(f"a path of {BATCH_PATH} bytes, not {len(path)}")
        if <uint32_t> len(data) > self.state.slot_size:
            raise ValueError(f"a datagram of at most {self.state.slot_size} bytes, not {len(data)}")
        batch_flush(&self.state)
        batch_make_destination(&to, self.state.family, <const uint8_t *> <const char *> path)
        out = batch_slot(&self.state)
        memcpy(out, <const char *> data, len(data))
        batch_commit(&self.state, &to, <uint32_t> len(data))
        return batch_flush(&self.state) == 1

    def live_slots(self):
        return self.state.queued + self.state.taken

    def counters(self):
        cdef batch_t *b = &self.state
        return {
            "received": b.received,
            "received_bytes": b.received_bytes,
            "receive_calls": b.receive_calls,
            "sent": b.sent,
            "sent_bytes": b.sent_bytes,
            "send_calls": b.send_calls,
            "drop_overflow": b.drop_overflow,
            "drop_truncated": b.drop_truncated,
            "drop_no_path": b.drop_no_path,
            "drop_send_full": b.drop_send_full,
            "drop_send_refused": b.drop_send_refused,
        }
