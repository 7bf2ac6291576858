"""Whose rights the server has: root's are for ports under 1024, all else is done as another user.

    root --become--> the user, and root for `as_root` alone --let_go--> the user, for good

So whatever is written on the way belongs to the user, and what the user can't read is told at once, not when
a certificate is renewed. Where a server was not started as root there is nothing to go back to.
"""

from __future__ import annotations

import os
import pwd
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from sfu.base.settings import Setting, SettingsError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_ROOT: Final = 0

USER = Setting(
    "node.user",
    str,
    "",
    alias="user",
    help="User that a server becomes which was started as root, once its ports are open",
)


def is_root() -> bool:
    """Whether this process may do anything."""
    return os.geteuid() == _ROOT


def become(name: str, *, gives: Path | None = None) -> None:
    """Do everything but `as_root` as the user `name`, with its groups, until `let_go`. Raises SettingsError.

    `gives` is a directory that becomes the user's if it has to be made. Started as that user already, a
    process is left as it is.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise SettingsError(f"{USER.flag} {name}: no such user; make it: useradd --system {name}") from None
    if user.pw_uid == _ROOT:
        raise SettingsError(f"{USER.flag} {name}: is root; name a user with less rights, or leave it out")
    if not is_root():
        if os.geteuid() == user.pw_uid:
            return
        raise SettingsError(
            f"{USER.flag} {name}: only root can become another user, this is user {os.geteuid()}"
        )
    try:
        if gives is not None:
            _give(gives.expanduser().absolute(), user.pw_uid, user.pw_gid)
        os.initgroups(user.pw_name, user.pw_gid)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, _ROOT)
    except OSError as error:
        raise SettingsError(f"{USER.flag} {name}: can't become this user: {error.strerror}") from error
    for file in (os.__file__, __file__):  # Python reads more of itself as it goes
        if not os.access(file, os.R_OK):
            raise SettingsError(
                f"{USER.flag} {name}: this user can't read {file}; install Orchard where it can, such as /opt"
            )


@contextmanager
def as_root() -> Generator[None]:
    """Root's rights, between `become` and `let_go`; anywhere else those that there are. Not to be left by
    `await`: whatever else the process did meanwhile would be done as root."""
    user, _, saved = os.getresuid()
    if saved != _ROOT or user == _ROOT:
        yield
        return
    os.seteuid(_ROOT)
    try:
        yield
    finally:
        os.seteuid(user)


def regain() -> None:
    """Be root again, in a process that has just been made by one between `become` and `let_go`."""
    with suppress(PermissionError):
        os.seteuid(_ROOT)


def let_go() -> None:
    """Give root's rights up for good, if there are any to go back to. Raises SettingsError if that fails."""
    user, effective, saved = os.getresuid()
    if saved != _ROOT or effective == _ROOT:
        return
    os.setresuid(user, user, user)
    try:
        os.seteuid(_ROOT)
    except PermissionError:
        return
    raise SettingsError(f"{USER.flag}: root's rights can't be given up on this system")


def user_name() -> str:
    """Whose rights this process has, for messages."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _give(directory: Path, user: int, group: int) -> None:
    """Make a directory that is not there, for the user alone."""
    if not directory.exists():
        directory.mkdir(mode=0o700, parents=True)
        os.chown(directory, user, group, follow_symlinks=False)
