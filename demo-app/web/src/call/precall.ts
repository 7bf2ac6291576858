// The test before a call: sound goes to the server and back over a session of its own, and is counted.

import { audioContext } from "../media/meter";
import { callProblem } from "../media/problems";
import { SessionApi } from "./api";
import { planPulls } from "./plan";
import { MediaSession } from "./session";

export interface TestResult {
  verdict: "good" | "fair" | "bad";
  text: string;
}

export interface Measured {
  roundTripS: number | null;
  received: number;
  lost: number;
  relayed: boolean;
}

const MEASURE_MS = 3000;
const SLOW_S = 0.25;
const LOSSY = 0.03;

/** A verdict in words. Pure. */
export function verdictOf({ roundTripS, received, lost, relayed }: Measured): TestResult {
  if (received === 0) return { verdict: "bad", text: "The connection was made, but no sound came back. A firewall may drop it." };
  const fraction = lost / (lost + received);
  const time = roundTripS === null ? "" : `${Math.max(1, Math.round(roundTripS * 1000))} ms, `;
  const facts = `${time}${(fraction * 100).toFixed(fraction > 0 && fraction < 0.1 ? 1 : 0)} % loss${relayed ? ", by a relay" : ""}`;
  if (fraction > LOSSY) return { verdict: "fair", text: `Connected, but sound gets lost on the way (${facts}). A cable or a place nearer to the router helps.` };
  if (roundTripS !== null && roundTripS > SLOW_S) return { verdict: "fair", text: `Connected, but the way is long (${facts}). Others will hear you late.` };
  return { verdict: "good", text: `Your connection is good (${facts}).` };
}

/** Sends a tone that cannot be heard to the server and back for a few seconds. Never rejects. */
export async function preCallTest(): Promise<TestResult> {
  let session: MediaSession | null = null;
  const tone = silentTone();
  try {
    session = await MediaSession.open(new SessionApi(() => "", "/api"), {}, { state: () => undefined, received: () => undefined, made: () => undefined });
    await session.publish([{ source: "microphone", track: tone.track }]);
    await session.connected();
    const [track] = session.published;
    if (track === undefined) throw new Error("nothing was published");
    const want = { sessionId: session.id, trackName: track.name, kind: "audio" as const, layer: null };
    const failures = await session.apply(planPulls([], [want]));
    if (failures.length > 0) return verdictOf({ roundTripS: null, received: 0, lost: 0, relayed: false });
    await new Promise((go) => setTimeout(go, MEASURE_MS));
    return verdictOf(await measure(session.pc));
  } catch (error) {
    const { title, text } = callProblem(error);
    return { verdict: "bad", text: `${title}. ${text}` };
  } finally {
    session?.end();
    tone.stop();
  }
}

async function measure(pc: RTCPeerConnection): Promise<Measured> {
  const measured: Measured = { roundTripS: null, received: 0, lost: 0, relayed: false };
  const report = await pc.getStats();
  report.forEach((entry: Record<string, unknown>) => {
    if (entry["type"] === "inbound-rtp") {
      measured.received += Number(entry["packetsReceived"] ?? 0);
      measured.lost += Math.max(0, Number(entry["packetsLost"] ?? 0));
    }
    if (entry["type"] === "candidate-pair" && entry["nominated"] === true && typeof entry["currentRoundTripTime"] === "number") {
      measured.roundTripS = entry["currentRoundTripTime"];
      const local = report.get(String(entry["localCandidateId"])) as { candidateType?: string } | undefined;
      measured.relayed = local?.candidateType === "relay";
    }
  });
  return measured;
}

function silentTone(): { track: MediaStreamTrack; stop: () => void } {
  const context = audioContext();
  const tone = context.createOscillator();
  const volume = context.createGain();
  const out = context.createMediaStreamDestination();
  volume.gain.value = 0.0001;
  tone.connect(volume).connect(out);
  tone.start();
  const [track] = out.stream.getAudioTracks();
  if (track === undefined) throw new Error("this browser makes no sound");
  return {
    track,
    stop: () => {
      tone.stop();
      track.stop();
    },
  };
}
