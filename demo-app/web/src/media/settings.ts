// What somebody has chosen in this browser. Kept in localStorage, and not believed when read.

import { Store } from "../store";

export interface Settings {
  name: string;
  microphoneId: string;
  cameraId: string;
  speakerId: string;
  /** How much of a picture is sent: 720, 360 or 180 lines. */
  sending: "high" | "medium" | "low";
  /** What is received: all, small pictures only, or sound alone. */
  receiving: "full" | "saver" | "off";
  noise: "browser" | "strong" | "off";
  background: "none" | "blur" | "image";
  layout: "auto" | "grid" | "speaker";
  theme: "system" | "light" | "dark";
  pushToTalk: boolean;
  mirror: boolean;
}

export const DEFAULTS: Settings = {
  name: "",
  microphoneId: "",
  cameraId: "",
  speakerId: "",
  sending: "high",
  receiving: "full",
  noise: "browser",
  background: "none",
  layout: "auto",
  theme: "system",
  pushToTalk: false,
  mirror: true,
};

const CHOICES: { readonly [K in keyof Settings]?: readonly Settings[K][] } = {
  sending: ["high", "medium", "low"],
  receiving: ["full", "saver", "off"],
  noise: ["browser", "strong", "off"],
  background: ["none", "blur", "image"],
  layout: ["auto", "grid", "speaker"],
  theme: ["system", "light", "dark"],
};

/** The settings in a stored text; what is missing or makes no sense is as by default. */
export function parseSettings(text: string | null): Settings {
  let stored: Partial<Record<keyof Settings, unknown>> = {};
  try {
    const parsed: unknown = JSON.parse(text ?? "{}");
    if (typeof parsed === "object" && parsed !== null) stored = parsed;
  } catch {
    return DEFAULTS;
  }
  const entries = (Object.keys(DEFAULTS) as (keyof Settings)[]).map((key) => {
    const value = stored[key];
    const choices = CHOICES[key] as readonly unknown[] | undefined;
    const valid = typeof value === typeof DEFAULTS[key] && (choices === undefined || choices.includes(value));
    return [key, valid ? value : DEFAULTS[key]];
  });
  return Object.fromEntries(entries) as Settings;
}

const KEY = "orchard.settings";

export type SettingsStore = Store<Settings>;

/** The settings of this browser, which are kept from now on. */
export function openSettings(): SettingsStore {
  const store = new Store(parseSettings(localStorage.getItem(KEY)));
  store.subscribe(() => localStorage.setItem(KEY, JSON.stringify(store.get())));
  return store;
}
