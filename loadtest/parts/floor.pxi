# The least that the fan-out of a packet can cost on this machine. Calls aead.


cdef enum Way:
    SENDTO
    SENDMMSG
    GSO


cdef class Floor:
    """Receivers on loopback and a sender that does nothing but seal and send, in one of three ways.

    Of each packet, every receiver gets a copy sealed for it. `sendto`: one call per copy; `sendmmsg`: one per 32
    copies; `gso`: one per run of packets to the same receiver (UDP_SEGMENT), as a server may send the packets
    of one frame.
    """

    cdef list _sockets
    cdef object _sender
    cdef int _sender_fd
    cdef int *_fds                      # owned
    cdef sockaddr_storage *_addresses   # owned
    cdef uint8_t *_memory               # owned, FLOOR_RUN datagrams; of them, BATCH are used by sendmmsg
    cdef socklen_t _address_length
    cdef int _receivers
    cdef Key _key

    def __cinit__(self, int receivers):
        cdef uint8_t master[28]
        cdef int i
        if not 1 <= receivers <= 4000:
            raise SealError(f"a floor of {receivers} receivers")
        memset(master, 7, 28)
        self._receivers = receivers
        self._sockets = []
        self._fds = <int *>calloc(receivers, sizeof(int))
        self._addresses = <sockaddr_storage *>calloc(receivers, sizeof(sockaddr_storage))
        self._memory = <uint8_t *>calloc(FLOOR_RUN, DATAGRAM_BYTES)
        if self._fds == NULL or self._addresses == NULL or self._memory == NULL:
            raise MemoryError
        if key_set(&self._key, master, 16, 0) < 0:
            raise SealError("OpenSSL could not take the key")
        self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sender_fd = self._sender.fileno()
        for i in range(receivers):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sockets.append(sock)
            sock.bind(("127.0.0.1", 0))
            self._fds[i] = sock.fileno()
            self._address_length = sizeof(sockaddr_storage)
            if getsockname(self._fds[i], <sockaddr *>&self._addresses[i], &self._address_length) < 0:
                raise OSError(errno, "getsockname")

    def __dealloc__(self):
        key_clear(&self._key)
        free(self._fds)
        free(self._addresses)
        free(self._memory)

    def close(self) -> None:
        """Close the sockets. Safe to call again."""
        for sock in self._sockets:
            sock.close()
        self._sender.close()

    def measure_ns(self, str way, int packets, int size=1200, int run=10) -> float:
        """CPU nanoseconds of the calling thread per delivered packet: at least `packets` packets of `size` bytes
        to every receiver, in bursts of `run`, which is also the length of a GSO send.

        The receiving sockets are emptied between bursts, outside the measured part. Raises OSError if the
        kernel drops, since a dropped packet is cheaper than a delivered one.
        """
        cdef uint64_t began, spent = 0
        cdef int burst = 0
        cdef int bursts = (packets + run - 1) // run if run > 0 else 0
        cdef int failed = 0
        cdef Way how
        if way not in ("sendto", "sendmmsg", "gso"):
            raise SealError(f"way {way!r}; sendto, sendmmsg and gso are known")
        if not 1 <= packets <= 1000000 or not 64 <= size <= MAX_PACKET_BYTES or not 1 <= run <= FLOOR_RUN:
            raise SealError(f"floor of {packets} packets of {size} bytes in runs of {run}")
        if run * (size + TAG_BYTES) > 65000:
            raise SealError(f"a run of {run} packets of {size} bytes is longer than a GSO send may be")
        how = SENDTO if way == "sendto" else SENDMMSG if way == "sendmmsg" else GSO
        with nogil:
            while burst < bursts and not failed:
                began = clock_ns(CLOCK_THREAD_CPUTIME_ID)
                if how == GSO:
                    failed = self._by_run(burst, size, run)
                else:
                    failed = self._by_packet(burst, size, run, how)
                spent += clock_ns(CLOCK_THREAD_CPUTIME_ID) - began
                failed |= self._empty(size, run)
                burst += 1
        if failed:
            raise OSError(errno, "a packet of the floor was not delivered")
        return <double>spent / (<double>bursts * run * self._receivers)

    cdef int _seal(self, uint8_t *out, int receiver, uint64_t index, int size) noexcept nogil:
        cdef uint8_t iv[SALT_BYTES]
        out[0] = 0x80
        write16(out + 2, <uint32_t>(index & 0xFFFF))
        write32(out + 8, <uint32_t>receiver)
        rtp_iv(iv, self._key.salt, <uint32_t>receiver, index)
        return gcm_seal(&self._key, iv, out, 12, NULL, 0, out + 12, size - 12, out + 12)

    cdef int _by_packet(self, int burst, int size, int run, Way how) noexcept nogil:
        cdef mmsghdr messages[BATCH]
        cdef iovec vectors[BATCH]
        cdef int fd = self._sender_fd
        cdef int failed = 0
        cdef int queued = 0
        cdef int i, r
        cdef uint8_t *out
        if how == SENDMMSG:
            memset(messages, 0, sizeof(messages))
        for r in range(run):
            for i in range(self._receivers):
                out = self._memory + queued * DATAGRAM_BYTES
                failed |= self._seal(out, i, <uint64_t>burst * run + r, size)
                if how == SENDTO:
                    failed |= c_sendto(fd, out, <size_t>(size + TAG_BYTES), MSG_DONTWAIT,
                                       <sockaddr *>&self._addresses[i], self._address_length) < 0
                    continue
                vectors[queued].iov_base = out
                vectors[queued].iov_len = <size_t>(size + TAG_BYTES)
                messages[queued].msg_hdr.msg_iov = &vectors[queued]
                messages[queued].msg_hdr.msg_iovlen = 1
                messages[queued].msg_hdr.msg_name = &self._addresses[i]
                messages[queued].msg_hdr.msg_namelen = self._address_length
                queued += 1
                if queued == BATCH:
                    failed |= sendmmsg(fd, messages, BATCH, MSG_DONTWAIT) != BATCH
                    queued = 0
        if queued:
            failed |= sendmmsg(fd, messages, <unsigned int>queued, MSG_DONTWAIT) != queued
        return failed

    cdef int _by_run(self, int burst, int size, int run) noexcept nogil:
        cdef msghdr message
        cdef iovec vector
        cdef uint64_t control[8]        # aligned as cmsghdr wants
        cdef cmsghdr *segment
        cdef int fd = self._sender_fd
        cdef int stride = size + TAG_BYTES
        cdef int failed = 0
        cdef int i, r
        cdef uint16_t length = <uint16_t>stride
        memset(&message, 0, sizeof(message))
        memset(control, 0, sizeof(control))
        message.msg_iov = &vector
        message.msg_iovlen = 1
        message.msg_namelen = self._address_length
        message.msg_control = control
        message.msg_controllen = CMSG_SPACE(sizeof(uint16_t))
        segment = CMSG_FIRSTHDR(&message)
        segment.cmsg_level = SOL_UDP
        segment.cmsg_type = UDP_SEGMENT
        segment.cmsg_len = CMSG_LEN(sizeof(uint16_t))
        memcpy(CMSG_DATA(segment), &length, sizeof(uint16_t))
        vector.iov_base = self._memory
        vector.iov_len = <size_t>(run * stride)
        for i in range(self._receivers):
            for r in range(run):
                failed |= self._seal(self._memory + r * stride, i, <uint64_t>burst * run + r, size)
            message.msg_name = &self._addresses[i]
            failed |= c_sendmsg(fd, &message, MSG_DONTWAIT) != run * stride
        return failed

    cdef int _empty(self, int size, int run) noexcept nogil:
        cdef uint8_t out[DATAGRAM_BYTES]
        cdef int failed = 0
        cdef int i, r
        for i in range(self._receivers):
            for r in range(run):
                failed |= c_recv(self._fds[i], out, DATAGRAM_BYTES, MSG_DONTWAIT) != size + TAG_BYTES
        return failed
