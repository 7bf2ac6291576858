# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled half of the light client: sockets, SRTP (AES-GCM, RFC 7714) and the counting of packets.

A `Swarm` holds the UDP sockets of all clients of a process behind one epoll descriptor, so that the
event loop watches one descriptor and makes one call per readiness, whatever the number of clients. RTP
never becomes a Python object: it is opened, counted and forgotten here. What is left for Python (STUN,
DTLS, opened RTCP) is returned by `Swarm.drain`.

    epoll -> recvmmsg -> by first byte (RFC 7983) -> RTP:  open, count by SSRC, read the stamp
                                                  -> RTCP: open ---------+
                                                  -> STUN, DTLS ---------+-> drain()'s list

The stamp is 16 bytes at a fixed place in each payload: four bytes by which it is known, four bytes of
the stream's packet number, eight bytes of CLOCK_MONOTONIC in nanoseconds at the moment of sealing. Both
ends of a one-way latency therefore have to be on one machine.

`floor_ns` is the least that the fan-out of a packet can cost on this machine: one seal and one sendto.
"""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

import socket

cdef extern from "errno.h" nogil:
    int errno
    int EAGAIN
    int ECONNREFUSED

cdef extern from "time.h" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int CLOCK_THREAD_CPUTIME_ID
    int clock_gettime(int clock, timespec *to)

cdef extern from "sys/socket.h" nogil:
    struct sockaddr:
        pass
    ctypedef unsigned int socklen_t
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int MSG_DONTWAIT
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, timespec *timeout)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)
    ssize_t c_send "send"(int fd, const void *data, size_t length, int flags)
    ssize_t c_sendto "sendto"(int fd, const void *data, size_t length, int flags,
                              const sockaddr *to, socklen_t to_length)
    ssize_t c_recv "recv"(int fd, void *data, size_t length, int flags)
    int getsockname(int fd, sockaddr *address, socklen_t *length)

cdef extern from "netinet/in.h" nogil:
    struct sockaddr_storage:
        pass

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        void *ptr
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLLIN
    int EPOLL_CLOEXEC
    int EPOLL_CTL_ADD
    int EPOLL_CTL_DEL
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int count, int timeout_ms)

cdef extern from "unistd.h" nogil:
    int c_close "close"(int fd)

cdef extern from "openssl/evp.h" nogil:
    ctypedef struct EVP_CIPHER
    ctypedef struct EVP_CIPHER_CTX
    ctypedef struct ENGINE
    int EVP_CTRL_AEAD_GET_TAG
    int EVP_CTRL_AEAD_SET_TAG
    const EVP_CIPHER *EVP_aes_128_gcm()
    const EVP_CIPHER *EVP_aes_256_gcm()
    const EVP_CIPHER *EVP_aes_128_ctr()
    const EVP_CIPHER *EVP_aes_256_ctr()
    EVP_CIPHER_CTX *EVP_CIPHER_CTX_new()
    void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *ctx)
    int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *ctx, int type, int arg, void *pointer)
    int EVP_EncryptInit_ex(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, ENGINE *engine,
                           const uint8_t *key, const uint8_t *iv)
    int EVP_DecryptInit_ex(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, ENGINE *engine,
                           const uint8_t *key, const uint8_t *iv)
    int EVP_EncryptUpdate(EVP_CIPHER_CTX *ctx, uint8_t *out, int *out_length, const uint8_t *data, int length)
    int EVP_DecryptUpdate(EVP_CIPHER_CTX *ctx, uint8_t *out, int *out_length, const uint8_t *data, int length)
    int EVP_EncryptFinal_ex(EVP_CIPHER_CTX *ctx, uint8_t *out, int *out_length)
    int EVP_DecryptFinal_ex(EVP_CIPHER_CTX *ctx, uint8_t *out, int *out_length)

cdef enum:
    DATAGRAM_BYTES = 2048  # longer datagrams are cut by the kernel and fail to open
    BATCH = 32             # datagrams per recvmmsg and sendmmsg
    READY = 64             # sockets per epoll_wait
    TAG_BYTES = 16
    SALT_BYTES = 12
    STREAMS = 256          # incoming SSRCs that one client counts; more are `unknown`
    WINDOW_WORDS = 16      # of 64 bits: one bit per packet behind the highest in which a duplicate is known
    WINDOW = 1024          # those bits
    BUCKETS = 192          # of the latency histogram: eight per doubling, up to some 16 s
    STAMP_AT = 16          # bytes into the payload
    STAMP_BYTES = 16

cdef const uint8_t *STAMP_MARK = b"orch"

MIN_PACKET_BYTES = 12 + 28 + STAMP_AT + STAMP_BYTES
"""The smallest RTP packet: header, a MID extension of 16 characters, stamp."""
MAX_PACKET_BYTES = DATAGRAM_BYTES - TAG_BYTES
MAX_PACKETS_PER_FRAME = BATCH


class SealError(Exception):
    """OpenSSL refused, or a key has a length that no AEAD profile has."""


cdef inline uint16_t read16(const uint8_t *at) noexcept nogil:
    return <uint16_t>((at[0] << 8) | at[1])


cdef inline uint32_t read32(const uint8_t *at) noexcept nogil:
    return (<uint32_t>at[0] << 24) | (<uint32_t>at[1] << 16) | (<uint32_t>at[2] << 8) | at[3]


cdef inline void write16(uint8_t *at, uint32_t value) noexcept nogil:
    at[0] = <uint8_t>(value >> 8)
    at[1] = <uint8_t>value


cdef inline void write32(uint8_t *at, uint32_t value) noexcept nogil:
    write16(at, value >> 16)
    write16(at + 2, value)


cdef inline uint64_t clock_ns(int clock) noexcept nogil:
    cdef timespec t
    clock_gettime(clock, &t)
    return <uint64_t>t.tv_sec * 1000000000 + <uint64_t>t.tv_nsec


# --- AEAD ---------------------------------------------------------------------------------------


cdef struct Key:
    EVP_CIPHER_CTX *ctx     # owned; holds the session key
    uint8_t salt[SALT_BYTES]


cdef int derive(uint8_t *to, int length, const uint8_t *master, int key_length, uint8_t label) noexcept nogil:
    """Session key or salt by AES-CM (RFC 3711 4.3.1); a 96-bit salt stands at the left (RFC 7714 11)."""
    cdef uint8_t iv[16]
    cdef uint8_t zeros[32]
    cdef int done = 0
    cdef int ok = 0
    cdef EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new()
    memset(iv, 0, 16)
    memset(zeros, 0, 32)
    memcpy(iv, master + key_length, SALT_BYTES)
    iv[7] ^= label
    if ctx != NULL:
        ok = (EVP_EncryptInit_ex(ctx, EVP_aes_128_ctr() if key_length == 16 else EVP_aes_256_ctr(), NULL, master, iv)
              and EVP_EncryptUpdate(ctx, to, &done, zeros, length))
        EVP_CIPHER_CTX_free(ctx)
    return 0 if ok else -1


cdef int key_set(Key *key, const uint8_t *master, int key_length, uint8_t label) noexcept nogil:
    """Make a session key of label `label` and its salt of `label + 2`."""
    cdef uint8_t session[32]
    if derive(session, key_length, master, key_length, label) < 0:
        return -1
    if derive(key.salt, SALT_BYTES, master, key_length, label + 2) < 0:
        return -1
    if key.ctx == NULL:
        key.ctx = EVP_CIPHER_CTX_new()
    if key.ctx == NULL:
        return -1
    if not EVP_EncryptInit_ex(key.ctx, EVP_aes_128_gcm() if key_length == 16 else EVP_aes_256_gcm(), NULL, session, NULL):
        return -1
    return 0


cdef void key_clear(Key *key) noexcept nogil:
    if key.ctx != NULL:
        EVP_CIPHER_CTX_free(key.ctx)
        key.ctx = NULL


cdef void rtp_iv(uint8_t *iv, const uint8_t *salt, uint32_t ssrc, uint64_t index) noexcept nogil:
    """RFC 7714 8.1: two zero bytes, SSRC, roll-over counter, sequence number, all under the salt."""
    cdef int i
    iv[0] = 0
    iv[1] = 0
    write32(iv + 2, ssrc)
    write32(iv + 6, <uint32_t>(index >> 16))
    write16(iv + 10, <uint32_t>(index & 0xFFFF))
    for i in range(SALT_BYTES):
        iv[i] ^= salt[i]


cdef void rtcp_iv(uint8_t *iv, const uint8_t *salt, uint32_t ssrc, uint32_t index) noexcept nogil:
    """RFC 7714 9.1."""
    cdef int i
    iv[0] = 0
    iv[1] = 0
    write32(iv + 2, ssrc)
    iv[6] = 0
    iv[7] = 0
    write32(iv + 8, index)
    for i in range(SALT_BYTES):
        iv[i] ^= salt[i]


cdef int gcm_seal(Key *key, const uint8_t *iv, const uint8_t *aad, int aad_length, const uint8_t *more, int more_length,
                  uint8_t *body, int length) noexcept nogil:
    """Encrypt `body` in place and write the tag after it; 0, or -1 if OpenSSL refuses."""
    cdef int done = 0
    if not EVP_EncryptInit_ex(key.ctx, NULL, NULL, NULL, iv):
        return -1
    if not EVP_EncryptUpdate(key.ctx, NULL, &done, aad, aad_length):
        return -1
    if more_length and not EVP_EncryptUpdate(key.ctx, NULL, &done, more, more_length):
        return -1
    if length and not EVP_EncryptUpdate(key.ctx, body, &done, body, length):
        return -1
    if not EVP_EncryptFinal_ex(key.ctx, body + length, &done):
        return -1
    return 0 if EVP_CIPHER_CTX_ctrl(key.ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, body + length) else -1


cdef int gcm_open(Key *key, const uint8_t *iv, const uint8_t *aad, int aad_length, const uint8_t *more, int more_length,
                  uint8_t *body, int length) noexcept nogil:
    """Decrypt `length` bytes of `body` in place, the tag stands after them; 0, or -1 if it is wrong."""
    cdef int done = 0
    if not EVP_DecryptInit_ex(key.ctx, NULL, NULL, NULL, iv):
        return -1
    if not EVP_DecryptUpdate(key.ctx, NULL, &done, aad, aad_length):
        return -1
    if more_length and not EVP_DecryptUpdate(key.ctx, NULL, &done, more, more_length):
        return -1
    if length and not EVP_DecryptUpdate(key.ctx, body, &done, body, length):
        return -1
    if not EVP_CIPHER_CTX_ctrl(key.ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, body + length):
        return -1
    return 0 if EVP_DecryptFinal_ex(key.ctx, body + length, &done) > 0 else -1


cdef int header_length(const uint8_t *packet, int length) noexcept nogil:
    """Length of an RTP header with CSRCs and extension, or -1 if the packet has no room for it."""
    cdef int at
    if length < 12 or packet[0] >> 6 != 2:
        return -1
    at = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        if length < at + 4:
            return -1
        at += 4 + 4 * read16(packet + at + 2)
    return at if at <= length else -1


# --- what arrived -------------------------------------------------------------------------------


cdef struct Incoming:
    uint32_t ssrc
    uint8_t pt              # of the latest packet
    int64_t first           # index of the first packet
    int64_t highest
    uint64_t received       # packets, each counted once
    uint64_t octets         # of whole RTP packets without the tag
    uint64_t duplicates
    uint64_t reordered      # came after one with a higher index
    uint64_t window[WINDOW_WORDS]   # bit `index % WINDOW`: this index was seen
    int64_t transit         # of the latest packet, in units of the clock rate (RFC 3550 6.4.1)
    double jitter


cdef struct Totals:
    uint64_t rtp            # RTP packets delivered and whole
    uint64_t octets
    uint64_t rtcp
    uint64_t duplicates
    uint64_t refused        # could not be opened: wrong key, wrong roll-over counter, damaged
    uint64_t unknown        # neither STUN, DTLS, RTP nor RTCP, or RTP before there are keys
    uint64_t unsent         # datagrams that the kernel did not take


cdef inline int bucket(uint64_t us) noexcept nogil:
    """Histogram place of a latency: exact up to 8 us, then eight steps per doubling."""
    cdef int exponent = 3
    if us < 8:
        return <int>us
    while us >> (exponent + 1):
        exponent += 1
    exponent = (exponent - 2) * 8 + <int>((us >> (exponent - 3)) & 7)
    return exponent if exponent < BUCKETS else BUCKETS - 1


def bucket_us(int place) -> int:
    """The least latency, in microseconds, that is counted at `place` of the histogram."""
    if place < 8:
        return place
    return (8 + place % 8) << (place // 8 - 1)


cdef class Swarm:
    """The sockets of all clients of this process. One thread; `close` ends every endpoint too."""

    cdef int _epoll
    cdef dict _endpoints                # fd -> Endpoint; keeps alive what epoll's pointers name
    cdef Totals _totals
    cdef uint32_t _latency[BUCKETS]
    cdef uint8_t *_memory               # BATCH datagrams; owned, one block
    cdef mmsghdr _messages[BATCH]
    cdef iovec _vectors[BATCH]

    def __cinit__(self):
        cdef int i
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

    def drain(self, int limit=4096) -> list[tuple[Endpoint, bytes]]:
        """Read up to about `limit` datagrams from whoever has some; return those that are Python's: STUN,
        DTLS, opened RTCP. An endpoint in the list may have been closed while its neighbours were handled."""
        cdef epoll_event events[READY]
        cdef list control = []
        cdef int ready, got, i, j
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
                    endpoint._receive(self._memory + j * DATAGRAM_BYTES, <int>self._messages[j].msg_len, control)
        return control

    @property
    def totals(self) -> dict[str, int]:
        """What all clients together received since the start."""
        return {
            "rtp": self._totals.rtp,
            "octets": self._totals.octets,
            "rtcp": self._totals.rtcp,
            "duplicates": self._totals.duplicates,
            "refused": self._totals.refused,
            "unknown": self._totals.unknown,
            "unsent": self._totals.unsent,
        }

    def take_latency(self) -> list[int]:
        """The histogram of one-way latency since the last call, by place (see `bucket_us`)."""
        cdef list counts = [self._latency[i] for i in range(BUCKETS)]
        memset(self._latency, 0, sizeof(self._latency))
        return counts


cdef class Endpoint:
    """One client's socket, keys and counters. Made by `Swarm.add`."""

    cdef readonly object owner
    cdef Swarm _swarm
    cdef Totals *_totals                # the swarm's, which `_swarm` keeps alive
    cdef uint32_t *_latency             # the swarm's
    cdef object _socket
    cdef int _fd                        # -1 once closed
    cdef Key _send_rtp, _send_rtcp, _receive_rtp, _receive_rtcp
    cdef uint32_t _rtcp_index           # of the next SRTCP packet that leaves
    cdef Incoming *_streams             # owned, STREAMS of them, taken with the keys
    cdef int _stream_count
    cdef int _last                      # where the latest packet's stream stands: most packets are of the same
    cdef uint32_t _clock_rates[128]     # by payload type, for the jitter

    def __cinit__(self, Swarm swarm, sock, owner):
        self.owner = owner
        self._swarm = swarm
        self._totals = &swarm._totals
        self._latency = swarm._latency
        self._socket = sock
        self._fd = sock.fileno()
        cdef int i
        for i in range(128):
            self._clock_rates[i] = 90000

    def __dealloc__(self):
        key_clear(&self._send_rtp)
        key_clear(&self._send_rtcp)
        key_clear(&self._receive_rtp)
        key_clear(&self._receive_rtcp)
        free(self._streams)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd < 0

    def close(self) -> None:
        """Close the socket and forget the owner. Safe to call again."""
        if self._fd < 0:
            return
        self._swarm._endpoints.pop(self._fd, None)
        epoll_ctl(self._swarm._epoll, EPOLL_CTL_DEL, self._fd, NULL)
        self._fd = -1
        self._socket.close()
        self.owner = None

    def set_keys(self, bytes send_master, bytes receive_master) -> None:
        """Master key and salt of each direction as DTLS-SRTP gives them: 28 bytes for AES-128-GCM, 44 for
        AES-256-GCM. Raises SealError for another length."""
        cdef int key_length = <int>len(send_master) - SALT_BYTES
        if len(receive_master) != len(send_master) or key_length not in (16, 32):
            raise SealError(f"master key and salt: {len(send_master)} bytes; 28 or 44 are wanted")
        cdef const uint8_t *out = send_master
        cdef const uint8_t *into = receive_master
        if self._streams == NULL:
            self._streams = <Incoming *>calloc(STREAMS, sizeof(Incoming))
            if self._streams == NULL:
                raise MemoryError
        if (key_set(&self._send_rtp, out, key_length, 0) < 0 or key_set(&self._send_rtcp, out, key_length, 3) < 0
                or key_set(&self._receive_rtp, into, key_length, 0) < 0
                or key_set(&self._receive_rtcp, into, key_length, 3) < 0):
            raise SealError("OpenSSL could not take the SRTP keys")

    def set_clock_rate(self, int pt, uint32_t rate) -> None:
        """Units of RTP timestamp per second of an incoming payload type; 90000 unless set."""
        self._clock_rates[pt & 0x7F] = rate

    def send(self, bytes datagram) -> bool:
        """Send as is (STUN, DTLS). False, and counted, if the kernel took nothing."""
        cdef const uint8_t *data = datagram
        if self._fd < 0:
            return False
        if c_send(self._fd, data, len(datagram), MSG_DONTWAIT) < 0:
            self._totals.unsent += 1
            return False
        return True

    def seal_rtcp(self, bytes packet) -> bytes:
        """SRTCP of a compound RTCP packet (RFC 7714 9)."""
        cdef uint8_t out[DATAGRAM_BYTES]
        cdef uint8_t iv[SALT_BYTES]
        cdef int length = <int>len(packet)
        cdef const uint8_t *data = packet
        if self._send_rtcp.ctx == NULL:
            raise SealError("no keys yet")
        if length < 8 or length > DATAGRAM_BYTES - TAG_BYTES - 4:
            raise SealError(f"RTCP of {length} bytes")
        memcpy(out, data, length)
        write32(out + length + TAG_BYTES, <uint32_t>0x80000000 | self._rtcp_index)
        rtcp_iv(iv, self._send_rtcp.salt, read32(data + 4), self._rtcp_index)
        self._rtcp_index += 1
        if gcm_seal(&self._send_rtcp, iv, out, 8, out + length + TAG_BYTES, 4, out + 8, length - 8) < 0:
            raise SealError("OpenSSL could not seal")
        return out[:length + TAG_BYTES + 4]

    def send_rtcp(self, bytes packet) -> bool:
        """Seal and send a compound RTCP packet."""
        return self.send(self.seal_rtcp(packet))

    def stream_stats(self) -> list[tuple[int, int, int, int, int, int, int, int, float]]:
        """By SSRC: (ssrc, pt, received, lost, duplicates, reordered, octets, highest extended seq, jitter)."""
        cdef list stats = []
        cdef int i
        for i in range(self._stream_count):
            s = &self._streams[i]
            stats.append((s.ssrc, s.pt, s.received, s.highest - s.first + 1 - <int64_t>s.received, s.duplicates,
                          s.reordered, s.octets, s.highest, s.jitter))
        return stats

    cdef void _receive(self, uint8_t *data, int length, list control):
        cdef Totals *totals = self._totals
        if length < 1:
            totals.unknown += 1
        elif data[0] < 64 and length < DATAGRAM_BYTES:
            control.append((self, <bytes>data[:length]))
        elif data[0] >> 6 != 2 or length < 2 or self._streams == NULL:
            totals.unknown += 1
        elif 192 <= data[1] <= 223:
            length = self._open_rtcp(data, length)
            if length < 0:
                totals.refused += 1
            else:
                totals.rtcp += 1
                control.append((self, <bytes>data[:length]))
        else:
            self._open_rtp(data, length)

    cdef int _open_rtcp(self, uint8_t *data, int length) noexcept nogil:
        """Length of the plain packet, or -1. Only encrypted SRTCP is taken (the E bit)."""
        cdef uint8_t iv[SALT_BYTES]
        cdef int body = length - 8 - TAG_BYTES - 4
        cdef uint32_t trailer
        if body < 0:
            return -1
        trailer = read32(data + length - 4)
        if trailer >> 31 == 0:
            return -1
        rtcp_iv(iv, self._receive_rtcp.salt, read32(data + 4), trailer & 0x7FFFFFFF)
        if gcm_open(&self._receive_rtcp, iv, data, 8, data + length - 4, 4, data + 8, body) < 0:
            return -1
        return 8 + body

    cdef void _open_rtp(self, uint8_t *data, int length) noexcept nogil:
        cdef Totals *totals = self._totals
        cdef uint8_t iv[SALT_BYTES]
        cdef int header = header_length(data, length)
        cdef int body = length - header - TAG_BYTES
        cdef Incoming *s
        cdef uint32_t ssrc
        cdef uint16_t seq
        cdef int64_t index
        cdef bint new
        if header < 0 or body < 0:
            totals.refused += 1
            return
        ssrc = read32(data + 8)
        seq = read16(data + 2)
        s = self._find(ssrc)
        if s == NULL:
            totals.unknown += 1
            return
        new = s.received == 0
        # RFC 3711 3.3.1: the index nearest to the highest so far; a stream begins with roll-over counter 0.
        index = seq if new else s.highest + <int16_t>(seq - <uint16_t>s.highest)
        if index < 0:
            totals.refused += 1
            return
        rtp_iv(iv, self._receive_rtp.salt, ssrc, <uint64_t>index)
        if gcm_open(&self._receive_rtp, iv, data, header, NULL, 0, data + header, body) < 0:
            totals.refused += 1
            return
        if new:
            s.first = s.highest = index
        elif not self._fresh(s, index):
            return
        s.window[(index % WINDOW) >> 6] |= <uint64_t>1 << (index & 63)
        s.pt = data[1] & 0x7F
        s.received += 1
        s.octets += <uint64_t>(header + body)
        totals.rtp += 1
        totals.octets += <uint64_t>(header + body)
        self._clock(s, data, data + header, body, new)

    cdef Incoming *_find(self, uint32_t ssrc) noexcept nogil:
        cdef int i
        if self._last < self._stream_count and self._streams[self._last].ssrc == ssrc:
            return &self._streams[self._last]
        for i in range(self._stream_count):
            if self._streams[i].ssrc == ssrc:
                self._last = i
                return &self._streams[i]
        if self._stream_count == STREAMS:
            return NULL
        self._last = self._stream_count
        self._stream_count += 1
        self._streams[self._last].ssrc = ssrc
        return &self._streams[self._last]

    cdef bint _fresh(self, Incoming *s, int64_t index) noexcept nogil:
        """Whether `index` is seen for the first time; counts duplicates and late comers, moves the window."""
        cdef int64_t at
        if index > s.highest:
            if index - s.highest >= WINDOW:
                memset(s.window, 0, sizeof(s.window))
            else:
                at = s.highest + 1
                while at <= index:
                    s.window[(at % WINDOW) >> 6] &= ~(<uint64_t>1 << (at & 63))
                    at += 1
            s.highest = index
            return True
        # What is older than the window can't be told from a duplicate; the window is seconds long.
        if s.highest - index >= WINDOW or s.window[(index % WINDOW) >> 6] >> (index & 63) & 1:
            s.duplicates += 1
            self._totals.duplicates += 1
            return False
        s.reordered += 1
        if index < s.first:
            s.first = index
        return True

    cdef void _clock(self, Incoming *s, const uint8_t *data, const uint8_t *payload, int length, bint new) noexcept nogil:
        """Jitter by RFC 3550 6.4.1, and the latency if the payload has the stamp."""
        cdef uint64_t now = clock_ns(CLOCK_MONOTONIC)
        cdef uint64_t sent
        cdef int64_t transit = <int64_t>(now // 1000 * self._clock_rates[data[1] & 0x7F] // 1000000) - <int64_t>read32(data + 4)
        cdef int64_t difference
        if not new:
            difference = <int64_t><int>(<uint32_t>(transit - s.transit))
            if difference < 0:
                difference = -difference
            s.jitter += (<double>difference - s.jitter) / 16
        s.transit = transit
        if length >= STAMP_AT + STAMP_BYTES and memcmp(payload + STAMP_AT, STAMP_MARK, 4) == 0:
            sent = (<uint64_t>read32(payload + STAMP_AT + 8) << 32) | read32(payload + STAMP_AT + 12)
            if now >= sent:
                self._latency[bucket((now - sent) // 1000)] += 1


# --- what is sent -------------------------------------------------------------------------------


cdef class Outgoing:
    """One RTP stream that a client sends: synthetic packets of a wanted size.

    Video is VP8 as the forwarding path must see it (RFC 7741): a descriptor with a 15-bit picture id and,
    at the start of a frame, a frame header that says keyframe or not. What follows is filling, so a
    decoder would show nothing; servers do not decode.
    """

    cdef readonly uint32_t ssrc
    cdef readonly uint32_t packets      # sent so far; the kernel's refusals count as sent, as on a network
    cdef readonly uint32_t octets       # of payload, for sender reports (RFC 3550 6.4.1)
    cdef readonly uint32_t timestamp    # of the latest frame
    cdef Endpoint _endpoint
    cdef uint8_t _pt
    cdef bint _video
    cdef uint64_t _index                # roll-over counter and sequence number of the next packet
    cdef uint16_t _picture
    cdef uint8_t _extension[20]         # one-byte-header block with the MID, padded
    cdef int _extension_length
    cdef int _mid_packets               # packets that still carry the MID
    cdef uint8_t _memory[BATCH][DATAGRAM_BYTES]
    cdef mmsghdr _messages[BATCH]
    cdef iovec _vectors[BATCH]

    def __cinit__(self, Endpoint endpoint, uint32_t ssrc, int pt, bint video, uint16_t first_seq=0,
                  int mid_extension=0, bytes mid=b"", int mid_packets=64):
        """`mid_extension` is the negotiated id (1-14), 0 for none; the first `mid_packets` carry the MID."""
        cdef int i
        if not 0 <= mid_extension <= 14 or len(mid) > 16 or (mid_extension and not mid) or not 0 <= pt <= 127:
            raise SealError(f"pt {pt}, MID {mid!r} as extension {mid_extension}")
        self._endpoint = endpoint
        self.ssrc = ssrc
        self._pt = <uint8_t>pt
        self._video = video
        self._index = first_seq
        memset(self._extension, 0, sizeof(self._extension))
        if mid_extension:
            self._extension[0] = <uint8_t>((mid_extension << 4) | (len(mid) - 1))
            memcpy(&self._extension[1], <const uint8_t *>mid, len(mid))
            self._extension_length = (1 + <int>len(mid) + 3) // 4 * 4
            self._mid_packets = mid_packets
        for i in range(BATCH):
            self._vectors[i].iov_base = &self._memory[i][0]
            self._messages[i].msg_hdr.msg_iov = &self._vectors[i]
            self._messages[i].msg_hdr.msg_iovlen = 1

    @property
    def seq(self) -> int:
        """The sequence number of the next packet."""
        return self._index & 0xFFFF

    def send_frame(self, uint32_t timestamp, int packets, int size, bint keyframe=False) -> int:
        """Send one frame of `packets` RTP packets of `size` bytes each (before the tag); returns how many the
        kernel took. Raises SealError for a size or a number that does not fit, or before there are keys."""
        cdef int i, taken
        if not 1 <= packets <= BATCH or not MIN_PACKET_BYTES <= size <= MAX_PACKET_BYTES:
            raise SealError(f"a frame of {packets} packets of {size} bytes")
        if self._endpoint._send_rtp.ctx == NULL or self._endpoint._fd < 0:
            raise SealError("no keys yet, or closed")
        self.timestamp = timestamp
        self._picture = (self._picture + 1) & 0x7FFF
        for i in range(packets):
            if self._write(&self._memory[i][0], size, i == 0, i == packets - 1, keyframe) < 0:
                raise SealError("OpenSSL could not seal")
            self._vectors[i].iov_len = <size_t>(size + TAG_BYTES)
        taken = sendmmsg(self._endpoint._fd, self._messages, <unsigned int>packets, MSG_DONTWAIT)
        if taken < 0:
            taken = 0
        self._endpoint._totals.unsent += <uint64_t>(packets - taken)
        return taken

    cdef int _write(self, uint8_t *to, int size, bint first, bint last, bint keyframe) noexcept nogil:
        cdef uint8_t iv[SALT_BYTES]
        cdef uint8_t *payload
        cdef int header = 12
        cdef uint64_t now
        to[0] = 0x80
        # Marker: the last packet of a video frame. Sound is marked after silence only; there is none.
        to[1] = self._pt | <uint8_t>(0x80 if last and self._video else 0)
        write16(to + 2, <uint32_t>(self._index & 0xFFFF))
        write32(to + 4, self.timestamp)
        write32(to + 8, self.ssrc)
        if self._mid_packets > 0:
            self._mid_packets -= 1
            to[0] |= 0x10
            write16(to + 12, 0xBEDE)
            write16(to + 14, <uint32_t>(self._extension_length // 4))
            memcpy(to + 16, self._extension, self._extension_length)
            header += 4 + self._extension_length
        payload = to + header
        memset(payload, 0x5A, size - header)
        if self._video:
            payload[0] = 0x90 if first else 0x80      # X, and S at the start of the partition
            payload[1] = 0x80                         # I: a picture id follows
            write16(payload + 2, 0x8000 | self._picture)
            if first:
                # RFC 6386 9.1: the lowest bit is 0 in a keyframe; start code and size follow only there.
                payload[4] = 0x10 if keyframe else 0x11
                payload[5] = 0
                payload[6] = 0
                if keyframe:
                    payload[7] = 0x9D
                    payload[8] = 0x01
                    payload[9] = 0x2A
                    payload[10], payload[11] = 0x40, 0x01   # 320, little-endian
                    payload[12], payload[13] = 0xB4, 0x00   # 180
        now = clock_ns(CLOCK_MONOTONIC)
        memcpy(payload + STAMP_AT, STAMP_MARK, 4)
        write32(payload + STAMP_AT + 4, self.packets)
        write32(payload + STAMP_AT + 8, <uint32_t>(now >> 32))
        write32(payload + STAMP_AT + 12, <uint32_t>now)
        rtp_iv(iv, self._endpoint._send_rtp.salt, self.ssrc, self._index)
        self._index += 1
        self.packets += 1
        self.octets += <uint32_t>(size - header)
        return gcm_seal(&self._endpoint._send_rtp, iv, to, header, NULL, 0, payload, size - header)


# --- the floor ----------------------------------------------------------------------------------


def floor_ns(int receivers, int rounds, int size=1200) -> float:
    """CPU nanoseconds per delivered packet of the least possible fan-out on this machine: for each of
    `rounds` packets and each of `receivers`, one AES-128-GCM seal of `size` bytes and one sendto.

    Time is that of the calling thread. The receiving sockets are emptied between rounds, outside the
    measured part. Raises OSError if the kernel drops, since a dropped packet is cheaper than a delivered one.
    """
    if not 1 <= receivers <= 1000 or not 1 <= rounds <= 1000000 or not 64 <= size <= MAX_PACKET_BYTES:
        raise SealError(f"floor of {rounds} packets of {size} bytes to {receivers} receivers")
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(receivers)]
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    cdef int fd = sender.fileno()
    cdef int *fds = <int *>calloc(receivers, sizeof(int))
    cdef sockaddr_storage *addresses = <sockaddr_storage *>calloc(receivers, sizeof(sockaddr_storage))
    cdef socklen_t address_length = 0
    cdef Key key
    cdef uint8_t packet[DATAGRAM_BYTES]
    cdef uint8_t out[DATAGRAM_BYTES]
    cdef uint8_t iv[SALT_BYTES]
    cdef uint8_t master[28]
    cdef uint64_t began, spent = 0
    cdef int i, r, failed = 0
    memset(&key, 0, sizeof(Key))
    memset(master, 7, 28)
    memset(packet, 0x5A, DATAGRAM_BYTES)
    packet[0] = 0x80
    try:
        if fds == NULL or addresses == NULL:
            raise MemoryError
        if key_set(&key, master, 16, 0) < 0:
            raise SealError("OpenSSL could not take the key")
        for i in range(receivers):
            sockets[i].bind(("127.0.0.1", 0))
            fds[i] = sockets[i].fileno()
            address_length = sizeof(sockaddr_storage)
            if getsockname(fds[i], <sockaddr *>&addresses[i], &address_length) < 0:
                raise OSError(errno, "getsockname")
        with nogil:
            for r in range(rounds):
                began = clock_ns(CLOCK_THREAD_CPUTIME_ID)
                for i in range(receivers):
                    memcpy(out, packet, <size_t>size)
                    write16(out + 2, <uint32_t>r)
                    rtp_iv(iv, key.salt, <uint32_t>i, <uint64_t>r)
                    failed |= gcm_seal(&key, iv, out, 12, NULL, 0, out + 12, size - 12)
                    failed |= c_sendto(fd, out, <size_t>(size + TAG_BYTES), MSG_DONTWAIT,
                                       <sockaddr *>&addresses[i], address_length) < 0
                spent += clock_ns(CLOCK_THREAD_CPUTIME_ID) - began
                for i in range(receivers):
                    failed |= c_recv(fds[i], out, DATAGRAM_BYTES, MSG_DONTWAIT) != size + TAG_BYTES
                if failed:
                    break
        if failed:
            raise OSError(errno, "a packet of the floor was not delivered")
    finally:
        key_clear(&key)
        free(fds)
        free(addresses)
        for sock in sockets:
            sock.close()
        sender.close()
    return <double>spent / (<double>rounds * receivers)
