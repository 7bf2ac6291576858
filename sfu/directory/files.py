"""The directory of a single node whose secrets and apps outlive it: files of a data directory.

    DATA/                mode 0700, owned by the user that runs the server; every file has mode 0600
      cluster-secret     64 hex digits
      dtls/NAME.pem      a DTLS certificate and its key
      https.pem          the self-made HTTPS certificate and its key
      apps.json          apps with the digests of their secrets, never the secrets
      turn-keys.json     TURN keys: digests of their tokens, and the secrets that sign credentials
      turn-revoked       TURN usernames that were revoked
      turn-urls.json     where the TURN server that runs with this directory is reached
      server.pid         locked by the running server
      admin.sock         where the running server takes the commands of `orchard sessions`; worker 1 has
                         admin-1.sock, and so on

Sessions stay in memory. `orchard app` writes apps.json beside a running server: a `FilesDirectory`
looks at the file's identity before each use and reads it again if it was replaced, so a change is in
force with the next HTTP call. Files are replaced as a whole, so no reader sees half of one, and what is
changed by several processes is changed under a lock of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from sfu.directory.apps import IssuedApp, new_app
from sfu.directory.certificates import covers, make_https_certificate, read_certificate
from sfu.directory.encoding import app_entry, app_of
from sfu.directory.interface import DirectoryError, Unavailable
from sfu.directory.memory import MemoryDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

    from sfu.base.ids import AppId
    from sfu.directory.interface import App, StoredCertificate

T = TypeVar("T")

FileIdentity = tuple[int, int, int]
Mark = tuple[int, int]
"""A place in a file: which file, and how much of it was read."""

_SECRET_BYTES = 32
_FILE_LIMIT_BYTES = 64 * 1024 * 1024  # apps.json of a hundred thousand apps has a third of it


class DataDirectoryError(DirectoryError):
    """The data directory can't be used; the text says what is wrong and how to mend it."""


