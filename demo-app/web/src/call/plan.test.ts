import { describe, expect, it } from "vitest";

import { isEmpty, keyOf, planPulls, type Kind, type Slot, type Want } from "./plan";

function want(name: string, kind: Kind = "video", layer: Want["layer"] = null): Want {
  return { sessionId: "s", trackName: name, kind, layer };
}

function slot(mid: string, of: Want | null, kind: Kind = "video"): Slot {
  return { mid, kind, key: of === null ? null : keyOf(of), layer: of?.layer ?? null };
}

describe("a plan", () => {
  it("pulls all that is new in one", () => {
    const wants = [want("a"), want("b", "audio")];
    expect(planPulls([], wants)).toEqual({ swap: [], relayer: [], pull: wants, close: [] });
  });

  it("is empty when all is as wanted", () => {
    const wants = [want("a"), want("b", "audio")];
    expect(isEmpty(planPulls([slot("0", wants[0] ?? null), slot("1", wants[1] ?? null, "audio")], wants))).toBe(true);
  });

  it("gives a section that is free to what comes, and closes what is left", () => {
    const slots = [slot("0", want("a")), slot("1", want("b")), slot("2", want("c"))];
    const plan = planPulls(slots, [want("c"), want("d")]);
    expect(plan.swap).toEqual([{ mid: "0", want: want("d") }]);
    expect(plan.close).toEqual(["1"]);
    expect(plan.pull).toEqual([]);
  });

  it("takes closed sections before those that still receive", () => {
    const plan = planPulls([slot("0", want("a")), slot("1", null)], [want("b")]);
    expect(plan.swap).toEqual([{ mid: "1", want: want("b") }]);
    expect(plan.close).toEqual(["0"]);
  });

  it("never gives a section to a track of another kind", () => {
    const plan = planPulls([slot("0", null, "audio")], [want("a", "video")]);
    expect(plan.swap).toEqual([]);
    expect(plan.pull).toEqual([want("a", "video")]);
  });

  it("asks for another layer of the same track without touching anything else", () => {
    const plan = planPulls([slot("0", want("a", "video", "f"))], [want("a", "video", "q")]);
    expect(plan).toEqual({ swap: [], relayer: [{ mid: "0", want: want("a", "video", "q") }], pull: [], close: [] });
  });

  it("leads to what is wanted from anything, in one step", () => {
    let seed = 7;
    const random = (below: number): number => (seed = (seed * 48271) % 2147483647) % below;
    let slots: Slot[] = [];
    for (let round = 0; round < 300; round++) {
      const names = new Set(Array.from({ length: random(12) }, () => `t${random(20)}`));
      const wants = [...names].map((name) => want(name, Number(name.slice(1)) % 3 === 0 ? "audio" : "video"));
      const plan = planPulls(slots, wants);
      const after = new Map(slots.map((one) => [one.mid, one]));
      for (const mid of plan.close) after.set(mid, { ...(after.get(mid) as Slot), key: null });
      for (const { mid, want: one } of plan.swap) after.set(mid, { ...(after.get(mid) as Slot), key: keyOf(one) });
      plan.pull.forEach((one) => after.set(String(after.size), slot(String(after.size), one, one.kind)));
      slots = [...after.values()];
      expect(slots.flatMap(({ key }) => (key === null ? [] : [key])).sort()).toEqual(wants.map(keyOf).sort());
    }
    expect(slots.length).toBeLessThanOrEqual(24); // sections are used again: no more than were ever wanted at a time
  });
});
