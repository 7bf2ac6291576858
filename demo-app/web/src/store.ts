// A value that can be watched. The value is never changed in place, so who watches can compare it by identity.

export interface Readable<T> {
  get: () => T;
  subscribe: (listener: () => void) => () => void;
}

export class Store<T extends object> implements Readable<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get = (): T => this.#value;

  /** Changes some fields; who watches is told unless all are what they were. */
  set = (change: Partial<T>): void => {
    const keys = Object.keys(change) as (keyof T)[];
    if (keys.every((key) => Object.is(this.#value[key], change[key]))) return;
    this.#value = { ...this.#value, ...change };
    for (const listener of [...this.#listeners]) listener();
  };

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
}
