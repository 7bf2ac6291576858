"""Which simulcast layer goes on to a subscriber.

Two questions. Which layer would we take ourselves (`best_layer`, one answer per track)? And which one does
a subscriber get that may have said what it wants (`choose_layer`)? Whether a layer is being sent is the
packet path's to say: c/flow.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfu.base.ids import Rid

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

BETTER = 1.3
"""A layer must bring this many times the present one's rate to take its place; chosen."""


@dataclass(frozen=True, slots=True)
class LayerRate:
    """One layer that has an SSRC, as it arrives now."""

    layer: int
    bitrate_bps: int
    flowing: bool


@dataclass(frozen=True, slots=True)
class LayerWish:
    """What a subscriber wants: the layer `rid`, or what we find best without one.

    While `rid` is not being sent, `fallback` takes the next layer in the order of names, which runs from
    best to worst; without it nothing changes until `rid` comes.
    """

    rid: Rid | None = None
    fallback: bool = False


def best_layer(layers: Sequence[LayerRate], present: int | None) -> int | None:
    """The highest layer that is being sent, or None while nothing has come.

    Layers are compared by what they bring, since neither the SDP's order nor their names say anything on
    size. A choice stays until it ceases or another brings far more, so that two alike do not alternate.
    It stays as well while nothing at all is sent.
    """
    alive = [layer for layer in layers if layer.flowing]
    if not alive:
        return present if present is not None else (layers[0].layer if layers else None)
    best = max(alive, key=lambda layer: layer.bitrate_bps)
    for layer in alive:
        if layer.layer == present and best.bitrate_bps <= layer.bitrate_bps * BETTER:
            return present
    return best.layer


def choose_layer(
    wish: LayerWish, rids: Sequence[Rid], flowing: Collection[int], best: int | None
) -> int | None:
    """The layer (index into `rids`) that a subscriber is to get; None leaves it what it has.

    `best` is our own choice: the highest layer for everyone today, and the place of what an estimate of
    this subscriber's downlink allows. A wish for a layer that the publisher does not have is none.
    """
    if wish.rid is None or (wish.rid not in rids and not wish.fallback):
        return best
    if wish.rid in rids and (rids.index(wish.rid) in flowing or not wish.fallback):
        return rids.index(wish.rid)
    sent = sorted((rids[layer], layer) for layer in flowing if layer < len(rids))
    worse = [layer for rid, layer in sent if rid > wish.rid]
    better = [layer for rid, layer in sent if rid < wish.rid]
    if worse or better:
        return worse[0] if worse else better[-1]
    return rids.index(wish.rid) if wish.rid in rids else best
