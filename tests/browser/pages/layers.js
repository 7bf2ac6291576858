// Watches what a received video shows while the layer that is wanted changes: each frame with its moment,
// its size and, where the browser tells, its RTP timestamp.

import { sessionOf } from "/pages/peers.js";

const GIVE_UP_MS = 5000;
const RAMP_MS = 20000; // a browser sends its highest layer when it believes its uplink to bear it
const watches = new Map();

function element(peer, mid) {
  const { pc } = sessionOf(peer);
  const { track } = pc.getTransceivers().find((one) => one.mid === mid).receiver;
  return [...document.querySelectorAll("video")].find(
    ({ srcObject }) => srcObject?.getTracks()[0]?.id === track.id,
  );
}

class Watch {
  constructor(video) {
    this.video = video;
    this.frames = [];
    this.waiting = [];
    this.over = false;
    this.next();
  }

  next() {
    this.video.requestVideoFrameCallback((now, { width, height, rtpTimestamp, presentedFrames }) => {
      if (this.over) return;
      this.next();
      this.frames.push({ at: now, width, height, rtp: rtpTimestamp, shown: presentedFrames });
      this.waiting = this.waiting.filter((tell) => !tell(width));
    });
  }

  /** Resolves with the moment at which a picture of that width is shown, or null if none comes in time. */
  width(wanted, deadlineMs) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(null), deadlineMs);
      this.waiting.push((width) => {
        if (width !== wanted) return false;
        clearTimeout(timer);
        resolve(performance.now());
        return true;
      });
    });
  }
}

/** Begins to watch; resolves when a picture of that width is shown: whether it came. */
export async function watch({ peer, mid, width }) {
  const seen = new Watch(element(peer, mid));
  watches.set(`${peer} ${mid}`, seen);
  return (await seen.width(width, RAMP_MS)) !== null;
}

/** Resolves when a picture of that width is shown: whether it came. */
export async function width({ peer, mid, width }) {
  return (await watches.get(`${peer} ${mid}`).width(width, RAMP_MS)) !== null;
}

/**
 * One layer after the other, the next as soon as the picture has the size of the one before and has
 * stayed for `stayMs`. track: {sessionId, trackName}; layers: [{rid, width}]. Milliseconds from each wish to
 * its first picture, null where none came.
 */
export async function visit({ peer, mid, track, layers, stayMs, simulcast = {} }) {
  const session = sessionOf(peer);
  const seen = watches.get(`${peer} ${mid}`);
  const took = [];
  for (const { rid, width } of layers) {
    const start = performance.now();
    const shown = seen.width(width, GIVE_UP_MS);
    const wish = { preferredRid: rid, ...simulcast };
    const [item] = await session.update([{ location: "remote", mid, ...track, simulcast: wish }]);
    if (item.errorCode) throw new Error(`${rid}: ${item.errorCode} ${item.errorDescription}`);
    const at = await shown;
    took.push(at === null ? null : Math.round(at - start));
    await new Promise((resolve) => setTimeout(resolve, stayMs));
  }
  return took;
}

/** The frames since the last call: milliseconds between them, widths in turn, and steps of their RTP timestamps. */
export function frames({ peer, mid }) {
  const seen = watches.get(`${peer} ${mid}`);
  const { frames } = seen;
  seen.frames = frames.slice(-1);
  const pairs = frames.slice(1).map((frame, i) => [frames[i], frame]);
  return {
    count: pairs.length,
    gapsMs: pairs.map(([early, late]) => Math.round(late.at - early.at)),
    missed: pairs.reduce((sum, [early, late]) => sum + late.shown - early.shown - 1, 0),
    widths: frames.map(({ width }) => width).filter((width, i, all) => i === 0 || all[i - 1] !== width),
    rtpSteps: pairs
      .filter(([early, late]) => early.rtp !== undefined && late.rtp !== undefined)
      .map(([early, late]) => (late.rtp - early.rtp) | 0),
  };
}

/** Stops or resumes layers of a sent video: active by rid. */
export async function setActive({ peer, mid, active }) {
  const { sender } = sessionOf(peer).pc.getTransceivers().find((one) => one.mid === mid);
  const parameters = sender.getParameters();
  for (const encoding of parameters.encodings) encoding.active = active[encoding.rid] ?? encoding.active;
  await sender.setParameters(parameters);
}
