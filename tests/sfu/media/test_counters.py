"""Every counter is in the docs and reaches Prometheus."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import REGISTRY

from tests.sfu.media.peers import AUDIO, AUDIO_EGRESS, AUDIO_ROUTES, Node, audio

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "counters.md"


def test_every_counter_has_a_line_in_the_docs(node: Node) -> None:
    told = set(re.findall(r"`(\w+)`", PAGE.read_text()))
    counters = {name.removeprefix("drop_") for name in node.media.counters()}
    assert {name for name in counters if name.removesuffix("_bytes") not in told} == set()
    assert node.media.live().keys() - told - {"peers", "paths", "tracks", "expected"} == set()


def test_counters_reach_prometheus_within_a_second(node: Node) -> None:
    def dropped() -> float:
        return REGISTRY.get_sample_value("orchard_media_dropped_total", {"reason": "no_track"}) or 0

    publisher = node.client()
    node.media.add_track(publisher.peer, AUDIO)
    node.advance(1)
    before = dropped()
    publisher.send(audio(1, mid="b"))
    node.read()
    node.advance(1.1)
    assert dropped() == before + 1
    assert REGISTRY.get_sample_value("orchard_media_live", {"thing": "peers"}) == 1


def test_how_long_calls_hold_the_loop_reaches_prometheus(node: Node) -> None:
    def calls(le: str | None = None) -> float:
        name = "orchard_media_hold_seconds_" + ("count" if le is None else "bucket")
        return REGISTRY.get_sample_value(name, {} if le is None else {"le": le}) or 0

    def held_s() -> float:
        return REGISTRY.get_sample_value("orchard_media_hold_seconds_sum") or 0

    node.advance(1.1)  # what was before is told
    before, before_s = calls(), held_s()
    publisher = node.client()
    node.media.add_track(publisher.peer, AUDIO)
    for sequence in range(40):
        publisher.send(audio(sequence))
        node.read()
    node.advance(1.1)
    assert calls() >= before + 40
    assert held_s() > before_s
    assert calls("+Inf") == calls()
    assert calls("1e-06") <= calls("0.000128") <= calls("0.131072") <= calls()


def test_one_call_in_64_is_timed_from_stage_to_stage(node: Node) -> None:
    publisher, subscriber = node.client(), node.client()
    track = node.media.add_track(publisher.peer, AUDIO)
    node.subscribe(subscriber, track, AUDIO_EGRESS, AUDIO_ROUTES)
    for sequence in range(129):
        publisher.send(audio(sequence))
        node.read()
    node.read()
    counters = node.media.counters()
    assert counters["media_out"] == 129
    assert [counters[f"stage_{name}"] for name in ("calls", "packets_in", "packets_out")] == [3, 3, 3]
    times = [counters[f"stage_ns_{name}"] for name in ("receive", "unprotect", "forward", "send")]
    assert all(0 < time < 10**9 for time in times)
    node.advance(1.1)
    exported = REGISTRY.get_sample_value("orchard_media_stage_seconds_total", {"stage": "send"})
    assert exported is not None
    assert exported >= times[-1] / 1e9


def test_a_call_without_a_packet_is_no_sample(node: Node) -> None:
    for _ in range(3):
        node.media.on_readable(node.now)
    assert node.media.counters()["stage_calls"] == 0
