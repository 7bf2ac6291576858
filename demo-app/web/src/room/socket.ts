// The room's WebSocket: joins, answers pings, and connects again by itself. What comes in goes out as events.

import { backoffMs } from "./backoff";
import { endingOf, isRetried, type Ending } from "./closes";
import { SUBPROTOCOL, VERSION, type ClientMessage, type Join, type Refused, type ServerMessage } from "./messages";

export type SocketEvent =
  | { type: "connecting" }
  | { type: "message"; message: ServerMessage }
  | { type: "lost"; code: number; retryInMs: number }
  | { type: "ended"; ending: Ending };

type Request = Extract<ClientMessage, { id?: number | null }>;
type WithoutId<T> = T extends unknown ? Omit<T, "id"> : never;
export type RoomRequest = Exclude<WithoutId<Request>, { type: "join" }>;

/** The server did not do what was asked. */
export class RequestRefused extends Error {
  readonly code: Refused["code"];

  constructor({ code, text }: Pick<Refused, "code" | "text">) {
    super(text);
    this.name = "RequestRefused";
    this.code = code;
  }
}

const FIRST_PING_S = 15; // until a welcome says how often the server pings
const ANSWER_MS = 10_000;

interface Waiter {
  resolve: () => void;
  reject: (error: Error) => void;
  timer: number;
}

export class RoomSocket {
  readonly #url: string;
  readonly #join: () => Omit<Join, "type" | "version">;
  readonly #emit: (event: SocketEvent) => void;
  readonly #waiters = new Map<number, Waiter>();
  #socket: WebSocket | null = null;
  #lastId = 0;
  #attempt = 0;
  #retry = 0;
  #watch = 0;
  #pingEveryS = FIRST_PING_S;
  #over = false;

  constructor(url: string, join: () => Omit<Join, "type" | "version">, emit: (event: SocketEvent) => void) {
    this.#url = url;
    this.#join = join;
    this.#emit = emit;
    addEventListener("online", this.#now);
    document.addEventListener("visibilitychange", this.#now);
    this.#connect();
  }

  /** Ask for something; resolves when it is done. Rejects with RequestRefused, also where the connection is lost. */
  request(message: RoomRequest): Promise<void> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      if (!this.send({ ...message, id })) {
        reject(new RequestRefused({ code: "unavailable", text: "The connection to the meeting is lost." }));
        return;
      }
      const timer = setTimeout(() => {
        this.#waiters.delete(id);
        reject(new RequestRefused({ code: "unavailable", text: "The server does not answer." }));
      }, ANSWER_MS);
      this.#waiters.set(id, { resolve, reject, timer });
    });
  }

  /** Say something that is not answered; false where there is no connection. */
  send(message: ClientMessage): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Give the seat up and end. */
  leave(): void {
    this.send({ type: "leave" });
    this.#end(endingOf(1000));
  }

  /** End without giving the seat up. */
  close(): void {
    this.#over = true;
    this.#drop(1000);
    this.#forget();
  }

  #connect(): void {
    clearTimeout(this.#retry);
    this.#emit({ type: "connecting" });
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => {
      this.send({ type: "join", version: VERSION, ...this.#join() });
    };
    socket.onmessage = ({ data }: MessageEvent<string>) => {
      this.#restartWatch();
      this.#take(JSON.parse(data) as ServerMessage);
    };
    socket.onclose = ({ code }) => {
      if (this.#socket === socket) this.#closed(code);
    };
    this.#restartWatch();
  }

  #take(message: ServerMessage): void {
    if (message.type === "ping") {
      this.send({ type: "pong" });
      return;
    }
    if (message.type === "welcome") {
      this.#attempt = 0;
      this.#pingEveryS = message.rules.pingEveryS;
    }
    if (message.type === "done") {
      this.#settle(message.id)?.resolve();
      return;
    }
    if (message.type === "refused" && message.id !== null) {
      this.#settle(message.id)?.reject(new RequestRefused(message));
      return;
    }
    this.#emit({ type: "message", message });
  }

  #settle(id: number): Waiter | undefined {
    const waiter = this.#waiters.get(id);
    if (waiter !== undefined) clearTimeout(waiter.timer);
    this.#waiters.delete(id);
    return waiter;
  }

  #closed(code: number): void {
    this.#socket = null;
    clearTimeout(this.#watch);
    const lost = new RequestRefused({ code: "unavailable", text: "The connection to the meeting is lost." });
    for (const id of [...this.#waiters.keys()]) this.#settle(id)?.reject(lost);
    if (this.#over) return;
    if (!isRetried(code)) {
      this.#end(endingOf(code));
      return;
    }
    const retryInMs = backoffMs(this.#attempt, Math.random());
    this.#attempt += 1;
    this.#retry = setTimeout(() => this.#connect(), retryInMs);
    this.#emit({ type: "lost", code, retryInMs });
  }

  #end(ending: Ending): void {
    if (this.#over) return;
    this.close();
    this.#emit({ type: "ended", ending });
  }

  // A connection that ended silently is found by the pings that do not come.
  #restartWatch(): void {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      this.#drop(4004);
    }, this.#pingEveryS * 3000);
  }

  #drop(code: number): void {
    const socket = this.#socket;
    clearTimeout(this.#watch);
    clearTimeout(this.#retry);
    if (socket === null) return;
    socket.close(1000);
    if (!this.#over) this.#closed(code); // a dead connection's own close event may come minutes later
    else this.#socket = null;
  }

  readonly #now = (): void => {
    if (this.#over || this.#socket !== null || document.visibilityState === "hidden") return;
    this.#attempt = 0;
    this.#connect();
  };

  #forget(): void {
    removeEventListener("online", this.#now);
    document.removeEventListener("visibilitychange", this.#now);
  }
}
