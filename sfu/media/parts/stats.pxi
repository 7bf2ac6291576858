# Owns nothing: reads counters into Python values. Never called on the packet path.

DROP_NAMES = (
    "not_webrtc",
    "oversize",
    "unknown_path",
    "bad_stun",
    "control_flood",
    "no_keys",
    "bad_header",
    "refused",
    "ssrc_limit",
    "no_track",
    "unknown_type",
    "bad_rtcp",
    "not_mapped",
    "late",
    "twice",
    "bad_rtx",
    "overload",
    "no_room",
    "seal",
    "event",
)


STAGE_NAMES = ("receive", "unprotect", "forward", "send")   # as the enum of c/meter.h


cdef dict engine_counters(Engine e):
    cdef int i
    out = {
        "media_in": e.media_in,
        "media_in_bytes": e.media_in_bytes,
        "media_out": e.forwarded,
        "media_out_bytes": e.forwarded_bytes,
        "rtcp_in": e.rtcp_in,
        "rtcp_out": e.rtcp_out,
        "stun_in": e.stun_in,
        "dtls_in": e.dtls_in,
        "rtx_in": e.rtx_in,
        "padding_in": e.padding_in,
        "keyframes_in": e.keyframes_in,
        "nacks_in": e.nacks_in,
        "plis_in": e.plis_in,
        "firs_in": e.firs_in,
        "rembs_in": e.rembs_in,
        "twcc_in": e.twcc_in,
        "byes_in": e.byes_in,
        "twcc_out": e.feedback_out,
        "plis_out": e.plis_out,
        "late_twcc": e.late_twcc,
        "rebound": e.rebound,
        "sources_evicted": e.sources_evicted,
        "restarts": e.restarts,
        "switches": e.switches,
        "switches_blind": e.switches_blind,
        "stage_calls": e.stages.calls,
        "stage_packets_in": e.stages.packets_in,
        "stage_packets_out": e.stages.packets_out,
        "nacks_out": e.nacks_out,
        "asked": e.asked,
        "repaired": e.repaired,
        "unrepaired": e.unrepaired,
        "missing_full": e.missing_full,
        "cache_full": e.cache_full,
        "resent": e.resent,
        "resent_bytes": e.resent_bytes,
        "nacks_refused": e.nacks_refused,
        "nacks_missed": e.nacks_missed,
        "starts_cached": e.starts_cached,
        "shed": e.shed,
    }
    for i in range(<int> len(STAGE_NAMES)):
        out["stage_ns_" + STAGE_NAMES[i]] = e.stages.ns[i]
    for i in range(DROPS):
        out["drop_" + DROP_NAMES[i]] = e.drops[i]
    for name, value in e.batch.counters().items():
        out["socket_" + name if not name.startswith("drop_") else "drop_socket_" + name[5:]] = value
    return out


cdef dict source_stats(Engine e, uint32_t index, uint32_t rtx):
    cdef Source *s = &e.sources[index]
    return {
        "ssrc": s.ssrc,
        "packets": s.packets,
        "bytes": s.bytes,
        "lost": s.lost_before + source_lost(s),
        "jitter_us": (<uint64_t> (s.jitter_16 >> 4)) * 1_000_000 // s.clock_rate if s.clock_rate else 0,
        "keyframes": s.keyframes,
        "padding_only": s.padding_only,
        "rtx_packets": e.sources[rtx].packets if rtx != NONE else 0,
        "bitrate_bps": s.bitrate_bps,
        "last_us": s.last_us,
        "keyframe_us": s.keyframe_us,
        "flowing": s.flow.last_us != 0 and not s.flow.silent,
        "has_sr": s.has_sr,
        "asked": s.asked,
        "repaired": s.repaired,
        "unrepaired": s.unrepaired,
        "doubled": s.doubled,
        "cache_bytes": <uint64_t> s.cache.blocks * CACHE_BLOCK,
        "level": s.level_16 // 16,
        "voice": s.voice,
    }


cdef dict egress_numbers(Engine e, uint32_t index):
    cdef Egress *g = &e.egress[index]
    cdef bint in_force = egress_in_force(e, g)
    cdef uint32_t track = e.sources[g.source].track if in_force else NONE
    return {
        "packets": g.packets,
        "bytes": g.bytes,
        "lost": g.lost,
        "fraction_lost": g.fraction_lost,
        "jitter_us": <uint64_t> g.jitter * 1_000_000 // g.clock_rate,
        "rtt_us": g.rtt_us,
        "nacks": g.nacks,
        "nacks_refused": g.nacks_refused,
        "nacks_missed": g.nacks_missed,
        "resent": g.resent,
        "resent_bytes": g.resent_bytes,
        "bitrate_bps": g.bitrate_bps,
        "plis": g.plis,
        "sender_reports": g.sr_sent,
        "held": g.held,
        "flowing": not g.held and in_force,
        "layer": -1 if g.layer == NONE else g.layer,
        "current_layer": e.sources[g.source].layer if in_force else -1,
        "current_track": handle_of(track, e.tracks[track].generation) if track != NONE else 0,
        "next_index": (g.out_index + 1) & <uint64_t> 0xFFFFFFFFFFFFFFFF,
        "timestamp": g.out_timestamp,
        "next_rtx_index": (g.rtx_index + 1) & <uint64_t> 0xFFFFFFFFFFFFFFFF,
    }
