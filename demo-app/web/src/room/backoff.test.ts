import { expect, it } from "vitest";

import { backoffMs } from "./backoff";

it("doubles from half a second to eight, a fifth more or less", () => {
  expect([0, 1, 2, 3, 4, 5, 100].map((attempt) => backoffMs(attempt, 0.5))).toEqual([500, 1000, 2000, 4000, 8000, 8000, 8000]);
  expect(backoffMs(0, 0)).toBe(400);
  expect(backoffMs(0, 1)).toBe(600);
});
