// A client of the session API in plain browser code: one PeerConnection, any number of tracks.
//
//   const session = await SfuSession.open(new SessionApi(root));
//   await session.push([{ name: "camera", track }]);
//   const [camera] = await session.pull([{ sessionId, trackName: "camera" }]);
//   video.srcObject = new MediaStream([camera.track]);
//
// Offers are sent before candidates are gathered: the server is ICE-lite and learns the client's
// addresses from its connectivity checks. Mutations of one session run one after another.

/** What the API answered instead of success. `code` is its errorCode, or "" where it sent none. */
export class ApiError extends Error {
  constructor(status, code, description) {
    super(description || code || `HTTP ${status}`);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

const RETRIES = 3;
const RETRY_DELAY_MS = 300;

/** The HTTP side. `root` ends where `/sessions/new` begins, such as `https://host/v1/apps/APP`. */
export class SessionApi {
  #root;
  #headers;

  constructor(root, { secret } = {}) {
    this.#root = root;
    this.#headers = { "content-type": "application/json" };
    if (secret) this.#headers.authorization = `Bearer ${secret}`;
  }

  async #call(method, path, body) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#callOnce(method, path, body);
      } catch (error) {
        // 429 is said before anything has changed, so the same call may be made again.
        if (!(error instanceof ApiError) || error.status !== 429 || attempt === RETRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS * 2 ** attempt));
      }
    }
  }

  async #callOnce(method, path, body) {
    const response = await fetch(this.#root + path, {
      method,
      headers: this.#headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    let answer = {};
    try {
      answer = JSON.parse(text);
    } catch {
      throw new ApiError(response.status, "", `HTTP ${response.status}: the answer is not JSON`);
    }
    if (!response.ok || answer.errorCode) {
      throw new ApiError(response.status, answer.errorCode ?? "", answer.errorDescription ?? "");
    }
    return answer;
  }

  newSession(body, query = "") {
    return this.#call("POST", `/sessions/new${query}`, body);
  }

  newTracks(id, body) {
    return this.#call("POST", `/sessions/${id}/tracks/new`, body);
  }

  renegotiate(id, sessionDescription) {
    return this.#call("PUT", `/sessions/${id}/renegotiate`, { sessionDescription });
  }

  closeTracks(id, body) {
    return this.#call("PUT", `/sessions/${id}/tracks/close`, body);
  }

  updateTracks(id, tracks) {
    return this.#call("PUT", `/sessions/${id}/tracks/update`, { tracks });
  }

  inspect(id) {
    return this.#call("GET", `/sessions/${id}`);
  }
}

/** One session of the SFU and the PeerConnection that belongs to it. */
export class SfuSession {
  #api;
  #last = Promise.resolve();

  constructor(api, id, pc) {
    this.#api = api;
    this.id = id;
    this.pc = pc;
    this.openedAt = performance.now();
    this.connectedAfterMs = null; // from the first HTTP call; null until connected
    this.connected = new Promise((resolve, reject) => {
      pc.addEventListener("connectionstatechange", () => {
        if (pc.connectionState === "connected") {
          this.connectedAfterMs ??= performance.now() - this.openedAt;
          resolve();
        }
        if (pc.connectionState === "failed") reject(new Error("no media path to the server"));
      });
    });
    this.connected.catch(() => {}); // who does not wait for it need not handle it
  }

  static async open(api, { config = {}, correlationId } = {}) {
    const startedAt = performance.now();
    const query = correlationId === undefined ? "" : `?correlationId=${encodeURIComponent(correlationId)}`;
    const { sessionId } = await api.newSession(undefined, query);
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle", ...config });
    const session = new SfuSession(api, sessionId, pc);
    session.openedAt = startedAt;
    return session;
  }

