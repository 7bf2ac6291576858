# The C face of sfu.net.batch, for the media engine and the TURN relay. What each call promises: batch.h, queue.h.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "batch.h" nogil:
    enum:
        BATCH_PATH
        BATCH_RECEIVE_MAX
        QUEUE_LEAST, QUEUE_MOST

    struct batch_destination:
        uint32_t control_length   # 0: from whichever of our addresses the kernel takes

    struct batch_slot_t "batch_slot":
        uint8_t *data         # of the batch, until its next receive
        uint32_t size
        int64_t arrival_us
        uint8_t *path         # BATCH_PATH bytes

    struct queue_t "queue":
        bint segments         # whether the kernel cuts messages (UDP_SEGMENT)
        bint blocked          # the socket is full: batch_writable when it no longer is
        uint32_t queued
        const uint8_t *taken
        uint64_t sent, sent_bytes, send_calls, sent_cut
        uint64_t drop_video, drop_full, drop_refused, cuts_refused
        bint timed            # whether flushes are timed at present
        uint64_t timed_ns

    struct batch_t "batch":
        int family
        uint32_t slot_size
        uint32_t receive_slots
        batch_slot_t *slots
        uint64_t received, received_bytes, receive_calls
        queue_t out
        uint64_t drop_overflow, drop_truncated, drop_no_path

    int batch_init(batch_t *b, int fd, int family, uint32_t receive_slots, uint32_t send_slots, uint32_t slot_size)
    void batch_free(batch_t *b)
    uint32_t batch_receive(batch_t *b, int64_t now_us, int *more)
    void batch_make_destination(batch_destination *d, int family, const uint8_t *path)
    uint8_t *batch_slot(batch_t *b, bint video)
    void batch_commit(batch_t *b, const batch_destination *to, uint32_t size)
    void batch_release(batch_t *b)
    uint32_t batch_flush(batch_t *b)
    uint32_t batch_writable(batch_t *b)
    int64_t batch_clock_ns()


cdef class Batch:
    cdef batch_t state   # slots and counters; memory taken in __cinit__, freed in __dealloc__
    cdef int fill(self, batch_destination *to, bytes path) except -1
    cdef int put(self, const batch_destination *to, bytes data, bint video) except -1
