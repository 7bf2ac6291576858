// Cameras, microphones and speakers: opening them, and which there are.

import type { Settings } from "./settings";

const LINES = { high: 720, medium: 360, low: 180 } as const;

export interface Devices {
  microphones: readonly MediaDeviceInfo[];
  cameras: readonly MediaDeviceInfo[];
  speakers: readonly MediaDeviceInfo[];
}

export const NO_DEVICES: Devices = { microphones: [], cameras: [], speakers: [] };

export async function listDevices(): Promise<Devices> {
  if (!canOpenDevices()) return NO_DEVICES;
  const all = await navigator.mediaDevices.enumerateDevices();
  const of = (kind: MediaDeviceKind): MediaDeviceInfo[] => all.filter((device) => device.kind === kind && device.deviceId !== "");
  return { microphones: of("audioinput"), cameras: of("videoinput"), speakers: of("audiooutput") };
}

/** Browsers give no devices to pages that came over plain HTTP from elsewhere. */
export function canOpenDevices(): boolean {
  return "mediaDevices" in navigator;
}

export function canShareScreen(): boolean {
  return canOpenDevices() && "getDisplayMedia" in navigator.mediaDevices;
}

export function canChooseSpeaker(): boolean {
  return "setSinkId" in HTMLMediaElement.prototype;
}

function preferring(deviceId: string): MediaTrackConstraints {
  return deviceId === "" ? {} : { deviceId: { ideal: deviceId } };
}

export function microphoneConstraints({ microphoneId, noise }: Settings): MediaTrackConstraints {
  return {
    ...preferring(microphoneId),
    echoCancellation: true,
    autoGainControl: true,
    noiseSuppression: noise === "browser",
  };
}

export function cameraConstraints({ cameraId, sending }: Settings): MediaTrackConstraints {
  const height = LINES[sending];
  return { ...preferring(cameraId), width: { ideal: (height * 16) / 9 }, height: { ideal: height }, frameRate: { ideal: 30, max: 30 } };
}

async function first(constraints: MediaStreamConstraints): Promise<MediaStreamTrack> {
  const [track] = (await navigator.mediaDevices.getUserMedia(constraints)).getTracks();
  if (track === undefined) throw new DOMException("no track", "NotFoundError");
  return track;
}

export function openMicrophone(settings: Settings): Promise<MediaStreamTrack> {
  return first({ audio: microphoneConstraints(settings) });
}

export function openCamera(settings: Settings): Promise<MediaStreamTrack> {
  return first({ video: cameraConstraints(settings) });
}

export interface SharedScreen {
  video: MediaStreamTrack;
  audio: MediaStreamTrack | null;
}

export async function openScreen(): Promise<SharedScreen> {
  const stream = await navigator.mediaDevices.getDisplayMedia({
    video: { frameRate: { ideal: 15, max: 30 }, width: { max: 2560 }, height: { max: 1440 } },
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const [video] = stream.getVideoTracks();
  if (video === undefined) throw new DOMException("no picture", "NotFoundError");
  video.contentHint = "detail";
  return { video, audio: stream.getAudioTracks()[0] ?? null };
}