  #serial(work) {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => {});
    return result;
  }

  async #localOffer() {
    await this.pc.setLocalDescription();
    const { type, sdp } = this.pc.localDescription;
    return { type, sdp };
  }

  async #answerTheirOffer(offer) {
    await this.pc.setRemoteDescription(offer);
    await this.pc.setLocalDescription();
    const { type, sdp } = this.pc.localDescription;
    await this.#api.renegotiate(this.id, { type, sdp });
  }

  async #takeDescription(answer) {
    if (!answer.sessionDescription) return;
    if (answer.sessionDescription.type === "offer") {
      await this.#answerTheirOffer(answer.sessionDescription);
    } else {
      await this.pc.setRemoteDescription(answer.sessionDescription);
    }
  }

  /**
   * Publish tracks with an offer of ours. Each item: {name, track, encodings?, codecs?, streams?};
   * `codecs` lists names such as "VP8" in order of preference. Resolves to
   * [{trackName, mid, transceiver, errorCode?, errorDescription?}] in the same order.
   */
  push(items) {
    return this.#serial(async () => {
      const transceivers = items.map(({ track, encodings, codecs, streams }) => {
        const init = { direction: "sendonly", streams: streams ?? [] };
        if (encodings) init.sendEncodings = encodings;
        const transceiver = this.pc.addTransceiver(track, init);
        if (codecs) preferCodecs(transceiver, track.kind, codecs);
        return transceiver;
      });
      const sessionDescription = await this.#localOffer();
      const tracks = items.map(({ name }, index) => ({
        location: "local",
        mid: transceivers[index].mid,
        trackName: name,
      }));
      const answer = await this.#api.newTracks(this.id, { sessionDescription, tracks });
      await this.#takeDescription(answer);
      return answer.tracks.map((item, index) => ({ ...item, transceiver: transceivers[index] }));
    });
  }

  /**
   * Publish by an offer of the server's. Each item: {name, track}. The offer's receiving
   * sections get the tracks before they are answered.
   */
  pushByServerOffer(items) {
    return this.#serial(async () => {
      const tracks = items.map(({ name, track }) => ({
        location: "local",
        trackName: name,
        kind: track.kind,
      }));
      const answer = await this.#api.newTracks(this.id, { tracks });
      const offer = answer.sessionDescription;
      await this.pc.setRemoteDescription(offer);
      const transceivers = [];
      for (const [index, item] of answer.tracks.entries()) {
        const transceiver = this.pc.getTransceivers().find(({ mid }) => mid === item.mid);
        transceivers.push(transceiver);
        if (!transceiver) continue;
        await transceiver.sender.replaceTrack(items[index].track);
        transceiver.direction = "sendonly";
      }
      await this.pc.setLocalDescription();
      const { type, sdp } = this.pc.localDescription;
      await this.#api.renegotiate(this.id, { type, sdp });
      return answer.tracks.map((item, index) => ({ ...item, transceiver: transceivers[index] }));
    });
  }

  /**
   * Receive tracks, by an offer of the server's. Each item: {sessionId, trackName, simulcast?}.
   * Resolves to the server's items, each with `transceiver` and `track` where it worked.
   */
  pull(items) {
    return this.#serial(async () => {
      const tracks = items.map((item) => ({ location: "remote", ...item }));
      const answer = await this.#api.newTracks(this.id, { tracks });
      await this.#takeDescription(answer);
      return this.#withTransceivers(answer.tracks);
    });
  }

  /** Receive tracks by an offer of ours with receiving sections: {sessionId, trackName, kind} each. */
  pullByClientOffer(items) {
    return this.#serial(async () => {
      const transceivers = items.map(({ kind }) =>
        this.pc.addTransceiver(kind, { direction: "recvonly" }),
      );
      const sessionDescription = await this.#localOffer();
      const tracks = items.map((item, index) => ({
        location: "remote",
        mid: transceivers[index].mid,
        ...item,
      }));
      const answer = await this.#api.newTracks(this.id, { sessionDescription, tracks });
      await this.#takeDescription(answer);
      return this.#withTransceivers(answer.tracks);
    });
  }

  #withTransceivers(tracks) {
    const byMid = new Map(this.pc.getTransceivers().map((t) => [t.mid, t]));
    return tracks.map((item) => {
      const transceiver = item.mid ? byMid.get(item.mid) : undefined;
      return transceiver ? { ...item, transceiver, track: transceiver.receiver.track } : item;
    });
  }

  /** Stop transceivers of ours and tell the server by an offer. Resolves to its items. */
  close(transceivers) {
    return this.#serial(async () => {
      const tracks = transceivers.map(({ mid }) => ({ mid }));
      for (const transceiver of transceivers) transceiver.stop();
      const sessionDescription = await this.#localOffer();
      const answer = await this.#api.closeTracks(this.id, { tracks, sessionDescription, force: false });
      await this.#takeDescription(answer);
      return answer.tracks;
    });
  }

  /** Stop the media of some mids without an offer; their sections stay. */
  forceClose(mids) {
    return this.#serial(async () => {
      const tracks = mids.map((mid) => ({ mid }));
      return (await this.#api.closeTracks(this.id, { tracks, force: true })).tracks;
    });
  }

  /** Swap the publication behind a pulled mid, or change its simulcast preferences. */
  update(tracks) {
    return this.#serial(async () => (await this.#api.updateTracks(this.id, tracks)).tracks);
  }

  /** Tell the server what changed in our offer: a direction, or (after `restartIce`) the ICE credentials. */
  reoffer() {
    return this.#serial(async () => {
      const answer = await this.#api.renegotiate(this.id, await this.#localOffer());
      await this.#takeDescription(answer);
    });
  }

  /** Find a new path to the server, say after a change of network. The server offers 60 s for it. */
  restartIce() {
    this.pc.restartIce();
    return this.reoffer();
  }

  /** What the server knows of this session. */
  inspect() {
    return this.#api.inspect(this.id);
  }

  /** End the PeerConnection; the server notices by DTLS. */
  end() {
    this.pc.close();
  }
}

/** Put codecs with these names first, in this order, and leave out the others of their kind. */
export function preferCodecs(transceiver, kind, names) {
  const all = RTCRtpReceiver.getCapabilities(kind).codecs;
  const nameOf = (codec) => codec.mimeType.split("/")[1].toLowerCase();
  const chosen = names.flatMap((name) => all.filter((codec) => nameOf(codec) === name.toLowerCase()));
  if (chosen.length === 0) throw new Error(`this browser has none of ${names.join(", ")}`);
  const repair = all.filter((codec) => nameOf(codec) === "rtx");
  transceiver.setCodecPreferences([...chosen, ...repair]);
}

