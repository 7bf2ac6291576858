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
    assert await sweep_once(directory, lambda session: session.created_at < 50.0) == 1
    assert [session.id for session in await directory.list_sessions()] == [SessionId("2" * 32)]


async def test_a_session_that_changes_during_the_sweep_is_left_alone() -> None:
    class Racing(MemoryDirectory):
        async def list_sessions(self, app: AppId | None = None) -> list[SessionRecord]:
            listed = await super().list_sessions(app)
            await self.replace_session(replace(listed[0], transport_state="connected"))
            return listed

    directory = Racing()
    await directory.create_session(record("1", created_at=0.0))
    assert await sweep_once(directory, lambda session: session.transport_state == "new") == 0
    assert await directory.count_sessions() == 1
