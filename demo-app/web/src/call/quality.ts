// How good the connection to somebody is, from what the browser counts. Pure.

export type Quality = "good" | "fair" | "poor";

/** Totals of one received track at a moment. */
export interface Counted {
  packets: number;
  lost: number;
  /** Seconds without a new frame, or of sound that was made up. */
  broken: number;
  at: number;
}

const FAIR_LOSS = 0.03;
const POOR_LOSS = 0.1;
const FAIR_BROKEN = 0.05; // of the time
const POOR_BROKEN = 0.2;
const FEWEST = 20; // packets to judge by

/** The quality of the time between two counts of a track. */
export function qualityOf(before: Counted | null, now: Counted): Quality {
  if (before === null || now.at <= before.at) return "good";
  const received = now.packets - before.packets;
  const lost = Math.max(0, now.lost - before.lost);
  if (received + lost < FEWEST) return "good";
  const loss = lost / (received + lost);
  const broken = Math.max(0, now.broken - before.broken) / (now.at - before.at);
  if (loss > POOR_LOSS || broken > POOR_BROKEN) return "poor";
  if (loss > FAIR_LOSS || broken > FAIR_BROKEN) return "fair";
  return "good";
}

const ORDER: readonly Quality[] = ["good", "fair", "poor"];

export function worst(qualities: readonly Quality[]): Quality {
  return qualities.reduce<Quality>((a, b) => (ORDER.indexOf(b) > ORDER.indexOf(a) ? b : a), "good");
}
