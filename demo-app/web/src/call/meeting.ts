// One's part in a meeting: the room's socket, the session with its media, and how both find back after a loss.

import type { Ending } from "../room/closes";
import type { Emoji, Member, ServerMessage } from "../room/messages";
import { socketUrl } from "../room/api";
import type { Invite } from "../room/link";
import { forgetSeat, hostKey, keepSeat, seatToken } from "../room/seat";
import { RoomSocket, type RoomRequest, type SocketEvent } from "../room/socket";
import { received as viewAfter, welcomed, youIn, type RoomView } from "../room/view";
import { backoffMs } from "../room/backoff";
import { Store } from "../store";
import { LevelReports, Meter } from "../media/meter";
import type { LocalMedia, LocalState } from "../media/local";
import { callProblem } from "../media/problems";
import type { SettingsStore } from "../media/settings";
import { ApiError, SessionApi } from "./api";
import type { Layer } from "./layers";
import { qualityOf, worst, type Counted, type Quality } from "./quality";
import { Receiver } from "./receiver";
import { MediaSession, type Received, type Sending } from "./session";
import { collectStats, countedByMid, type Stats } from "./stats";
import { DEFAULT_LIMITS, hearing, wantsOf, type Shown } from "./wanted";

export interface Notice {
  id: number;
  kind: "info" | "warning";
  text: string;
}

export interface ShownReaction {
  id: number;
  member: string;
  emoji: Emoji;
}

export type Link = "connecting" | "connected" | "lost";

export interface MeetingState {
  phase: "joining" | "waiting" | "call" | "ended";
  ending: Ending | null;
  view: RoomView | null;
  room: Link;
  media: Link;
  /** Why there is no media, once that has lasted. */
  trouble: string | null;
  received: ReadonlyMap<string, Received>;
  reactions: readonly ShownReaction[];
  notices: readonly Notice[];
  /** How the connection to each member is, by what arrives of it. */
  quality: ReadonlyMap<string, Quality>;
  /** Who spoke of late, the last first. */
  heard: readonly string[];
  stats: Stats | null;
}

export interface MeetingEvent {
  at: number;
  what: string;
}

const REACTION_MS = 4000;
const NOTICE_MS = 6000;
const DISCONNECTED_MS = 2500; // ICE's own checks mend most losses within that
const RESTART_MS = 8000;
const EVENTS_KEPT = 500;
const STATS_MS = 2000;

export class Meeting {
  readonly state = new Store<MeetingState>({
    phase: "joining",
    ending: null,
    view: null,
    room: "connecting",
    media: "connecting",
    trouble: null,
    received: new Map(),
    reactions: [],
    notices: [],
    quality: new Map(),
    heard: [],
    stats: null,
  });
  readonly invite: Invite;
  readonly local: LocalMedia;
  /** What happened when, for the debug panel. */
  readonly timeline: MeetingEvent[] = [];
  /** PeerConnections made so far; a move to a breakout room makes none. */
  connections = 0;
  readonly #settings: SettingsStore;
  readonly #socket: RoomSocket;
  readonly #api: SessionApi;
  readonly #levels = new LevelReports();
  readonly #stops: (() => void)[] = [];
  #token = "";
  #session: MediaSession | null = null;
  #receiver: Receiver | null = null;
  #meter: { track: MediaStreamTrack; meter: Meter } | null = null;
  #levelTimer = 0;
  #shown: readonly Shown[] = [];
  #counted = new Map<string, { key: string; counted: Counted }>();
  #statsTimer = 0;
  #attempt = 0;
  #rebuildTimer = 0;
  #watchTimer = 0;
  #opening = false;
  #syncing: Promise<void> = Promise.resolve();
  #sent: LocalState;
  #ids = 0;

