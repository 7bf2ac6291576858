// Makes this browser write every kind of SDP that an SFU sees, and returns them by name.
// No server takes part: a second PeerConnection of the same page answers where a state must be
// reached first, and `SFU_OFFER` stands for the offer of an SFU.

const SFU_HEAD = [
  "v=0",
  "o=- 4862831093247915 1766000000 IN IP4 0.0.0.0",
  "s=-",
  "t=0 0",
  "a=msid-semantic:WMS *",
  "a=fingerprint:sha-256 " +
    Array.from({ length: 32 }, (_, i) => (i + 16).toString(16).toUpperCase().padStart(2, "0")).join(":"),
  "a=extmap-allow-mixed",
  "a=ice-lite",
];

const SFU_TRANSPORT = [
  "c=IN IP4 0.0.0.0",
  "a=setup:actpass",
  "a=ice-ufrag:0123456789abcdef0123456789abcdef0000",
  "a=ice-pwd:0123456789abcdef0123456789abcdef",
  "a=rtcp-mux",
  "a=rtcp-rsize",
  "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host",
  "a=end-of-candidates",
];

function sfuAudio(mid, direction) {
  return [
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63",
    ...SFU_TRANSPORT,
    `a=mid:${mid}`,
    `a=${direction}`,
    "a=rtpmap:111 opus/48000/2",
    "a=fmtp:111 minptime=10;useinbandfec=1",
    "a=rtcp-fb:111 transport-cc",
    "a=rtpmap:63 red/48000/2",
    "a=fmtp:63 111/111",
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
    `a=ssrc:${1000 + Number(mid)} cname:sfu`,
    `a=ssrc:${1000 + Number(mid)} msid:stream-${mid} track-${mid}`,
    `a=msid:stream-${mid} track-${mid}`,
  ];
}

function sfuVideo(mid, direction) {
  const ssrc = 2000 + Number(mid) * 2;
  return [
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 45 46 103 104",
    ...SFU_TRANSPORT,
    `a=mid:${mid}`,
    `a=${direction}`,
    "a=rtpmap:96 VP8/90000",
    "a=rtpmap:97 rtx/90000",
    "a=fmtp:97 apt=96",
    "a=rtpmap:98 VP9/90000",
    "a=fmtp:98 profile-id=0",
    "a=rtpmap:99 rtx/90000",
    "a=fmtp:99 apt=98",
    "a=rtpmap:45 AV1/90000",
    "a=rtpmap:46 rtx/90000",
    "a=fmtp:46 apt=45",
    "a=rtpmap:103 H264/90000",
    "a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    "a=rtpmap:104 rtx/90000",
    "a=fmtp:104 apt=103",
    ...[96, 98, 45, 103].flatMap((pt) => [
      `a=rtcp-fb:${pt} goog-remb`,
      `a=rtcp-fb:${pt} transport-cc`,
      `a=rtcp-fb:${pt} ccm fir`,
      `a=rtcp-fb:${pt} nack`,
      `a=rtcp-fb:${pt} nack pli`,
    ]),
    "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "a=extmap:13 urn:3gpp:video-orientation",
    `a=ssrc-group:FID ${ssrc} ${ssrc + 1}`,
    ...[ssrc, ssrc + 1].flatMap((n) => [`a=ssrc:${n} cname:sfu`, `a=ssrc:${n} msid:stream-${mid} track-${mid}`]),
    `a=msid:stream-${mid} track-${mid}`,
  ];
}

// A section that no browser can take: it is answered with port 0 and leaves the BUNDLE group. It may
// not come first, since Chromium then loses the transport that the others would share.
function unknownCodec(mid) {
  return sfuVideo(mid, "sendonly")
    .filter((line) => !/^a=(fmtp|rtcp-fb):/.test(line))
    .map((line) => line.replace(/^m=video 9 .*/, "m=video 9 UDP/TLS/RTP/SAVPF 120"))
    .map((line) => line.replace(/^a=rtpmap:.*/, "a=rtpmap:120 nosuch/90000"));
}

function sfuOffer(sections) {
  const mids = sections.map((_, index) => String(index));
  const body = sections.flatMap((make, index) => make(String(index)));
  return [...SFU_HEAD, `a=group:BUNDLE ${mids.join(" ")}`, ...body].join("\r\n") + "\r\n";
}

const pull = (kind) => (mid) => (kind === "audio" ? sfuAudio(mid, "sendonly") : sfuVideo(mid, "sendonly"));
const bidirectional = (kind) => (mid) =>
  kind === "audio" ? sfuAudio(mid, "sendrecv") : sfuVideo(mid, "sendrecv");

