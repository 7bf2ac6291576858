import { describe, expect, it } from "vitest";

import { endingOf, isRetried } from "./closes";
import { CloseCode, RETRIED } from "./messages";

describe("a close", () => {
  it("of every code is either retried or told in words of its own", () => {
    const unknown = endingOf(4999).title;
    for (const code of Object.values(CloseCode)) {
      if (RETRIED.has(code)) expect(isRetried(code)).toBe(true);
      else expect(endingOf(code).title, String(code)).not.toBe(unknown);
    }
  });

  it("without a close frame is retried", () => {
    expect(isRetried(1006)).toBe(true);
  });

  it("by a host forgets the seat", () => {
    expect([CloseCode.REMOVED, CloseCode.ENDED].every((code) => endingOf(code).forgetsSeat)).toBe(true);
    expect(endingOf(CloseCode.REPLACED).forgetsSeat).toBe(false);
  });
});
