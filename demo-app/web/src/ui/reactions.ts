import type { Emoji } from "../room/messages";

export const EMOJI: Readonly<Record<Emoji, { sign: string; name: string }>> = {
  thumbsUp: { sign: "👍", name: "Thumbs up" },
  heart: { sign: "❤️", name: "Heart" },
  applause: { sign: "👏", name: "Applause" },
  laugh: { sign: "😂", name: "Laugh" },
  surprise: { sign: "😮", name: "Surprise" },
  party: { sign: "🎉", name: "Party" },
  thinking: { sign: "🤔", name: "Thinking" },
  thumbsDown: { sign: "👎", name: "Thumbs down" },
};
