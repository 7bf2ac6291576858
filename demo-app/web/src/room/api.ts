// The room's HTTP side: making one, and where its socket is.

import type { Made } from "./messages";

export class RoomError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = "RoomError";
    this.status = status;
  }
}

/** Makes a room; what is answered belongs to its maker. Rejects with RoomError, or TypeError without a network. */
export async function makeRoom(): Promise<Made> {
  const response = await fetch("/api/rooms", { method: "POST" });
  if (!response.ok) {
    const busy = response.status === 429 || response.status === 503;
    throw new RoomError(response.status, busy ? "The server has no room for another meeting right now." : `The server answered ${response.status}.`);
  }
  return (await response.json()) as Made;
}

export function socketUrl(location: Location): string {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/api/room/socket`;
}
