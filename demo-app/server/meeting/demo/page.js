// The page: buttons, pictures and figures over one `Call`.

import { Call } from "./call.js";
import { collectStats, sendableCodecs } from "./client.js";
import { Figures } from "./figures.js";
import { LevelMeter, openCamera, openTestPicture } from "./media.js";
import { describeProblem, insecureOrigin, noWebRtc } from "./problems.js";

const ROOT = "/api";
const STATES = {
  connecting: ["connecting", "Connecting"],
  reconnecting: ["connecting", "Connecting again"],
  connected: ["connected", "Connected"],
  waiting: ["trouble", "No answer from the server"],
  ended: ["idle", "Stopped"],
};

const NO_STATS = { transport: { state: "–" }, inbound: [], outbound: [] };

const element = (id) => document.getElementById(id);
let call = null;
let stream = null;
let stopSource = () => {};
let figures = new Figures();
let ticker = null;
let meter = null;
let statsLevel = 0;

function showStatus(state, text) {
  element("status").dataset.state = state;
  element("status").textContent = text;
}

function showProblem(problem, { waiting = false } = {}) {
  element("problem").dataset.kind = waiting ? "waiting" : "stopped";
  element("problem-title").textContent = problem.title;
  element("problem-text").textContent = problem.text;
  element("problem-retry").hidden = !problem.retry;
  element("problem-test-picture").hidden = !problem.testPicture;
  element("problem").hidden = false;
}

function hideProblem() {
  element("problem").hidden = true;
}

function showControls(running) {
  element("start").hidden = running;
  element("stop").hidden = !running;
  const has = (kind) => running && stream !== null && stream.getTracks().some((track) => track.kind === kind);
  element("microphone").disabled = !has("audio");
  element("camera").disabled = !has("video");
  element("listen").disabled = !has("audio");
}

function fill(body, rows, cell) {
  body.replaceChildren(
    ...rows.map(([name, ...values]) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      row.append(head, ...values.map(cell));
      return row;
    }),
  );
}

function tableCell(text) {
  const cell = document.createElement("td");
  cell.textContent = text;
  return cell;
}

function showConnection(rows) {
  element("connection-figures").replaceChildren(
    ...rows.flatMap(([name, value]) => {
      const term = document.createElement("dt");
      const text = document.createElement("dd");
      term.textContent = name;
      text.textContent = value;
      return [term, text];
    }),
  );
}

function showRows(rows) {
  showConnection(rows.connection);
  fill(element("video-figures"), rows.video, tableCell);
  fill(element("audio-figures"), rows.audio, tableCell);
  const [, sentSize, receivedSize] = rows.video[0];
  element("local-tag").textContent = call ? sentSize : "";
  element("remote-tag").textContent = call ? receivedSize : "";
  statsLevel = rows.level;
  const { sent, received } = figures.graph();
  element("graph-sent").setAttribute("points", sent);
  element("graph-received").setAttribute("points", received);
}

async function showFigures() {
  const session = call?.session;
  if (session) showRows(figures.read(await collectStats(session.pc), session));
}

function onProblem({ error, retryMs }) {
  showRemote(null);
  element("remote-tag").textContent = "";
  const problem = describeProblem(error);
  if (retryMs === null) {
    showStatus("trouble", "Stopped by a problem");
    showProblem(problem);
    return;
  }
  showStatus("trouble", call?.everConnected ? "Connection lost" : "Not connected");
  const wait = retryMs < 1_000 ? "at once" : `in ${Math.round(retryMs / 1_000)} s`;
  showProblem({ ...problem, text: `${problem.text} The page tries again ${wait}.` }, { waiting: true });
}

function showRemote(remote) {
  element("remote").srcObject = remote;
  meter?.close();
  const [sound] = remote?.getAudioTracks() ?? [];
  meter = sound ? new LevelMeter(sound) : null;
}

function startCall() {
  figures = new Figures();
  call = new Call(ROOT, stream, { codec: element("codec").value || null });
  call.addEventListener("state", ({ detail }) => {
    showStatus(...STATES[detail]);
    if (detail === "connected") hideProblem();
  });
  call.addEventListener("problem", ({ detail }) => onProblem(detail));
  call.addEventListener("remote", ({ detail }) => showRemote(detail));
  void call.start();
  ticker ??= setInterval(() => void showFigures(), 1_000);
}

async function start(open) {
  hideProblem();
  if (typeof RTCPeerConnection === "undefined") {
    showProblem(noWebRtc());
    return;
  }
  element("start").disabled = true;
  showStatus("connecting", "Asking for camera and microphone");
  try {
    ({ stream, stop: stopSource } = await open());
  } catch (error) {
    showStatus("trouble", "Not started");
    showProblem(describeProblem(error));
    return;
  } finally {
    element("start").disabled = false;
  }
  element("local").srcObject = stream;
  showControls(true);
  startCall();
}

async function fromCamera() {
  if (!window.isSecureContext || !navigator.mediaDevices) {
    showStatus("trouble", "Not started");
    showProblem(insecureOrigin());
    return;
  }
  await start(async () => ({ stream: await openCamera(), stop: () => {} }));
}

function fromTestPicture() {
  return start(async () => openTestPicture());
}

function stop() {
  call?.end();
  call = null;
  for (const track of stream?.getTracks() ?? []) track.stop();
  stopSource();
  stream = null;
  clearInterval(ticker);
  ticker = null;
  element("local").srcObject = null;
  showRemote(null);
  element("local-tag").textContent = "";
  element("remote-tag").textContent = "";
  for (const id of ["microphone", "camera"]) element(id).setAttribute("aria-pressed", "true");
  hideProblem();
  showControls(false);
}

// A track that is switched off goes on as silence or a black picture, so the server keeps it.
function toggle(kind, button) {
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  for (const track of stream.getTracks()) if (track.kind === kind) track.enabled = on;
}

function offerCodecs() {
  if (typeof RTCRtpSender === "undefined") return;
  const names = ["Browser's choice", ...sendableCodecs("video")];
  element("codec").replaceChildren(
    ...names.map((name, index) => new Option(name, index === 0 ? "" : name)),
  );
}

element("start").addEventListener("click", () => void fromCamera());
element("stop").addEventListener("click", stop);
element("problem-retry").addEventListener("click", () => {
  hideProblem();
  if (call === null) void fromCamera();
  else call.retryNow();
});
element("problem-test-picture").addEventListener("click", () => void fromTestPicture());
element("microphone").addEventListener("click", ({ target }) => toggle("audio", target));
element("camera").addEventListener("click", ({ target }) => toggle("video", target));
element("listen").addEventListener("click", ({ target }) => {
  const hear = target.getAttribute("aria-pressed") !== "true";
  target.setAttribute("aria-pressed", String(hear));
  element("remote").muted = !hear;
});
element("codec").addEventListener("change", () => {
  if (call === null) return;
  call.end();
  showRemote(null);
  startCall();
});
window.addEventListener("pagehide", () => call?.end());
showRows(new Figures().read(NO_STATS, { connectedAfterMs: null }));
setInterval(() => {
  element("level").value = meter === null ? 0 : Math.max(meter.read(), statsLevel);
}, 100);
offerCodecs();
showControls(false);
