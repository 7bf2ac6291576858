# What of C, the kernel and OpenSSL is used; big-endian numbers; the clock. Owns nothing.

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
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    size_t CMSG_SPACE(size_t length)
    size_t CMSG_LEN(size_t length)
    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    uint8_t *CMSG_DATA(cmsghdr *message)
    int MSG_DONTWAIT
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, timespec *timeout)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)
    ssize_t c_send "send"(int fd, const void *data, size_t length, int flags)
    ssize_t c_sendto "sendto"(int fd, const void *data, size_t length, int flags,
                              const sockaddr *to, socklen_t to_length)
    ssize_t c_sendmsg "sendmsg"(int fd, const msghdr *message, int flags)
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

cdef extern from "netinet/udp.h" nogil:
    int SOL_UDP
    int UDP_SEGMENT


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