class DataDirectory:
    """The files: opened once, after which the directory is there and is nobody else's."""

    def __init__(self, path: Path) -> None:
        """Open the directory at `path`, made if it is missing. Raises DataDirectoryError."""
        self.path = path.expanduser().absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.path.stat()
        except OSError as error:
            raise DataDirectoryError(f"data directory {self.path}: {error.strerror}; name another") from error
        self._check(status, self.path, "700")

    def admin_socket(self, worker: int | None = None) -> Path:
        """The socket on which the running server takes commands, or one worker of it."""
        return self.path / (f"admin-{worker}.sock" if worker else "admin.sock")

    def admin_sockets(self) -> list[Path]:
        """Those that there are, of workers that run and of some that do no longer."""
        return sorted(self.path.glob("admin*.sock"))

    @contextmanager
    def claimed(self) -> Generator[None]:
        """Hold the directory for one server. Raises DataDirectoryError if another one runs in it."""
        with self._open_own("server.pid") as descriptor:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.read(descriptor, 20).decode(errors="replace")
                raise DataDirectoryError(
                    f"data directory {self.path}: in use by the server with pid {pid}; "
                    "stop that one, or name another directory with --data"
                ) from None
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            yield

    def cluster_secret(self) -> bytes:
        """The secret from which the nodes of this directory derive ICE passwords; made at first use."""
        content = self.read("cluster-secret")
        if content is None:
            content = secrets.token_hex(_SECRET_BYTES).encode()
            self.write("cluster-secret", content)
        try:
            return bytes.fromhex(content.decode())
        except ValueError:
            raise self._broken("cluster-secret", "is not hex") from None

    def dtls_certificates(self) -> list[StoredCertificate]:
        """All DTLS certificates, in no order."""
        found: list[StoredCertificate] = []
        for path in sorted((self.path / "dtls").glob("*.pem")):
            name = f"dtls/{path.name}"
            content = self.read(name)
            if content is None:
                continue
            try:
                found.append(read_certificate(content))
            except ValueError as error:
                raise self._broken(name, str(error)) from None
        return found

    def put_dtls_certificate(self, certificate: StoredCertificate) -> None:
        """Keep a certificate."""
        self.write(
            _certificate_name(certificate.fingerprint), certificate.key_pem + certificate.certificate_pem
        )

    def delete_dtls_certificate(self, fingerprint: str) -> None:
        """Forget a certificate, if it is there."""
        (self.path / _certificate_name(fingerprint)).unlink(missing_ok=True)

    def https_certificate(self, hosts: Collection[str], wall_now: float) -> Path:
        """The PEM file of the self-made HTTPS certificate and its key.

        Made anew if it does not name all of `hosts` or ends within 30 days.
        """
        content = self.read("https.pem")
        if content is not None:
            try:
                certificate = read_certificate(content)
            except ValueError as error:
                raise self._broken("https.pem", str(error)) from None
            if certificate.not_after - wall_now > 30 * 86_400 and covers(certificate, hosts):
                return self.path / "https.pem"
        certificate = make_https_certificate(hosts, wall_now)
        self.write("https.pem", certificate.key_pem + certificate.certificate_pem)
        return self.path / "https.pem"

    def apps(self) -> list[App] | None:
        """All apps, or None if there never were any."""
        content = self.read("apps.json")
        return None if content is None else list(self.parse_apps(content).values())

    def change_apps(self, change: Callable[[dict[AppId, App]], None]) -> None:
        """Let `change` alter the apps and store them, while no other process does the same."""

        def changed(content: bytes | None) -> bytes:
            apps = self.parse_apps(content)
            change(apps)
            document = {"apps": [app_entry(app) for app in apps.values()]}
            return json.dumps(document, indent=2).encode()

        self.change("apps.json", changed)

    def parse_apps(self, content: bytes | None) -> dict[AppId, App]:
        """The apps of what apps.json holds, by id. Raises DataDirectoryError."""
        if content is None:
            return {}
        try:
            apps = [app_of(entry) for entry in json.loads(content)["apps"]]
        except (ValueError, KeyError, TypeError) as error:
            raise self._broken("apps.json", f"is not a list of apps ({error})") from None
        return {app.id: app for app in apps}

    def change(self, name: str, change: Callable[[bytes | None], bytes]) -> None:
        """Let `change` make a file's next content of the one it has, while no other process does the same."""
        with self.locked(Path(name).stem):
            self.write(name, change(self.read(name)))

    @contextmanager
    def locked(self, name: str) -> Generator[None]:
        """Hold a lock that one process at a time has; waits for it."""
        with self._open_own(f"{name}.lock") as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # ends with the descriptor
            yield

    def identity(self, name: str) -> FileIdentity | None:
        """A value that changes whenever the file does; None if there is no such file."""
        try:
            status = (self.path / name).stat()
        except FileNotFoundError:
            return None
        return (status.st_ino, status.st_mtime_ns, status.st_size)

    def read(self, name: str) -> bytes | None:
        """A file's content, or None if there is no such file. Raises DataDirectoryError."""
        path = self.path / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataDirectoryError(f"{path}: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            self._check(os.fstat(descriptor), path, "600")
            return file.read(_FILE_LIMIT_BYTES)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file as a whole; when this returns, it outlives a power cut."""
        path = self.path / name
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
            _sync_directory(path.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataDirectoryError(f"{path}: can't be written: {error.strerror}") from error

    def append(self, name: str, line: bytes) -> int:
        """Add a line, which outlives a power cut when this returns; the file's size. Under `locked` alone."""
        with self._open_own(name) as descriptor:
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    line = b"\n" + line  # a crash has cut the last one off
                os.pwrite(descriptor, line, size)
                os.fsync(descriptor)
            except OSError as error:
                raise DataDirectoryError(f"{self.path / name}: can't be written: {error.strerror}") from error
            return size + len(line)

    def read_added(self, name: str, mark: Mark | None) -> tuple[Mark | None, bytes]:
        """The whole lines behind `mark`, and the next mark; all lines if the file is another one since."""
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None, b""
        except OSError as error:
            raise DataDirectoryError(f"{self.path / name}: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            self._check(status, self.path / name, "600")
            start = mark[1] if mark is not None and mark[0] == status.st_ino else 0
            file.seek(start if start <= status.st_size else 0)
            added = file.read(_FILE_LIMIT_BYTES)
            whole = added.rfind(b"\n") + 1
            return (status.st_ino, file.tell() - len(added) + whole), added[:whole]

    @contextmanager
    def _open_own(self, name: str) -> Generator[int]:
        path = self.path / name
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataDirectoryError(f"{path}: {error.strerror}") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _check(self, status: os.stat_result, path: Path, mode: str) -> None:
        if mode == "700" and not stat.S_ISDIR(status.st_mode):
            raise DataDirectoryError(f"{path}: not a directory; name another, or move it away")
        if status.st_uid != os.geteuid():
            raise DataDirectoryError(
                f"{path}: owned by user {status.st_uid}, the server runs as user {os.geteuid()}; "
                f"run it as the owner, or give it the directory: chown -R {os.geteuid()} {self.path}"
            )
        if status.st_mode & 0o077:
            raise DataDirectoryError(
                f"{path}: mode {stat.S_IMODE(status.st_mode):04o} lets others in; "
                f"close it: chmod {mode} {path}, and change the secrets if others may have read them"
            )

    def _broken(self, name: str, why: str) -> DataDirectoryError:
        """The error of a file whose content is not what it should be."""
        return DataDirectoryError(
            f"{self.path / name}: {why}; restore it, or delete it to have a new one made"
        )


class WatchedFile(Generic[T]):
    """What a file of a data directory says, read again whenever it was replaced; None is no such file."""

    def __init__(self, data: DataDirectory, name: str, parse: Callable[[bytes | None], T]) -> None:
        self._data = data
        self._name = name
        self._parse = parse
        self._read: tuple[FileIdentity | None, T] | None = None

    def current(self) -> T:
        """As it stands. Raises DataDirectoryError, and what the parser raises."""
        identity = self._data.identity(self._name)
        if self._read is None or self._read[0] != identity:
            self._read = identity, self._parse(self._data.read(self._name))
        return self._read[1]


class FilesDirectory(MemoryDirectory):
    """A `Directory` whose apps and certificates are those of a data directory.

    `given` are apps that settings name: valid beside those of the file, never stored. Where there is
    neither, `first_app` is set: an app that is valid and stored once `keep_first_app` is called, so that
    a start which fails before anybody has read the secret leaves none behind that nobody knows.
    """

    def __init__(self, data: DataDirectory, wall_now: float, *, given: Collection[App] = ()) -> None:
        super().__init__()
        self._data = data
        self._given = {app.id: app for app in given}
        self._stored = WatchedFile(data, "apps.json", data.parse_apps)
        self.first_app: IssuedApp | None = None
        if data.apps() is None and not given:
            self.first_app = new_app("first", wall_now)
        self._certificates = {stored.fingerprint: stored for stored in data.dtls_certificates()}

    def keep_first_app(self) -> IssuedApp | None:
        """Store the first app, if this start made one; its secret is known now and never again."""
        first = self.first_app
        if first is not None:
            self._data.change_apps(lambda apps: apps.update({first.app.id: first.app}))
        return first

    def give(self, app: App) -> None:
        """Let `app` be valid while this process runs; it is not stored."""
        self._given[app.id] = app

    async def get_app(self, app: AppId) -> App | None:
        """The app of this id, or None."""
        return self._given.get(app) or self._current().get(app)

    async def list_apps(self) -> list[App]:
        """All apps, oldest first."""
        return sorted((self._current() | self._given).values(), key=lambda app: app.created_at)

    async def put_app(self, app: App) -> None:
        """Store an app, in place of one that has its id."""
        self._data.change_apps(lambda apps: apps.update({app.id: app}))

    async def delete_app(self, app: AppId) -> bool:
        """Forget an app; False if it was not there."""
        found = self._given.pop(app, None)

        def forget(apps: dict[AppId, App]) -> None:
            nonlocal found
            found = apps.pop(app, None) or found

        self._data.change_apps(forget)
        return found is not None

    async def put_certificate(self, certificate: StoredCertificate) -> None:
        """Add a certificate, in place of one that has its fingerprint."""
        self._data.put_dtls_certificate(certificate)
        await super().put_certificate(certificate)

    async def delete_certificate(self, fingerprint: str) -> bool:
        """Forget a certificate; False if it was not there."""
        self._data.delete_dtls_certificate(fingerprint)
        return await super().delete_certificate(fingerprint)

    def _current(self) -> dict[AppId, App]:
        try:
            return self._stored.current()
        except DataDirectoryError as error:
            raise Unavailable(str(error)) from error


def _certificate_name(fingerprint: str) -> str:
    return f"dtls/{fingerprint.replace(':', '').lower()}.pem"


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
