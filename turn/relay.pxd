# Every struct, enum and constant of the relay path. Read this first.
#
# Tables are arrays of their full size, taken at the start; the kernel gives a page only when it is touched. An index
# into one is a uint32, NONE is no entry; a handle (index and generation) is what leaves the module. Nothing is removed
# while datagrams are under way, since only Python removes.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from sfu.net.batch cimport batch_destination


cdef extern from "hash.h" nogil:
    enum:
        HASH_NONE
    struct hash_t "hash":
        uint32_t count
    int hash_init(hash_t *h, uint64_t seed, uint32_t size)
    void hash_free(hash_t *h)
    uint32_t hash_find(const hash_t *h, uint64_t key)
    int hash_put(hash_t *h, uint64_t key, uint32_t value)
    void hash_delete(hash_t *h, uint64_t key)
    uint64_t hash_bytes(const hash_t *h, const uint8_t *data, uint32_t size)
    uint64_t hash_mix(uint64_t x)


cdef extern from "bytes.h" nogil:
    uint16_t load16(const uint8_t *p)
    void store16(uint8_t *p, uint32_t v)


cdef extern from "crc.h" nogil:
    struct crc_table:
        pass
    void crc_init(crc_table *t)


cdef extern from "frame.h" nogil:
    enum:
        FRAME_PEER, FRAME_HEAD, FRAME_CHANNEL_HEAD
        FRAME_BAD_STUN, FRAME_STUN, FRAME_SEND, FRAME_CHANNEL
        FRAME_BAD_FINGERPRINT, FRAME_UNKNOWN_ATTRIBUTE
    struct frame_send:
        const uint8_t *data
        uint32_t size
        uint8_t *peer
        bint dont_fragment
    int frame_kind(const uint8_t *p, uint32_t n)
    int frame_channel(const uint8_t *p, uint32_t n, uint16_t *channel, uint32_t *size)
    int frame_read_send(frame_send *s, const uint8_t *p, uint32_t n, const crc_table *crc)
    bint frame_is_v4(const uint8_t *peer)
    uint32_t frame_padding(uint32_t size)
    uint32_t frame_data_head(const uint8_t *peer)
    uint32_t frame_write_channel(uint8_t *out, uint16_t channel, uint32_t size)
    uint32_t frame_write_data(uint8_t *out, const uint8_t *peer, uint32_t size, const uint64_t *id)


cdef extern from "bucket.h" nogil:
    struct bucket_t "bucket":
        uint64_t packets_per_s, bytes_per_s
    bint bucket_take(bucket_t *b, uint32_t size, int64_t now_ns)
    uint32_t bucket_room(const bucket_t *b, uint32_t most, int64_t now_ns)
    uint32_t bucket_burst(const bucket_t *b, uint32_t most)
    void bucket_spend(bucket_t *b, uint32_t size, int64_t now_ns)


cdef extern from "intake.h" nogil:
    enum:
        INTAKE_SLOTS
    struct intake_slot:
        uint8_t *data            # of the intake, until the slot is received into again
        uint32_t size
        uint32_t segment
        uint8_t *path
        uint8_t traffic
        bint has_path
    struct intake_t "intake":
        intake_slot *slots
        uint64_t calls
    uint32_t intake_want(uint32_t want, uint32_t count, uint32_t most)
    int intake_init(intake_t *i)
    void intake_free(intake_t *i)
    uint32_t intake_receive(intake_t *i, int fd, uint32_t first, uint32_t count, bint hit)


cdef extern from "burst.h" nogil:
    enum:
        BURST_DATAGRAMS
    struct burst_t "burst":
        bint cuts
        uint64_t sent, sent_bytes, calls, sent_cut, cuts_refused, drop_full, drop_refused
    void burst_init(burst_t *b)
    void burst_use(burst_t *b, int fd)
    void burst_flush(burst_t *b)
    uint8_t *burst_head(burst_t *b)
    void burst_put(
        burst_t *b, const batch_destination *to, bint v4, uint8_t traffic,
        uint32_t head_size, const uint8_t *data, uint32_t size, uint32_t padding,
    )
    void burst_peer(batch_destination *to, int family, const uint8_t *peer)


cdef extern from "sockets.h" nogil:
    struct icmp_error:
        uint8_t *peer
        uint8_t type, code
        uint32_t data
    int socket_family(int fd)
    int icmp_take(int fd, icmp_error *out)
    uint32_t socket_lost(int fd)
    bint socket_bound(int fd, uint8_t *local)
    int socket_listens(int fd, int family, bint bound)
    int socket_relays(int fd, int family)
    void socket_dont_fragment(int fd, int family, bint on)


