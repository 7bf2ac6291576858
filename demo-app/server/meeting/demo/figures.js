// Turns totals of getStats into what people read: rates over the last second, with units.

const ABSENT = "–";
const HISTORY = 60;

const rate = (now, before, key) => {
  if (!before || now[key] === undefined || before[key] === undefined) return undefined;
  const seconds = (now.atMs - before.atMs) / 1000;
  return seconds > 0 ? (now[key] - before[key]) / seconds : undefined;
};

const show = (value, digits, unit) =>
  value === undefined || value === null || Number.isNaN(value) ? ABSENT : `${value.toFixed(digits)} ${unit}`;

const milliseconds = (seconds) => show(seconds === undefined ? undefined : seconds * 1000, 0, "ms");

function bitrate(bitsPerSecond) {
  if (bitsPerSecond === undefined) return ABSENT;
  return bitsPerSecond >= 1e6 ? show(bitsPerSecond / 1e6, 2, "Mbit/s") : show(bitsPerSecond / 1e3, 0, "kbit/s");
}

function lossPercent(now, before) {
  if (!before || now.lost === undefined || now.packets === undefined) return undefined;
  const lost = now.lost - before.lost;
  const expected = lost + now.packets - before.packets;
  return expected > 0 ? Math.max(0, (lost / expected) * 100) : 0;
}

const size = ({ width, height }) => (width ? `${width} × ${height}` : ABSENT);

/** Keeps the last report, so that the next one gives rates. */
export class Figures {
  #before = { inbound: [], outbound: [] };
  sent = [];
  received = [];

  /** Rows for the page: {connection: [[name, value]], video: [[name, sent, received]], audio: [...], level}. */
  read(stats, { connectedAfterMs }) {
    const pick = (list, kind) => list.find((entry) => entry.kind === kind);
    const rows = (kind) => {
      const out = pick(stats.outbound, kind) ?? {};
      const back = pick(stats.inbound, kind) ?? {};
      const outBits = this.#bits(out, this.#before.outbound);
      const backBits = this.#bits(back, this.#before.inbound);
      const lost = lossPercent(back, this.#before.inbound.find(({ ssrc }) => ssrc === back.ssrc));
      const remoteLost = out.remoteFractionLost === undefined ? undefined : out.remoteFractionLost * 100;
      if (kind === "video") this.#remember(outBits, backBits);
      const common = [
        ["Codec", out.codec ?? ABSENT, back.codec ?? ABSENT],
        ["Bitrate", bitrate(outBits), bitrate(backBits)],
        ["Packets lost", show(remoteLost, 1, "%"), show(lost, 1, "%")],
        ["Jitter", milliseconds(out.remoteJitter), milliseconds(back.jitter)],
        ["Round trip", milliseconds(out.roundTrip), ABSENT],
      ];
      if (kind === "audio") return common;
      return [
        ["Size", size(out), size(back)],
        ["Frames", show(out.fps, 0, "/s"), show(back.fps, 0, "/s")],
        ...common,
        ["Limited by", out.limitation ?? ABSENT, ABSENT],
        ["Freezes", ABSENT, back.freezes === undefined ? ABSENT : String(back.freezes)],
      ];
    };
    const { transport } = stats;
    const result = {
      connection: [
        ["State", transport.state],
        ["Connected after", connectedAfterMs === null ? ABSENT : show(connectedAfterMs, 0, "ms")],
        ["Round trip", milliseconds(transport.roundTrip)],
        ["Server", transport.remote ?? ABSENT],
        ["Encryption", transport.srtpCipher?.replace("SRTP_", "") ?? transport.dtls ?? ABSENT],
        ["Room upwards", bitrate(transport.availableOut)],
      ],
      video: rows("video"),
      audio: rows("audio"),
      level: pick(stats.inbound, "audio")?.audioLevel ?? 0,
    };
    this.#before = stats;
    return result;
  }

  #bits(entry, before) {
    const bytes = rate(entry, before.find(({ ssrc }) => ssrc === entry.ssrc), "bytes");
    return bytes === undefined ? undefined : Math.max(0, bytes * 8);
  }

  #remember(sent, received) {
    this.sent = [...this.sent, sent ?? 0].slice(-HISTORY);
    this.received = [...this.received, received ?? 0].slice(-HISTORY);
  }

  /** The two histories as points of a polyline in a box of 300 by 60, on one scale. */
  graph() {
    const top = Math.max(1, ...this.sent, ...this.received);
    const points = (values) =>
      values
        .map((value, index) => {
          const x = 300 - (values.length - 1 - index) * (300 / (HISTORY - 1));
          return `${x.toFixed(1)},${(58 - (value / top) * 54).toFixed(1)}`;
        })
        .join(" ");
    return { sent: points(this.sent), received: points(this.received) };
  }
}
