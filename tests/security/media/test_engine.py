"""The packet path under seeded chaos: random commands and sealed nonsense in any order."""

from __future__ import annotations

import pytest

from tests.fuzz.chaos import chaos
from tests.sfu.media.peers import VIDEO, Node, video


@pytest.mark.parametrize("seed", range(6))
def test_w8_w11_w12_w13_w19_w35_random_commands_and_packets_leave_nothing_behind(seed: int) -> None:
    """Nor do tables disagree, counters fall, or two packets of one SSRC have one number, at any moment."""
    assert chaos(seed, 1500).opened > 100


def test_a_path_on_which_media_is_heard_is_not_another_peers_for_the_asking() -> None:
    """A path on which authenticated media came within 2 s is not another's for the asking."""
    node = Node()
    victim, thief = node.client(), node.client()
    node.media.add_track(victim.peer, VIDEO)
    victim.send(video(1, key=True))
    node.read()
    assert not node.media.allow_path(thief.peer, victim.path)
    assert not node.media.select_path(thief.peer, victim.path)
    node.advance(1.9)
    node.read()
    node.media.on_readable(node.now)
    assert not node.media.allow_path(thief.peer, victim.path)
    victim.send_raw(bytes((0x80, 96)) + bytes(60))  # what nobody sealed holds nothing
    node.advance(0.2)
    node.read()
    assert node.media.allow_path(thief.peer, victim.path)
    node.media.take_path(victim.peer, victim.path)
    victim.send(video(2))
    node.read()
    assert node.media.peer_stats(victim.peer).packets_in == 2
    node.close()