cdef extern from "framing.h" nogil:
    enum:
        FRAMING_MORE, FRAMING_KNOWN, FRAMING_GARBAGE, FRAMING_TOO_LARGE
    struct framing_limits:
        uint32_t control, data
    struct framing_t "framing":
        uint32_t size, padded
    int framing_next(framing_t *f, const uint8_t *p, uint32_t n, const framing_limits *limits)


cdef extern from "tls.h" nogil:
    ctypedef struct SSL_CTX:
        pass
    enum:
        TLS_NO_CERTIFICATE, TLS_NO_KEY, TLS_NO_PAIR
    int tls_make(SSL_CTX **out, const void *chain, int chain_size, const void *key, int key_size)
    int tls_follow(SSL_CTX *c, SSL_CTX *next)
    void SSL_CTX_free(SSL_CTX *c)


cdef extern from "stream.h" nogil:
    struct stream_t "stream":
        int fd
        void *ssl                # NULL: plain TCP
        uint32_t generation
        uint32_t next            # free, or ended and not told yet
        uint32_t allocation
        int64_t since_us, unallocated_us, partial_us
        uint8_t *held            # of a message that is not whole
        uint32_t held_size, held_need
        uint32_t armed
        bint used, open, heard, again, paused
        int end
        bint spliced, is_peer, finished, told, throttled
        uint32_t other, owner, before, after
        int64_t moved_us
        uint64_t bytes_in, bytes_out
    int stream_open(stream_t *s, int fd, SSL_CTX *tls)
    void stream_close(stream_t *s)
    int stream_handshake(stream_t *s)
    uint32_t stream_receive(stream_t *s, uint8_t *out, uint32_t room, int *ended)
    uint32_t stream_queued(const stream_t *s)
    int stream_flush(stream_t *s)
    int stream_put(stream_t *s, const uint8_t *data, uint32_t size)
    int stream_hold(stream_t *s, const uint8_t *data, uint32_t size, uint32_t need)
    void stream_hold_nothing(stream_t *s)
    void stream_arm(stream_t *s, int epoll, uint64_t tag)
    int stream_finish(stream_t *s)
    void stream_abort(stream_t *s)
    void stream_ask(stream_t *s, int epoll, uint64_t tag, uint32_t wanted)
    void stream_leave(stream_t *s, int epoll)


cdef extern from "timer.h" nogil:
    int timer_make()
    void timer_set(int fd, int64_t after_ns)
    void timer_take(int fd)


cdef enum:
    NONE = 0xffffffff            # no entry; equal to HASH_NONE
    OWN_PORTS = 16               # ranges
    TOLD = 32                    # ranges of ports at addresses that others are told
    PARCELS = 512                # datagrams to peers gathered before they leave; as BURST_DATAGRAMS
    CONTROL_MAX = 4096           # bytes of a STUN message that is handed up
    PAYLOAD_MAX = 65507          # of a UDP datagram on IPv4
    READY = 64                   # sockets asked for at a time
    PER_RELAY = 16               # datagrams (or rows of them) taken from each of many relay sockets at a time
    ICMP_KEPT = 256              # words of ICMP between two `take_icmp`
    ICMP_PER_SOCKET = 8          # read at a time
    ICMP_PER_S = 10              # for one allocation: each is built in Python and signed by nobody; chosen
    STREAM_BYTES = 131072        # read from a stream at a time, and gathered for one: more than any message has
    STREAM_MESSAGES = 16         # handed up from one stream at a time: the others wait less
    STREAM_DIRECT = 4096         # of a longer message no byte is moved for each piece that comes
    CONNECTION_BIND = 0x000b     # its first two bytes, of a request (RFC 6062 6.1)
    STREAM_REPLIES = 16384       # answers that may wait beyond what data may
    SPLICE_BYTES = 65536         # taken across a data connection at a time, and thus all that waits in one direction
    SPLICE_LEAST = 4096          # ... unless the rate's burst is less. Chosen: a rate that is used up is not used by drops
    THROTTLE_NS = 10_000_000     # how long what waits for its rate is not looked at. Chosen
    HANDSHAKES = 8               # steps of TLS handshakes in one call: each may take a millisecond. Chosen
    SWEEP_US = 1_000_000         # between two searches of all allocations for what is over, where a table is full

