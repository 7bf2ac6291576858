"""As which user a command works (`sfu.base.privileges`), and on whose data directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sfu.base.log import get_logger
from sfu.base.privileges import USER, become, is_root, let_go
from sfu.directory.files import DataDirectory
from sfu.node import DATA

if TYPE_CHECKING:
    from sfu.base.settings import Config

log = get_logger("node")


def begin_as_user(config: Config, *, data: Path | None) -> None:
    """Have a server, before it has opened anything, be the user of the settings but for its ports. `data` is
    its data directory, which is made for the user. Raises SettingsError."""
    if config[USER]:
        become(config[USER], gives=data)
    elif is_root():
        log.warning("node.runs_as_root", mend=f"{USER.flag} NAME, or User= in the systemd unit")


def data_of(config: Config) -> DataDirectory:
    """The data directory, as the user whose it is: what root left there the server could not read. Raises
    SettingsError, DataDirectoryError."""
    if config[USER] and is_root():
        become(config[USER], gives=Path(config[DATA]))
        let_go()
    return DataDirectory(Path(config[DATA]))