async function camera() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 180 } });
  return { stream, audio: stream.getAudioTracks()[0], video: stream.getVideoTracks()[0] };
}

function screen() {
  const canvas = document.createElement("canvas");
  canvas.width = 1280;
  canvas.height = 720;
  canvas.getContext("2d").fillRect(0, 0, 10, 10);
  const track = canvas.captureStream(5).getVideoTracks()[0];
  track.contentHint = "detail";
  return track;
}

function newPeer(config = {}) {
  return new RTCPeerConnection({ bundlePolicy: "max-bundle", ...config });
}

async function offerOf(pc, options) {
  await pc.setLocalDescription(await pc.createOffer(options));
  return pc.localDescription.sdp;
}

async function answered(pc, far) {
  await far.setRemoteDescription(pc.localDescription);
  await far.setLocalDescription();
  await pc.setRemoteDescription(far.localDescription);
}

function codecsOf(kind, names) {
  const all = RTCRtpReceiver.getCapabilities(kind).codecs;
  const wanted = names.map((name) => name.toLowerCase());
  const chosen = all.filter((codec) => wanted.includes(codec.mimeType.split("/")[1].toLowerCase()));
  return chosen.length === 0 ? null : chosen;
}

async function gathered(pc) {
  if (pc.iceGatheringState === "complete") return;
  await new Promise((resolve) => {
    pc.addEventListener("icegatheringstatechange", () => {
      if (pc.iceGatheringState === "complete") resolve();
    });
  });
}

