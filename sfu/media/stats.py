"""The packet path's counters of one peer, track or subscription, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfu.base.ids import Rid, Ssrc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class LayerStats:
    """What arrived on one SSRC of a track."""

    rid: Rid | None
    ssrc: Ssrc
    packets: int
    bytes: int
    lost: int
    jitter_s: float
    keyframes: int
    rtx_packets: int
    asked: int
    """Numbers that its sender was asked for again, each time counted."""
    repaired: int
    """Missing packets that came as RTX."""
    unrepaired: int
    """Missing packets that were given up."""
    doubled: int
    """Packets whose media had come already."""
    cache_bytes: int
    """Memory that its recent packets take."""
    bitrate_bps: int
    silent_s: float | None
    """Since its last packet; None before the first."""
    keyframe_age_s: float | None
    """Since its last keyframe began to arrive; None before the first."""


@dataclass(frozen=True, slots=True)
class TrackStats:
    """A track as it arrives."""

    layers: tuple[LayerStats, ...]
    plis_sent: int
    silent_s: float | None


@dataclass(frozen=True, slots=True)
class EgressStats:
    """A subscription as it leaves, and what its receiver reports."""

    packets: int
    bytes: int
    lost: int
    fraction_lost: float
    jitter_s: float
    rtt_s: float | None
    nacks: int
    nacks_refused: int
    """Numbers not sent again: too soon, too often, or too much in all."""
    nacks_missed: int
    """Numbers that this node did not hold."""
    resent: int
    resent_bytes: int
    plis: int
    bitrate_bps: int
    rid: Rid | None
    """The layer that is passed on; None also without simulcast."""
    held: bool
    flowing: bool
    """Whether packets of its present source are passed on: not held, not waiting for a keyframe."""


@dataclass(frozen=True, slots=True)
class PeerStats:
    """A peer's transport as the packet path sees it."""

    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int
    lost: int
    """Of all that it sends."""
    refused: int
    """Packets that failed authentication or replay protection."""
    rtt_s: float | None
    repair_rtt_s: float | None
    """From a NACK to its RTX; of a peer that only sends it is all there is."""


def track_stats(
    layers: Sequence[Mapping[str, int]], rids: Sequence[Rid], last_us: int, requests: int, now: float
) -> TrackStats:
    """From the engine's numbers of each layer; `rids` are the track's."""
    return TrackStats(
        layers=tuple(
            LayerStats(
                rid=rids[layer["layer"]] if rids else None,
                ssrc=Ssrc(layer["ssrc"]),
                packets=layer["packets"],
                bytes=layer["bytes"],
                lost=layer["lost"],
                jitter_s=layer["jitter_us"] / 1e6,
                keyframes=layer["keyframes"],
                rtx_packets=layer["rtx_packets"],
                asked=layer["asked"],
                repaired=layer["repaired"],
                unrepaired=layer["unrepaired"],
                doubled=layer["doubled"],
                cache_bytes=layer["cache_bytes"],
                bitrate_bps=layer["bitrate_bps"],
                silent_s=_age(layer["last_us"], now),
                keyframe_age_s=_age(layer["keyframe_us"], now),
            )
            for layer in layers
        ),
        plis_sent=requests,
        silent_s=_age(last_us, now),
    )


def egress_stats(numbers: Mapping[str, int], rids: Sequence[Rid]) -> EgressStats:
    """From the engine's numbers of a subscription; `rids` are those of its track."""
    layer = numbers["current_layer"]
    return EgressStats(
        packets=numbers["packets"],
        bytes=numbers["bytes"],
        lost=numbers["lost"],
        fraction_lost=numbers["fraction_lost"] / 256,
        jitter_s=numbers["jitter_us"] / 1e6,
        rtt_s=numbers["rtt_us"] / 1e6 or None,
        nacks=numbers["nacks"],
        nacks_refused=numbers["nacks_refused"],
        nacks_missed=numbers["nacks_missed"],
        resent=numbers["resent"],
        resent_bytes=numbers["resent_bytes"],
        plis=numbers["plis"],
        bitrate_bps=numbers["bitrate_bps"],
        rid=rids[layer] if 0 <= layer < len(rids) else None,
        held=bool(numbers["held"]),
        flowing=bool(numbers["flowing"]),
    )


def peer_stats(numbers: Mapping[str, int]) -> PeerStats:
    """From the engine's numbers of a peer."""
    return PeerStats(
        packets_in=numbers["packets_in"],
        bytes_in=numbers["bytes_in"],
        packets_out=numbers["packets_out"],
        bytes_out=numbers["bytes_out"],
        lost=numbers["lost"],
        refused=numbers["refused"],
        rtt_s=numbers["rtt_us"] / 1e6 or None,
        repair_rtt_s=numbers["repair_rtt_us"] / 1e6 or None,
    )


def _age(at_us: int, now: float) -> float | None:
    return max(0.0, now - at_us / 1e6) if at_us else None
