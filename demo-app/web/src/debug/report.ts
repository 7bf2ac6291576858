// What the debug panel shows and copies. Pure.

import type { MeetingEvent, MeetingState } from "../call/meeting";
import type { InboundStats, OutboundStats, Stats } from "../call/stats";
import { trackOf, type RoomView } from "../room/view";

/** Bits per second between two counts of bytes. */
export function bitrate(before: { bytes: number; atMs: number } | null, bytes: number, atMs: number): number | null {
  if (before === null || atMs <= before.atMs || bytes < before.bytes) return null;
  return ((bytes - before.bytes) * 8000) / (atMs - before.atMs);
}

export function bitsText(bits: number | null): string {
  if (bits === null) return "";
  return bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bits / 1000)} kbit/s`;
}

/** The key of a stream between two reports. */
export function streamKey(stream: InboundStats | OutboundStats): string {
  return `${stream.mid} ${"rid" in stream ? (stream.rid ?? "") : ""}`;
}

/** Whose track each received mid is: "Ann, camera". */
export function ownersByMid(state: MeetingState): Map<string, string> {
  const owners = new Map<string, string>();
  const names = sourcesByKey(state.view);
  for (const { key, mid } of state.received.values()) owners.set(mid, names.get(key) ?? key);
  return owners;
}

function sourcesByKey(view: RoomView | null): Map<string, string> {
  const names = new Map<string, string>();
  for (const member of view?.members.values() ?? []) {
    for (const source of ["microphone", "camera", "screen", "screenAudio"] as const) {
      const track = trackOf(member, source);
      if (track !== undefined && member.sessionId !== null) names.set(`${member.sessionId}/${track.name}`, `${member.name}, ${source}`);
    }
  }
  return names;
}

/** The whole state as JSON to send to somebody who can help; without keys, tokens or what was said. */
export function reportJson(state: MeetingState, timeline: readonly MeetingEvent[], userAgent: string): string {
  const { view, stats, room, media, trouble } = state;
  const owners = Object.fromEntries(ownersByMid(state));
  const people = [...(view?.members.values() ?? [])].map(({ id, place, away, microphone, camera, sessionId, tracks }) => ({ id, place, away, microphone, camera, sessionId, tracks }));
  const report: { at: string; userAgent: string; room: string; media: string; trouble: string | null; people: unknown; owners: unknown; stats: Stats | null; timeline: unknown } = {
    at: new Date(stats?.atMs ?? Date.now()).toISOString(),
    userAgent,
    room,
    media,
    trouble,
    people,
    owners,
    stats,
    timeline: timeline.map(({ at, what }) => `${new Date(at).toISOString()} ${what}`),
  };
  return JSON.stringify(report, null, 2);
}
