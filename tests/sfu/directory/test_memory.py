from __future__ import annotations

import pytest

from sfu.directory.interface import App, digest_secret
from sfu.directory.memory import MemoryDirectory
from tests.sfu.directory.contract import A, DirectoryContract, Seen, record


class TestMemoryDirectory(DirectoryContract):
    @pytest.fixture
    def directory(self) -> MemoryDirectory:
        return MemoryDirectory()

    async def test_changes_of_one_turn_of_the_loop_make_one_call(self, directory: MemoryDirectory) -> None:
        stored = await directory.create_session(record())
        seen = Seen()
        watch = directory.watch(A, seen)
        for _ in range(3):
            stored = await directory.replace_session(stored)
        await seen.until(stored)
        assert seen.records == [stored]
        watch.close()


def test_an_app_accepts_either_of_two_secrets_and_no_other() -> None:
    app = App(record().app, "name", (digest_secret("new"), digest_secret("old")), 0.0)
    assert app.accepts("new")
    assert app.accepts("old")
    assert not app.accepts("")
    assert not app.accepts("new\udcff")


def test_an_app_without_secrets_accepts_none() -> None:
    assert not App(record().app, "name", (), 0.0).accepts("")
