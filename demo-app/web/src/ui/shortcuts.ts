// Keys of the call. Pure but for the table's use in Call.tsx.

export type Action = "microphone" | "camera" | "screen" | "hand" | "chat" | "people" | "layout" | "fullscreen" | "help" | "talk";

export interface Shortcut {
  key: string;
  action: Action;
  label: string;
}

export const SHORTCUTS: readonly Shortcut[] = [
  { key: "m", action: "microphone", label: "Microphone on or off" },
  { key: "v", action: "camera", label: "Camera on or off" },
  { key: "s", action: "screen", label: "Share a screen" },
  { key: "h", action: "hand", label: "Raise or lower your hand" },
  { key: "c", action: "chat", label: "Chat" },
  { key: "p", action: "people", label: "People" },
  { key: "l", action: "layout", label: "Grid or speaker" },
  { key: "f", action: "fullscreen", label: "Full screen" },
  { key: "?", action: "help", label: "These keys" },
  { key: " ", action: "talk", label: "Hold to talk" },
];

export interface Pressed {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  /** What has the focus: its tag, and whether it takes text. */
  target: { tag: string; editable: boolean };
}

const TYPING = new Set(["INPUT", "TEXTAREA", "SELECT"]);
const PRESSED_BY_SPACE = new Set(["BUTTON", "A", "SUMMARY", "VIDEO"]);

/** What a key means here, or null: keys belong to who types, and to the browser with its modifiers. */
export function actionOf(pressed: Pressed): Action | null {
  if (pressed.ctrlKey || pressed.metaKey || pressed.altKey) return null;
  if (pressed.target.editable || TYPING.has(pressed.target.tag)) return null;
  if (pressed.key === " " && PRESSED_BY_SPACE.has(pressed.target.tag)) return null;
  const key = pressed.key.toLowerCase();
  return SHORTCUTS.find((shortcut) => shortcut.key === key)?.action ?? null;
}
