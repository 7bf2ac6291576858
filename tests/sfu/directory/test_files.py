"""The data directory: secrets are nobody else's, files are never half-written, and changes are seen."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sfu.directory.apps import finish_rotation, given_app, new_app, rotate
from sfu.directory.certificates import DAY_S, make_dtls_certificate, read_certificate, renew_certificates
from sfu.directory.files import DataDirectory, DataDirectoryError, FilesDirectory
from sfu.directory.interface import Unavailable

if TYPE_CHECKING:
    from sfu.base.ids import AppId
    from sfu.directory.interface import App

NOW = 1_800_000_000.0


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return DataDirectory(tmp_path / "data")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_everything_of_a_first_start_is_the_owners_alone(data: DataDirectory) -> None:
    old = os.umask(0)  # the modes hold under any umask
    try:
        data.cluster_secret()
        directory = FilesDirectory(data, NOW)
        directory.keep_first_app()
        await renew_certificates(directory, NOW)
        data.https_certificate(["192.0.2.1"], NOW)
    finally:
        os.umask(old)
    assert mode(data.path) == 0o700
    files = [path for path in data.path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"cluster-secret", "apps.json", "https.pem"}
    assert {mode(path) for path in files} == {0o600}
    assert {mode(path) for path in data.path.rglob("*") if path.is_dir()} == {0o700}


def test_a_directory_that_others_may_read_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with pytest.raises(DataDirectoryError, match=r"mode 0750 .*chmod 700"):
        DataDirectory(tmp_path)


def test_a_secret_that_others_may_read_is_refused(data: DataDirectory) -> None:
    data.cluster_secret()
    (data.path / "cluster-secret").chmod(0o640)
    with pytest.raises(DataDirectoryError, match=r"mode 0640 .*chmod 600"):
        data.cluster_secret()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(DataDirectoryError, match="owned by user 12345"):
        DataDirectory(tmp_path)


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(DataDirectoryError, match=r"data: .*exist"):
        DataDirectory(tmp_path / "data")


def test_a_link_in_the_place_of_a_secret_is_refused(data: DataDirectory, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("00" * 32)
    (data.path / "cluster-secret").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataDirectoryError):
        data.cluster_secret()


def test_the_cluster_secret_outlives_the_process(data: DataDirectory) -> None:
    secret = data.cluster_secret()
    assert len(secret) == 32
    assert DataDirectory(data.path).cluster_secret() == secret


@pytest.mark.parametrize("name", ["cluster-secret", "apps.json", "https.pem", "dtls/x.pem"])
def test_a_damaged_file_is_named(data: DataDirectory, name: str) -> None:
    data.write(name, b"damaged")

    def use() -> None:
        data.cluster_secret()
        FilesDirectory(data, NOW)
        data.https_certificate([], NOW)

    with pytest.raises(DataDirectoryError, match=name):
        use()


def test_a_write_that_fails_leaves_the_old_file(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    data.write("thing", b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataDirectoryError, match="No space left"):
        data.write("thing", b"new")
    assert data.read("thing") == b"old"
    assert [path.name for path in data.path.iterdir()] == ["thing"]


async def test_the_first_start_alone_tells_the_secret_of_an_app(data: DataDirectory) -> None:
    failed = FilesDirectory(data, NOW).first_app  # nobody has seen its secret
    assert failed is not None
    first = FilesDirectory(data, NOW).keep_first_app()
    assert first is not None
    assert len(first.app.id) == 32
    assert len(first.secret) == 64
    again = FilesDirectory(data, NOW)
    assert again.first_app is None
    assert await again.get_app(failed.app.id) is None
    stored = await again.get_app(first.app.id)
    assert stored is not None
    assert stored.accepts(first.secret)
    for path in data.path.rglob("*"):
        assert path.is_dir() or first.secret.encode() not in path.read_bytes()
    assert first.secret not in repr(first)


async def test_no_app_is_made_where_one_is_given_or_all_were_revoked(data: DataDirectory) -> None:
    given = given_app("0" * 32 + ":" + "s" * 64, NOW)
    assert FilesDirectory(data, NOW, given=[given]).first_app is None
    made = FilesDirectory(data, NOW).keep_first_app()
    assert made is not None
    assert await FilesDirectory(data, NOW).delete_app(made.app.id)
    assert FilesDirectory(data, NOW).first_app is None


async def test_a_running_server_sees_what_another_process_does(data: DataDirectory) -> None:
    running = FilesDirectory(data, NOW)
    beside = FilesDirectory(DataDirectory(data.path), NOW)
    issued = new_app("mine", NOW)
    await beside.put_app(issued.app)
    assert await running.get_app(issued.app.id) == issued.app
    exchanged = rotate(issued.app)
    await beside.put_app(exchanged.app)
    seen = await running.get_app(issued.app.id)
    assert seen is not None
    assert seen.accepts(issued.secret)
    assert seen.accepts(exchanged.secret)
    assert await beside.delete_app(issued.app.id)
    assert await running.get_app(issued.app.id) is None


async def test_an_unreadable_list_of_apps_lets_nobody_in(data: DataDirectory) -> None:
    running = FilesDirectory(data, NOW)
    assert running.keep_first_app() is not None
    data.write("apps.json", b"{")
    with pytest.raises(Unavailable, match=r"apps\.json"):
        await running.list_apps()


async def test_given_apps_are_valid_and_never_stored(data: DataDirectory) -> None:
    secret = "s" * 64
    given = given_app("a" * 32 + ":" + secret, NOW)
    directory = FilesDirectory(data, NOW, given=[given])
    await directory.put_app(new_app("other", NOW + 1).app)
    assert (await directory.list_apps())[0] == given
    assert "a" * 32 not in (data.path / "apps.json").read_text()
    assert await directory.delete_app(given.id)
    assert await directory.get_app(given.id) is None


def test_changes_at_the_same_time_are_all_kept(data: DataDirectory) -> None:
    apps = [new_app(str(number), NOW).app for number in range(20)]

    def add(app: App) -> None:
        def change(stored: dict[AppId, App]) -> None:
            stored[app.id] = app

        DataDirectory(data.path).change_apps(change)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, apps))
    assert {app.id for app in data.apps() or []} == {app.id for app in apps}


def test_a_directory_is_for_one_server_at_a_time(data: DataDirectory) -> None:
    with data.claimed():
        beside = DataDirectory(data.path).claimed()
        with pytest.raises(DataDirectoryError, match=rf"in use by the server with pid {os.getpid()}; stop"):
            beside.__enter__()
    with DataDirectory(data.path).claimed():
        pass


def test_a_secret_is_exchanged_while_two_are_valid() -> None:
    issued = new_app("mine", NOW)
    second = rotate(issued.app)
    third = rotate(second.app)
    assert second.app.accepts(issued.secret)
    assert second.app.accepts(second.secret)
    assert not third.app.accepts(issued.secret)
    finished = finish_rotation(third.app)
    assert finished.accepts(third.secret)
    assert not finished.accepts(second.secret)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "x:y", "a" * 32, "a" * 32 + ":short", "A" * 32 + ":" + "s" * 64),
        *("a" * 32 + ":" + "ü" * 40, "a" * 32 + ":" + "s" * 40 + " "),
    ],
)
def test_a_given_app_that_makes_no_sense_is_refused_without_its_secret(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(want ID:SECRET|the id must|the secret must)") as caught:
        given_app(text, NOW)
    assert "short" not in str(caught.value)


async def test_certificates_outlive_the_process_and_the_last_to_end_is_first(data: DataDirectory) -> None:
    directory = FilesDirectory(data, NOW)
    old = make_dtls_certificate(NOW - 100 * DAY_S)
    await directory.put_certificate(old)
    newest = await renew_certificates(directory, NOW)
    assert newest == old  # 265 days are left
    renewed = await renew_certificates(directory, NOW + 200 * DAY_S)
    assert renewed != old
    again = await FilesDirectory(data, NOW).list_certificates()
    assert [stored.fingerprint for stored in again] == [renewed.fingerprint, old.fingerprint]
    assert again[1] == old


async def test_an_ended_certificate_that_no_session_names_is_deleted(data: DataDirectory) -> None:
    directory = FilesDirectory(data, NOW)
    old = await renew_certificates(directory, NOW)
    await renew_certificates(directory, NOW + 364 * DAY_S)
    assert old in await directory.list_certificates()
    await renew_certificates(directory, NOW + 366 * DAY_S)
    assert old not in await directory.list_certificates()
    assert old.fingerprint.replace(":", "").lower() not in str(list(data.path.rglob("*")))


def test_the_https_certificate_is_kept_until_it_fits_no_more(data: DataDirectory) -> None:
    path = data.https_certificate(["192.0.2.1", "sfu.example"], NOW)
    first = path.read_bytes()
    assert data.https_certificate(["sfu.example"], NOW).read_bytes() == first
    wider = data.https_certificate(["192.0.2.1", "2001:db8::1"], NOW).read_bytes()
    assert wider != first
    assert data.https_certificate(["192.0.2.1", "2001:db8::1"], NOW + 380 * DAY_S).read_bytes() != wider
    assert read_certificate(wider).certificate_pem in wider


def test_apps_json_is_plain_to_read(data: DataDirectory) -> None:
    issued = new_app("mine", NOW)
    asyncio.run(FilesDirectory(data, NOW, given=[issued.app]).put_app(issued.app))
    (stored,) = json.loads((data.path / "apps.json").read_text())["apps"]
    assert stored["id"] == issued.app.id
    assert stored["name"] == "mine"
    assert len(stored["secret_sha256"]) == 1
