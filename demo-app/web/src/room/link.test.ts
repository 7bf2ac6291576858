import { describe, expect, it } from "vitest";

import { inviteHash, readInvite, readPasted } from "./link";

const ROOM = "abcdefghij234567";

describe("an invite", () => {
  it("survives the way through a link, passphrase with signs and all", () => {
    const invite = { room: ROOM, key: "k.e-y_1", passphrase: "a b&c=d#e" };
    expect(readInvite(inviteHash(invite))).toEqual(invite);
    expect(readPasted(`https://meet.example/${inviteHash(invite)} `)?.room).toBe(ROOM);
  });

  it("is none without a room of the right form", () => {
    expect(readInvite("")).toBeNull();
    expect(readInvite("#room=SHOUTING23456789&key=k")).toBeNull();
    expect(readPasted("hello")).toBeNull();
  });

  it("drops a key that can be none", () => {
    expect(readInvite(`#room=${ROOM}&key=<script>`)?.key).toBeNull();
  });
});
