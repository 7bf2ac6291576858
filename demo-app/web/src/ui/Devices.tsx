import { Camera, Mic, Volume2 } from "lucide-react";

import { canChooseSpeaker } from "../media/devices";
import type { LocalMedia } from "../media/local";
import type { SettingsStore } from "../media/settings";
import { useStore } from "./hooks";
import { Select } from "./parts";

interface Props {
  local: LocalMedia;
  settings: SettingsStore;
  only?: "microphone" | "camera" | "speaker";
}

function choices(devices: readonly MediaDeviceInfo[], none: string): { value: string; label: string }[] {
  if (devices.length === 0) return [{ value: "", label: none }];
  return devices.map((device, index) => ({ value: device.deviceId, label: device.label || `Device ${index + 1}` }));
}

function selected(id: string, devices: readonly MediaDeviceInfo[]): string {
  return devices.some((device) => device.deviceId === id) ? id : (devices[0]?.deviceId ?? "");
}

/** Which camera, microphone and speaker. */
export function DeviceChoice({ local, settings, only }: Props) {
  const { devices } = useStore(local.state);
  const chosen = useStore(settings);
  return (
    <>
      {(only === undefined || only === "microphone") && (
        <Select
          label="Microphone"
          icon={<Mic />}
          value={selected(chosen.microphoneId, devices.microphones)}
          choices={choices(devices.microphones, "No microphone found")}
          disabled={devices.microphones.length === 0}
          onChange={(microphoneId) => settings.set({ microphoneId })}
        />
      )}
      {(only === undefined || only === "speaker") && canChooseSpeaker() && devices.speakers.length > 0 && (
        <Select
          label="Speaker"
          icon={<Volume2 />}
          value={selected(chosen.speakerId, devices.speakers)}
          choices={choices(devices.speakers, "The system's")}
          onChange={(speakerId) => settings.set({ speakerId })}
        />
      )}
      {(only === undefined || only === "camera") && (
        <Select
          label="Camera"
          icon={<Camera />}
          value={selected(chosen.cameraId, devices.cameras)}
          choices={choices(devices.cameras, "No camera found")}
          disabled={devices.cameras.length === 0}
          onChange={(cameraId) => settings.set({ cameraId })}
        />
      )}
    </>
  );
}
