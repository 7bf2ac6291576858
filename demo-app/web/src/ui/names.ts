// How people are shown where there is no picture of them.

/** One or two letters for a name; those of any script, never half a character. */
export function initialsOf(name: string): string {
  const words = name.split(/[\s_.-]+/u).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const firsts = words.map((word) => /[\p{L}\p{N}]/u.exec(word)?.[0] ?? "");
  const [first = "?", ...rest] = firsts;
  return (rest.length === 0 ? first : first + (rest.at(-1) ?? "")).toLocaleUpperCase();
}

const HUES = 12;

/** A number from 0 to 11 that stays with a member: the colour behind the initials. */
export function hueOf(id: string): number {
  let sum = 0;
  for (const char of id) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 9973;
  return sum % HUES;
}

/** A time span as a clock: 4:05, 1:04:05. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part, index) => (index === 0 ? String(part) : String(part).padStart(2, "0"))).join(":");
}

export interface Piece {
  text: string;
  href: string | null;
}

const LINK = /https?:\/\/[^\s<>"'`]+/gu;
const AFTER = /[.,;:!?)\]}]+$/u;

/** A text in pieces, of which some are web addresses. Only http and https: no other scheme can be clicked. */
export function linked(text: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const found of text.matchAll(LINK)) {
    const address = found[0].replace(AFTER, "");
    if (!URL.canParse(address)) continue;
    if (found.index > at) pieces.push({ text: text.slice(at, found.index), href: null });
    pieces.push({ text: address, href: address });
    at = found.index + address.length;
  }
  if (at < text.length) pieces.push({ text: text.slice(at), href: null });
  return pieces;
}
