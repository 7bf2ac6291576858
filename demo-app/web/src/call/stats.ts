// A PeerConnection's statistics as plain values. Browsers lack some of them: those are undefined, never 0.

import type { Counted } from "./quality";

export interface InboundStats {
  mid: string;
  kind: string;
  codec?: string | undefined;
  packets: number;
  lost: number;
  bytes: number;
  jitter?: number | undefined;
  width?: number | undefined;
  height?: number | undefined;
  fps?: number | undefined;
  framesDecoded?: number | undefined;
  freezes?: number | undefined;
  frozenS?: number | undefined;
  concealedS?: number | undefined;
  nacks?: number | undefined;
  repaired?: number | undefined;
  plis?: number | undefined;
  energy?: number | undefined;
}

export interface OutboundStats {
  mid: string;
  kind: string;
  rid?: string | undefined;
  codec?: string | undefined;
  bytes: number;
  packets: number;
  width?: number | undefined;
  height?: number | undefined;
  fps?: number | undefined;
  limitation?: string | undefined;
  nacks?: number | undefined;
  repaired?: number | undefined;
  roundTripS?: number | undefined;
  fractionLost?: number | undefined;
}

export interface TransportStats {
  state: string;
  dtls?: string | undefined;
  srtpCipher?: string | undefined;
  roundTripS?: number | undefined;
  localType?: string | undefined;
  protocol?: string | undefined;
  remoteAddress?: string | undefined;
  bytesSent?: number | undefined;
  bytesReceived?: number | undefined;
  /** How often ICE and DTLS were begun, as far as the browser tells. */
  dtlsRole?: string | undefined;
  availableOut?: number | undefined;
}

export interface Stats {
  atMs: number;
  transport: TransportStats;
  inbound: InboundStats[];
  outbound: OutboundStats[];
}

type Entry = Record<string, unknown> & { id: string; type: string };

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

export async function collectStats(pc: RTCPeerConnection): Promise<Stats> {
  const report = await pc.getStats();
  const all = new Map<string, Entry>();
  report.forEach((entry: Entry) => all.set(entry.id, entry));
  const entries = [...all.values()];
  const mids = new Map<string, string>();
  for (const { mid, receiver, sender } of pc.getTransceivers()) {
    if (mid === null) continue;
    mids.set(`in ${receiver.track.id}`, mid);
    if (sender.track !== null) mids.set(`out ${sender.track.id}`, mid);
  }
  const codec = (entry: Entry): string | undefined => text(all.get(text(entry["codecId"]) ?? "")?.["mimeType"])?.split("/")[1];
  const far = new Map(entries.filter(({ type }) => type === "remote-inbound-rtp").map((entry) => [entry["ssrc"], entry]));

  const inbound = entries.filter(({ type }) => type === "inbound-rtp").map((entry): InboundStats => {
    const samples = number(entry["totalSamplesReceived"]) ?? 0;
    const duration = number(entry["totalSamplesDuration"]) ?? 0;
    const rate = samples > 0 && duration > 0 ? samples / duration : 48_000;
    const concealed = number(entry["concealedSamples"]);
    const silent = number(entry["silentConcealedSamples"]) ?? 0;
    return {
      mid: text(entry["mid"]) ?? mids.get(`in ${text(entry["trackIdentifier"]) ?? ""}`) ?? "",
      kind: text(entry["kind"]) ?? "",
      codec: codec(entry),
      packets: number(entry["packetsReceived"]) ?? 0,
      lost: number(entry["packetsLost"]) ?? 0,
      bytes: number(entry["bytesReceived"]) ?? 0,
      jitter: number(entry["jitter"]),
      width: number(entry["frameWidth"]),
      height: number(entry["frameHeight"]),
      fps: number(entry["framesPerSecond"]),
      framesDecoded: number(entry["framesDecoded"]),
      freezes: number(entry["freezeCount"]),
      frozenS: number(entry["totalFreezesDuration"]),
      concealedS: concealed === undefined ? undefined : (concealed - silent) / rate,
      nacks: number(entry["nackCount"]),
      repaired: number(entry["retransmittedPacketsReceived"]),
      plis: number(entry["pliCount"]),
      energy: number(entry["totalAudioEnergy"]),
    };
  });

  const outbound = entries.filter(({ type }) => type === "outbound-rtp").map((entry): OutboundStats => {
    const remote = far.get(entry["ssrc"]);
    const source = all.get(text(entry["mediaSourceId"]) ?? "");
    return {
      mid: text(entry["mid"]) ?? mids.get(`out ${text(source?.["trackIdentifier"]) ?? ""}`) ?? "",
      kind: text(entry["kind"]) ?? "",
      rid: text(entry["rid"]),
      codec: codec(entry),
      bytes: number(entry["bytesSent"]) ?? 0,
      packets: number(entry["packetsSent"]) ?? 0,
      width: number(entry["frameWidth"]),
      height: number(entry["frameHeight"]),
      fps: number(entry["framesPerSecond"]),
      limitation: text(entry["qualityLimitationReason"]),
      nacks: number(entry["nackCount"]),
      repaired: number(entry["retransmittedPacketsSent"]),
      roundTripS: number(remote?.["roundTripTime"]),
      fractionLost: number(remote?.["fractionLost"]),
    };
  });

  const transport = entries.find(({ type }) => type === "transport");
  const pair =
    all.get(text(transport?.["selectedCandidatePairId"]) ?? "") ??
    entries.find((entry) => entry.type === "candidate-pair" && (entry["selected"] === true || (entry["nominated"] === true && entry["state"] === "succeeded")));
  const local = all.get(text(pair?.["localCandidateId"]) ?? "");
  const remote = all.get(text(pair?.["remoteCandidateId"]) ?? "");
  return {
    atMs: Date.now(),
    transport: {
      state: pc.connectionState,
      dtls: text(transport?.["dtlsState"]),
      dtlsRole: text(transport?.["dtlsRole"]),
      srtpCipher: text(transport?.["srtpCipher"]),
      roundTripS: number(pair?.["currentRoundTripTime"]),
      localType: text(local?.["candidateType"]),
      protocol: text(local?.["relayProtocol"]) ?? text(local?.["protocol"]),
      remoteAddress: remote === undefined ? undefined : `${text(remote["address"]) ?? "?"}:${number(remote["port"]) ?? "?"}`,
      bytesSent: number(pair?.["bytesSent"]),
      bytesReceived: number(pair?.["bytesReceived"]),
      availableOut: number(pair?.["availableOutgoingBitrate"]),
    },
    inbound,
    outbound,
  };
}

/** What `qualityOf` compares, by mid. */
export function countedByMid(stats: Stats): Map<string, Counted> {
  const at = stats.atMs / 1000;
  return new Map(
    stats.inbound.map(({ mid, packets, lost, frozenS, concealedS }) => [mid, { packets, lost, broken: (frozenS ?? 0) + (concealedS ?? 0), at }]),
  );
}
