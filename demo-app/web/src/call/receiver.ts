// Keeps what a session receives in step with what is wanted, in as few calls as it takes.

import { ApiError } from "./api";
import { isEmpty, keyOf, planPulls, type Want } from "./plan";
import type { MediaSession } from "./session";

const GATHER_MS = 40; // changes of one moment (a page of tiles, a move to another room) are one plan
const RETRY_MS = [300, 700, 1500, 3000, 5000] as const;
const FORGOTTEN_MS = 60_000;

export class Receiver {
  readonly #session: MediaSession;
  readonly #broken: (error: unknown) => void;
  readonly #failed = new Map<string, { tries: number; at: number; again: number }>();
  #wants: readonly Want[] = [];
  #timer = 0;
  #running = false;
  #stopped = false;

  /** `broken` is told when the session itself does not work any more. */
  constructor(session: MediaSession, broken: (error: unknown) => void) {
    this.#session = session;
    this.#broken = broken;
  }

  want(wants: readonly Want[]): void {
    this.#wants = wants;
    this.#soon(GATHER_MS);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #soon(ms: number): void {
    if (this.#stopped || this.#running) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#run(), ms);
  }

  async #run(): Promise<void> {
    this.#running = true;
    let again = 0;
    try {
      while (!this.#stopped) {
        const now = performance.now();
        const due = this.#wants.filter((want) => (this.#failed.get(keyOf(want))?.again ?? 0) <= now);
        const plan = planPulls(this.#session.slots, due);
        if (isEmpty(plan)) break;
        const failures = await this.#session.apply(plan);
        const failed = new Set(failures.map(({ want }) => keyOf(want)));
        for (const want of due) if (!failed.has(keyOf(want))) this.#failed.delete(keyOf(want));
        for (const { want } of failures) this.#fail(want, now);
      }
    } catch (error) {
      if (error instanceof ApiError && error.passes) again = RETRY_MS[2];
      else if (!this.#stopped) this.#broken(error);
    }
    this.#running = false;
    const later = [...this.#failed.values()].map((failed) => failed.again - performance.now());
    if (later.length > 0) again = Math.max(50, Math.min(again || Infinity, ...later));
    if (again > 0) this.#soon(again);
  }

  #fail(want: Want, now: number): void {
    const key = keyOf(want);
    const before = this.#failed.get(key);
    const tries = before === undefined || now - before.at > FORGOTTEN_MS ? 0 : before.tries + 1;
    const wait = RETRY_MS[Math.min(tries, RETRY_MS.length - 1)] ?? 0;
    this.#failed.set(key, { tries, at: now, again: performance.now() + wait });
  }
}
