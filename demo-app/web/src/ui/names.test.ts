import { describe, expect, it } from "vitest";

import { clock, hueOf, initialsOf, linked } from "./names";

describe("initials", () => {
  it("are of the first and the last word, in any script", () => {
    expect(["Ann", "Ann Lee", "ann van der lee", "Łucja Żak", "李 明", "🦊 fox", "", "  ", "!!!"].map(initialsOf)).toEqual([
      "A", "AL", "AL", "ŁŻ", "李明", "F", "?", "?", "?",
    ]);
  });
});

it("a clock shows hours once there are some", () => {
  expect([0, 65, 3605, -1].map(clock)).toEqual(["0:00", "1:05", "1:00:05", "0:00"]);
});

it("a colour stays with a member", () => {
  expect(hueOf("abc")).toBe(hueOf("abc"));
  expect(hueOf("abc")).toBeLessThan(12);
});

describe("links in chat", () => {
  it("are web addresses without the sentence around them", () => {
    expect(linked("see https://a.example/x?y=1, or (http://b.example).")).toEqual([
      { text: "see ", href: null },
      { text: "https://a.example/x?y=1", href: "https://a.example/x?y=1" },
      { text: ", or (", href: null },
      { text: "http://b.example", href: "http://b.example" },
      { text: ").", href: null },
    ]);
  });

  it("are of no other scheme, and markup is text", () => {
    for (const text of ["javascript:alert(1)", "<img src=x onerror=alert(1)>", "data:text/html,x", "https://"]) {
      expect(linked(text)).toEqual([{ text, href: null }]);
    }
  });
});
