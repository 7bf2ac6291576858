// One call of the demo: publish a stream, pull it back, and rebuild both when the connection is lost.

import { SessionApi, SfuSession } from "./client.js";
import { NoMediaPath, passes } from "./problems.js";

const CONNECT_TIMEOUT_MS = 10_000;
const RESTART_AFTER_MS = 2_500; // what heals by itself does it within this
const REBUILD_AFTER_MS = 10_000; // and what a restart of ICE heals, within this
const RETRY_DELAYS_MS = [500, 1_000, 2_000, 4_000, 8_000];

function within(promise, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new NoMediaPath()), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/**
 * Events: `state` (detail: "connecting" | "connected" | "waiting" | "reconnecting" | "ended"),
 * `remote` (detail: MediaStream that came back), `problem` (detail: {error, retryMs | null}).
 */
export class Call extends EventTarget {
  #root;
  #stream;
  #codec;
  #ended = false;
  #attempt = 0;
  #timer;
  session = null;
  everConnected = false;

  constructor(root, stream, { codec = null } = {}) {
    super();
    this.#root = root;
    this.#stream = stream;
    this.#codec = codec;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  async start() {
    this.#emit("state", this.#attempt === 0 ? "connecting" : "reconnecting");
    try {
      await this.#build();
      this.#attempt = 0;
    } catch (error) {
      this.#lost(error);
    }
  }

  async #build() {
    const session = await SfuSession.open(new SessionApi(this.#root));
    if (this.#ended) {
      session.end();
      return;
    }
    this.session = session;
    const items = this.#stream.getTracks().map((track) => ({
      name: track.kind,
      track,
      streams: [this.#stream],
      codecs: track.kind === "video" && this.#codec ? [this.#codec] : undefined,
    }));
    const pushed = await session.push(items);
    const failed = pushed.find(({ errorCode }) => errorCode);
    if (failed) throw new Error(failed.errorDescription ?? failed.errorCode);
    await within(session.connected, CONNECT_TIMEOUT_MS).catch(() => {
      throw new NoMediaPath();
    });
    if (this.#ended) return;
    this.everConnected = true;
    this.#emit("state", "connected");
    this.#watch(session);
    const pulled = await session.pull(
      items.map(({ name }) => ({ sessionId: session.id, trackName: name })),
    );
    const tracks = pulled.filter(({ track }) => track).map(({ track }) => track);
    if (tracks.length === 0) throw new Error(pulled[0]?.errorDescription ?? "nothing came back");
    if (!this.#ended) this.#emit("remote", new MediaStream(tracks));
  }

  #watch(session) {
    session.pc.addEventListener("connectionstatechange", () => {
      if (this.#ended || session !== this.session) return;
      clearTimeout(this.#timer);
      const state = session.pc.connectionState;
      if (state === "connected") this.#emit("state", "connected");
      if (state === "disconnected") {
        this.#emit("state", "waiting");
        this.#timer = setTimeout(() => this.#restart(session), RESTART_AFTER_MS);
      }
      if (state === "failed" || state === "closed") this.#lost(new NoMediaPath());
    });
  }

  #restart(session) {
    this.#timer = setTimeout(() => this.#lost(new NoMediaPath()), REBUILD_AFTER_MS - RESTART_AFTER_MS);
    session.restartIce().catch(() => {
      // Whatever the reason, say that a restarted server does not know the session: a new one is made.
      if (session === this.session) this.#lost(new NoMediaPath());
    });
  }

  #lost(error) {
    if (this.#ended) return;
    clearTimeout(this.#timer);
    this.session?.end();
    this.session = null;
    if (!passes(error)) {
      this.#emit("problem", { error, retryMs: null });
      return;
    }
    const retryMs = RETRY_DELAYS_MS[Math.min(this.#attempt, RETRY_DELAYS_MS.length - 1)];
    this.#attempt += 1;
    this.#emit("problem", { error, retryMs });
    this.#timer = setTimeout(() => void this.start(), retryMs);
  }

  /** Do not wait for the next try. */
  retryNow() {
    clearTimeout(this.#timer);
    void this.start();
  }

  end() {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.session?.end();
    this.session = null;
    this.#emit("state", "ended");
  }
}
