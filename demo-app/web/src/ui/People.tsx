import { Crown, Hand, MicOff, UserMinus, UserPlus, Video, VideoOff, Mic, X, EllipsisVertical, DoorOpen, Lock } from "lucide-react";

import type { Meeting } from "../call/meeting";
import { type Entry, type Member, MAIN } from "../room/messages";
import { handsUp, type RoomView } from "../room/view";
import { hueOf, initialsOf } from "./names";
import { Button, IconButton, Menu, MenuItem, Select } from "./parts";

interface Props {
  meeting: Meeting;
  view: RoomView;
  onClose: () => void;
  onInvite: () => void;
  onBreakout: () => void;
}

const ENTRIES: readonly { value: Entry; label: string }[] = [
  { value: "open", label: "Everybody with the link comes in" },
  { value: "lobby", label: "A host lets people in" },
  { value: "locked", label: "Locked: nobody else comes in" },
];

export function People({ meeting, view, onClose, onInvite, onBreakout }: Props) {
  const you = view.members.get(view.you);
  const host = you?.role === "host";
  const places = [{ id: MAIN, name: "Main room" }, ...view.room.places];
  return (
    <aside className="panel" aria-label="People">
      <header className="panel-head">
        <h2>People</h2>
        <IconButton label="Close people" look="small" icon={<X />} onClick={onClose} />
      </header>
      <div className="panel-body" tabIndex={0} role="group" aria-label="Who is here">
        <Button look="accent" wide onClick={onInvite}>
          <UserPlus aria-hidden="true" /> Invite others
        </Button>
        {host && view.waiting.length > 0 && (
          <section className="people-part" aria-label="In the lobby">
            <div className="people-title">
              <h3>In the lobby</h3>
              {view.waiting.length > 1 && <Button look="quiet" onClick={() => void meeting.ask({ type: "admit", member: null })}>Let all in</Button>}
            </div>
            {view.waiting.map(({ id, name }) => (
              <div className="person" key={id}>
                <span className={`avatar avatar-small hue-${hueOf(id)}`} aria-hidden="true">{initialsOf(name)}</span>
                <span className="person-name">{name}</span>
                <Button look="quiet" onClick={() => void meeting.ask({ type: "deny", member: id })}>Decline</Button>
                <Button look="accent" onClick={() => void meeting.ask({ type: "admit", member: id })}>Let in</Button>
              </div>
            ))}
          </section>
        )}
        {places.map((place) => {
          const members = [...view.members.values()].filter((member) => member.place === place.id);
          if (members.length === 0 && places.length === 1) return null;
          return (
            <section className="people-part" key={place.id} aria-label={place.name}>
              {places.length > 1 && (
                <div className="people-title">
                  <h3>{place.name}</h3>
                  {you?.place !== place.id && (host || view.room.choose || place.id === MAIN) && (
                    <Button look="quiet" onClick={() => void meeting.ask({ type: "move", place: place.id })}>Go there</Button>
                  )}
                </div>
              )}
              {members.map((member) => (
                <Person key={member.id} meeting={meeting} view={view} member={member} you={member.id === view.you} host={host} />
              ))}
            </section>
          );
        })}
      </div>
      {host && (
        <footer className="panel-foot">
          <Select
            label="Who comes in"
            icon={view.room.entry === "locked" ? <Lock /> : <DoorOpen />}
            value={view.room.entry}
            choices={ENTRIES}
            onChange={(entry) => void meeting.ask({ type: "entry", entry })}
          />
          <div className="panel-actions">
            <Button onClick={() => void meeting.ask({ type: "mute", source: "microphone", member: null })}>Mute all</Button>
            <Button onClick={onBreakout}>Breakout rooms</Button>
            <Button look="danger" onClick={() => void meeting.ask({ type: "end" })}>End for all</Button>
          </div>
        </footer>
      )}
    </aside>
  );
}

interface PersonProps {
  meeting: Meeting;
  view: RoomView;
  member: Member;
  you: boolean;
  host: boolean;
}

function Person({ meeting, view, member, you, host }: PersonProps) {
  const turn = handsUp(view).findIndex(({ id }) => id === member.id);
  const { id } = member;
  return (
    <div className="person" data-member={id}>
      <span className={`avatar avatar-small hue-${hueOf(id)}`} aria-hidden="true">{initialsOf(member.name)}</span>
      <span className="person-name">
        {member.name}
        {you && <span className="muted"> (you)</span>}
        {member.role === "host" && <Crown className="person-host" aria-label="host" />}
      </span>
      {turn >= 0 && (
        <span className="person-hand" title={`Number ${turn + 1} in line`}>
          <Hand aria-label="hand raised" /> {turn + 1}
        </span>
      )}
      {member.camera ? <Video className="muted" aria-label="camera on" /> : <VideoOff className="muted" aria-label="camera off" />}
      {member.microphone ? <Mic className="muted" aria-label="microphone on" /> : <MicOff className="muted" aria-label="muted" />}
      {host && !you && (
        <Menu label={`More about ${member.name}`} icon={<EllipsisVertical />} look="small" className="menu-below">
          {(close) => {
            const act = (request: Parameters<Meeting["ask"]>[0]) => () => {
              close();
              void meeting.ask(request);
            };
            return (
              <>
                {member.microphone && <MenuItem icon={<MicOff />} onClick={act({ type: "mute", source: "microphone", member: id })}>Mute</MenuItem>}
                {member.camera && <MenuItem icon={<VideoOff />} onClick={act({ type: "mute", source: "camera", member: id })}>Camera off</MenuItem>}
                {member.hand !== null && <MenuItem icon={<Hand />} onClick={act({ type: "hand", raised: false, member: id })}>Lower the hand</MenuItem>}
                <MenuItem icon={<Crown />} onClick={act({ type: "role", member: id, role: member.role === "host" ? "guest" : "host" })}>
                  {member.role === "host" ? "Make a guest" : "Make a host"}
                </MenuItem>
                {[{ id: MAIN, name: "Main room" }, ...view.room.places]
                  .filter((place) => view.room.places.length > 0 && place.id !== member.place)
                  .map((place) => (
                    <MenuItem key={place.id} icon={<DoorOpen />} onClick={act({ type: "move", place: place.id, member: id })}>
                      Move to {place.name}
                    </MenuItem>
                  ))}
                <MenuItem icon={<UserMinus />} danger onClick={act({ type: "remove", member: id })}>Remove</MenuItem>
              </>
            );
          }}
        </Menu>
      )}
    </div>
  );
}
