// What a browser makes of TURN servers: whether it uses them, and PeerConnections to each other through them.

const NAMES = new Map(); // the PeerConnections of peer-to-peer tests, by name

const GIVE_UP_MS = 5_000; // an allocation takes milliseconds here

/** Whether a browser gets a relayed address of these servers: true as soon as it has one. */
export async function relayed({ iceServers }) {
  const pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" });
  const found = new Promise((resolve) => {
    setTimeout(() => resolve(false), GIVE_UP_MS);
    pc.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate === null) resolve(false);
      else if (candidate.type === "relay") resolve(true);
    });
  });
  pc.createDataChannel("gather");
  await pc.setLocalDescription();
  const result = await found;
  pc.close();
  return result;
}

/** Everything about this end of a connection: description with candidates, and what comes over it. */
class End {
  constructor(config) {
    this.pc = new RTCPeerConnection(config);
    this.texts = [];
    this.pc.addEventListener("datachannel", ({ channel }) => this.#take(channel));
    this.pc.addEventListener("track", ({ track }) => {
      const element = document.createElement("video");
      element.muted = element.autoplay = element.playsInline = true;
      element.srcObject = new MediaStream([track]);
      document.body.append(element);
    });
  }

  #take(channel) {
    this.channel = channel;
    channel.addEventListener("message", ({ data }) => this.texts.push(data));
  }

  async addVideo() {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 180 } });
    this.pc.addTrack(stream.getVideoTracks()[0], stream);
  }

  addChannel() {
    this.#take(this.pc.createDataChannel("texts"));
  }

  /** Set the local description and resolve to it once all candidates are in it. */
  async described() {
    const gathered = new Promise((resolve) => {
      this.pc.addEventListener("icecandidate", ({ candidate }) => candidate ?? resolve());
    });
    await this.pc.setLocalDescription();
    await gathered;
    const { type, sdp } = this.pc.localDescription;
    return { type, sdp };
  }
}

/** Begin a connection with a data channel and a video. Resolves to the offer with its candidates. */
export async function offer({ name, config }) {
  const end = new End(config);
  NAMES.set(name, end);
  end.addChannel();
  await end.addVideo();
  return end.described();
}

/** Answer it with a video. Resolves to the answer with its candidates. */
export async function answer({ name, config, description }) {
  const end = new End(config);
  NAMES.set(name, end);
  await end.pc.setRemoteDescription(description);
  await end.addVideo();
  return end.described();
}

export function accept({ name, description }) {
  return NAMES.get(name).pc.setRemoteDescription(description);
}

/** Say a text to the other end; false until the channel is open. */
export function say({ name, text }) {
  const { channel } = NAMES.get(name);
  if (channel?.readyState !== "open") return false;
  channel.send(text);
  return true;
}

/** What has come so far: {texts, frames, pairs}; `pairs` are types of candidates, as "local remote". */
export async function seen({ name }) {
  const { pc, texts } = NAMES.get(name);
  const report = await pc.getStats();
  const all = [...report.values()];
  const video = all.find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
  const pairs = all
    .filter(({ type, state, bytesSent }) => type === "candidate-pair" && state === "succeeded" && bytesSent > 0)
    .map((pair) => [pair.localCandidateId, pair.remoteCandidateId].map((id) => report.get(id)?.candidateType));
  return { texts, frames: video?.framesDecoded ?? 0, pairs };
}

export function endAll() {
  for (const { pc } of NAMES.values()) {
    for (const { track } of pc.getSenders()) track?.stop();
    pc.close();
  }
  NAMES.clear();
}
