"""Which simulcast layer goes on to those who left the choice to us: the highest that is being sent.

Layers are compared by what they really bring, since the SDP's order says nothing on size. A choice
stays until it falls silent or another brings far more, so that two alike do not alternate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ALIVE_S = 1.0
"""A layer silent for longer is not being sent."""
BETTER = 1.3
"""A layer must bring this many times the present one's rate to take its place; chosen."""


@dataclass(frozen=True, slots=True)
class LayerRate:
    """One layer as it arrives now."""

    layer: int
    bitrate_bps: int
    silent_s: float


def best_layer(layers: Sequence[LayerRate], present: int | None) -> int | None:
    """The layer to forward, or None while nothing has come. A silent one stays when no other is alive."""
    alive = [layer for layer in layers if layer.silent_s <= ALIVE_S]
    if not alive:
        return present if present is not None else (layers[0].layer if layers else None)
    best = max(alive, key=lambda layer: layer.bitrate_bps)
    for layer in alive:
        if layer.layer == present and best.bitrate_bps <= layer.bitrate_bps * BETTER:
            return present
    return best.layer
