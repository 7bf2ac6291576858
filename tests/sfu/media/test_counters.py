"""Every counter is in the docs and reaches Prometheus."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import REGISTRY

from tests.sfu.media.peers import AUDIO, Node, audio

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
