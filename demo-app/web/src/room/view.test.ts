import { describe, expect, it } from "vitest";

import type { ChatEntry, Member, Welcome } from "./messages";
import { handsUp, othersHere, received, welcomed } from "./view";

export function member(id: string, change: Partial<Member> = {}): Member {
  return { id, name: id, role: "guest", place: "main", away: false, hand: null, microphone: true, camera: true, encrypted: false, sessionId: `s-${id}`, tracks: [], ...change };
}

function line(seq: number, place: string | null = "main"): ChatEntry {
  return { seq, at: seq, sender: "a", name: "a", text: String(seq), place };
}

export function welcome(change: Partial<Welcome> = {}): Welcome {
  return {
    type: "welcome",
    you: "me",
    token: "t",
    room: { id: "abcdefghij234567", since: 0, entry: "open", epoch: 0, places: [], choose: false },
    members: [member("me"), member("a"), member("b")],
    waiting: [],
    chat: [],
    rules: { levelEveryS: 0.2, pingEveryS: 10, messagesPerSecond: 20 },
    ...change,
  };
}

describe("the view", () => {
  it("has who comes, changes and goes", () => {
    let view = welcomed(welcome());
    view = received(view, { type: "member", member: member("c") });
    view = received(view, { type: "member", member: member("a", { name: "Ann" }) });
    view = received(view, { type: "gone", member: "b", reason: "left" });
    expect([...view.members.values()].map(({ name }) => name)).toEqual(["me", "Ann", "c"]);
  });

  it("stays the same object where nothing changes", () => {
    const view = welcomed(welcome());
    expect(received(view, { type: "gone", member: "nobody", reason: "left" })).toBe(view);
    expect(received(view, { type: "done", id: 1 })).toBe(view);
  });

  it("keeps a line of chat once, in order, whatever comes twice", () => {
    let view = welcomed(welcome({ chat: [line(1), line(2)] }));
    view = received(view, { type: "chat", entries: [line(4), line(2), line(3)] });
    expect(view.chat.map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
  });

  it("forgets what was said in a place that one leaves, not what was said to all", () => {
    let view = welcomed(welcome({ chat: [line(1), line(2, null)] }));
    view = received(view, { type: "member", member: member("me", { place: "1" }) });
    expect(view.chat.map(({ seq }) => seq)).toEqual([2]);
    expect(othersHere(view)).toEqual([]);
  });

  it("has hands in the order in which they were raised", () => {
    const members = [member("me"), member("a", { hand: 20 }), member("b", { hand: 10 })];
    expect(handsUp(welcomed(welcome({ members }))).map(({ id }) => id)).toEqual(["b", "a"]);
  });
});
