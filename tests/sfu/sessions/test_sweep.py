from dataclasses import replace

from sfu.base.ids import AppId, SessionId
from sfu.directory.memory import MemoryDirectory
from sfu.negotiation.record import Fingerprint, SessionRecord
from sfu.sessions.sweep import sweep_once


def record(name: str, created_at: float) -> SessionRecord:
    return SessionRecord(
        SessionId(name * 32),
        AppId("a"),
        created_at=created_at,
        fingerprint=Fingerprint("sha-256", "AB"),
        origin_id=1,
    )


async def test_only_expired_sessions_are_deleted() -> None:
    directory = MemoryDirectory()
    await directory.create_session(record("1", created_at=0.0))
    await directory.create_session(record("2", created_at=100.0))
    connected = await directory.create_session(record("3", created_at=0.0))
    await directory.replace_session(replace(connected, transport_state="connected"))
    assert await sweep_once(directory, before=50.0) == 1
    assert [session.id[0] for session in await directory.list_sessions()] == ["2", "3"]


async def test_a_session_that_changes_during_the_sweep_is_left_alone() -> None:
    class Racing(MemoryDirectory):
        async def list_unconnected(self, before: float) -> list[SessionRecord]:
            listed = await super().list_unconnected(before)
            await self.replace_session(replace(listed[0], transport_state="connected"))
            return listed

    directory = Racing()
    await directory.create_session(record("1", created_at=0.0))
    assert await sweep_once(directory, before=50.0) == 0
    assert await directory.count_sessions() == 1
