// Who is on which tile. Tiles stay where they are as long as they can: only somebody who speaks and can't be
// seen takes a place, of who has been silent longest. Pure.

import { trackOf, youIn, othersHere, type RoomView } from "../room/view";

export interface TileId {
  member: string;
  source: "camera" | "screen";
}

export function tileKey({ member, source }: TileId): string {
  return `${member}/${source}`;
}

/**
 * The order of members, from the one before. `front` places are on screen; `heard` is who spoke of late, the
 * last first. Newcomers go to the end; with `pictures` those with a camera go before those without.
 */
export function orderOf(before: readonly string[], now: readonly string[], front: number, heard: readonly string[]): readonly string[] {
  const here = new Set(now);
  const known = new Set(before);
  const order = [...before.filter((id) => here.has(id)), ...now.filter((id) => !known.has(id))];
  const speaking = heard.filter((id) => here.has(id)).slice(0, front);
  for (const id of speaking) {
    const at = order.indexOf(id);
    if (at < front) continue;
    const silent = silentest(order.slice(0, front), heard);
    if (silent === null) break;
    order[at] = order[silent] ?? id;
    order[silent] = id;
  }
  const same = order.length === before.length && order.every((id, index) => id === before[index]);
  return same ? before : order;
}

function silentest(front: readonly string[], heard: readonly string[]): number | null {
  const ranks = front.map((id, index) => {
    const spoke = heard.indexOf(id);
    return spoke < 0 ? heard.length + index : spoke;
  });
  return ranks.length === 0 ? null : ranks.indexOf(Math.max(...ranks));
}

/** The members in this place in the order of the room, oneself last. */
export function peopleHere(view: RoomView): string[] {
  return [...othersHere(view).map(({ id }) => id), view.you];
}

/** Screens that are shared in this place, the newest last. */
export function screensHere(view: RoomView): TileId[] {
  const you = youIn(view);
  const all = you === undefined ? othersHere(view) : [...othersHere(view), you];
  return all.filter((member) => trackOf(member, "screen") !== undefined).map(({ id }) => ({ member: id, source: "screen" as const }));
}

export interface Arrangement {
  /** The large tile, where there is one. */
  spotlight: TileId | null;
  /** All others, in their order. */
  tiles: readonly TileId[];
}

export interface Choice {
  layout: "auto" | "grid" | "speaker";
  pinned: TileId | null;
  /** Who spoke last, of the others. */
  speaker: string | null;
}

/** What is large and what is not: what was pinned, a shared screen, or who speaks. */
export function arrange(order: readonly string[], screens: readonly TileId[], you: string, choice: Choice): Arrangement {
  const people = order.map((member): TileId => ({ member, source: "camera" }));
  const all = [...screens, ...people];
  const spotlight = chosen(all, screens, people, you, choice);
  if (spotlight === null) return { spotlight: null, tiles: all };
  const key = tileKey(spotlight);
  return { spotlight, tiles: all.filter((tile) => tileKey(tile) !== key) };
}

function chosen(all: readonly TileId[], screens: readonly TileId[], people: readonly TileId[], you: string, choice: Choice): TileId | null {
  const { pinned, layout, speaker } = choice;
  if (pinned !== null) {
    const found = all.find((tile) => tileKey(tile) === tileKey(pinned));
    if (found !== undefined) return found;
  }
  if (layout === "grid") return null;
  const screen = screens.filter(({ member }) => member !== you).at(-1) ?? screens.at(-1);
  if (screen !== undefined) return screen;
  if (layout === "auto") return null;
  const others = people.filter(({ member }) => member !== you);
  return others.find(({ member }) => member === speaker) ?? others[0] ?? null;
}