  constructor(invite: Invite, local: LocalMedia, settings: SettingsStore) {
    this.invite = invite;
    this.local = local;
    this.#settings = settings;
    this.#sent = local.state.get();
    this.#api = new SessionApi(() => this.#token);
    this.#socket = new RoomSocket(
      socketUrl(location),
      () => ({
        room: invite.room,
        name: settings.get().name,
        key: invite.key,
        token: seatToken(invite.room),
        hostKey: hostKey(invite.room),
      }),
      (event) => this.#socketEvent(event),
    );
    this.#stops.push(local.state.subscribe(() => this.#localChanged()));
    this.#stops.push(settings.subscribe(() => this.#updateWants()));
    const online = (): void => this.#networkChanged();
    addEventListener("online", online);
    this.#stops.push(() => removeEventListener("online", online));
  }

  /** Ask the room for something; what it refuses is told as a notice. Resolves to whether it was done. */
  async ask(request: RoomRequest): Promise<boolean> {
    try {
      await this.#socket.request(request);
      return true;
    } catch (error) {
      this.notice(callProblem(error).text, "warning");
      return false;
    }
  }

  /** Which pictures are on screen, and how large. */
  show(shown: readonly Shown[]): void {
    this.#shown = shown;
    this.#updateWants();
  }

  notice(text: string, kind: Notice["kind"] = "info"): void {
    const notice = { id: ++this.#ids, kind, text };
    this.state.set({ notices: [...this.state.get().notices.slice(-3), notice] });
    setTimeout(() => this.dismiss(notice.id), NOTICE_MS);
  }

  dismiss(id: number): void {
    this.state.set({ notices: this.state.get().notices.filter((notice) => notice.id !== id) });
  }

  leave(): void {
    this.#socket.leave();
  }

  /** The session of now, for statistics. */
  get session(): MediaSession | null {
    return this.#session;
  }

  /** End everything without giving up the seat, as when the page is left. */
  close(): void {
    this.#socket.close();
    this.#stop();
  }

  #log(what: string): void {
    this.timeline.push({ at: Date.now(), what });
    if (this.timeline.length > EVENTS_KEPT) this.timeline.shift();
  }

  // The room

  #socketEvent(event: SocketEvent): void {
    switch (event.type) {
      case "connecting":
        this.state.set({ room: "connecting" });
        return;
      case "lost":
        this.#log(`room lost (${event.code}), again in ${event.retryInMs} ms`);
        this.state.set({ room: "lost" });
        return;
      case "ended":
        this.#log(`ended: ${event.ending.title}`);
        if (event.ending.forgetsSeat) forgetSeat(this.invite.room);
        this.state.set({ phase: "ended", ending: event.ending });
        this.#stop();
        return;
      case "message":
        this.#take(event.message);
    }
  }

  #take(message: ServerMessage): void {
    const { view } = this.state.get();
    if (message.type === "welcome") {
      this.#welcome(message);
      return;
    }
    if (message.type === "inLobby") {
      this.state.set({ phase: "waiting", room: "connected" });
      return;
    }
    if (message.type === "token") this.#keepToken(message.token);
    if (message.type === "reaction") this.#react(message.member, message.emoji);
    if (message.type === "muteAsked") this.#mute(message.source);
    if (message.type === "refused") this.notice(message.text, "warning");
    if (message.type === "speakers") {
      const { heard } = this.state.get();
      this.state.set({ heard: hearing(heard, message.loudest.map(({ member }) => member)) });
    }
    if (view === null) return;
    const next = viewAfter(view, message);
    if (next === view) return;
    this.state.set({ view: next });
    this.#tell(view, next);
    this.#updateWants();
  }

  #welcome(message: Extract<ServerMessage, { type: "welcome" }>): void {
    const before = this.state.get();
    this.#log("welcome");
    this.#keepToken(message.token);
    this.state.set({ phase: "call", room: "connected", view: welcomed(message, before.view) });
    clearInterval(this.#levelTimer);
    this.#levelTimer = setInterval(() => this.#reportLevel(), message.rules.levelEveryS * 1000);
    clearInterval(this.#statsTimer);
    this.#statsTimer = setInterval(() => void this.#count(), STATS_MS);
    this.#sayMedia();
    if (this.#session === null) void this.#open();
    else void this.#check(this.#session);
  }

  #keepToken(token: string): void {
    this.#token = token;
    keepSeat(this.invite.room, token);
  }

  #tell(before: RoomView, now: RoomView): void {
    const you = youIn(now);
    const was = youIn(before);
    if (you === undefined || was === undefined) return;
    if (you.place !== was.place) {
      const name = now.room.places.find(({ id }) => id === you.place)?.name;
      this.notice(name === undefined ? "You are back in the main room." : `You are in “${name}” now.`);
    }
    if (you.role !== was.role) this.notice(you.role === "host" ? "You are a host now." : "You are no host any more.");
    const named = (member: Member): boolean => member.id !== you.id && member.place === you.place;
    for (const member of now.members.values()) {
      if (named(member) && !before.members.has(member.id)) this.notice(`${member.name} joined.`);
      if (named(member) && member.hand !== null && before.members.get(member.id)?.hand == null) this.notice(`${member.name} raised a hand.`);
    }
    for (const member of before.members.values()) {
      if (named(member) && !now.members.has(member.id)) this.notice(`${member.name} left.`);
    }
    if (now.waiting.length > before.waiting.length) {
      const newest = now.waiting.at(-1);
      if (newest !== undefined) this.notice(`${newest.name} waits in the lobby.`);
    }
  }

  #react(member: string, emoji: Emoji): void {
    const reaction = { id: ++this.#ids, member, emoji };
    this.state.set({ reactions: [...this.state.get().reactions.slice(-19), reaction] });
    setTimeout(() => {
      this.state.set({ reactions: this.state.get().reactions.filter(({ id }) => id !== reaction.id) });
    }, REACTION_MS);
  }

  #mute(source: string): void {
    if (source === "microphone") void this.local.setMicrophone(false);
    if (source === "camera") void this.local.setCamera(false);
    if (source === "screen" || source === "screenAudio") void this.local.setScreen(false);
    const what = source === "microphone" ? "microphone" : source === "camera" ? "camera" : "screen";
    this.notice(`A host has switched your ${what} off.`);
  }

  #sayMedia(): void {
    const { microphoneOn, camera } = this.local.state.get();
    this.#socket.send({ type: "media", microphone: microphoneOn, camera: camera !== null, encrypted: false });
  }

  #sayPublish(): void {
    const session = this.#session;
    if (session === null) return;
    this.#socket.send({ type: "publish", sessionId: session.id, tracks: session.published });
  }

  #reportLevel(): void {
    const { microphone, microphoneOn } = this.local.state.get();
    if (this.#meter?.track !== microphone) {
      this.#meter?.meter.close();
      this.#meter = microphone === null ? null : { track: microphone, meter: new Meter(microphone) };
    }
    const level = this.#levels.next(microphoneOn ? (this.#meter?.meter.read() ?? 127) : 127);
    if (level !== null) this.#socket.send({ type: "level", level });
  }

  // Media

  async #open(): Promise<void> {
    if (this.#opening || this.#session !== null || this.state.get().phase === "ended") return;
    this.#opening = true;
    clearTimeout(this.#rebuildTimer);
    this.state.set({ media: "connecting" });
    let session: MediaSession | null = null;
    try {
      const iceServers = await this.#api.iceServers();
      const opened = await MediaSession.open(this.#api, { iceServers }, {
        state: (state) => this.#mediaState(opened, state),
        received: () => {
          if (this.#session === opened) this.state.set({ received: opened.received() });
        },
        made: () => undefined,
      });
      session = opened;
      this.#session = session;
      this.connections += 1;
      this.#log(`session ${session.id.slice(0, 8)} made`);
      this.#receiver = new Receiver(session, (error) => this.#broken(opened, error));
    } catch (error) {
      this.#again(error);
    } finally {
      this.#opening = false;
    }
    if (session === null) return;
    this.#sync();
    this.#updateWants();
  }

  #sendings(state: LocalState): Sending[] {
    const all: Sending[] = [];
    if (state.microphone !== null) all.push({ source: "microphone", track: state.microphone });
    if (state.camera !== null) all.push({ source: "camera", track: state.camera });
    if (state.screen !== null) all.push({ source: "screen", track: state.screen.video });
    if (state.screen?.audio != null) all.push({ source: "screenAudio", track: state.screen.audio });
    return all;
  }

  #localChanged(): void {
    const now = this.local.state.get();
    const before = this.#sent;
    const tracks = (state: LocalState): (MediaStreamTrack | null | undefined)[] => [state.microphone, state.camera, state.screen?.video, state.screen?.audio];
    const same = tracks(now).every((track, index) => track === tracks(before)[index]);
    if (now.microphoneOn !== before.microphoneOn || (now.camera === null) !== (before.camera === null)) this.#sayMedia();
    this.#sent = now;
    if (!same) this.#sync();
  }

  // Brings what is published in step with the devices, one change after the other.
  #sync(): void {
    this.#syncing = this.#syncing.then(async () => {
      const session = this.#session;
      if (session === null) return;
      try {
        const items = this.#sendings(this.local.state.get());
        const sources = new Set(items.map(({ source }) => source));
        const ended = session.published.map(({ source }) => source).filter((source) => !sources.has(source));
        if (ended.length > 0) await session.unpublish(ended);
        if (items.length > 0) await session.publish(items);
        if (this.#session === session) this.#sayPublish();
      } catch (error) {
        this.#broken(session, error);
      }
    });
  }

  #updateWants(): void {
    const { view } = this.state.get();
    const session = this.#session;
    if (view === null || session === null) return;
    const layers = new Map<string, Layer | null>();
    for (const { key, layer } of session.slots) if (key !== null) layers.set(key, layer);
    const limits = { ...DEFAULT_LIMITS, video: this.#settings.get().receiving };
    this.#receiver?.want(wantsOf(view, this.#shown, limits, layers, this.state.get().heard));
  }

  async #count(): Promise<void> {
    const session = this.#session;
    if (session === null) return;
    const stats = await collectStats(session.pc);
    const counted = countedByMid(stats);
    const keys = new Map([...session.received().values()].map(({ mid, key }) => [mid, key]));
    const bySession = new Map<string, Quality[]>();
    const before = this.#counted;
    this.#counted = new Map();
    for (const [mid, now] of counted) {
      const key = keys.get(mid);
      if (key === undefined) continue;
      const last = before.get(mid);
      const quality = qualityOf(last?.key === key ? last.counted : null, now);
      this.#counted.set(mid, { key, counted: now });
      const from = key.slice(0, key.indexOf("/"));
      bySession.set(from, [...(bySession.get(from) ?? []), quality]);
    }
    const members = this.state.get().view?.members.values() ?? [];
    const quality = new Map([...members].map(({ id, sessionId }) => [id, worst(bySession.get(sessionId ?? "") ?? [])]));
    if (session === this.#session) this.state.set({ stats, quality });
  }

  #mediaState(session: MediaSession, state: RTCPeerConnectionState): void {
    if (session !== this.#session) return;
    this.#log(`connection ${state}`);
    clearTimeout(this.#watchTimer);
    if (state === "connected") {
      this.#attempt = 0;
      this.state.set({ media: "connected", trouble: null });
    }
    if (state === "disconnected") this.#watchTimer = setTimeout(() => void this.#restart(session), DISCONNECTED_MS);
    if (state === "failed") void this.#restart(session);
    if (state === "closed") this.#broken(session, new ApiError(410, "session_error", "The connection was closed."));
  }

  #networkChanged(): void {
    this.#log("network is back");
    if (this.#session === null) void this.#open();
    else if (this.#session.pc.connectionState !== "connected") void this.#restart(this.#session);
  }

  async #restart(session: MediaSession): Promise<void> {
    this.#log("finding a new path");
    this.state.set({ media: "lost" });
    this.#watchTimer = setTimeout(() => {
      if (session.pc.connectionState !== "connected") this.#broken(session, new ApiError(410, "session_error", "No path was found."));
    }, RESTART_MS);
    try {
      await session.restartIce();
    } catch (error) {
      if (session === this.#session) this.#broken(session, error);
    }
  }

  // After a loss of the room's socket the server may be another one, which knows nothing of the session.
  async #check(session: MediaSession): Promise<void> {
    this.#sayPublish();
    try {
      await session.inspect();
    } catch (error) {
      if (error instanceof ApiError && error.sessionIsGone) this.#broken(session, error);
    }
  }

  #broken(session: MediaSession, error: unknown): void {
    if (session !== this.#session) return;
    this.#closeSession();
    this.#again(error);
  }

  #again(error: unknown): void {
    if (this.state.get().phase !== "call") return;
    const waitMs = error instanceof ApiError && error.sessionIsGone && this.#attempt === 0 ? 0 : backoffMs(this.#attempt, Math.random());
    this.#log(`media lost (${error instanceof Error ? error.message : String(error)}), again in ${waitMs} ms`);
    this.state.set({ media: "lost", trouble: this.#attempt > 1 ? callProblem(error).text : null });
    this.#attempt += 1;
    clearTimeout(this.#rebuildTimer);
    this.#rebuildTimer = setTimeout(() => void this.#open(), waitMs);
  }

  #closeSession(): void {
    clearTimeout(this.#watchTimer);
    this.#receiver?.stop();
    this.#receiver = null;
    this.#session?.end();
    this.#session = null;
    this.state.set({ received: new Map() });
  }

  #stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
    clearInterval(this.#levelTimer);
    clearInterval(this.#statsTimer);
    clearTimeout(this.#rebuildTimer);
    this.#meter?.meter.close();
    this.#meter = null;
    this.#closeSession();
  }
}
