// Peers of a test in this page: sessions by name, what they publish, and what they receive.
// Every received track plays in an element, since browsers do not decode what nobody plays.

import { SessionApi, SfuSession, collectStats } from "/static/client.js";

const peers = new Map();
const streams = new Map(); // by size and frame rate: one camera for all that want the same
let elements = [];

async function source(kind, { width = 320, height = 180, fps = 30 } = {}) {
  const key = kind === "audio" ? "audio" : `${width}x${height}@${fps}`;
  if (!streams.has(key)) {
    const constraints =
      kind === "audio" ? { audio: true } : { video: { width, height, frameRate: fps } };
    streams.set(key, navigator.mediaDevices.getUserMedia(constraints));
  }
  const [track] = (await streams.get(key)).getTracks();
  return track.clone();
}

// A black picture once a second and silence: what partytracks sends while muted.
function black() {
  const canvas = document.createElement("canvas");
  canvas.width = 1280;
  canvas.height = 720;
  const context = canvas.getContext("2d");
  const draw = () => context.fillRect(0, 0, canvas.width, canvas.height);
  draw();
  setInterval(draw, 1000);
  return canvas.captureStream(1).getVideoTracks()[0];
}

function silence() {
  const context = new AudioContext();
  const tone = context.createOscillator();
  const gain = context.createGain();
  const out = context.createMediaStreamDestination();
  gain.gain.value = 0;
  tone.frequency.value = 20;
  tone.connect(gain).connect(out);
  tone.start();
  return out.stream.getAudioTracks()[0];
}

const makers = { audio: (o) => source("audio", o), video: (o) => source("video", o), black, silence };

function play(track) {
  const element = document.createElement(track.kind);
  element.muted = track.kind === "video"; // Chromium counts no energy of a muted element's sound
  element.autoplay = true;
  element.playsInline = true;
  element.srcObject = new MediaStream([track]);
  document.body.append(element);
  void element.play();
  elements.push(element);
}

function plain(items) {
  return items.map(({ transceiver, track, ...item }) => ({ ...item, kind: track?.kind ?? item.kind }));
}

export async function open({ peer, root, secret, config }) {
  const session = await SfuSession.open(new SessionApi(root, { secret }), { config });
  peers.set(peer, session);
  return session.id;
}

/** items: [{name, kind: "audio" | "video" | "black" | "silence", codecs?, encodings?, size?}] */
async function sources(items) {
  return Promise.all(
    items.map(async ({ name, kind, size, codecs, encodings }) => ({
      name,
      codecs,
      encodings,
      track: await makers[kind](size),
    })),
  );
}

export async function push({ peer, items }) {
  return plain(await peers.get(peer).push(await sources(items)));
}

export async function pushByServerOffer({ peer, items }) {
  return plain(await peers.get(peer).pushByServerOffer(await sources(items)));
}

function playAll(items) {
  for (const { track } of items) if (track) play(track);
  return plain(items);
}

export async function pull({ peer, items }) {
  return playAll(await peers.get(peer).pull(items));
}

export async function pullByClientOffer({ peer, items }) {
  return playAll(await peers.get(peer).pullByClientOffer(items));
}

export async function close({ peer, mids }) {
  const session = peers.get(peer);
  const transceivers = session.pc.getTransceivers().filter(({ mid }) => mids.includes(mid));
  return session.close(transceivers);
}

export function forceClose({ peer, mids }) {
  return peers.get(peer).forceClose(mids);
}

export function update({ peer, tracks }) {
  return peers.get(peer).update(tracks);
}

export async function setDirection({ peer, mid, direction }) {
  const session = peers.get(peer);
  session.pc.getTransceivers().find((one) => one.mid === mid).direction = direction;
  await session.reoffer();
}

export function restartIce({ peer }) {
  return peers.get(peer).restartIce();
}

export function inspect({ peer }) {
  return peers.get(peer).inspect();
}

export async function connected({ peer }) {
  const session = peers.get(peer);
  await session.connected;
  return session.connectedAfterMs;
}

export function stats({ peer }) {
  return collectStats(peers.get(peer).pc);
}

/** The candidate pairs that carry something: types of candidates, and how the relay is reached. */
export async function pairs({ peer }) {
  const report = await peers.get(peer).pc.getStats();
  return [...report.values()]
    .filter(({ type, state, bytesSent }) => type === "candidate-pair" && state === "succeeded" && bytesSent > 0)
    .map(({ localCandidateId, remoteCandidateId }) => ({
      local: report.get(localCandidateId)?.candidateType,
      remote: report.get(remoteCandidateId)?.candidateType,
      protocol: report.get(localCandidateId)?.relayProtocol,
    }));
}

/** Bytes so far: those that the senders count as sent, and those that candidate pairs have carried. */
export async function sentBytes({ peer }) {
  const all = [...(await peers.get(peer).pc.getStats()).values()];
  const sum = (type) =>
    all.filter((entry) => entry.type === type).reduce((total, { bytesSent = 0 }) => total + bytesSent, 0);
  return { senders: sum("outbound-rtp"), pairs: sum("candidate-pair") };
}

export function descriptions({ peer }) {
  const { pc } = peers.get(peer);
  return { local: pc.localDescription?.sdp ?? "", remote: pc.remoteDescription?.sdp ?? "" };
}

/** Transceivers as {mid, direction, kind} in order. */
export function transceivers({ peer }) {
  return peers
    .get(peer)
    .pc.getTransceivers()
    .map(({ mid, currentDirection, receiver }) => ({
      mid,
      direction: currentDirection,
      kind: receiver.track.kind,
    }));
}

export function end({ peer }) {
  peers.get(peer).end();
  peers.delete(peer);
}

export function endAll() {
  for (const session of peers.values()) session.end();
  peers.clear();
  for (const element of elements) {
    element.srcObject = null;
    element.remove();
  }
  elements = [];
}

/** The size and the mean brightness (0..255) of what the n-th video element shows. */
export function picture({ index = 0 } = {}) {
  const video = elements.filter((element) => element instanceof HTMLVideoElement)[index];
  const canvas = new OffscreenCanvas(16, 16);
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 16, 16);
  const { data } = context.getImageData(0, 0, 16, 16);
  let sum = 0;
  for (let i = 0; i < data.length; i += 4) sum += (data[i] + data[i + 1] + data[i + 2]) / 3;
  return { width: video.videoWidth, height: video.videoHeight, brightness: sum / 256 };
}

/** For a test that goes its own way: its PeerConnection and the session id of a peer. */
export function sessionOf(peer) {
  return peers.get(peer);
}