export async function recordSdp() {
  const { stream, audio, video } = await camera();
  const records = {};
  const open = [];
  const peer = (config) => {
    const pc = newPeer(config);
    open.push(pc);
    return pc;
  };

  // Offers of a fresh PeerConnection.
  {
    const pc = peer();
    pc.addTransceiver(audio, { direction: "sendonly", streams: [stream] });
    pc.addTransceiver(video, { direction: "sendonly", streams: [stream] });
    records["offer-audio-video-sendonly"] = await offerOf(pc);
    await gathered(pc);
    records["offer-audio-video-with-candidates"] = pc.localDescription.sdp;
  }
  {
    const pc = peer();
    pc.addTrack(audio, stream);
    pc.addTrack(video, stream);
    records["offer-audio-video-sendrecv"] = await offerOf(pc);
  }
  {
    const pc = peer({ bundlePolicy: "balanced" });
    pc.addTransceiver(audio, { direction: "sendonly" });
    pc.addTransceiver(video, { direction: "sendonly" });
    records["offer-audio-video-balanced-without-stream"] = await offerOf(pc);
  }
  {
    const pc = peer();
    pc.addTransceiver(video, {
      direction: "sendonly",
      streams: [stream],
      sendEncodings: [
        { rid: "a" },
        { rid: "b", scaleResolutionDownBy: 2 },
        { rid: "c", scaleResolutionDownBy: 4 },
      ],
    });
    records["offer-simulcast"] = await offerOf(pc);
  }
  {
    const pc = peer();
    try {
      const sender = pc.addTransceiver(video, {
        direction: "sendonly",
        sendEncodings: [{ scalabilityMode: "L3T3_KEY" }],
      });
      const codecs = codecsOf("video", ["VP9", "AV1", "rtx"]);
      if (codecs) sender.setCodecPreferences(codecs);
      records["offer-svc"] = await offerOf(pc);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error; // the browser has no such mode
    }
  }
  {
    const pc = peer();
    pc.addTransceiver("audio", { direction: "recvonly" });
    pc.addTransceiver("video", { direction: "recvonly" });
    records["offer-audio-video-recvonly"] = await offerOf(pc);
  }
  {
    const pc = peer();
    pc.addTransceiver("audio", { direction: "sendonly" });
    pc.addTransceiver("video", { direction: "sendonly" });
    records["offer-sendonly-without-track"] = await offerOf(pc);
  }
  {
    const pc = peer();
    pc.createDataChannel("events");
    records["offer-data-channel"] = await offerOf(pc);
  }
  {
    const pc = peer();
    pc.addTransceiver(audio, { direction: "sendonly", streams: [stream] });
    pc.addTransceiver(video, { direction: "sendonly", streams: [stream] });
    pc.createDataChannel("events", { ordered: false, maxRetransmits: 0 });
    records["offer-audio-video-data-channel"] = await offerOf(pc);
  }
  {
    const pc = peer();
    pc.addTransceiver(screen(), { direction: "sendonly" });
    records["offer-screen"] = await offerOf(pc);
  }
  {
    const pc = peer();
    for (let i = 0; i < 100; i += 1) pc.addTransceiver("audio", { direction: "recvonly" });
    for (let i = 0; i < 20; i += 1) pc.addTransceiver("video", { direction: "recvonly" });
    records["offer-120-mlines"] = await offerOf(pc);
  }
  for (const [kind, name, list] of [
    ["video", "vp8", ["VP8", "rtx"]],
    ["video", "vp9", ["VP9", "rtx"]],
    ["video", "h264", ["H264", "rtx"]],
    ["video", "h265", ["H265", "rtx"]],
    ["video", "av1", ["AV1", "rtx"]],
    ["video", "vp8-red-ulpfec", ["VP8", "rtx", "red", "ulpfec"]],
    ["audio", "red-opus", ["red", "opus"]],
    ["audio", "pcmu", ["PCMU"]],
    ["audio", "pcma", ["PCMA"]],
    ["audio", "g722", ["G722"]],
  ]) {
    const codecs = codecsOf(kind, list);
    const main = list.find((codec) => codec !== "rtx").toLowerCase();
    if (!codecs || !codecs.some((codec) => codec.mimeType.toLowerCase().endsWith(`/${main}`))) continue;
    const pc = peer();
    const sender = pc.addTransceiver(kind === "video" ? video : audio, { direction: "sendonly" });
    sender.setCodecPreferences(codecs);
    records[`offer-only-${name}`] = await offerOf(pc);
  }

  // Answers to an SFU.
  for (const [name, sections, prepare] of [
    ["answer-pull-audio-video", [pull("audio"), pull("video")]],
    ["answer-pull-20-tracks", Array.from({ length: 20 }, (_, i) => pull(i % 2 ? "video" : "audio"))],
    ["answer-sendrecv-receiving-only", [bidirectional("audio"), bidirectional("video")]],
    [
      "answer-sendrecv-sending-too",
      [bidirectional("audio"), bidirectional("video")],
      (pc) => {
        pc.addTrack(audio, stream);
        pc.addTrack(video, stream);
      },
    ],
    ["answer-recvonly-offer", [(mid) => sfuVideo(mid, "recvonly")], (pc) => pc.addTrack(video, stream)],
    ["answer-inactive-offer", [(mid) => sfuVideo(mid, "inactive"), pull("audio")]],
    ["answer-rejected-section", [pull("audio"), unknownCodec]],
  ]) {
    const pc = peer();
    await pc.setRemoteDescription({ type: "offer", sdp: sfuOffer(sections) });
    if (prepare) prepare(pc);
    await pc.setLocalDescription();
    records[name] = pc.localDescription.sdp;
  }
  {
    const pc = peer();
    await pc.setRemoteDescription({ type: "offer", sdp: sfuOffer([pull("audio"), pull("video")]) });
    await pc.setLocalDescription();
    pc.addTransceiver(video, { direction: "sendonly", streams: [stream] });
    records["reoffer-push-after-pull"] = await offerOf(pc);
  }

  // Offers of a PeerConnection with a past.
  {
    const pc = peer();
    const far = peer();
    pc.addTransceiver(audio, { direction: "sendonly", streams: [stream] });
    const sender = pc.addTransceiver(video, { direction: "sendonly", streams: [stream] });
    await offerOf(pc);
    await answered(pc, far);
    records["answer-to-audio-video"] = far.localDescription.sdp;
    records["reoffer-unchanged"] = await offerOf(pc);
    await answered(pc, far);
    records["reoffer-ice-restart"] = await offerOf(pc, { iceRestart: true });
    await answered(pc, far);
    records["answer-ice-restart"] = far.localDescription.sdp;
    sender.direction = "inactive";
    records["reoffer-inactive"] = await offerOf(pc);
    await answered(pc, far);
    sender.direction = "sendonly";
    records["reoffer-active-again"] = await offerOf(pc);
    await answered(pc, far);
    sender.stop();
    records["reoffer-after-stop"] = await offerOf(pc);
    await answered(pc, far);
    records["answer-after-stop"] = far.localDescription.sdp;
    records["reoffer-with-stopped-section"] = await offerOf(pc);
    await answered(pc, far);
    pc.addTransceiver(screen(), { direction: "sendonly" });
    records["reoffer-recycled-section"] = await offerOf(pc);
    await answered(pc, far);
    pc.createDataChannel("late");
    records["reoffer-data-channel-added"] = await offerOf(pc);
    await answered(pc, far);
    for (const transceiver of pc.getTransceivers()) transceiver.stop();
    records["reoffer-all-stopped"] = await offerOf(pc);
  }
  for (const pc of open) pc.close();
  for (const track of stream.getTracks()) track.stop();
  return records;
}
