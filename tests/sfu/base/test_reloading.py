from __future__ import annotations

import asyncio
import os
import signal

from sfu.base.reloading import ReloadRequests


def test_each_time_that_it_is_asked_for_is_answered() -> None:
    requests, answered = ReloadRequests(), list[str]()
    requests.answer_with(lambda: answered.append("read"))
    assert answered == []
    requests.ask()
    requests.ask()
    assert answered == ["read", "read"]


def test_what_is_asked_for_while_a_server_starts_is_done_once_it_has() -> None:
    requests, answered = ReloadRequests(), list[str]()
    requests.ask()
    requests.ask()
    requests.answer_with(lambda: answered.append("read"))
    assert answered == ["read"]


async def test_sighup_asks() -> None:
    requests, answered = ReloadRequests(), asyncio.Event()
    requests.answer_with(answered.set)
    requests.heed_signals()
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(answered.wait(), 5)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
