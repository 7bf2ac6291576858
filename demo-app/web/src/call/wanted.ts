// What a member of a large call receives: the pictures that are on screen, the sound of the loudest few. Pure.

import { trackOf, type RoomView, youIn, othersHere } from "../room/view";
import type { Member } from "../room/messages";
import { layerFor, type Layer, type VideoLimit } from "./layers";
import { keyOf, type Want } from "./plan";

/** A picture on screen, with its height in device pixels. */
export interface Shown {
  member: string;
  source: "camera" | "screen";
  height: number;
}

export interface Limits {
  video: VideoLimit;
  /** Voices received at a time. */
  voices: number;
}

export const DEFAULT_LIMITS: Limits = { video: "full", voices: 10 };

/**
 * What to receive, most wanted first. `layers` is what pictures are received with now, by key; `heard` whose
 * voices are, loudest of late first: those stay while there is room, so nobody's first word waits for a pull.
 */
export function wantsOf(
  view: RoomView,
  shown: readonly Shown[],
  limits: Limits,
  layers: ReadonlyMap<string, Layer | null>,
  heard: readonly string[],
): Want[] {
  const place = youIn(view)?.place;
  const here = (id: string): Member | null => {
    const member = view.members.get(id);
    return member !== undefined && member.id !== view.you && member.place === place ? member : null;
  };
  const screens: Want[] = [];
  const cameras: Want[] = [];
  for (const { member: id, source, height } of shown) {
    const member = here(id);
    const track = member === null ? undefined : trackOf(member, source);
    if (member?.sessionId == null || track === undefined) continue;
    const want = { sessionId: member.sessionId, trackName: track.name };
    if (source === "screen") screens.push({ ...want, kind: "video", layer: null });
    else if (limits.video !== "off") {
      const now = layers.get(keyOf(want)) ?? null;
      cameras.push({ ...want, kind: "video", layer: track.simulcast ? layerFor(height, limits.video, now) : null });
    }
  }
  return [...voicesOf(view, limits.voices, heard), ...screens, ...cameras];
}

function voicesOf(view: RoomView, most: number, heard: readonly string[]): Want[] {
  const rank = new Map(heard.map((id, index) => [id, index]));
  const others = othersHere(view);
  const speaking = others
    .filter((member) => member.microphone && trackOf(member, "microphone") !== undefined)
    .map((member, index) => ({ member, rank: rank.get(member.id) ?? heard.length + index }))
    .sort((a, b) => a.rank - b.rank)
    .slice(0, most)
    .flatMap(({ member }) => soundOf(member, "microphone"));
  return [...others.flatMap((member) => soundOf(member, "screenAudio")), ...speaking];
}

function soundOf(member: Member, source: "microphone" | "screenAudio"): Want[] {
  const track = trackOf(member, source);
  if (track === undefined || member.sessionId === null) return [];
  return [{ sessionId: member.sessionId, trackName: track.name, kind: "audio", layer: null }];
}

const REMEMBERED = 50;

/** Whose voices to prefer after these speak now, who spoke last first. */
export function hearing(before: readonly string[], speakers: readonly string[]): readonly string[] {
  if (speakers.every((id, index) => before[index] === id)) return before;
  return [...speakers, ...before.filter((id) => !speakers.includes(id))].slice(0, REMEMBERED);
}
