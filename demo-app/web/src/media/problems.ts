// What can go wrong with devices and calls, in words for who looks at the page.

import { ApiError } from "../call/api";
import { NoMediaPath } from "../call/session";
import { RequestRefused } from "../room/socket";

export type DeviceKind = "camera" | "microphone" | "screen";

export interface Problem {
  title: string;
  text: string;
}

export type BrowserFamily = "chromium" | "firefox" | "safari" | "other";

export function browserFamily(userAgent: string): BrowserFamily {
  if (/firefox\//i.test(userAgent)) return "firefox";
  if (/chrom(e|ium)\//i.test(userAgent)) return "chromium";
  if (/safari\//i.test(userAgent)) return "safari";
  return "other";
}

const ALLOW: Record<BrowserFamily, string> = {
  chromium: "Press the icon left of the address, allow it there, then try again.",
  firefox: "Press the crossed-out icon left of the address, take the block away, then try again.",
  safari: "Choose Safari, Settings for this website, allow it there, then try again.",
  other: "Allow it in the settings of this site, then try again.",
};

const NAMES: Record<DeviceKind, string> = { camera: "camera", microphone: "microphone", screen: "screen" };

/** What to say when a device could not be opened; null where somebody simply changed their mind. */
export function deviceProblem(error: unknown, kind: DeviceKind, family: BrowserFamily): Problem | null {
  const name = error instanceof Error ? error.name : "";
  const device = NAMES[kind];
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      if (kind === "screen") return null;
      return { title: `The ${device} is blocked`, text: `The browser did not give this page leave to use it. ${ALLOW[family]}` };
    case "NotFoundError":
    case "OverconstrainedError":
      return { title: `No ${device} was found`, text: `Connect one, and it is used at once. You can join without it.` };
    case "NotReadableError":
    case "AbortError":
      return { title: `The ${device} is busy`, text: "Another program or page may hold it. Close that, then try again." };
    case "InvalidStateError":
      return { title: `The ${device} can't be opened now`, text: "Bring this page to the front, then try again." };
    default:
      return { title: `The ${device} can't be opened`, text: error instanceof Error ? error.message : String(error) };
  }
}

export function insecureOrigin(origin: string): Problem {
  return {
    title: "This address is not secure",
    text: `Browsers give cameras and microphones only to pages loaded by https:// or from this machine, and ${origin} is neither. You can watch and listen.`,
  };
}

/** Whether this browser can take part at all. */
export function missingFeature(scope: Record<string, unknown>): Problem | null {
  if ("RTCPeerConnection" in scope && "WebSocket" in scope) return null;
  return { title: "This browser can't do video calls", text: "WebRTC is switched off or missing. Try a current Chromium, Firefox or Safari." };
}

/** What to say when the call itself does not work. */
export function callProblem(error: unknown): Problem {
  if (error instanceof NoMediaPath) {
    return {
      title: "Sound and pictures can't get through",
      text: "The server answers, but its media port can't be reached from here. A firewall may stop UDP; another network may help.",
    };
  }
  if (error instanceof ApiError) return { title: "The server refused", text: error.message };
  if (error instanceof RequestRefused) return { title: "That did not work", text: error.message };
  if (error instanceof TypeError) return { title: "The server does not answer", text: "It may have stopped, or the network is down." };
  return { title: "Something went wrong", text: error instanceof Error ? error.message : String(error) };
}
