import { Hand, Lock, MicOff, MonitorUp, Pin, PinOff, SignalLow, SignalZero, WifiOff } from "lucide-react";
import { memo } from "react";

import type { ShownReaction } from "../call/meeting";
import type { Received } from "../call/session";
import type { Quality } from "../call/quality";
import type { Member } from "../room/messages";
import type { TileId } from "./arrange";
import type { Rect } from "./grid";
import { hueOf, initialsOf } from "./names";
import { IconButton } from "./parts";
import { EMOJI } from "./reactions";
import { Video } from "./Video";

export interface TileProps {
  tile: TileId;
  member: Member;
  you: boolean;
  rect: Rect;
  /** One's own track, or what is received. */
  track: MediaStreamTrack | null;
  received: Received | null;
  /** The member has a picture to show, here or not yet. */
  picture: boolean;
  speaking: boolean;
  quality: Quality;
  reactions: readonly ShownReaction[];
  pinned: boolean;
  mirror: boolean;
  onPin: (tile: TileId) => void;
}

export const Tile = memo(function Tile(props: TileProps) {
  const { tile, member, you, rect, track, received, picture, speaking, quality, reactions, pinned, mirror, onPin } = props;
  const screen = tile.source === "screen";
  const name = you ? `${member.name} (you)` : member.name;
  const title = screen ? `${you ? "Your" : `${member.name}’s`} screen` : name;
  const size = Math.min(rect.width, rect.height);
  const classes = ["tile", speaking && !screen ? "tile-speaking" : "", screen ? "tile-screen" : "", size < 130 ? "tile-small" : ""];
  return (
    <figure
      className={classes.join(" ")}
      style={{ transform: `translate(${rect.x}px, ${rect.y}px)`, width: rect.width, height: rect.height }}
      data-member={member.id}
      data-source={tile.source}
      data-name={member.name}
      onDoubleClick={() => onPin(tile)}
    >
      <div className={`tile-back hue-${hueOf(member.id)}`}>
        <span className={size > 260 ? "avatar avatar-large" : size < 130 ? "avatar avatar-small" : "avatar"} aria-hidden="true">
          {initialsOf(member.name)}
        </span>
      </div>
      {picture && track !== null && (
        <Video
          track={track}
          {...(received === null ? {} : { since: received.since })}
          mirror={mirror && you && !screen}
          fit={screen ? "contain" : "cover"}
          label={title}
        />
      )}
      <figcaption className="tile-name">
        {screen ? <MonitorUp aria-hidden="true" /> : !member.microphone && <MicOff aria-label="muted" />}
        <span className="tile-text">{title}</span>
        {member.encrypted && <Lock aria-label="end-to-end encrypted" />}
        {!you && quality === "poor" && <SignalZero className="quality-poor" aria-label="poor connection" />}
        {!you && quality === "fair" && <SignalLow className="quality-fair" aria-label="weak connection" />}
      </figcaption>
      {member.hand !== null && !screen && (
        <span className="tile-hand">
          <Hand aria-label="hand raised" />
        </span>
      )}
      {member.away && (
        <span className="tile-away">
          <WifiOff aria-hidden="true" /> Reconnecting…
        </span>
      )}
      {!screen && reactions.map(({ id, emoji }) => (
        <span key={id} className="tile-reaction" aria-hidden="true">
          {EMOJI[emoji].sign}
        </span>
      ))}
      <span className="tile-actions">
        <IconButton
          label={pinned ? `Unpin ${title}` : `Pin ${title}`}
          look="small"
          icon={pinned ? <PinOff /> : <Pin />}
          onClick={() => onPin(tile)}
        />
      </span>
    </figure>
  );
});
