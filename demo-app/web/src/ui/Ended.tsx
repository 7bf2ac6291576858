import { LoaderCircle } from "lucide-react";

import type { Ending, WayOn } from "../room/closes";
import { Button, Mark } from "./parts";

const WORDS: Record<WayOn, string> = { rejoin: "Join again", reload: "Load anew", home: "Back to the start" };

export function Ended({ ending, onWay }: { ending: Ending; onWay: (way: WayOn) => void }) {
  return (
    <main className="plain-page">
      <Mark />
      <section className="card plain-card">
        <h1>{ending.title}</h1>
        <p className="muted">{ending.text}</p>
        <div className="panel-actions">
          {ending.ways.map((way, index) => (
            <Button key={way} look={index === 0 ? "accent" : "plain"} onClick={() => onWay(way)}>
              {WORDS[way]}
            </Button>
          ))}
        </div>
      </section>
    </main>
  );
}

export function Waiting({ text, detail, onLeave }: { text: string; detail: string; onLeave: () => void }) {
  return (
    <main className="plain-page">
      <Mark />
      <section className="card plain-card" role="status">
        <LoaderCircle className="spin" aria-hidden="true" />
        <h1>{text}</h1>
        <p className="muted">{detail}</p>
        <Button onClick={onLeave}>Leave</Button>
      </section>
    </main>
  );
}
