// What this browser keeps of rooms: the token of a seat for its tab, the host key of a room that was made here.

import { inviteHash, type Invite } from "./link";
import type { Made } from "./messages";

const SEAT = "orchard.seat.";
const HOST = "orchard.host.";
const HOST_KEYS_KEPT = 50;

export function seatToken(room: string): string | null {
  return sessionStorage.getItem(SEAT + room);
}

export function keepSeat(room: string, token: string): void {
  sessionStorage.setItem(SEAT + room, token);
}

export function forgetSeat(room: string): void {
  sessionStorage.removeItem(SEAT + room);
}

export function hostKey(room: string): string | null {
  return localStorage.getItem(HOST + room);
}

/** Keeps the host key of a room that was just made, and returns its invite's fragment. */
export function keepMade(made: Made): string {
  const known = Object.keys(localStorage).filter((key) => key.startsWith(HOST));
  for (const key of known.slice(0, Math.max(0, known.length - HOST_KEYS_KEPT + 1))) localStorage.removeItem(key);
  localStorage.setItem(HOST + made.room, made.hostKey);
  const invite: Invite = { room: made.room, key: made.key, passphrase: null };
  return inviteHash(invite);
}
