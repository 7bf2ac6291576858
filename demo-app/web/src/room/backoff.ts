const FIRST_MS = 500;
const LONGEST_MS = 8000;

/** How long to wait before the attempt of this number (from 0): 0.5, 1, 2, 4, then 8 s, a fifth more or less by `random`. */
export function backoffMs(attempt: number, random: number): number {
  const plain = Math.min(FIRST_MS * 2 ** Math.min(attempt, 10), LONGEST_MS);
  return Math.round(plain * (0.8 + 0.4 * random));
}
