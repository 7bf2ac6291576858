// Written by `python -m meeting.typescript FILE` from meeting/messages.py: change that one.

export const SUBPROTOCOL = "orchard-room";
export const MAIN = "main";
export const VERSION = 1;
export const NAME_CHARS = 60;
export const TEXT_CHARS = 2000;
export const TRACKS = 8;
export const PLACES = 50;
export const SILENT = 127;

export const CloseCode = {
  LEFT: 1000,
  TOO_LARGE: 1009,
  RESTART: 1012,
  OVERLOAD: 1013,
  MALFORMED: 4000,
  VERSION: 4001,
  FLOODING: 4002,
  SLOW: 4003,
  SILENT: 4004,
  NOT_JOINED: 4005,
  REPLACED: 4006,
  WRONG_KEY: 4010,
  FULL: 4011,
  LOCKED: 4012,
  DENIED: 4013,
  REMOVED: 4014,
  ENDED: 4015,
  EXPIRED: 4016,
  TOO_MANY: 4020,
} as const;

/** After these a page connects again by itself. */
export const RETRIED: ReadonlySet<number> = new Set([1012, 1013, 4003, 4004, 4020]);

export const ROLE_CHOICES = [
  "host",
  "guest",
] as const;
export type Role = (typeof ROLE_CHOICES)[number];

export const ENTRY_CHOICES = [
  "open",
  "lobby",
  "locked",
] as const;
export type Entry = (typeof ENTRY_CHOICES)[number];

export const SOURCE_CHOICES = [
  "microphone",
  "camera",
  "screen",
  "screenAudio",
] as const;
export type Source = (typeof SOURCE_CHOICES)[number];

export const EMOJI_CHOICES = [
  "thumbsUp",
  "heart",
  "applause",
  "laugh",
  "surprise",
  "party",
  "thinking",
  "thumbsDown",
] as const;
export type Emoji = (typeof EMOJI_CHOICES)[number];

export const SCOPE_CHOICES = [
  "place",
  "everyone",
] as const;
export type Scope = (typeof SCOPE_CHOICES)[number];

export const GONE_REASON_CHOICES = [
  "left",
  "expired",
  "removed",
] as const;
export type GoneReason = (typeof GONE_REASON_CHOICES)[number];

export const REFUSAL_CODE_CHOICES = [
  "notAllowed",
  "notFound",
  "invalid",
  "full",
  "unavailable",
] as const;
export type RefusalCode = (typeof REFUSAL_CODE_CHOICES)[number];

/**
 * Lines of chat, oldest first; after a move also older ones of the new place.
 * `seq` tells apart those that are known.
 */
export interface Chat {
  type: "chat";
  entries: readonly ChatEntry[];
}

/**
 * One line of chat. `seq` grows along the room's chat; `at` is seconds since 1970.
 * `place` is where it can be read; null is everywhere.
 */
export interface ChatEntry {
  seq: number;
  at: number;
  sender: string;
  name: string;
  text: string;
  place: string | null;
}

/** The request of this id was carried out. */
export interface Done {
  type: "done";
  id: number;
}

/** You wait in the lobby; `welcome` or a close follows. */
export interface InLobby {
  type: "inLobby";
  you: string;
}

/** For hosts: who waits now, longest first. */
export interface LobbyIs {
  type: "lobby";
  waiting: readonly Waiting[];
}

/** The answer to `POST /api/rooms`: what an invite holds, and the maker's own key. */
export interface Made {
  room: string;
  key: string;
  hostKey: string;
}

/**
 * Somebody in the room, as all others see it.
 * `away` is a seat whose connection is lost and which is kept for a while. `hand` is when it was raised, or
 * null: the least goes first. `microphone` and `camera` say whether they are on, `encrypted` whether the
 * media is sealed end to end. Tracks of another `place` can't be pulled.
 */
export interface Member {
  id: string;
  name: string;
  role: Role;
  place: string;
  away: boolean;
  hand: number | null;
  microphone: boolean;
  camera: boolean;
  encrypted: boolean;
  sessionId: string | null;
  tracks: readonly Track[];
}

/** A member that has a seat no longer. */
export interface MemberGone {
  type: "gone";
  member: string;
  reason: GoneReason;
}

/** A member that is new or has changed, whole. */
export interface MemberIs {
  type: "member";
  member: Member;
}

/** A host asks you to switch this off; do so and say `media`. */
export interface MuteAsked {
  type: "muteAsked";
  source: Source;
}

/** To be answered with `pong` at once. `at` is the server's time, seconds since 1970. */
export interface Ping {
  type: "ping";
  at: number;
}

/** A breakout room. The room itself is the place `main`, which is not listed. */
export interface Place {
  id: string;
  name: string;
}

/** Somebody in your place reacts. */
export interface Reaction {
  type: "reaction";
  member: string;
  emoji: Emoji;
}

/** A request was not carried out, and nothing has changed; `id` if it had one. */
export interface Refused {
  type: "refused";
  id: number | null;
  code: RefusalCode;
  text: string;
}

/** The room has changed; whole. */
export interface RoomIs {
  type: "room";
  room: RoomState;
}

/**
 * What is true of the whole room.
 * `epoch` grows whenever somebody is gone: with end-to-end encryption the next key is then due. With `choose`
 * guests go to breakout rooms by themselves. `since` is when the meeting began, seconds since 1970.
 */