# Why a datagram goes no further. Order as in DROP_NAMES (parts/tables.pxi).
cdef enum Drop:
    DROP_STRANGE                 # neither STUN nor ChannelData
    DROP_BAD_STUN                # STUN in shape only: length or cookie wrong
    DROP_CONTROL_SIZE            # a STUN message of more than CONTROL_MAX
    DROP_CONTROL_FLOOD           # more STUN in one call than is handed up
    DROP_NO_ALLOCATION           # data from a client that has none
    DROP_BAD_CHANNEL_DATA        # shorter than it says
    DROP_UNBOUND                 # a channel that is not bound, or no more
    DROP_BAD_SEND                # a Send indication without address or data, or malformed
    DROP_FINGERPRINT             # ... whose FINGERPRINT is wrong
    DROP_UNKNOWN_ATTRIBUTE       # ... with one that must be understood
    DROP_NO_FAMILY               # to a peer of a family in which nothing is relayed
    DROP_NO_PERMISSION           # to a peer without a permission that lives
    DROP_PORT                    # ... at one of our addresses and none of its open ports
    DROP_RATE                    # more packets or bytes from the client than the allocation may
    DROP_PEER_NO_PERMISSION      # the same from peers
    DROP_PEER_PORT
    DROP_PEER_RATE
    DROP_TOO_LONG                # with its head it fits no datagram
    DROP_NO_PATH                 # without the address that was hit
    DROP_ICMP                    # word of what came to nothing, that no permission covers or too much of it
    DROP_WRITE_QUEUE             # to a client that does not read its stream
    DROPS

# Why a stream is over. Order as in END_NAMES (parts/streams.pxi); 0 is none.
cdef enum End:
    END_NONE
    END_CLOSED                   # by the client, or its network
    END_GARBAGE                  # neither STUN nor ChannelData
    END_TOO_LARGE                # a message that claims more than it may
    END_HANDSHAKE                # TLS failed
    END_HANDSHAKE_TIME           # ... or took too long
    END_MESSAGE_TIME             # a message, or the first, took too long
    END_UNALLOCATED              # for too long without an allocation
    END_UNREAD                   # asks and does not read the answers
    END_MEMORY
    END_FINISHED                 # a data connection: both ends have finished
    END_BROKEN                   # ... one end broke off, and so did the other
    END_HALF_CLOSED              # ... one end finished and nothing came from the other for too long
    END_ALLOCATION               # ... its allocation, or that family of it, ended
    ENDS


# A socket on which clients arrive. The descriptor is the caller's.
cdef struct Listener:
    bint used
    int fd
    int family
    bint bound                   # to one address, so that none need be told with each datagram ...
    uint8_t local[16]            # ... this one
    uint64_t mark                # in the hashes of paths to it
    uint32_t want                # datagrams to ask for


# A relayed address of one family. The descriptor is the relay's.
cdef struct RelaySocket:
    int fd                       # -1: none
    bint dont_fragment           # as it is set now
    uint32_t want                # datagrams to ask for


# A peer's address that may send, for one allocation.
cdef struct Permission:
    uint8_t ip[16]
    int64_t until_us
    uint32_t owner
    bint own_ports               # at one of our addresses: only ports that are open to relays
    uint32_t next                # of the same allocation, or next free
    uint32_t channels            # that stand on it: it stays as long as they do, alive or not
    uint64_t hash


cdef struct Channel:
    uint8_t peer[18]
    uint32_t owner
    uint16_t number
    int64_t until_us
    batch_destination to
    uint32_t permission
    uint32_t next                # of the same allocation, or next free
    uint64_t hash                # of allocation and peer


# Ports of an address by which others know this machine, or one beside it, and it does not know itself: it is before a NAT.
cdef struct Told:
    uint8_t ip[16]
    uint16_t low, high
    uint8_t local[16]            # where what is sent there has to go ...
    uint16_t local_low           # ... and to which port for `low`


# A client's allocation. Owns its sockets, permissions and channels.
cdef struct Allocation:
    uint32_t generation
    bint used
    uint32_t next_free
    uint32_t listener            # NONE: the client is on a stream
    uint32_t stream              # NONE: the client is on UDP
    uint8_t path[38]
    uint64_t hash
    batch_destination to         # the client
    bint client_v4               # whether it is reached by IPv4
    RelaySocket sockets[2]       # IPv4, IPv6
    uint32_t permissions, channels   # lists
    uint32_t permission_count, channel_count
    uint32_t first, last         # parcels under way to its peers
    uint32_t splices             # list of its data connections, by their clients' ends
    bucket_t up, down, icmp
    uint64_t packets_in, bytes_in, packets_out, bytes_out, dropped   # in: from the client; bytes of data


