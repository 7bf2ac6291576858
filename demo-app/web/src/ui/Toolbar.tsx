import {
  Activity,
  ChevronUp,
  EllipsisVertical,
  Hand,
  Keyboard,
  LayoutGrid,
  Maximize,
  MessageSquare,
  Mic,
  MicOff,
  MonitorUp,
  MonitorX,
  PhoneOff,
  Presentation,
  Settings2,
  Smile,
  Users,
  Video,
  VideoOff,
} from "lucide-react";

import type { Meeting } from "../call/meeting";
import { canShareScreen } from "../media/devices";
import type { LocalState } from "../media/local";
import type { SettingsStore } from "../media/settings";
import { EMOJI_CHOICES, type Member } from "../room/messages";
import { DeviceChoice } from "./Devices";
import { useStore } from "./hooks";
import { IconButton, Menu, MenuItem } from "./parts";
import { EMOJI } from "./reactions";

export type Panel = "chat" | "people" | null;
export type Sheet = "settings" | "keys" | "invite" | "debug" | "breakout" | null;

interface Props {
  meeting: Meeting;
  local: LocalState;
  settings: SettingsStore;
  you: Member;
  people: number;
  waiting: number;
  unread: number;
  panel: Panel;
  onPanel: (panel: Panel) => void;
  onSheet: (sheet: Sheet) => void;
  onFullscreen: () => void;
}

export function Toolbar({ meeting, local, settings, you, people, waiting, unread, panel, onPanel, onSheet, onFullscreen }: Props) {
  const { layout } = useStore(settings);
  const media = meeting.local;
  const cameraOn = local.camera !== null;
  const sharing = local.screen !== null;
  const raised = you.hand !== null;
  return (
    <footer className="bar" role="toolbar" aria-label="Call">
      <div className="bar-middle">
        <span className="split">
          <IconButton
            id="microphone"
            label={local.microphoneOn ? "Mute" : "Unmute"}
            hint={`${local.microphoneOn ? "Mute" : "Unmute"} (m)`}
            look={local.microphoneOn ? "bar" : "off"}
            icon={local.microphoneOn ? <Mic /> : <MicOff />}
            onClick={() => void media.setMicrophone(!local.microphoneOn)}
          />
          <Menu label="Microphone and speaker" icon={<ChevronUp />} look="small" className="split-more">
            {() => (
              <>
                <DeviceChoice local={media} settings={settings} only="microphone" />
                <DeviceChoice local={media} settings={settings} only="speaker" />
              </>
            )}
          </Menu>
        </span>
        <span className="split">
          <IconButton
            id="camera"
            label={cameraOn ? "Camera off" : "Camera on"}
            hint={`${cameraOn ? "Camera off" : "Camera on"} (v)`}
            look={cameraOn ? "bar" : "off"}
            icon={cameraOn ? <Video /> : <VideoOff />}
            disabled={local.opening.has("camera")}
            onClick={() => void media.setCamera(!cameraOn)}
          />
          <Menu label="Camera choice" icon={<ChevronUp />} look="small" className="split-more">
            {() => <DeviceChoice local={media} settings={settings} only="camera" />}
          </Menu>
        </span>
        {canShareScreen() && (
          <IconButton
            id="share"
            className="not-narrow"
            label={sharing ? "Stop sharing" : "Share a screen"}
            hint={`${sharing ? "Stop sharing" : "Share a screen"} (s)`}
            look={sharing ? "on" : "bar"}
            icon={sharing ? <MonitorX /> : <MonitorUp />}
            onClick={() => void media.setScreen(!sharing)}
          />
        )}
        <Menu label="React" icon={<Smile />}>
          {(close) => (
            <div className="emojis">
              {EMOJI_CHOICES.map((emoji) => (
                <button
                  key={emoji}
                  type="button"
                  className="emoji"
                  aria-label={EMOJI[emoji].name}
                  onClick={() => {
                    void meeting.ask({ type: "react", emoji });
                    close();
                  }}
                >
                  {EMOJI[emoji].sign}
                </button>
              ))}
            </div>
          )}
        </Menu>
        <IconButton
          id="hand"
          label={raised ? "Lower your hand" : "Raise your hand"}
          hint={`${raised ? "Lower your hand" : "Raise your hand"} (h)`}
          look={raised ? "on" : "bar"}
          icon={<Hand />}
          onClick={() => void meeting.ask({ type: "hand", raised: !raised })}
        />
        <Menu label="More" icon={<EllipsisVertical />}>
          {(close) => {
            const item = (action: () => void) => () => {
              close();
              action();
            };
            return (
              <>
                <MenuItem icon={layout === "speaker" ? <LayoutGrid /> : <Presentation />} onClick={item(() => settings.set({ layout: layout === "speaker" ? "auto" : "speaker" }))}>
                  {layout === "speaker" ? "Everybody in a grid" : "Who speaks, large"}
                </MenuItem>
                <MenuItem icon={<Maximize />} onClick={item(onFullscreen)}>Full screen</MenuItem>
                <MenuItem icon={<Settings2 />} onClick={item(() => onSheet("settings"))}>Settings</MenuItem>
                <MenuItem icon={<Keyboard />} onClick={item(() => onSheet("keys"))}>Keyboard</MenuItem>
                <MenuItem icon={<Activity />} onClick={item(() => onSheet("debug"))}>Connection details</MenuItem>
              </>
            );
          }}
        </Menu>
        <IconButton id="leave" label="Leave" look="leave" icon={<PhoneOff />} onClick={() => meeting.leave()} />
      </div>
      <div className="bar-end">
        <IconButton
          id="people"
          label={`People (${people})`}
          hint="People (p)"
          look={panel === "people" ? "on" : "bar"}
          icon={<Users />}
          badge={waiting}
          aria-expanded={panel === "people"}
          onClick={() => onPanel(panel === "people" ? null : "people")}
        />
        <IconButton
          id="chat"
          label={unread > 0 ? `Chat, ${unread} new` : "Chat"}
          hint="Chat (c)"
          look={panel === "chat" ? "on" : "bar"}
          icon={<MessageSquare />}
          badge={unread}
          aria-expanded={panel === "chat"}
          onClick={() => onPanel(panel === "chat" ? null : "chat")}
        />
      </div>
    </footer>
  );
}
