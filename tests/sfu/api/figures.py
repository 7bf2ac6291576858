"""Statistics of a session in which every number is another one."""

from __future__ import annotations

from sfu.base.ids import Mid, Rid, SessionId, Ssrc, TrackName
from sfu.media.stats import EgressStats, LayerStats, PeerStats, TrackStats
from sfu.media.tracks import Kind
from sfu.sessions.statistics import MediaStatistics, PublishedStatistics, PulledStatistics

SESSION = SessionId("0123456789abcdef" * 2)
PUBLISHER = SessionId("9" * 32)
MEDIA = MediaStatistics(
    transport=PeerStats(
        packets_in=1,
        bytes_in=2,
        packets_out=3,
        bytes_out=4,
        lost=5,
        refused=6,
        rtt_s=0.25,
        repair_rtt_s=0.375,
    ),
    published=(
        PublishedStatistics(
            Mid("0"),
            TrackName("camera"),
            Kind.VIDEO,
            TrackStats(
                layers=(
                    LayerStats(
                        rid=Rid("h"),
                        ssrc=Ssrc(17),
                        packets=7,
                        bytes=8,
                        lost=9,
                        jitter_s=0.5,
                        keyframes=10,
                        rtx_packets=11,
                        asked=31,
                        repaired=32,
                        unrepaired=33,
                        doubled=34,
                        cache_bytes=35,
                        bitrate_bps=12,
                        silent_s=0.125,
                        keyframe_age_s=None,
                    ),
                ),
                plis_sent=13,
                silent_s=0.125,
            ),
        ),
    ),
    pulled=(
        PulledStatistics(
            Mid("1"),
            PUBLISHER,
            TrackName("mic"),
            Kind.AUDIO,
            Ssrc(18),
            EgressStats(
                packets=14,
                bytes=15,
                lost=16,
                fraction_lost=0.75,
                jitter_s=1.5,
                rtt_s=None,
                nacks=19,
                nacks_refused=36,
                nacks_missed=37,
                resent=38,
                resent_bytes=39,
                plis=20,
                bitrate_bps=21,
                rid=None,
                held=False,
                flowing=True,
            ),
        ),
    ),
)
