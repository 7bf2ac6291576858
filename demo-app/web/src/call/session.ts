// One session of the API and its PeerConnection: what is published on it and what is received.
// Changes go one by one: the API refuses a second one that comes before the first is done.

import type { Source, Track } from "../room/messages";
import { ApiError, type LocalTrack, type RemoteTrack, type SessionApi, type Simulcast, type TrackItem } from "./api";
import { LAYERS, type Layer } from "./layers";
import { keyOf, type Kind, type Plan, type Slot, type Want } from "./plan";

/** A received track. `since` is when it took this section over (performance.now()). */
export interface Received {
  key: string;
  mid: string;
  track: MediaStreamTrack;
  since: number;
}

export interface Sending {
  source: Source;
  track: MediaStreamTrack;
}

export interface SessionEvents {
  /** The PeerConnection's state, as it is now. */
  state: (state: RTCPeerConnectionState) => void;
  /** What is received has changed. */
  received: () => void;
  /** A sender or receiver was made, before anything is negotiated on it. */
  made: (end: RTCRtpSender | RTCRtpReceiver) => void;
}

interface SlotState extends Slot {
  receiver: RTCRtpReceiver;
  since: number;
}

/** The result of a plan: wants that failed and may work later. */
export interface Failure {
  want: Want;
  code: string;
}

const CONNECT_TIMEOUT_MS = 15_000;

export class NoMediaPath extends Error {
  constructor() {
    super("no media path to the server");
    this.name = "NoMediaPath";
  }
}

function wish(layer: Layer): Simulcast {
  return { preferredRid: layer, priorityOrdering: "asciibetical", ridNotAvailable: "asciibetical" };
}

function remote(want: Want, mid?: string): RemoteTrack {
  const { sessionId, trackName, layer } = want;
  return {
    location: "remote",
    sessionId,
    trackName,
    ...(mid === undefined ? {} : { mid }),
    ...(layer === null ? {} : { simulcast: wish(layer) }),
  };
}

export class MediaSession {
  readonly id: string;
  readonly pc: RTCPeerConnection;
  readonly #api: SessionApi;
  readonly #events: SessionEvents;
  // What was published once stays so, without media while it is off: a browser names its streams (RFC 8852) at their
  // beginning alone, so the server would not know one again that it had forgotten.
  readonly #senders = new Map<Source, { transceiver: RTCRtpTransceiver; published: Track | null; on: boolean }>();
  readonly #slots = new Map<string, SlotState>();
  #queue: Promise<unknown> = Promise.resolve();
  #names = 0;
  #ended = false;

  private constructor(id: string, pc: RTCPeerConnection, api: SessionApi, events: SessionEvents) {
    this.id = id;
    this.pc = pc;
    this.#api = api;
    this.#events = events;
    pc.onconnectionstatechange = () => {
      if (!this.#ended) events.state(pc.connectionState);
    };
    pc.ontrack = ({ receiver }) => {
      events.made(receiver);
    };
  }

  static async open(api: SessionApi, config: RTCConfiguration, events: SessionEvents): Promise<MediaSession> {
    const id = await api.newSession();
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", ...config });
    return new MediaSession(id, pc, api, events);
  }

  /** What is published now. */
  get published(): Track[] {
    return [...this.#senders.values()].flatMap(({ published, on }) => (published === null || !on ? [] : [published]));
  }

  get slots(): readonly Slot[] {
    return [...this.#slots.values()];
  }

  /** What is received now, by its key. */
  received(): Map<string, Received> {
    const all = new Map<string, Received>();
    for (const { key, mid, receiver, since } of this.#slots.values()) {
      if (key !== null) all.set(key, { key, mid, track: receiver.track, since });
    }
    return all;
  }

  /** The mid that publishes a source, if one does. */
  midOf(source: Source): string | null {
    const sender = this.#senders.get(source);
    return sender?.published == null || !sender.on ? null : sender.transceiver.mid;
  }

  sender(source: Source): RTCRtpSender | undefined {
    return this.#senders.get(source)?.transceiver.sender;
  }

  /** Publish these, each in place of what its source published before. */
  publish(items: readonly Sending[]): Promise<void> {
    return this.#serial(async () => {
      const tracks: { source: Source; transceiver: RTCRtpTransceiver; name: string }[] = [];
      let offers = false;
      for (const { source, track } of items) {
        let sender = this.#senders.get(source);
        if (sender === undefined) {
          sender = { transceiver: this.#addTransceiver(source, track), published: null, on: true };
          this.#senders.set(source, sender);
          offers = true;
        } else {
          await sender.transceiver.sender.replaceTrack(track);
          sender.on = true;
          if (sender.published !== null) continue; // the same publication, with another device or on again
        }
        tracks.push({ source, transceiver: sender.transceiver, name: `${source}-${++this.#names}` });
      }
      if (tracks.length === 0) return;
      await this.#push(tracks, offers);
      for (const { source, name } of tracks) {
        const sender = this.#senders.get(source);
        if (sender !== undefined) sender.published = { name, source, simulcast: source === "camera" };
      }
    });
  }

  /** Send nothing of these sources from now on; `publish` goes on with them. */
  unpublish(sources: readonly Source[]): Promise<void> {
    return this.#serial(async () => {
      for (const source of sources) {
        const sender = this.#senders.get(source);
        if (sender === undefined) continue;
        sender.on = false;
        await sender.transceiver.sender.replaceTrack(null);
      }
    });
  }

