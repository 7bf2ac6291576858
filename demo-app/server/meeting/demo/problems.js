// What can go wrong, in words for who looks at the page: {title, text, retry, testPicture}.

import { ApiError } from "./client.js";

/** Raised when the connection was set up but no media path was found in time. */
export class NoMediaPath extends Error {
  constructor() {
    super("no media path to the server");
    this.name = "NoMediaPath";
  }
}

const CAMERA_PROBLEMS = {
  NotAllowedError: {
    title: "Camera and microphone are blocked",
    text: "The browser did not give this page leave to use them. Allow them in the address bar or in the " +
      "system's privacy settings, then try again.",
  },
  NotFoundError: {
    title: "No camera or microphone found",
    text: "Connect one and try again, or go on with a test picture and a tone.",
  },
  NotReadableError: {
    title: "The camera or the microphone is in use",
    text: "Another program or page may hold it. Close that and try again.",
  },
  OverconstrainedError: {
    title: "The camera can't give the picture that was asked for",
    text: "Try again, or go on with a test picture.",
  },
};

export function insecureOrigin() {
  return {
    title: "This page needs a secure address",
    text:
      `Browsers give cameras only to pages loaded by https:// or from this very machine (http://localhost). ` +
      `${location.origin} is neither: start the server with HTTPS, or open it by localhost.`,
    retry: false,
    testPicture: true,
  };
}

export function noWebRtc() {
  return {
    title: "This browser has no WebRTC",
    text: "It may be switched off, or the browser may be too old. Try a current Chromium, Firefox or Safari.",
    retry: false,
    testPicture: false,
  };
}

export function describeProblem(error) {
  const known = CAMERA_PROBLEMS[error.name];
  if (known) return { ...known, retry: true, testPicture: true };
  if (error instanceof NoMediaPath) {
    return {
      title: "The server answers, but no media gets through",
      text:
        "Its UDP port can't be reached from here. A firewall may stop UDP, or the server may announce an " +
        "address that this network can't reach (orchard doctor, --advertise).",
      retry: true,
      testPicture: false,
    };
  }
  if (error instanceof TypeError || (error instanceof ApiError && [502, 504].includes(error.status))) {
    return {
      title: "The server does not answer",
      text: "It may have stopped, or the network is down.",
      retry: true,
      testPicture: false,
    };
  }
  if (error instanceof ApiError) {
    const busy = error.status === 429 || error.status === 503;
    return {
      title: busy ? "The server is busy" : "The server refused",
      text: `${error.message} (HTTP ${error.status}${error.code ? `, ${error.code}` : ""})`,
      retry: true,
      testPicture: false,
    };
  }
  return { title: "Something went wrong", text: `${error.name}: ${error.message}`, retry: true, testPicture: false };
}

/** Whether trying again by itself, after a while, can help. */
export function passes(error) {
  if (error instanceof NoMediaPath || error instanceof TypeError) return true;
  return error instanceof ApiError && [410, 425, 429, 500, 502, 503, 504].includes(error.status);
}
