from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.wire import dtls_record
from sfu.wire.dtls_record import ContentType, DtlsRecordError, Fragment


def handshake(message_length: int, offset: int, length: int, *, body: int | None = None) -> bytes:
    """A handshake record with one fragment; `body` bytes follow its header."""
    header = bytes((1,)) + message_length.to_bytes(3, "big") + b"\0\0"
    header += offset.to_bytes(3, "big") + length.to_bytes(3, "big")
    return dtls_record.encode(ContentType.HANDSHAKE, 0, 0, header + bytes(length if body is None else body))


@given(st.binary(max_size=100))
def test_w4_any_bytes_give_records_or_an_error(data: bytes) -> None:
    try:
        records = dtls_record.split(data)
    except DtlsRecordError:
        return
    assert b"".join(record.data for record in records) == data


@given(st.binary(max_size=60))
def test_w4_any_payload_gives_fragments_or_an_error(payload: bytes) -> None:
    (record,) = dtls_record.split(dtls_record.encode(ContentType.HANDSHAKE, 0, 1, payload))
    try:
        found = dtls_record.fragments(record)
    except DtlsRecordError:
        return
    assert all(fragment.offset + fragment.length <= fragment.message_length for fragment in found)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ContentType),
            st.integers(0, 0xFFFF),
            st.integers(0, (1 << 48) - 1),
            st.binary(max_size=50),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_encoded_is_split_again(written: list[tuple[ContentType, int, int, bytes]]) -> None:
    records = dtls_record.split(b"".join(dtls_record.encode(*record) for record in written))
    assert [(r.content_type, r.epoch, r.sequence, r.payload) for r in records] == written


@given(st.lists(st.integers(0, 300), max_size=20), st.integers(64, 400))
def test_packed_datagrams_keep_order_and_stay_under_the_mtu(sizes: list[int], mtu: int) -> None:
    encoded = [dtls_record.encode(ContentType.HANDSHAKE, 0, i, bytes(size)) for i, size in enumerate(sizes)]
    records = [record for data in encoded for record in dtls_record.split(data)]
    datagrams = dtls_record.pack(records, mtu)
    assert b"".join(datagrams) == b"".join(encoded)
    assert all(len(data) <= mtu or data in encoded for data in datagrams)
    assert all(len(a) + len(dtls_record.split(b)[0].data) > mtu for a, b in itertools.pairwise(datagrams))


def test_fragments_of_several_messages_in_one_record_are_found() -> None:
    record = dtls_record.split(handshake(4, 0, 4))[0]
    both = dtls_record.encode(ContentType.HANDSHAKE, 0, 1, record.payload + record.payload)
    assert dtls_record.fragments(dtls_record.split(both)[0]) == [Fragment(1, 4, 0, 0, 4)] * 2


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(handshake(10, 0, 0), id="w4-empty-piece-of-a-body"),
        pytest.param(handshake(10, 8, 4), id="past-its-message"),
        pytest.param(handshake(10, 0, 10, body=9), id="past-the-record"),
        pytest.param(dtls_record.encode(ContentType.HANDSHAKE, 0, 0, b""), id="no-message"),
        pytest.param(dtls_record.encode(ContentType.HANDSHAKE, 0, 0, bytes(11)), id="half-a-header"),
    ],
)
def test_w4_a_fragment_that_says_nothing_is_an_error(data: bytes) -> None:
    with pytest.raises(DtlsRecordError):
        dtls_record.fragments(dtls_record.split(data)[0])


def test_an_empty_message_is_a_fragment() -> None:
    """ServerHelloDone has no body."""
    assert dtls_record.fragments(dtls_record.split(handshake(0, 0, 0))[0]) == [Fragment(1, 0, 0, 0, 0)]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(handshake(4, 0, 4)[:-1], id="cut"),
        pytest.param(handshake(4, 0, 4) + b"\x16", id="rest"),
        pytest.param(b"\x13" + handshake(4, 0, 4)[1:], id="type-19"),
        pytest.param(b"\x18" + handshake(4, 0, 4)[1:], id="type-24"),
        pytest.param(b"\x16\x03\x03" + handshake(4, 0, 4)[3:], id="tls"),
    ],
)
def test_a_datagram_that_is_no_row_of_records_is_an_error(data: bytes) -> None:
    with pytest.raises(DtlsRecordError):
        dtls_record.split(data)
