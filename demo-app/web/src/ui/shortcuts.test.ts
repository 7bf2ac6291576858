import { expect, it } from "vitest";

import { actionOf, SHORTCUTS } from "./shortcuts";

const BODY = { tag: "BODY", editable: false };
const plain = { ctrlKey: false, metaKey: false, altKey: false, target: BODY };

it("each key does one thing", () => {
  expect(new Set(SHORTCUTS.map(({ key }) => key)).size).toBe(SHORTCUTS.length);
  for (const { key, action } of SHORTCUTS) expect(actionOf({ ...plain, key })).toBe(action);
  expect(actionOf({ ...plain, key: "M" })).toBe("microphone");
});

it("keys belong to who types, to buttons, and to the browser", () => {
  expect(actionOf({ ...plain, key: "m", target: { tag: "TEXTAREA", editable: false } })).toBeNull();
  expect(actionOf({ ...plain, key: "m", target: { tag: "DIV", editable: true } })).toBeNull();
  expect(actionOf({ ...plain, key: " ", target: { tag: "BUTTON", editable: false } })).toBeNull();
  expect(actionOf({ ...plain, key: "m", ctrlKey: true })).toBeNull();
});
