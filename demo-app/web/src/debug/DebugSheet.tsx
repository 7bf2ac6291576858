import { Check, Copy } from "lucide-react";
import { useEffect, useRef, useState } from "react";

import type { Meeting } from "../call/meeting";
import type { InboundStats, OutboundStats, Stats } from "../call/stats";
import { useStore } from "../ui/hooks";
import { Button, Dialog } from "../ui/parts";
import { bitrate, bitsText, ownersByMid, reportJson, streamKey } from "./report";

import "./debug.css";

interface Props {
  meeting: Meeting;
  onClose: () => void;
}

function ms(seconds: number | undefined): string {
  return seconds === undefined ? "" : `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
}

function size({ width, height, fps }: { width?: number | undefined; height?: number | undefined; fps?: number | undefined }): string {
  if (width === undefined || height === undefined) return "";
  return `${width}×${height}${fps === undefined ? "" : ` ${Math.round(fps)}/s`}`;
}

export function DebugSheet({ meeting, onClose }: Props) {
  const state = useStore(meeting.state);
  const rates = useRates(state.stats);
  const [copied, setCopied] = useState(false);
  const owners = ownersByMid(state);
  const { stats } = state;
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(reportJson(state, meeting.timeline, navigator.userAgent));
      setCopied(true);
    } catch {
      meeting.notice("The browser did not let this page copy.", "warning");
    }
  };
  return (
    <Dialog title="Connection details" onClose={onClose} wide>
      <div className="debug" id="debug" tabIndex={0} role="group" aria-label="Figures">
        {stats === null ? <p className="muted">There is no connection yet.</p> : <Figures stats={stats} rates={rates} owners={owners} session={meeting.session?.id ?? ""} connections={meeting.connections} />}
        <h3>What happened</h3>
        <ol className="timeline">
          {meeting.timeline.slice(-40).map(({ at, what }, index) => (
            <li key={index}>
              <time>{new Date(at).toLocaleTimeString()}</time> {what}
            </li>
          ))}
        </ol>
        <Button onClick={() => void copy()}>
          {copied ? <Check aria-hidden="true" /> : <Copy aria-hidden="true" />} {copied ? "Copied" : "Copy all as JSON"}
        </Button>
      </div>
    </Dialog>
  );
}

interface FiguresProps {
  stats: Stats;
  rates: ReadonlyMap<string, number | null>;
  owners: ReadonlyMap<string, string>;
  session: string;
  connections: number;
}

function Figures({ stats, rates, owners, session, connections }: FiguresProps) {
  const { transport, inbound, outbound } = stats;
  const path = transport.localType === "relay" ? "by a TURN relay" : transport.localType === undefined ? "" : "direct";
  const facts: readonly [string, string][] = [
    ["State", transport.state],
    ["Path", [path, transport.protocol].filter(Boolean).join(", ")],
    ["Round trip", ms(transport.roundTripS)],
    ["Encryption", transport.srtpCipher ?? transport.dtls ?? ""],
    ["Server", transport.remoteAddress ?? ""],
    ["Session", session.slice(0, 8)],
    ["PeerConnections so far", String(connections)],
  ];
  return (
    <>
      <dl className="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value || "–"}</dd>
          </div>
        ))}
      </dl>
      <h3>Received</h3>
      <Table
        head={["Track", "Codec", "Picture", "Rate", "Lost", "Repaired", "Jitter"]}
        rows={inbound
          .filter(({ mid }) => owners.has(mid))
          .map((track: InboundStats) => [
            owners.get(track.mid) ?? track.mid,
            track.codec ?? "",
            size(track),
            bitsText(rates.get(streamKey(track)) ?? null),
            String(track.lost),
            String(track.repaired ?? ""),
            ms(track.jitter),
          ])}
      />
      <h3>Sent</h3>
      <Table
        head={["Track", "Codec", "Picture", "Rate", "Loss", "Repaired", "Held back by"]}
        rows={outbound.map((track: OutboundStats) => [
          `${track.kind}${track.rid === undefined ? "" : ` (${track.rid})`}`,
          track.codec ?? "",
          size(track),
          bitsText(rates.get(streamKey(track)) ?? null),
          track.fractionLost === undefined ? "" : `${(track.fractionLost * 100).toFixed(1)} %`,
          String(track.repaired ?? ""),
          track.limitation === undefined || track.limitation === "none" ? "" : track.limitation,
        ])}
      />
    </>
  );
}

function Table({ head, rows }: { head: readonly string[]; rows: readonly (readonly string[])[] }) {
  return (
    <table>
      <thead>
        <tr>
          {head.map((name) => (
            <th key={name} scope="col">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row, index) => (
          <tr key={index}>
            {row.map((cell, column) => (
              <td key={column}>{cell}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

// Bitrates between the last two reports.
function useRates(stats: Stats | null): ReadonlyMap<string, number | null> {
  const last = useRef<Map<string, { bytes: number; atMs: number }>>(new Map());
  const [rates, setRates] = useState<ReadonlyMap<string, number | null>>(new Map());
  useEffect(() => {
    if (stats === null) return;
    const streams = [...stats.inbound, ...stats.outbound];
    const before = last.current;
    setRates(new Map(streams.map((stream) => [streamKey(stream), bitrate(before.get(streamKey(stream)) ?? null, stream.bytes, stats.atMs)])));
    last.current = new Map(streams.map((stream) => [streamKey(stream), { bytes: stream.bytes, atMs: stats.atMs }]));
  }, [stats]);
  return rates;
}
