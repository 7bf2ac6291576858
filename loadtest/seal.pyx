# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled half of the light client: sockets, SRTP (AES-GCM, RFC 7714), repair and counting of packets.

A `Swarm` holds the UDP sockets of all clients of a process behind one epoll descriptor, so that the
event loop watches one descriptor and makes one call per readiness, whatever the number of clients. RTP
never becomes a Python object: it is opened, counted and forgotten here, and what is missing is asked for
here. What is left for Python (STUN, DTLS, opened RTCP) is returned by `Swarm.drain`.

    epoll -> recvmmsg -> simulated link -> by first byte (RFC 7983)
      -> RTP:  open, RTX to what it repairs, count by SSRC, note what is missing, read the stamp
      -> RTCP: open; generic NACKs are answered out of `Outgoing` ---+
      -> STUN, DTLS -------------------------------------------------+-> drain()'s list

    repair() -> endpoints with anything missing -> generic NACK, PLI -> simulated link -> send

The stamp is 16 bytes at a fixed place in each payload: four bytes by which it is known, four bytes of
the stream's packet number, eight bytes of CLOCK_MONOTONIC in nanoseconds at the moment of sealing. Both
ends of a one-way latency therefore have to be on one machine. A repaired packet has its first stamp, so its
latency includes the repair.

`Floor` is the least that the fan-out of a packet can cost on this machine.
"""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

import socket

cdef enum:
    DATAGRAM_BYTES = 2048  # longer datagrams are cut by the kernel and fail to open
    BATCH = 32             # datagrams per recvmmsg and sendmmsg
    READY = 64             # sockets per epoll_wait
    TAG_BYTES = 16
    SALT_BYTES = 12
    MAX_PACKET = DATAGRAM_BYTES - TAG_BYTES
    STREAMS = 256          # incoming SSRCs that one client counts; more are `unknown`
    WINDOW_WORDS = 16      # of 64 bits: one bit per packet behind the highest in which a duplicate is known
    WINDOW = 1024          # those bits
    MISSING = 512          # packets of one stream that may be missing at once; less than WINDOW
    STAMP_AT = 16          # bytes into the payload
    STAMP_BYTES = 16
    FLOOR_RUN = 64         # packets per GSO send at most: the kernel's bound (UDP_MAX_SEGMENTS)
    TRANSPORT_FEEDBACK = 205
    GENERIC_NACK = 1
    NACK_BYTES = 1200      # of one RTCP packet of requests
    ASK_TRIES = 10         # requests per packet, as Chromium's
    ASK_AGAIN_NS = 10000000     # least time between two requests for a packet; chosen
    GIVE_UP_NS = 3000000000     # a packet this old helps no decoder; chosen
    PLI_GAP_NS = 500000000      # between two PLIs of repair's own; chosen
    RESEND_GAP_NS = 5000000     # a packet is not sent again within; chosen, less than any ASK_AGAIN_NS
    TRACE_FIRST = 1        # begins a frame
    TRACE_LAST = 2         # ends it (marker)
    TRACE_KEY = 4          # is of a keyframe
    TRACE_PADDING = 8      # is padding and nothing else
    TRACE_STEP = 3000      # RTP units between the frame before a jump and the one after

cdef extern from "histogram.h" nogil:
    enum:
        BUCKETS "HISTOGRAM_PLACES"
    uint32_t bucket "histogram_place"(uint64_t us)

cdef const uint8_t *STAMP_MARK = b"orch"

MIN_PACKET_BYTES = 12 + 28 + STAMP_AT + STAMP_BYTES
"""The smallest RTP packet: header, a MID extension of 16 characters, stamp."""
MAX_PACKET_BYTES = MAX_PACKET
MAX_PACKETS_PER_FRAME = BATCH
FIRST, LAST, KEY, PADDING = TRACE_FIRST, TRACE_LAST, TRACE_KEY, TRACE_PADDING


class SealError(Exception):
    """OpenSSL refused, or a value does not fit; the text says which."""


include "parts/system.pxi"
include "parts/aead.pxi"
include "parts/link.pxi"
include "parts/incoming.pxi"
include "parts/nack.pxi"
include "parts/swarm.pxi"
include "parts/endpoint.pxi"
include "parts/trace.pxi"
include "parts/outgoing.pxi"
include "parts/floor.pxi"
