// What opens over the call: settings, keys, the invitation.

import { Check, Copy } from "lucide-react";
import { useState } from "react";

import type { LocalMedia } from "../media/local";
import type { Settings, SettingsStore } from "../media/settings";
import { inviteHash, type Invite } from "../room/link";
import { DeviceChoice } from "./Devices";
import { useStore } from "./hooks";
import { Button, Dialog, Select, Switch } from "./parts";
import { SHORTCUTS } from "./shortcuts";

interface SettingsProps {
  local: LocalMedia;
  settings: SettingsStore;
  onClose: () => void;
}

const SENDING: readonly { value: Settings["sending"]; label: string }[] = [
  { value: "high", label: "High (720 lines)" },
  { value: "medium", label: "Medium (360 lines)" },
  { value: "low", label: "Low (180 lines)" },
];
const RECEIVING: readonly { value: Settings["receiving"]; label: string }[] = [
  { value: "full", label: "As good as the screen shows" },
  { value: "saver", label: "Data saver: small pictures" },
  { value: "off", label: "Sound only" },
];
const THEMES: readonly { value: Settings["theme"]; label: string }[] = [
  { value: "system", label: "Like the system" },
  { value: "light", label: "Light" },
  { value: "dark", label: "Dark" },
];

export function SettingsSheet({ local, settings, onClose }: SettingsProps) {
  const now = useStore(settings);
  return (
    <Dialog title="Settings" onClose={onClose}>
      <div className="sheet">
        <DeviceChoice local={local} settings={settings} />
        <Select label="Your picture" value={now.sending} choices={SENDING} onChange={(sending) => settings.set({ sending })} />
        <Select label="Others’ pictures" value={now.receiving} choices={RECEIVING} onChange={(receiving) => settings.set({ receiving })} />
        <Select label="Colours" value={now.theme} choices={THEMES} onChange={(theme) => settings.set({ theme })} />
        <Switch
          label="Suppress noise"
          text="The browser takes out hum and rustling."
          on={now.noise !== "off"}
          onChange={(on) => settings.set({ noise: on ? "browser" : "off" })}
        />
        <Switch
          label="Push to talk"
          text="Muted, but while the space bar is held down."
          on={now.pushToTalk}
          onChange={(pushToTalk) => settings.set({ pushToTalk })}
        />
        <Switch label="Mirror your own picture" on={now.mirror} onChange={(mirror) => settings.set({ mirror })} />
      </div>
    </Dialog>
  );
}

export function KeysSheet({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <dl className="keys">
        {SHORTCUTS.map(({ key, label }) => (
          <div key={key}>
            <dt>
              <kbd>{key === " " ? "Space" : key.toUpperCase()}</kbd>
            </dt>
            <dd>{label}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

export function inviteLink(invite: Invite): string {
  return `${location.origin}${location.pathname}${inviteHash(invite)}`;
}

export function InviteSheet({ invite, onClose }: { invite: Invite; onClose: () => void }) {
  const [copied, setCopied] = useState(false);
  const link = inviteLink(invite);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(link);
      setCopied(true);
    } catch {
      setCopied(false); // not allowed here: the link stands in the field, to be copied by hand
    }
  };
  return (
    <Dialog title="Invite others" onClose={onClose}>
      <div className="sheet">
        <p className="muted">Whoever has this link can join. It holds the room’s key, so give it only to those you want to see.</p>
        <div className="paste">
          <input className="input" readOnly value={link} aria-label="Invitation link" onFocus={(event) => event.target.select()} />
          <Button look="accent" onClick={() => void copy()}>
            {copied ? <Check aria-hidden="true" /> : <Copy aria-hidden="true" />} {copied ? "Copied" : "Copy"}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
