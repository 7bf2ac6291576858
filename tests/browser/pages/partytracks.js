// A page that uses partytracks as its README does: push picture and sound, pull them back.

import { BehaviorSubject, PartyTracks, of } from "/bundles/partytracks.js";

let party = null;
let current = null;
const sessions = [];
const pulled = {};
let stream = null;

export async function start() {
  stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 180 } });
  party = new PartyTracks({ apiExtraParams: "userId=123" });
  party.session$.subscribe((session) => {
    sessions.push(session.sessionId);
    current = session;
  });
  for (const track of stream.getTracks()) {
    const metadata$ = party.push(new BehaviorSubject(track).asObservable());
    party.pull(metadata$).subscribe((remote) => {
      const element = document.createElement(remote.kind);
      element.muted = remote.kind === "video"; // Chromium counts no energy of a muted element's sound
      element.autoplay = true;
      element.srcObject = new MediaStream([remote]);
      document.body.append(element);
      void element.play();
      pulled[track.kind] = [...(pulled[track.kind] ?? []), remote.id];
    });
  }
}

/** What the library does when the connection is lost: the state is "closed" and it is told so. */
export function breakConnection() {
  const pc = current.peerConnection;
  pc.close();
  pc.dispatchEvent(new Event("connectionstatechange"));
}

/** Push one more camera, pull it, and unsubscribe again: both tracks are closed by negotiation. */
export async function pushPullAndClose() {
  const track = stream.getVideoTracks()[0].clone();
  const remote = await new Promise((resolve) => {
    const subscription = party.pull(party.push(of(track))).subscribe((pulledTrack) => {
      setTimeout(() => {
        subscription.unsubscribe();
        resolve(pulledTrack);
      }, 500);
    });
  });
  return remote.id;
}

export async function state() {
  const report = current ? [...(await current.peerConnection.getStats()).values()] : [];
  const inbound = report.filter(({ type }) => type === "inbound-rtp");
  const errors = (party?.history.entries ?? [])
    .filter(({ type, body }) => type === "response" && (body.errorCode || body.tracks?.some((t) => t.errorCode)))
    .map(({ body }) => body);
  return {
    sessions,
    pulled,
    state: current?.peerConnection.connectionState ?? "none",
    frames: Math.max(0, ...inbound.map(({ framesDecoded }) => framesDecoded ?? 0)),
    energy: Math.max(0, ...inbound.map(({ totalAudioEnergy }) => totalAudioEnergy ?? 0)),
    errors,
  };
}
export function history() { return party.history.entries.map((e)=>JSON.stringify(e).replaceAll(/"sdp":"(.*?)"/g,(m,s)=>"SDP["+(s.match(/(m=\w+ \d+|a=mid:\w+|ice-ufrag:\w+|BUNDLE[ \d]*|a=setup:\w+|a=candidate\S* \d+ \w+ \d+ \S+ \d+)/g)||[]).join(",")+"]")); }
