import { useEffect, useState } from "react";

import { Meeting } from "../call/meeting";
import { LocalMedia } from "../media/local";
import { missingFeature } from "../media/problems";
import { openSettings } from "../media/settings";
import { NO_EFFECTS } from "../effects/effects";
import type { WayOn } from "../room/closes";
import { readInvite, type Invite } from "../room/link";
import { Call } from "./Call";
import { Ended, Waiting } from "./Ended";
import { Home } from "./Home";
import { useStore } from "./hooks";
import { Lobby } from "./Lobby";

const settings = openSettings();
const MISSING = missingFeature(window as unknown as Record<string, unknown>);

export function App() {
  const invite = useInvite();
  const { theme } = useStore(settings);
  useEffect(() => {
    if (theme === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
  }, [theme]);
  if (MISSING !== null) {
    return <Ended ending={{ ...MISSING, ways: ["reload"], forgetsSeat: false }} onWay={() => location.reload()} />;
  }
  return invite === null ? <Home /> : <Room key={invite.room} invite={invite} />;
}

function useInvite(): Invite | null {
  const [invite, setInvite] = useState(() => readInvite(location.hash));
  useEffect(() => {
    const changed = (): void => setInvite(readInvite(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return invite;
}

function Room({ invite }: { invite: Invite }) {
  const [local, setLocal] = useState<LocalMedia | null>(null);
  const [meeting, setMeeting] = useState<Meeting | null>(null);
  useEffect(() => {
    const media = new LocalMedia(settings, NO_EFFECTS);
    // eslint-disable-next-line react-hooks/set-state-in-effect -- devices are opened once this is on the page, and closed with it
    setLocal(media);
    void media.start();
    return () => media.stop();
  }, []);
  useEffect(() => {
    if (meeting === null) return;
    const gone = (): void => meeting.close();
    addEventListener("pagehide", gone);
    return () => {
      removeEventListener("pagehide", gone);
      meeting.close();
    };
  }, [meeting]);
  if (local === null) return null;
  if (meeting === null) {
    return (
      <Lobby
        local={local}
        settings={settings}
        onJoin={() => {
          if (settings.get().pushToTalk) void local.setMicrophone(false);
          setMeeting(new Meeting(invite, local, settings));
        }}
      />
    );
  }
  return <InMeeting meeting={meeting} onAgain={() => setMeeting(null)} />;
}

function InMeeting({ meeting, onAgain }: { meeting: Meeting; onAgain: () => void }) {
  const { phase, ending } = useStore(meeting.state);
  const way = (chosen: WayOn): void => {
    if (chosen === "rejoin") onAgain();
    if (chosen === "reload") location.reload();
    if (chosen === "home") location.hash = "";
  };
  switch (phase) {
    case "ended":
      return ending === null ? null : <Ended ending={ending} onWay={way} />;
    case "waiting":
      return <Waiting text="Waiting to be let in" detail="A host was told that you are here." onLeave={() => meeting.leave()} />;
    case "joining":
      return <Waiting text="Joining…" detail="Connecting to the meeting." onLeave={() => meeting.leave()} />;
    case "call":
      return <Call meeting={meeting} settings={settings} />;
  }
}
