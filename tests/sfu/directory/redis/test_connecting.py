"""How a node gets in: passwords, TLS, sockets of the machine; and what it says if it can't."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from sfu.directory.redis.address import RedisAddress, TlsFiles
from sfu.directory.redis.directory import RedisDirectory
from sfu.directory.redis.link import LinkError
from tests.redis_server import RedisServer, free_port
from tests.sfu.directory.redis.nodes import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "a word/of many?"
WRITTEN = "a%20word%2Fof%20many%3F"


def certificate(directory: Path, name: str, *extra: str) -> None:
    """A key and a certificate for `name`, self-signed unless `extra` says otherwise."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *extra]
    command += ["-subj", f"/CN={name}"]
    command += ["-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.pem")]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RedisServer, int, Path]]:
    """A Redis with a password, TLS beside plain TCP, and a Unix socket; its TLS port and files."""
    directory = tmp_path_factory.mktemp("guarded")
    certificate(directory, "ca", "-addext", "keyUsage=critical,keyCertSign,digitalSignature")
    issue = ("-CA", str(directory / "ca.pem"), "-CAkey", str(directory / "ca.key"))
    issue = (*issue, "-addext", "basicConstraints=CA:FALSE")
    certificate(directory, "server", *issue, "-addext", "subjectAltName=IP:127.0.0.1")
    certificate(directory, "client", *issue)
    tls_port = free_port()
    options: dict[str, str] = {
        "requirepass": PASSWORD,
        "tls-port": str(tls_port),
        "tls-cert-file": str(directory / "server.pem"),
        "tls-key-file": str(directory / "server.key"),
        "tls-ca-cert-file": str(directory / "ca.pem"),
        "unixsocket": str(directory / "r.sock"),
    }
    with RedisServer(directory, *options.items(), password=PASSWORD) as server:
        yield server, tls_port, directory


async def joins(url: str, **options: Any) -> None:
    directory = RedisDirectory(RedisAddress.parse(url), SECRET, prefix="test", timeout_s=10.0, **options)
    await directory.open()
    try:
        assert await directory.count_sessions() == 0
    finally:
        await directory.close()


async def test_a_password_lets_a_node_in(guarded: tuple[RedisServer, int, Path]) -> None:
    server, _, directory = guarded
    await joins(f"redis://:{WRITTEN}@127.0.0.1:{server.port}")
    await joins(f"redis://default:{WRITTEN}@127.0.0.1:{server.port}/2")
    await joins(f"unix://:{WRITTEN}@{directory}/r.sock")


@pytest.mark.parametrize("user", ["", ":wrong-word@", "nobody:wrong-word@"])
async def test_a_wrong_password_is_told_and_not_shown(
    guarded: tuple[RedisServer, int, Path], user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LinkError, match=r"user and password|Authentication required") as refused:
        await joins(f"redis://{user}127.0.0.1:{guarded[0].port}")
    written = capsys.readouterr()
    assert "wrong-word" not in str(refused.value) + written.err + written.out


async def test_tls_takes_the_certificate_that_it_is_told_to_trust(
    guarded: tuple[RedisServer, int, Path],
) -> None:
    _, port, directory = guarded
    client = TlsFiles(str(directory / "ca.pem"), str(directory / "client.pem"), str(directory / "client.key"))
    await joins(f"rediss://:{WRITTEN}@127.0.0.1:{port}", tls=client)


async def test_tls_refuses_a_certificate_of_strangers_and_of_another_name(
    guarded: tuple[RedisServer, int, Path],
) -> None:
    _, port, directory = guarded
    client = TlsFiles("", str(directory / "client.pem"), str(directory / "client.key"))
    with pytest.raises(LinkError, match="certificate verify failed"):
        await joins(f"rediss://:{WRITTEN}@127.0.0.1:{port}", tls=client)
    trusting = TlsFiles(str(directory / "ca.pem"), client.certificate, client.key)
    with pytest.raises(LinkError, match=r"[Hh]ostname mismatch"):
        await joins(f"rediss://:{WRITTEN}@localhost:{port}", tls=trusting)


async def test_tls_wants_the_certificate_of_the_node_where_redis_does(
    guarded: tuple[RedisServer, int, Path],
) -> None:
    _, port, directory = guarded
    with pytest.raises(LinkError):
        await joins(f"rediss://:{WRITTEN}@127.0.0.1:{port}", tls=TlsFiles(str(directory / "ca.pem")))


async def test_nobody_there_is_told_with_the_address() -> None:
    port = free_port()
    with pytest.raises(LinkError, match=f"Redis at 127.0.0.1:{port}: .*[Cc]onnect"):
        await joins(f"redis://127.0.0.1:{port}")


async def test_a_redis_that_throws_keys_away_is_refused(tmp_path: Path) -> None:
    with RedisServer(tmp_path, ("maxmemory", "100mb"), ("maxmemory-policy", "allkeys-lru")) as server:
        with pytest.raises(LinkError, match=r"maxmemory-policy is allkeys-lru.*set noeviction"):
            await joins(server.url)
        server("CONFIG", "SET", "maxmemory", "0")
        await joins(server.url)


async def test_a_user_may_be_bound_to_the_prefix(tmp_path: Path) -> None:
    commands = "+@hash +@set +@sortedset +@string +@keyspace +@scripting +@pubsub +@connection -@dangerous"
    with RedisServer(tmp_path) as server:
        server(
            "ACL",
            "SETUSER",
            "orchard",
            "on",
            ">word",
            "~test:*",
            "&test:*",
            *commands.split(),
            "+info",
            "+time",
        )
        await joins(f"redis://orchard:word@127.0.0.1:{server.port}")
        server("ACL", "SETUSER", "orchard", "-info")
        await joins(f"redis://orchard:word@127.0.0.1:{server.port}")
        server("ACL", "SETUSER", "orchard", "resetkeys", "~other:*")
        with pytest.raises(LinkError, match=r"refuses a command: .*no permissions"):
            await joins(f"redis://orchard:word@127.0.0.1:{server.port}")
