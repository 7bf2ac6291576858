# A lossy link, simulated at a socket: what it drops is decided here, by a seed. Owns nothing.
#
# Two states (Gilbert): in the good one a packet passes, in the bad one it is lost. The chances of the next
# state follow from the share that is to be lost and the mean length of a run of losses.


cdef struct Link:
    uint64_t state          # of the generator (xorshift64*); never 0
    uint64_t begin          # chance of 2^32 that a run of losses begins
    uint64_t stay           # chance of 2^32 that it goes on
    uint64_t dropped
    bint bad


cdef void link_set(Link *link, double loss, double run, uint64_t seed) noexcept nogil:
    """Lose the share `loss` (0 to 1), in runs of `run` packets on average; 0 is for independent losses."""
    cdef double stay
    # A step of splitmix64, so that neighbouring seeds do not begin alike.
    seed += <uint64_t>0x9E3779B97F4A7C15
    seed = (seed ^ (seed >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    seed = (seed ^ (seed >> 27)) * <uint64_t>0x94D049BB133111EB
    link.state = (seed ^ (seed >> 31)) | 1
    link.bad = False
    if loss >= 1:
        link.begin = link.stay = <uint64_t>1 << 32
        return
    # Independent losses are runs of 1 / (1 - loss).
    stay = loss if run < 1 else 1 - 1 / run
    link.stay = <uint64_t>(stay * 4294967296.0)
    loss = loss * (1 - stay) / (1 - loss)
    link.begin = <uint64_t>((loss if loss < 1 else 1) * 4294967296.0)


cdef inline bint link_drops(Link *link) noexcept nogil:
    """Whether the next datagram is lost."""
    cdef uint64_t x = link.state
    if link.begin == 0:
        return False
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    link.state = x
    link.bad = ((x * <uint64_t>0x2545F4914F6CDD1D) >> 32) < (link.stay if link.bad else link.begin)
    link.dropped += link.bad
    return link.bad
