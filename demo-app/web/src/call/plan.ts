// From what is received and what is wanted to the fewest calls of the API that lead there. Pure.
//
// A section that is pulled stays in the PeerConnection for good, so one that is wanted no more is given to the next
// track of its kind: by `tracks/update`, which takes no SDP. Only what finds no section is pulled anew.

import type { Layer } from "./layers";

export type Kind = "audio" | "video";

export interface Want {
  sessionId: string;
  trackName: string;
  kind: Kind;
  /** Of a simulcast; null where there is but one. */
  layer: Layer | null;
}

/** A section on which something is or was received. */
export interface Slot {
  mid: string;
  kind: Kind;
  /** What it receives; null if it was closed. */
  key: string | null;
  layer: Layer | null;
}

export interface Plan {
  /** Sections that get another track. */
  swap: { mid: string; want: Want }[];
  /** Sections whose track is wanted with another layer. */
  relayer: { mid: string; want: Want }[];
  pull: Want[];
  close: string[];
}

export function keyOf({ sessionId, trackName }: { sessionId: string; trackName: string }): string {
  return `${sessionId}/${trackName}`;
}

/** What leads from `slots` to `wants`, of which the first are the most wanted; `barred` sections take no other track. */
export function planPulls(slots: readonly Slot[], wants: readonly Want[], barred: ReadonlySet<string> = new Set()): Plan {
  const plan: Plan = { swap: [], relayer: [], pull: [], close: [] };
  const byKey = new Map(slots.filter(({ key }) => key !== null).map((slot) => [slot.key, slot]));
  const wanted = new Set(wants.map(keyOf));
  const free: Record<Kind, Slot[]> = { audio: [], video: [] };
  for (const slot of slots) {
    if ((slot.key === null || !wanted.has(slot.key)) && !barred.has(slot.mid)) free[slot.kind].push(slot);
  }
  // Those that are closed already go first: what is not needed of the others is closed below.
  for (const kind of ["audio", "video"] as const) free[kind].sort((a, b) => Number(a.key !== null) - Number(b.key !== null));
  const used = new Set<string>();
  for (const want of wants) {
    const slot = byKey.get(keyOf(want));
    if (slot !== undefined) {
      if (want.layer !== null && want.layer !== slot.layer) plan.relayer.push({ mid: slot.mid, want });
      continue;
    }
    const other = free[want.kind].shift();
    if (other === undefined) plan.pull.push(want);
    else {
      used.add(other.mid);
      plan.swap.push({ mid: other.mid, want });
    }
  }
  plan.close = slots.filter(({ mid, key }) => key !== null && !wanted.has(key) && !used.has(mid)).map(({ mid }) => mid);
  return plan;
}

export function isEmpty(plan: Plan): boolean {
  return plan.swap.length + plan.relayer.length + plan.pull.length + plan.close.length === 0;
}