# A datagram on its way to a peer; its bytes lie in a slot.
cdef struct Parcel:
    const uint8_t *data
    uint32_t size
    uint32_t next                # of the same allocation
    uint32_t side                # index of its socket
    bint dont_fragment
    uint8_t traffic
    const batch_destination *to  # of the channel, or `own`
    batch_destination own


# What is handed up to Python.
cdef struct Control:
    uint32_t listener
    uint32_t size
    uint8_t path[38]
    uint8_t data[4096]


# The like from a stream.
cdef struct StreamControl:
    uint64_t stream
    uint32_t size
    uint8_t data[4096]


cdef struct IcmpWord:
    uint64_t handle
    icmp_error error


cdef class Relay:
    cdef int epoll
    cdef intake_t io
    cdef burst_t up, down        # to peers, to clients
    cdef crc_table crc
    cdef Listener *listeners
    cdef uint32_t listeners_max
    cdef Allocation *allocations
    cdef Permission *permissions
    cdef Channel *channels
    cdef Control *controls
    cdef hash_t by_path          # hash of a path and its listener -> allocation
    cdef hash_t by_channel       # allocation << 16 | number -> channel
    cdef hash_t by_peer          # hash of allocation and peer -> channel
    cdef hash_t by_ip            # hash of allocation and ip -> permission
    cdef uint32_t allocations_max, permissions_max, channels_max
    cdef uint32_t permissions_each, channels_each
    cdef uint32_t allocation_top, permission_top, channel_top    # entries ever used
    cdef uint32_t allocation_free, permission_free, channel_free
    cdef uint32_t allocation_live, permission_live, channel_live, socket_live
    cdef uint32_t own_low[16]    # ranges of ports that are open at our own addresses
    cdef uint32_t own_high[16]
    cdef uint32_t own_count
    cdef Told told[32]
    cdef uint32_t told_count
    cdef uint32_t controls_max, control_count, strange_count
    cdef int64_t slice_ns
    cdef int64_t now_us, now_ns  # of the call under way, or the last one
    cdef int64_t swept_us
    cdef uint64_t id_state       # transaction ids of Data indications
    cdef Parcel parcels[512]
    cdef uint32_t parcel_count
    cdef uint32_t touched[512]   # allocations with parcels
    cdef uint32_t touched_count
    cdef IcmpWord icmp[256]
    cdef uint32_t icmp_count
    cdef uint64_t drops[32]
    cdef uint64_t lost           # by the kernel, of sockets that are closed
    cdef uint64_t received, calls, waits, control_in, replies
    cdef uint64_t channel_in, send_in, channel_out, data_out

    # streams
    cdef stream_t *streams
    cdef StreamControl *stream_controls
    cdef uint8_t *stream_in      # what has been read of the stream under way
    cdef uint8_t *stage          # what goes out to stream `staged_for` next ...
    cdef uint32_t staged, staged_for   # ... bytes of it
    cdef SSL_CTX *tls            # for new connections, each of which holds its own; the first of a row
    cdef uint32_t streams_max, stream_top, stream_free, stream_live
    cdef uint32_t ended_first, ended_last   # those that are over and not told yet, by `next`
    cdef uint32_t stream_control_count
    cdef uint32_t stream_queue   # bytes that may wait for a client
    cdef framing_limits strange, known   # without and with an allocation
    cdef uint32_t handshakes     # steps that are left for the call under way
    cdef bint sated              # no more of streams is to be taken in by this call
    cdef uint64_t streams_opened, stream_bytes_in, stream_bytes_out
    cdef uint64_t ends[16]
    cdef uint32_t *paused        # streams whose client asked for a data connection, since the call under way began ...
    cdef uint32_t paused_count   # ... as many as there may be messages
    cdef int timer               # of what waits for its rate: these
    cdef uint32_t *throttled
    cdef uint32_t throttled_count, splice_live
    cdef uint64_t splices, spliced_in, spliced_out, throttles

    cdef uint32_t allocation_of(self, uint64_t handle) except? NONE
    cdef uint32_t stream_of(self, uint64_t stream) except? NONE
    cdef uint32_t spliced_of(self, uint64_t stream) except? NONE
    cdef Listener *listener_of(self, uint32_t listener) except NULL
