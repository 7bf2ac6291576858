import { describe, expect, it } from "vitest";

import { verdictOf } from "../call/precall";
import { qualityOf } from "../call/quality";
import { LevelReports, loudness } from "./meter";
import { deviceProblem } from "./problems";
import { DEFAULTS, parseSettings } from "./settings";

describe("settings that were stored", () => {
  it("are believed only where they make sense", () => {
    expect(parseSettings(null)).toEqual(DEFAULTS);
    expect(parseSettings("{")).toEqual(DEFAULTS);
    expect(parseSettings("[1]")).toEqual(DEFAULTS);
    const stored = { name: "Ann", sending: "enormous", theme: "dark", mirror: "yes", other: 1 };
    expect(parseSettings(JSON.stringify(stored))).toEqual({ ...DEFAULTS, name: "Ann", theme: "dark" });
  });
});

describe("loudness", () => {
  it("is 0 at full scale, 127 in silence, 6 lower at half", () => {
    expect(loudness(new Float32Array(10).fill(1))).toBe(0);
    expect(loudness(new Float32Array(10).fill(0.5))).toBe(6);
    expect(loudness(new Float32Array(10))).toBe(127);
    expect(loudness(new Float32Array(0))).toBe(127);
  });

  it("is told while somebody is heard, then once that it ended", () => {
    const reports = new LevelReports();
    expect([127, 30, 25, 80, 127, 20].map((level) => reports.next(level))).toEqual([null, 30, 25, 127, null, 20]);
  });
});

describe("a device that can't be opened", () => {
  const named = (name: string): Error => Object.assign(new Error("x"), { name });

  it("is told with a way on that is this browser's", () => {
    expect(deviceProblem(named("NotAllowedError"), "camera", "firefox")?.text).toContain("crossed-out");
    expect(deviceProblem(named("NotReadableError"), "microphone", "chromium")?.title).toBe("The microphone is busy");
    expect(deviceProblem(named("NotFoundError"), "camera", "other")?.text).toContain("without it");
  });

  it("is no problem where somebody chose to share nothing", () => {
    expect(deviceProblem(named("NotAllowedError"), "screen", "chromium")).toBeNull();
  });
});

describe("the pre-call test", () => {
  const good = { roundTripS: 0.02, received: 150, lost: 0, relayed: false };

  it("names what is wrong", () => {
    expect(verdictOf(good).verdict).toBe("good");
    expect(verdictOf({ ...good, lost: 20 })).toMatchObject({ verdict: "fair", text: expect.stringContaining("lost") as string });
    expect(verdictOf({ ...good, roundTripS: 0.4 })).toMatchObject({ verdict: "fair", text: expect.stringContaining("long") as string });
    expect(verdictOf({ ...good, received: 0 }).verdict).toBe("bad");
  });
});

describe("the quality of a connection", () => {
  const before = { packets: 100, lost: 0, broken: 0, at: 10 };

  it("falls with what is lost and what stands still", () => {
    expect(qualityOf(null, before)).toBe("good");
    expect(qualityOf(before, { packets: 200, lost: 0, broken: 0, at: 12 })).toBe("good");
    expect(qualityOf(before, { packets: 195, lost: 5, broken: 0, at: 12 })).toBe("fair");
    expect(qualityOf(before, { packets: 180, lost: 20, broken: 0, at: 12 })).toBe("poor");
    expect(qualityOf(before, { packets: 200, lost: 0, broken: 0.5, at: 12 })).toBe("poor");
  });

  it("is not judged by a handful of packets", () => {
    expect(qualityOf(before, { packets: 105, lost: 5, broken: 0, at: 12 })).toBe("good");
  });
});
