"""The requirements, row by row: what the tests are named after, and what the score counts.

A test belongs to the row whose id its name begins with: `test_s4_...`, `test_6062_5_1_...`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

REQUIRED = "required"
OPTIONAL = "optional"


class Row(NamedTuple):
    """One requirement."""

    id: str
    source: str
    asks: str
    level: str = REQUIRED
    unseen: str = ""  # why no test can see it, or which part of it none can see


ROWS = (
    # the STUN layer
    Row("S1", "8489 5, 6.3", "what is no well-formed message of a known method and class gets no answer"),
    Row(
        "S2",
        "8489 6.3.1.2",
        "the transaction id is echoed; the answer comes from the address and port that was hit",
    ),
    Row("S3", "8489 14", "padding may hold anything; the first of doubled attributes counts"),
    Row("S4", "8489 9, 14.5", "what stands after MESSAGE-INTEGRITY is ignored"),
    Row(
        "S5",
        "8489 6.3",
        "unknown required attributes: 420 with their list, after authentication; others are ignored",
    ),
    Row("S6", "8489 14.8, 14.13", "ERROR-CODE and UNKNOWN-ATTRIBUTES are well formed"),
    Row(
        "S7",
        "8489 6.3.1",
        "a request that comes twice leaves things as if it had come once",
        unseen="partly: that strangers' requests are not remembered",
    ),
    Row("S8", "8489 6.3.1.1, 12", "Binding is answered over every transport, without credentials"),
    Row("S9", "8489 7, 14.7", "FINGERPRINT is right and last in answers, and verified in requests"),
    Row("S10", "8489 14.5, 14.6", "MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 cover what they have to"),
    Row(
        "S11",
        "8489 14.3, 14.9-14",
        "names of 763 bytes are read; REALM, NONCE and SOFTWARE are below 128 characters",
    ),
    Row("S12", "8489 6.1", "answers fit into 548 bytes"),
    Row(
        "S13",
        "8489 6.2.2, 6.3.1.2",
        "TCP: messages in any pieces, and the connection stays open after an answer",
        unseen="partly: that the server never connects to clients",
    ),
    Row(
        "S14",
        "8489 6.2.3, BCP 195",
        "TLS: AES128-GCM with ECDHE is there; nothing below TLS 1.2, no compression",
    ),
    Row("S15", "7443 1", "ALPN: the client's first label of STUN is chosen; none where none is offered"),
    Row("S16", "8489 11", "a request of RFC 3489: no answer, or one that such a client can read", OPTIONAL),
    Row(
        "S17",
        "8489 10",
        "300 (Try Alternate) only in signed answers",
        OPTIONAL,
        unseen="a server redirects only where it is told to",
    ),
    # long-term credentials
    Row("A1", "8489 9.2.4", "no credentials: 401 with REALM and NONCE, unsigned and without names"),
    Row("A2", "8489 9.2.4", "signed, but USERNAME, REALM or NONCE is missing: 400, unsigned"),
    Row("A3", "8489 9.2, 18.1", "the nonce begins with obMatJos2 and the security features"),
    Row("A4", "8489 9.2.4", "no two sources get the same nonce"),
    Row(
        "A5",
        "8489 9.2.4",
        "PASSWORD-ALGORITHMS: offered with its feature bit; what does not fit the offer is a 400",
    ),
    Row("A6", "8489 9.2.4", "unknown name or wrong password: 401 with REALM and NONCE"),
    Row("A7", "8489 9.2.4", "a nonce that does not hold: 438 with one that does"),
    Row(
        "A8",
        "8489 9.2.4",
        "successes and errors are signed once credentials were right, with SHA-256 if one named an algorithm",
    ),
    Row(
        "A9",
        "8489 9.2.2, 18.5.1",
        "the key is the MD5 or SHA-256 of name, realm and password",
        unseen="partly: how passwords are kept",
    ),
    Row("A10", "8489 14.4", "USERHASH stands for USERNAME where the nonce says so"),
    Row("A11", "8656 5", "nonces are random and end within an hour"),
    Row("A12", "8656 5", "an allocation is its user's: 441 to others"),
    Row(
        "A13",
        "8489 9.2.4",
        "signatures are compared in constant time",
        unseen="the noise of a network hides it",
    ),
    Row(
        "A14",
        "draft-uberti-behave-turn-rest",
        "time-limited names of the REST scheme hold until their time is over",
        OPTIONAL,
    ),
    Row("A15", "practice", "several shared secrets hold at once", OPTIONAL),
    Row("A16", "7635", "ACCESS-TOKEN is not obeyed where it is not offered", OPTIONAL),
    # allocations
    Row("T1", "8656 7.2 (1)", "nothing is allocated without credentials"),
    Row("T2", "8656 7.2 (2)", "a second Allocate: the same answer if it is the first one again, else 437"),
    Row("T3", "8656 7.2 (3)", "REQUESTED-TRANSPORT: missing or malformed 400, not supported 442"),
    Row("T4", "8656 7.2 (4)", "DONT-FRAGMENT: supported, or refused as unknown (420)"),
    Row("T5", "8656 7.2 (5)", "RESERVATION-TOKEN: 400 beside what it excludes, 508 if unknown or used"),
    Row("T6", "8656 7.2 (6)", "REQUESTED- and ADDITIONAL-ADDRESS-FAMILY together: 400"),
    Row("T7", "8656 7.2 (7)", "the family that was asked for, or 440; IPv4 if none was"),
    Row("T8", "8656 7.2 (8)", "EVEN-PORT that reserves, with ADDITIONAL-ADDRESS-FAMILY: 400"),
    Row(
        "T9",
        "8656 7.2 (9)",
        "ADDITIONAL-ADDRESS-FAMILY: two addresses, or one and ADDRESS-ERROR-CODE; 400 for IPv4",
    ),
    Row("T10", "8656 7.2 (10)", "a user's quota is kept (486), and is the user's alone"),
    Row(
        "T11",
        "8656 7.2",
        "EVEN-PORT: even ports, and the next one for 30 s to whoever has the token, over any transport",
        unseen="partly: that EVEN-PORT without R holds nothing",
    ),
    Row("T12", "8656 7.2, RFC 6056", "relayed ports are random ones of 49152 to 65535"),
    Row("T13", "8656 7.2", "lifetimes of 600 s at least, 3600 s at most; the answer has all that it must"),
    Row("T14", "8656 6", "relayed addresses are unique"),
    Row("T15", "8656 5", "without an allocation: requests 437, indications and ChannelData no answer"),
    Row("T16", "8656 8.2", "Refresh: 0 deletes, 443 for another family; of two families one alone"),
    Row("T17", "8656 6", "data does not make an allocation live longer"),
    Row("T18", "8656 5", "SOFTWARE is well formed, or left out", OPTIONAL),
    Row("T19", "8656 5, 21.3.1", "data above an allocation's rate is dropped", OPTIONAL),
    # permissions and data
    Row("P1", "8656 9", "a permission is for an IP and any port, for 300 s, which data does not lengthen"),
    Row("P2", "8656 9", "what comes from an IP without permission is dropped"),
    Row("P3", "8656 10.2", "CreatePermission: many peers or none of them; 400, 403, 443"),
    Row("P4", "8656 11.2", "Send: needs XOR-PEER-ADDRESS, DATA (which may be empty) and a permission"),
    Row(
        "P5",
        "8656 11.3, 12.5",
        "data of peers comes on the channel if one is bound, else in Data indications",
    ),
    Row("P6", "8656 11.5", "ICMP errors come in Data indications"),
    # channels
    Row(
        "C1",
        "8656 12.2",
        "ChannelBind: 400 for numbers and peers that are bound otherwise or out of range; 403, 443",
    ),
    Row(
        "C2",
        "8656 12, 12.2",
        "a binding installs a permission, which ends after 300 s; the binding after 600 s",
    ),
    Row("C3", "8656 12.6", "ChannelData: too short or not bound is dropped, empty is sent"),
    Row("C4", "8656 12.5", "ChannelData is padded on streams; on UDP padding is tolerated"),
    Row("C5", "8656 12, table 3", "what begins with a byte of neither STUN nor ChannelData is dropped"),
    Row("C6", "5766 11", "channel numbers 0x5000 to 0x7FFF of older clients are taken", OPTIONAL),
    # around the data
    Row(
        "D1",
        "8656 14",
        "DSCP and ECN are copied; TTL does not run out",
        unseen="partly: DF, which no socket shows",
    ),
    Row("D2", "8656 21.4", "Teredo and 6to4 addresses are refused", unseen="partly: those of clients"),
    # not of the RFCs: what a server open to the public owes its neighbours
    Row(
        "N1",
        "practice",
        "private, loopback, link-local, multicast and unspecified peers are refused",
        OPTIONAL,
    ),
    Row("N2", "practice", "so are they in every form of IPv4 within IPv6", OPTIONAL),
    # TCP allocations
    Row(
        "6062 5.1", "6062 5.1", "Allocate of TCP: over TCP or TLS alone, without attributes of UDP", OPTIONAL
    ),
    Row("6062 5.2", "6062 5.2", "Connect: 437, 446, 400, 403, 447, or a CONNECTION-ID", OPTIONAL),
    Row("6062 5.3", "6062 5.3", "peers connect: closed without permission, else ConnectionAttempt", OPTIONAL),
    Row("6062 5.4", "6062 5.4", "ConnectionBind: 400 if unknown, else bytes pass both ways", OPTIONAL),
    Row(
        "6062 5.5",
        "6062 5.5",
        "one side's end is the other's, and the allocation's end that of both",
        OPTIONAL,
    ),
)

_ID = re.compile(r"test_(?:(6062)_(\d)_(\d)|([satpcdn])(\d+))_")


def row_of(test: str) -> str | None:
    """The id of the row that a test is named after, None of a test that is about the suite itself."""
    found = _ID.match(test)
    if found is None:
        return None
    extension, major, minor, letter, number = found.groups()
    return f"{extension} {major}.{minor}" if extension else f"{letter.upper()}{number}"
