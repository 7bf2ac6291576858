// What changes one's picture and sound before they are sent. What it takes is loaded when it is switched on.

import type { Effects } from "../media/local";

export const NO_EFFECTS: Effects = {
  camera: () => Promise.resolve(null),
  microphone: () => Promise.resolve(null),
};
