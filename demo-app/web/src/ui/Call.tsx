import { Clock, Info, Lock, TriangleAlert, Users, Volume2, WifiOff, X } from "lucide-react";
import { lazy, Suspense, useCallback, useEffect, useRef, useState } from "react";

import type { Meeting, MeetingState } from "../call/meeting";
import type { SettingsStore } from "../media/settings";
import { trackOf, youIn, othersHere, type RoomView } from "../room/view";
import { keyOf } from "../call/plan";
import { tileKey, type TileId } from "./arrange";
import { Chat } from "./Chat";
import { useNow, useStore } from "./hooks";
import { clock } from "./names";
import { Button, IconButton } from "./parts";
import { People } from "./People";
import { InviteSheet, KeysSheet, SettingsSheet } from "./Sheets";
import { actionOf, type Action } from "./shortcuts";
import { Sound } from "./Sound";
import { Stage } from "./Stage";
import { Toolbar, type Panel, type Sheet } from "./Toolbar";

const DebugSheet = lazy(async () => ({ default: (await import("../debug/DebugSheet")).DebugSheet }));
const BreakoutSheet = lazy(async () => ({ default: (await import("./BreakoutSheet")).BreakoutSheet }));

interface Props {
  meeting: Meeting;
  settings: SettingsStore;
}

export function Call({ meeting, settings }: Props) {
  const state = useStore(meeting.state);
  const local = useStore(meeting.local.state);
  const chosen = useStore(settings);
  const { view } = state;
  const [panel, setPanel] = useState<Panel>(null);
  const [sheet, setSheet] = useState<Sheet>(null);
  const [pinned, setPinned] = useState<TileId | null>(null);
  const [blocked, setBlocked] = useState(false);
  const [nudge, setNudge] = useState(0);
  const root = useRef<HTMLDivElement>(null);
  const onPin = useCallback((tile: TileId) => {
    setPinned((before) => (before !== null && tileKey(before) === tileKey(tile) ? null : tile));
  }, []);
  const onBlocked = useCallback(() => setBlocked(true), []);
  const fullscreen = useCallback(() => {
    if (document.fullscreenElement === null) void root.current?.requestFullscreen().catch(() => undefined);
    else void document.exitFullscreen();
  }, []);
  const unread = useUnread(view, panel === "chat");
  useKeys(meeting, settings, { panel, setPanel, setSheet, fullscreen });
  useWakeLock();

  if (view === null) return null;
  const you = youIn(view);
  if (you === undefined) return null;
  const voices = soundsOf(state, view);
  return (
    <div className={`call ${panel === null ? "" : "call-with-panel"}`} ref={root} data-room={state.room} data-media={state.media}>
      <header className="call-top">
        <Status view={view} />
        <Banner state={state} />
      </header>
      <main className="call-middle">
        <h1 className="visually-hidden">Meeting</h1>
        <Stage meeting={meeting} state={state} view={view} local={local} settings={chosen} pinned={pinned} onPin={onPin} />
        {othersHere(view).length === 0 && view.room.places.length === 0 && panel === null && <Alone onInvite={() => setSheet("invite")} />}
      </main>
      {panel === "chat" && <Chat meeting={meeting} view={view} onClose={() => setPanel(null)} />}
      {panel === "people" && (
        <People meeting={meeting} view={view} onClose={() => setPanel(null)} onInvite={() => setSheet("invite")} onBreakout={() => setSheet("breakout")} />
      )}
      <Toolbar
        meeting={meeting}
        local={local}
        settings={settings}
        you={you}
        people={view.members.size}
        waiting={view.waiting.length}
        unread={unread}
        panel={panel}
        onPanel={setPanel}
        onSheet={setSheet}
        onFullscreen={fullscreen}
      />
      {voices.map(({ key, track }) => (
        <Sound key={key} track={track} speakerId={chosen.speakerId} onBlocked={onBlocked} nudge={nudge} />
      ))}
      {blocked && (
        <div className="overlay-ask">
          <Button
            look="accent"
            className="button-large"
            onClick={() => {
              setBlocked(false);
              setNudge(nudge + 1);
            }}
          >
            <Volume2 aria-hidden="true" /> Hear the others
          </Button>
        </div>
      )}
      <Problems meeting={meeting} />
      <div className="notices" role="status" aria-live="polite">
        {state.notices.map(({ id, kind, text }) => (
          <div key={id} className={`notice notice-${kind}`}>
            {kind === "warning" ? <TriangleAlert aria-hidden="true" /> : <Info aria-hidden="true" />}
            <span>{text}</span>
            <IconButton label="Dismiss" look="small" icon={<X />} onClick={() => meeting.dismiss(id)} />
          </div>
        ))}
      </div>
      {sheet === "settings" && <SettingsSheet local={meeting.local} settings={settings} onClose={() => setSheet(null)} />}
      {sheet === "keys" && <KeysSheet onClose={() => setSheet(null)} />}
      {sheet === "invite" && <InviteSheet invite={meeting.invite} onClose={() => setSheet(null)} />}
      <Suspense fallback={null}>
        {sheet === "debug" && <DebugSheet meeting={meeting} onClose={() => setSheet(null)} />}
        {sheet === "breakout" && <BreakoutSheet meeting={meeting} view={view} onClose={() => setSheet(null)} />}
      </Suspense>
    </div>
  );
}

