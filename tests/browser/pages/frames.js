// How steadily a received picture moves: the times between frames as the page shows them.

import { pull, sessionOf } from "./peers.js";

const LONG_MS = 150; // shorter gaps are counted by none
const watches = new Map();

function elementOf(track) {
  const shows = ({ srcObject }) => srcObject?.getTracks().includes(track);
  return [...document.querySelectorAll("video")].find(shows);
}

/** Watch from now on; again for the same track, from then on anew. */
export function watchFrames({ peer, mid }) {
  const { receiver } = sessionOf(peer).pc.getTransceivers().find((one) => one.mid === mid);
  const video = elementOf(receiver.track);
  const now = performance.now();
  const watch = { frames: 0, startedAt: now, lastAt: now, gaps: [] };
  const onFrame = (_now, { presentationTime }) => {
    if (watches.get(`${peer} ${mid}`) !== watch) return;
    const gap = presentationTime - watch.lastAt;
    if (gap >= LONG_MS) watch.gaps.push(gap);
    watch.lastAt = presentationTime;
    watch.frames += 1;
    video.requestVideoFrameCallback(onFrame);
  };
  watches.set(`${peer} ${mid}`, watch);
  video.requestVideoFrameCallback(onFrame);
}

/** Frames shown since `watchFrames`, and every gap of LONG_MS and more, the one that lasts included. */
export function frameGaps({ peer, mid }) {
  const { frames, startedAt, lastAt, gaps } = watches.get(`${peer} ${mid}`);
  const now = performance.now();
  const open = now - lastAt;
  return { frames, ms: now - startedAt, gaps: open < LONG_MS ? gaps : [...gaps, open] };
}

/** Pull one track; milliseconds from the call to the end of the negotiation and to the first frame shown. */
export async function firstFrame({ peer, item }) {
  const startedAt = performance.now();
  const [{ mid, errorCode }] = await pull({ peer, items: [item] });
  if (errorCode) throw new Error(errorCode);
  const negotiatedMs = performance.now() - startedAt;
  const { receiver } = sessionOf(peer).pc.getTransceivers().find((one) => one.mid === mid);
  const shownAt = await new Promise((resolve) => {
    const shown = (_now, { presentationTime }) => resolve(presentationTime);
    elementOf(receiver.track).requestVideoFrameCallback(shown);
  });
  return { mid, negotiatedMs, shownMs: shownAt - startedAt };
}