/** Names of the codecs of a kind ("audio", "video") that this browser can send. */
export function sendableCodecs(kind) {
  const helpers = new Set(["rtx", "red", "ulpfec", "flexfec-03", "cn", "telephone-event"]);
  const codecs = RTCRtpSender.getCapabilities(kind)?.codecs ?? [];
  const names = codecs.map((codec) => codec.mimeType.split("/")[1]);
  return [...new Set(names)].filter((name) => !helpers.has(name.toLowerCase()));
}

/**
 * A PeerConnection's statistics as plain values: {transport, inbound: [...], outbound: [...]}.
 * Browsers lack some of them: a missing value is undefined, never 0. Times are seconds, `atMs` is
 * the moment of the report, byte and packet counts are totals.
 */
export async function collectStats(pc) {
  const report = await pc.getStats();
  const all = [...report.values()];
  const mids = new Map();
  for (const { mid, receiver, sender } of pc.getTransceivers()) {
    if (receiver.track) mids.set(`in ${receiver.track.id}`, mid);
    if (sender.track) mids.set(`out ${sender.track.id}`, mid);
  }
  const codec = (entry) => report.get(entry.codecId)?.mimeType?.split("/")[1];
  const inbound = all
    .filter(({ type }) => type === "inbound-rtp")
    .map((entry) => ({
      mid: entry.mid ?? mids.get(`in ${entry.trackIdentifier}`),
      kind: entry.kind,
      ssrc: entry.ssrc,
      codec: codec(entry),
      atMs: entry.timestamp,
      bytes: entry.bytesReceived,
      packets: entry.packetsReceived,
      lost: entry.packetsLost,
      jitter: entry.jitter,
      width: entry.frameWidth,
      height: entry.frameHeight,
      fps: entry.framesPerSecond,
      framesReceived: entry.framesReceived,
      framesDecoded: entry.framesDecoded,
      framesDropped: entry.framesDropped,
      keyFramesDecoded: entry.keyFramesDecoded,
      freezes: entry.freezeCount,
      frozen: entry.totalFreezesDuration,
      nacks: entry.nackCount,
      plis: entry.pliCount,
      firs: entry.firCount,
      repaired: entry.retransmittedPacketsReceived,
      audioLevel: entry.audioLevel,
      audioEnergy: entry.totalAudioEnergy,
      samplesReceived: entry.totalSamplesReceived,
      samplesConcealed: entry.concealedSamples,
      jitterBuffer: entry.jitterBufferDelay / entry.jitterBufferEmittedCount || undefined,
    }));
  const outbound = all
    .filter(({ type }) => type === "outbound-rtp")
    .map((entry) => {
      const far = all.find((other) => other.type === "remote-inbound-rtp" && other.ssrc === entry.ssrc);
      const source = report.get(entry.mediaSourceId);
      return {
        mid: entry.mid ?? mids.get(`out ${source?.trackIdentifier}`),
        kind: entry.kind,
        ssrc: entry.ssrc,
        rid: entry.rid,
        codec: codec(entry),
        atMs: entry.timestamp,
        bytes: entry.bytesSent,
        packets: entry.packetsSent,
        width: entry.frameWidth,
        height: entry.frameHeight,
        fps: entry.framesPerSecond,
        framesEncoded: entry.framesEncoded,
        keyFramesEncoded: entry.keyFramesEncoded,
        targetBitrate: entry.targetBitrate,
        limitation: entry.qualityLimitationReason,
        nacks: entry.nackCount,
        plis: entry.pliCount,
        firs: entry.firCount,
        repaired: entry.retransmittedPacketsSent,
        roundTrip: far?.roundTripTime,
        remoteLost: far?.packetsLost,
        remoteFractionLost: far?.fractionLost,
        remoteJitter: far?.jitter,
        reports: far?.roundTripTimeMeasurements,
      };
    });
  const transport = all.find(({ type }) => type === "transport");
  const pair =
    report.get(transport?.selectedCandidatePairId) ??
    all.find(({ type, selected, state, nominated }) =>
      type === "candidate-pair" && (selected || (nominated && state === "succeeded")),
    );
  const local = report.get(pair?.localCandidateId);
  const remote = report.get(pair?.remoteCandidateId);
  return {
    transport: {
      state: pc.connectionState,
      ice: pc.iceConnectionState,
      dtls: transport?.dtlsState,
      srtpCipher: transport?.srtpCipher,
      tlsVersion: transport?.tlsVersion,
      roundTrip: pair?.currentRoundTripTime,
      availableOut: pair?.availableOutgoingBitrate,
      bytesSent: pair?.bytesSent,
      bytesReceived: pair?.bytesReceived,
      local: local && `${local.address}:${local.port}`,
      localType: local?.candidateType,
      remote: remote && `${remote.address}:${remote.port}`,
    },
    inbound,
    outbound,
  };
}