function Status({ view }: { view: RoomView }) {
  const now = useNow(1000);
  const you = youIn(view);
  const place = view.room.places.find(({ id }) => id === you?.place);
  return (
    <p className="status">
      <span><Clock aria-hidden="true" /> {clock(now / 1000 - view.room.since)}</span>
      <span><Users aria-hidden="true" /> <span aria-label={`${view.members.size} people`}>{view.members.size}</span></span>
      {place !== undefined && <strong className="tag">{place.name}</strong>}
      {view.room.entry === "locked" && <span><Lock aria-hidden="true" /> Locked</span>}
    </p>
  );
}

function Banner({ state }: { state: MeetingState }) {
  const lost = state.room !== "connected";
  if (!lost && state.media !== "lost") return null;
  return (
    <p className="banner" role="alert">
      <WifiOff aria-hidden="true" />
      {lost ? "The connection is lost. Getting you back…" : (state.trouble ?? "Sound and pictures are interrupted. Getting them back…")}
    </p>
  );
}

function Alone({ onInvite }: { onInvite: () => void }) {
  return (
    <div className="alone card">
      <strong>You are the first one here</strong>
      <p className="muted">Send the link to those who are to come.</p>
      <Button look="accent" onClick={onInvite}>Invite others</Button>
    </div>
  );
}

function Problems({ meeting }: { meeting: Meeting }) {
  const { problems } = useStore(meeting.local.state);
  const kinds = ["microphone", "camera", "screen"] as const;
  return (
    <div className="problems">
      {kinds.map((kind) => {
        const problem = problems[kind];
        if (problem === undefined) return null;
        return (
          <div key={kind} className="problem" role="alert">
            <TriangleAlert aria-hidden="true" />
            <div>
              <strong>{problem.title}</strong>
              <p>{problem.text}</p>
            </div>
            <IconButton label="Dismiss" look="small" icon={<X />} onClick={() => meeting.local.dismiss(kind)} />
          </div>
        );
      })}
    </div>
  );
}

function soundsOf(state: MeetingState, view: RoomView): { key: string; track: MediaStreamTrack }[] {
  return othersHere(view).flatMap((member) =>
    (["microphone", "screenAudio"] as const).flatMap((source) => {
      const track = trackOf(member, source);
      if (track === undefined || member.sessionId === null) return [];
      const received = state.received.get(keyOf({ sessionId: member.sessionId, trackName: track.name }));
      return received === undefined ? [] : [{ key: received.key, track: received.track }];
    }),
  );
}

function useUnread(view: RoomView | null, open: boolean): number {
  const last = view?.chat.at(-1)?.seq ?? 0;
  const [seen, setSeen] = useState<number | null>(null);
  if (view !== null && (seen === null || (open && seen !== last))) setSeen(last);
  if (view === null || seen === null || open) return 0;
  return view.chat.filter(({ seq, sender }) => seq > seen && sender !== view.you).length;
}

interface KeyTargets {
  panel: Panel;
  setPanel: (panel: Panel) => void;
  setSheet: (sheet: Sheet) => void;
  fullscreen: () => void;
}

function useKeys(meeting: Meeting, settings: SettingsStore, targets: KeyTargets): void {
  useEffect(() => {
    const { local } = meeting;
    const { panel, setPanel, setSheet, fullscreen } = targets;
    const view = (): RoomView | null => meeting.state.get().view;
    const act: Record<Exclude<Action, "talk">, () => void> = {
      microphone: () => void local.setMicrophone(!local.state.get().microphoneOn),
      camera: () => void local.setCamera(local.state.get().camera === null),
      screen: () => void local.setScreen(local.state.get().screen === null),
      hand: () => {
        const now = view();
        if (now !== null) void meeting.ask({ type: "hand", raised: youIn(now)?.hand == null });
      },
      chat: () => setPanel(panel === "chat" ? null : "chat"),
      people: () => setPanel(panel === "people" ? null : "people"),
      layout: () => settings.set({ layout: settings.get().layout === "speaker" ? "auto" : "speaker" }),
      fullscreen,
      help: () => setSheet("keys"),
    };
    let talking = false;
    const talk = (on: boolean): void => {
      if (talking === on) return;
      talking = on;
      void local.setMicrophone(on);
    };
    const down = (event: KeyboardEvent): void => {
      if (document.querySelector("dialog[open]") !== null) return;
      const target = event.target instanceof HTMLElement ? event.target : document.body;
      const action = actionOf({ key: event.key, ctrlKey: event.ctrlKey, metaKey: event.metaKey, altKey: event.altKey, target: { tag: target.tagName, editable: target.isContentEditable } });
      if (action === null) return;
      event.preventDefault();
      if (event.repeat) return;
      if (action !== "talk") act[action]();
      else if (talking || !local.state.get().microphoneOn) talk(true);
    };
    const up = (event: KeyboardEvent): void => {
      if (event.key === " ") talk(false);
    };
    const blur = (): void => talk(false); // a key that is let go elsewhere is not told
    addEventListener("keydown", down);
    addEventListener("keyup", up);
    addEventListener("blur", blur);
    return () => {
      removeEventListener("keydown", down);
      removeEventListener("keyup", up);
      removeEventListener("blur", blur);
    };
  });
}

function useWakeLock(): void {
  useEffect(() => {
    let lock: WakeLockSentinel | null = null;
    const take = async (): Promise<void> => {
      if (!("wakeLock" in navigator) || document.visibilityState !== "visible") return;
      lock = await navigator.wakeLock.request("screen").catch(() => null); // refused on a low battery: the screen may sleep
    };
    const shown = (): void => void take();
    void take();
    document.addEventListener("visibilitychange", shown);
    return () => {
      document.removeEventListener("visibilitychange", shown);
      void lock?.release();
    };
  }, []);
}
