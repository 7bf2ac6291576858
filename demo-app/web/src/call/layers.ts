// The layers of a camera's simulcast, and which of them a tile is shown with.

/** Names sort from best to worst, as the API's `asciibetical` wants. */
export type Layer = "f" | "h" | "q";

export const LAYERS: readonly { rid: Layer; scaleResolutionDownBy: number; maxBitrate: number }[] = [
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
];

export type VideoLimit = "full" | "saver" | "off";

const FULL_FROM = 432; // device pixels of height from which half the camera's 720 lines look soft
const HALF_FROM = 216;
const KEPT = 0.85; // a tile that shrinks a little keeps its layer, so that a window's edge can be dragged

/** The layer for a tile of this height in device pixels; `now` is what it is shown with. */
export function layerFor(height: number, limit: VideoLimit, now: Layer | null = null): Layer {
  const wanted = (from: number, layer: Layer): boolean => height >= (now !== null && now <= layer ? from * KEPT : from);
  if (limit === "full" && wanted(FULL_FROM, "f")) return "f";
  return wanted(HALF_FROM, "h") ? "h" : "q";
}
