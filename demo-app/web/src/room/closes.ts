// What it means that the room's socket was closed, and what the page does then.

import { CloseCode, RETRIED } from "./messages";

const LOST = 1006; // no close frame came: the network, or a server that ended at once

/** What somebody can do after the end: join again, load the page anew, make another meeting, or none of these. */
export type WayOn = "rejoin" | "reload" | "home";

export interface Ending {
  title: string;
  text: string;
  ways: readonly WayOn[];
  /** The token of the seat is good for nothing any more. */
  forgetsSeat: boolean;
}

function ending(title: string, text: string, ways: readonly WayOn[], forgetsSeat = false): Ending {
  return { title, text, ways, forgetsSeat };
}

const ENDINGS: ReadonlyMap<number, Ending> = new Map([
  [CloseCode.LEFT, ending("You left the meeting", "Come back whenever you like.", ["rejoin", "home"], true)],
  [CloseCode.TOO_LARGE, ending("Something was too long", "A message of this page was larger than the server takes.", ["rejoin"])],
  [CloseCode.MALFORMED, ending("The server did not understand this page", "Load it anew; it may be of another version.", ["reload"])],
  [CloseCode.VERSION, ending("There is a newer version", "Load the page anew to go on.", ["reload"])],
  [CloseCode.FLOODING, ending("Too many messages", "This page sent more than the server takes. Wait a moment, then join again.", ["rejoin"])],
  [CloseCode.NOT_JOINED, ending("Joining took too long", "Check the network, then try again.", ["rejoin"])],
  [CloseCode.REPLACED, ending("You are in this meeting in another tab", "Go on there, or take the meeting back to this one.", ["rejoin"])],
  [CloseCode.WRONG_KEY, ending("This link opens no meeting", "It may be incomplete, or its meeting was set up on another server. Ask for the link again.", ["home"], true)],
  [CloseCode.FULL, ending("The meeting is full", "Nobody else fits in right now. Try again in a while.", ["rejoin", "home"])],
  [CloseCode.LOCKED, ending("The meeting is locked", "A host has closed the door. Ask them to open it, then try again.", ["rejoin", "home"])],
  [CloseCode.DENIED, ending("You were not let in", "A host has declined your request to join.", ["home"], true)],
  [CloseCode.REMOVED, ending("You were removed from the meeting", "A host has ended your part in it.", ["home"], true)],
  [CloseCode.ENDED, ending("The meeting has ended", "A host has ended it for everyone.", ["home"], true)],
  [CloseCode.EXPIRED, ending("Nobody answered the door", "You waited for long and no host has let you in. Try again later.", ["rejoin", "home"])],
]);

const UNKNOWN = ending("The connection was closed", "The server has ended it for a reason that this page does not know.", ["rejoin", "reload"]);

/** Whether the page connects again by itself after a close with this code. */
export function isRetried(code: number): boolean {
  return code === LOST || RETRIED.has(code) || code === 1001 || code === 1005 || code === 1011;
}

/** What to show after a close that is not retried. */
export function endingOf(code: number): Ending {
  return ENDINGS.get(code) ?? UNKNOWN;
}
