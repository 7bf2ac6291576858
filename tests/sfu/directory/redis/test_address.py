"""URLs of Redis: what they mean, and that nobody is shown the password in one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.directory.redis.address import RedisAddress, wrong_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://redis.example", RedisAddress("redis.example")),
        ("redis://127.0.0.1:7000/3", RedisAddress("127.0.0.1", 7000, database=3)),
        ("redis://[2001:db8::1]/", RedisAddress("2001:db8::1")),
        ("rediss://u:p@redis.example", RedisAddress("redis.example", username="u", password="p", tls=True)),
        ("redis://:p%40%2f%3f@r:1", RedisAddress("r", 1, password="p@/?")),
        ("unix:///run/redis.sock", RedisAddress(path="/run/redis.sock")),
        ("unix://:p@/run/r.sock", RedisAddress(path="/run/r.sock", password="p")),
    ],
)
def test_a_url_says_where_redis_is(url: str, address: RedisAddress) -> None:
    assert RedisAddress.parse(url) == address
    assert wrong_url(url) is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis.example:6379", "want redis://HOST"),
        ("http://:hidden@r", "want redis://HOST"),
        ("redis://", "names no host"),
        ("redis://:hidden@r/one", "the path is the number of a database"),
        ("redis://:hidden@r/0?ssl_cert_reqs=none", "ends with the database"),
        ("redis://:hidd#en@r", "a number up to 65535|ends with the database"),
        ("redis://:hidden@r:port", "a number up to 65535"),
        ("redis://:hidden@r:65536", "a number up to 65535"),
        ("redis://:hidden@[r", "not a URL"),
        ("unix://host/path", "want unix:///PATH"),
        ("unix:///", "want unix:///PATH"),
    ],
)
def test_what_is_no_url_of_redis_is_refused_without_its_password(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        RedisAddress.parse(url)
    assert "hidd" not in str(refused.value)
    assert wrong_url(url) == str(refused.value)


@given(st.text(max_size=60), st.sampled_from(["", "redis://", "redis://:", "unix://", "rediss://a:b@"]))
def test_any_text_is_a_url_or_is_refused(text: str, start: str) -> None:
    wrong = wrong_url(start + text)
    if wrong is None and start + text:
        assert RedisAddress.parse(start + text)


def test_an_address_is_shown_without_user_and_password() -> None:
    address = RedisAddress.parse("rediss://somebody:hidden@redis.example:7000/1")
    assert str(address) == "redis.example:7000"
    assert "hidden" not in repr(address)
    assert str(RedisAddress.parse("unix://:hidden@/run/r.sock")) == "/run/r.sock"
