// What is known of the room: a value, and what each message of the server makes of it. Pure.

import type { ChatEntry, Member, RoomState, Rules, ServerMessage, Speaker, Track, Waiting, Welcome, Source } from "./messages";

const CHAT_KEPT = 1000; // lines; older ones are dropped

export interface RoomView {
  you: string;
  room: RoomState;
  members: ReadonlyMap<string, Member>;
  waiting: readonly Waiting[];
  chat: readonly ChatEntry[];
  speakers: readonly Speaker[];
  rules: Rules;
}

/** What a welcome says, in place of all that was known, but for the chat of the same place. */
export function welcomed(message: Welcome, before: RoomView | null = null): RoomView {
  const same = before !== null && before.you === message.you;
  return {
    you: message.you,
    room: message.room,
    members: new Map(message.members.map((member) => [member.id, member])),
    waiting: message.waiting,
    chat: same ? withLines(before.chat, message.chat) : message.chat,
    speakers: [],
    rules: message.rules,
  };
}

/** The view after a message; the same object where the message changes nothing of it. */
export function received(view: RoomView, message: ServerMessage): RoomView {
  switch (message.type) {
    case "member": {
      const members = new Map(view.members);
      members.set(message.member.id, message.member);
      const moved = message.member.id === view.you && view.members.get(view.you)?.place !== message.member.place;
      const next = { ...view, members };
      return moved ? { ...next, speakers: [], chat: readableIn(view.chat, message.member.place) } : next;
    }
    case "gone": {
      if (!view.members.has(message.member)) return view;
      const members = new Map(view.members);
      members.delete(message.member);
      return { ...view, members, speakers: view.speakers.filter(({ member }) => member !== message.member) };
    }
    case "room":
      return { ...view, room: message.room };
    case "lobby":
      return { ...view, waiting: message.waiting };
    case "chat":
      return { ...view, chat: withLines(view.chat, message.entries) };
    case "speakers":
      return { ...view, speakers: message.loudest };
    case "ping":
    case "inLobby":
    case "welcome":
    case "token":
    case "reaction":
    case "muteAsked":
    case "done":
    case "refused":
      return view;
  }
}

function readableIn(chat: readonly ChatEntry[], place: string): readonly ChatEntry[] {
  return chat.filter((entry) => entry.place === null || entry.place === place);
}

function withLines(chat: readonly ChatEntry[], entries: readonly ChatEntry[]): readonly ChatEntry[] {
  const bySeq = new Map([...chat, ...entries].map((entry) => [entry.seq, entry]));
  const all = [...bySeq.values()].sort((a, b) => a.seq - b.seq);
  return all.slice(-CHAT_KEPT);
}

/** Oneself. */
export function youIn(view: RoomView): Member | undefined {
  return view.members.get(view.you);
}

/** The others in the same place, by when they came. */
export function othersHere(view: RoomView): Member[] {
  const place = youIn(view)?.place;
  return [...view.members.values()].filter((member) => member.id !== view.you && member.place === place);
}

/** Those with a raised hand, who raised it first at the front. */
export function handsUp(view: RoomView): Member[] {
  const raised = [...view.members.values()].filter((member) => member.hand !== null);
  return raised.sort((a, b) => (a.hand ?? 0) - (b.hand ?? 0));
}

/** What a member publishes from a source, if it does. */
export function trackOf(member: Member, source: Source): Track | undefined {
  return member.sessionId === null ? undefined : member.tracks.find((track) => track.source === source);
}
