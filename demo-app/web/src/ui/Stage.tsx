import { ChevronLeft, ChevronRight } from "lucide-react";
import { useEffect, useMemo, useRef, useState } from "react";

import type { Meeting, MeetingState } from "../call/meeting";
import { keyOf } from "../call/plan";
import type { Received } from "../call/session";
import type { Shown } from "../call/wanted";
import type { LocalState } from "../media/local";
import type { Settings } from "../media/settings";
import { trackOf, type RoomView } from "../room/view";
import { arrange, orderOf, peopleHere, screensHere, tileKey, type TileId } from "./arrange";
import { gridOf, spotlightOf, tilesPerPage, type Rect } from "./grid";
import { useBox } from "./hooks";
import { IconButton } from "./parts";
import { Tile } from "./Tile";

interface Props {
  meeting: Meeting;
  state: MeetingState;
  view: RoomView;
  local: LocalState;
  settings: Settings;
  pinned: TileId | null;
  onPin: (tile: TileId) => void;
}

interface Placed {
  tile: TileId;
  rect: Rect;
}

const NO_REACTIONS: MeetingState["reactions"] = [];

export function Stage({ meeting, state, view, local, settings, pinned, onPin }: Props) {
  const [ref, box] = useBox();
  const [page, setPage] = useState(0);
  const order = useOrder(view, state.heard, tilesPerPage(box));
  const speaker = state.heard.find((id) => id !== view.you && order.includes(id)) ?? null;
  const { spotlight, tiles } = useMemo(
    () => arrange(order, screensHere(view), view.you, { layout: settings.layout, pinned, speaker }),
    [order, view, settings.layout, pinned, speaker],
  );
  const { placed, pages, at } = useMemo(() => place(spotlight, tiles, box, page), [spotlight, tiles, box, page]);

  const shown = useMemo(
    () =>
      placed.map(({ tile, rect }): Shown => ({ ...tile, height: Math.round(Math.min(rect.height, (rect.width * 9) / 16) * devicePixelRatio) })),
    [placed],
  );
  useEffect(() => meeting.show(shown), [meeting, shown]);

  const speaking = new Set(view.speakers.map(({ member }) => member));
  return (
    <div className="stage" ref={ref} data-tiles={placed.length} data-pages={pages}>
      {placed.map(({ tile, rect }) => {
        const member = view.members.get(tile.member);
        if (member === undefined) return null;
        const you = tile.member === view.you;
        const received = you ? null : receivedOf(state.received, member, tile);
        const own = tile.source === "screen" ? (local.screen?.video ?? null) : local.camera;
        return (
          <Tile
            key={tileKey(tile)}
            tile={tile}
            member={member}
            you={you}
            rect={rect}
            track={you ? own : (received?.track ?? null)}
            received={received}
            picture={you ? own !== null : trackOf(member, tile.source) !== undefined && (tile.source === "screen" || (member.camera && settings.receiving !== "off"))}
            speaking={speaking.has(tile.member)}
            quality={state.quality.get(tile.member) ?? "good"}
            reactions={state.reactions.some((reaction) => reaction.member === tile.member) ? state.reactions.filter((reaction) => reaction.member === tile.member) : NO_REACTIONS}
            pinned={pinned !== null && tileKey(pinned) === tileKey(tile)}
            mirror={settings.mirror}
            onPin={onPin}
          />
        );
      })}
      {pages > 1 && (
        <nav className="pages" aria-label="Pages of people">
          <IconButton label="Previous page" look="small" icon={<ChevronLeft />} disabled={at === 0} onClick={() => setPage(at - 1)} />
          <span>
            {at + 1} / {pages}
          </span>
          <IconButton label="Next page" look="small" icon={<ChevronRight />} disabled={at === pages - 1} onClick={() => setPage(at + 1)} />
        </nav>
      )}
    </div>
  );
}

// The order lasts over changes of the room: it is made from the one before.
function useOrder(view: RoomView, heard: readonly string[], front: number): readonly string[] {
  const last = useRef<readonly string[]>([]);
  const order = useMemo(() => {
    const others = heard.filter((id) => id !== view.you);
    // eslint-disable-next-line react-hooks/refs -- the last order is part of what the next is made from, not of what is shown
    return orderOf(last.current, peopleHere(view), front, others);
  }, [view, heard, front]);
  useEffect(() => {
    last.current = order;
  }, [order]);
  return order;
}

function place(spotlight: TileId | null, tiles: readonly TileId[], box: { width: number; height: number }, page: number): { placed: Placed[]; pages: number; at: number } {
  if (box.width === 0) return { placed: [], pages: 1, at: 0 };
  if (spotlight !== null) {
    const { stage, strip } = spotlightOf(tiles.length, box);
    const perPage = Math.max(1, strip.length);
    const pages = Math.max(1, Math.ceil(tiles.length / perPage));
    const at = Math.min(page, pages - 1);
    const shown = tiles.slice(at * perPage, (at + 1) * perPage);
    return { placed: [{ tile: spotlight, rect: stage }, ...pair(shown, strip)], pages, at };
  }
  const perPage = tilesPerPage(box);
  const pages = Math.max(1, Math.ceil(tiles.length / perPage));
  const at = Math.min(page, pages - 1);
  const shown = tiles.slice(at * perPage, (at + 1) * perPage);
  return { placed: pair(shown, gridOf(shown.length, box)), pages, at };
}

function pair(tiles: readonly TileId[], rects: readonly Rect[]): Placed[] {
  return tiles.flatMap((tile, index) => {
    const rect = rects[index];
    return rect === undefined ? [] : [{ tile, rect }];
  });
}

function receivedOf(received: ReadonlyMap<string, Received>, member: RoomView["members"] extends ReadonlyMap<string, infer M> ? M : never, tile: TileId): Received | null {
  const track = trackOf(member, tile.source);
  if (track === undefined || member.sessionId === null) return null;
  return received.get(keyOf({ sessionId: member.sessionId, trackName: track.name })) ?? null;
}