export interface RoomState {
  id: string;
  since: number;
  entry: Entry;
  epoch: number;
  places: readonly Place[];
  choose: boolean;
}

/** What the server asks of a page, and how often it pings: silent for thrice as long, it is lost. */
export interface Rules {
  levelEveryS: number;
  pingEveryS: number;
  messagesPerSecond: number;
}

/** A token in place of the one before, which stays good: your role is another. */
export interface SeatToken {
  type: "token";
  token: string;
}

/** One who speaks now; `level` is in -dBov (RFC 6464): 0 is loudest, 127 silence. */
export interface Speaker {
  member: string;
  level: number;
}

/** The loudest few of your place, loudest first; nobody where it is quiet. */
export interface Speakers {
  type: "speakers";
  loudest: readonly Speaker[];
}

/** A track that a member publishes in its session. `simulcast` has the rids f, h and q, best first. */
export interface Track {
  name: string;
  source: Source;
  simulcast?: boolean;
}

/** Somebody in the lobby. */
export interface Waiting {
  id: string;
  name: string;
}

/**
 * You have a seat; all that is true now.
 * `token` is for the session API, and for this seat after a loss. `members` has all, you among them.
 * `waiting` is for hosts. `chat` is what can still be read here, oldest first.
 */
export interface Welcome {
  type: "welcome";
  you: string;
  token: string;
  room: RoomState;
  members: readonly Member[];
  waiting: readonly Waiting[];
  chat: readonly ChatEntry[];
  rules: Rules;
}

/** Host: let in somebody from the lobby; null is all. */
export interface Admit {
  id?: number | null;
  type: "admit";
  member?: string | null;
}

/** Host: send somebody in the lobby away. */
export interface Deny {
  id?: number | null;
  type: "deny";
  member: string;
}

/** Host: end the meeting for all. Only who has the host key opens it again. */
export interface End {
  id?: number | null;
  type: "end";
}

/** Raise or lower a hand: the own one, or another's, which only hosts lower. */
export interface Hand {
  id?: number | null;
  type: "hand";
  raised: boolean;
  member?: string | null;
}

/** The first message. `key` is the invite's, `token` of a seat held before, `hostKey` the maker's. */
export interface Join {
  id?: number | null;
  type: "join";
  version: number;
  room: string;
  name: string;
  key?: string | null;
  token?: string | null;
  hostKey?: string | null;
}

/** Give up the seat now. */
export interface Leave {
  id?: number | null;
  type: "leave";
}

/** How loud the member is now, in -dBov: while it speaks, at most every `levelEveryS`, then once 127. */
export interface Level {
  type: "level";
  level: number;
}

/** What is on and what is muted, as others are to see it. */
export interface Media {
  id?: number | null;
  type: "media";
  microphone: boolean;
  camera: boolean;
  encrypted?: boolean;
}

/** Go to another place, or send somebody there, as hosts do. */
export interface Move {
  id?: number | null;
  type: "move";
  place: string;
  member?: string | null;
}

/** Host: ask somebody's page to switch something off; null is all others. */
export interface Mute {
  id?: number | null;
  type: "mute";
  source: Source;
  member?: string | null;
}

/** The answer to `ping`. */
export interface Pong {
  type: "pong";
}

/** All that the member publishes now, in one session of its own; null and nothing to stop. */
export interface Publish {
  id?: number | null;
  type: "publish";
  sessionId: string | null;
  tracks?: readonly Track[];
}

/** Show a reaction to all in the same place, once. */
export interface React {
  id?: number | null;
  type: "react";
  emoji: Emoji;
}

/** Host: call all back to `main` and close the breakout rooms. */
export interface Recall {
  id?: number | null;
  type: "recall";
}

/** Host: take somebody's seat. Newcomers wait in the lobby from then on: that one knows the link. */
export interface Remove {
  id?: number | null;
  type: "remove";
  member: string;
}

/** Be called otherwise. */
export interface Rename {
  id?: number | null;
  type: "rename";
  name: string;
}

/** Write into the chat of the place. `everyone` is a host's word to all breakout rooms. */
export interface Say {
  id?: number | null;
  type: "say";
  text: string;
  scope?: Scope;
}

/** Host: who comes in by the link: all, those whom a host admits, nobody. */
export interface SetEntry {
  id?: number | null;
  type: "entry";
  entry: Entry;
}

/** Host: make somebody a host, or a guest. */
export interface SetRole {
  id?: number | null;
  type: "role";
  member: string;
  role: Role;
}

/**
 * Host: open breakout rooms of these names, in place of those that are open.
 * `assigned` says who goes to which, by its index in `names`; who is not in it goes to, or stays in, `main`.
 */
export interface Split {
  id?: number | null;
  type: "split";
  names: readonly string[];
  assigned?: Readonly<Record<string, number>>;
  choose?: boolean;
}

export type ClientMessage =
  | Join
  | Pong
  | Level
  | React
  | Leave
  | Rename
  | Publish
  | Media
  | Hand
  | Say
  | SetEntry
  | Admit
  | Deny
  | Remove
  | Mute
  | SetRole
  | Split
  | Move
  | Recall
  | End;

export type ServerMessage =
  | Ping
  | InLobby
  | Welcome
  | SeatToken
  | MemberIs
  | MemberGone
  | RoomIs
  | LobbyIs
  | Chat
  | Reaction
  | Speakers
  | MuteAsked
  | Done
  | Refused;