  /** Carry out a plan; resolves to what failed. Rejects where the session itself does not work. */
  apply(plan: Plan): Promise<Failure[]> {
    return this.#serial(async () => {
      const failures: Failure[] = [];
      if (plan.close.length > 0) {
        for (const mid of plan.close) this.#set(mid, null);
        this.#events.received();
        await this.#api.closeTracks(this.id, plan.close);
      }
      const updates = [...plan.swap, ...plan.relayer];
      if (updates.length > 0) {
        for (const { mid } of plan.swap) this.#set(mid, null);
        if (plan.swap.length > 0) this.#events.received();
        const answer = await this.#api.updateTracks(this.id, updates.map(({ mid, want }) => remote(want, mid)));
        updates.forEach(({ mid, want }, index) => {
          const code = answer.tracks[index]?.errorCode;
          if (code === undefined) this.#set(mid, want);
          else failures.push({ want, code });
        });
        this.#events.received();
      }
      if (plan.pull.length > 0) failures.push(...(await this.#pull(plan.pull)));
      return failures;
    });
  }

  /** Find a new path to the server, say after a change of network. */
  restartIce(): Promise<void> {
    return this.#serial(async () => {
      this.pc.restartIce();
      const answer = await this.#api.renegotiate(this.id, await this.#offer());
      if (answer.sessionDescription !== undefined) await this.pc.setRemoteDescription(answer.sessionDescription);
    });
  }

  /** Whether the server still has the session. */
  inspect(): Promise<unknown> {
    return this.#api.inspect(this.id);
  }

  /** Resolves when media can flow. Rejects with NoMediaPath after a while. */
  async connected(): Promise<void> {
    const until = performance.now() + CONNECT_TIMEOUT_MS;
    while (this.pc.connectionState !== "connected") {
      if (this.#ended || this.pc.connectionState === "failed" || performance.now() > until) throw new NoMediaPath();
      await new Promise((go) => setTimeout(go, 30));
    }
  }

  end(): void {
    this.#ended = true;
    this.pc.close();
  }

  #addTransceiver(source: Source, track: MediaStreamTrack): RTCRtpTransceiver {
    const init: RTCRtpTransceiverInit = { direction: "sendonly" };
    if (source === "camera") init.sendEncodings = LAYERS.map((layer) => ({ ...layer }));
    if (source === "screen") init.sendEncodings = [{ maxBitrate: 2_500_000 }];
    const transceiver = this.pc.addTransceiver(track, init);
    this.#events.made(transceiver.sender);
    return transceiver;
  }

  async #push(tracks: readonly { transceiver: RTCRtpTransceiver; name: string }[], offers: boolean): Promise<void> {
    const sessionDescription = offers ? await this.#offer() : undefined;
    const local = tracks.map(({ transceiver, name }): LocalTrack => ({ location: "local", mid: transceiver.mid ?? "", trackName: name }));
    const answer = await this.#api.newTracks(this.id, { tracks: local, ...(sessionDescription === undefined ? {} : { sessionDescription }) });
    await this.#take(answer.sessionDescription);
    const failed = answer.tracks.find((item) => item.errorCode !== undefined);
    if (failed !== undefined) throw new ApiError(406, failed.errorCode ?? "", failed.errorDescription ?? "");
  }

  async #pull(wants: readonly Want[]): Promise<Failure[]> {
    const answer = await this.#api.newTracks(this.id, { tracks: wants.map((want) => remote(want)) });
    let refused: TrackItem[] = [];
    if (answer.sessionDescription !== undefined) {
      await this.pc.setRemoteDescription(answer.sessionDescription);
      await this.pc.setLocalDescription();
      const done = (await this.#api.renegotiate(this.id, this.#local())) as { tracks?: TrackItem[] };
      refused = done.tracks ?? [];
    }
    const byMid = new Map(this.pc.getTransceivers().map((transceiver) => [transceiver.mid, transceiver]));
    const failures: Failure[] = [];
    wants.forEach((want, index) => {
      const item = answer.tracks[index];
      const failed = item?.errorCode ?? refused.find(({ mid }) => mid === item?.mid)?.errorCode;
      const transceiver = byMid.get(item?.mid ?? null);
      if (failed !== undefined || item?.mid === undefined || transceiver === undefined) {
        failures.push({ want, code: failed ?? "no_section" });
        return;
      }
      const slot = { mid: item.mid, kind: want.kind satisfies Kind, receiver: transceiver.receiver };
      this.#slots.set(item.mid, { ...slot, key: keyOf(want), layer: want.layer, since: performance.now() });
    });
    this.#events.received();
    return failures;
  }

  #set(mid: string, want: Want | null): void {
    const slot = this.#slots.get(mid);
    if (slot === undefined) return;
    const key = want === null ? null : keyOf(want);
    if (key !== slot.key) slot.since = performance.now();
    slot.key = key;
    slot.layer = want?.layer ?? null;
  }

  async #offer(): Promise<RTCSessionDescriptionInit> {
    await this.pc.setLocalDescription();
    return this.#local();
  }

  #local(): RTCSessionDescriptionInit {
    const description = this.pc.localDescription;
    if (description === null) throw new Error("there is no local description");
    return { type: description.type, sdp: description.sdp };
  }

  async #take(description: RTCSessionDescriptionInit | undefined): Promise<void> {
    if (description !== undefined) await this.pc.setRemoteDescription(description);
  }

  #serial<T>(change: () => Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      if (this.#ended) throw new ApiError(410, "session_error", "The session was ended by this page.");
      return change();
    };
    const next = this.#queue.then(run, run);
    this.#queue = next.catch(() => undefined);
    return next;
  }
}
