// The session API through the room's proxy, as the page uses it (docs/reference/api.md).

export interface TrackItem {
  mid?: string;
  sessionId?: string;
  trackName?: string;
  errorCode?: string;
  errorDescription?: string;
}

export interface TracksAnswer {
  requiresImmediateRenegotiation?: boolean;
  sessionDescription?: RTCSessionDescriptionInit;
  tracks: TrackItem[];
}

export interface Simulcast {
  preferredRid: string;
  priorityOrdering: "asciibetical";
  ridNotAvailable: "asciibetical";
}

export interface RemoteTrack {
  location: "remote";
  sessionId: string;
  trackName: string;
  mid?: string;
  simulcast?: Simulcast;
}

export interface LocalTrack {
  location: "local";
  mid: string;
  trackName: string;
}

/** The server refused a call; `status` 410 and 404 mean that the session is no more. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }

  get sessionIsGone(): boolean {
    return this.status === 410 || this.status === 404 || this.status === 403;
  }

  /** The same call may work a little later. */
  get passes(): boolean {
    return [408, 425, 429, 500, 502, 503, 504].includes(this.status);
  }
}

const CALL_TIMEOUT_MS = 20_000; // a pull waits up to 8 s for its publisher's media

export class SessionApi {
  readonly #root: string;
  readonly #token: () => string;

  constructor(token: () => string, root = "/api/room") {
    this.#root = root;
    this.#token = token;
  }

  async newSession(): Promise<string> {
    const answer = await this.#call<{ sessionId: string }>("POST", "/sessions/new");
    return answer.sessionId;
  }

  newTracks(session: string, body: { tracks: readonly (LocalTrack | RemoteTrack)[]; sessionDescription?: RTCSessionDescriptionInit }): Promise<TracksAnswer> {
    return this.#call("POST", `/sessions/${session}/tracks/new`, body);
  }

  renegotiate(session: string, sessionDescription: RTCSessionDescriptionInit): Promise<{ sessionDescription?: RTCSessionDescriptionInit }> {
    return this.#call("PUT", `/sessions/${session}/renegotiate`, { sessionDescription });
  }

  closeTracks(session: string, mids: readonly string[]): Promise<TracksAnswer> {
    return this.#call("PUT", `/sessions/${session}/tracks/close`, { tracks: mids.map((mid) => ({ mid })), force: true });
  }

  updateTracks(session: string, tracks: readonly RemoteTrack[]): Promise<TracksAnswer> {
    return this.#call("PUT", `/sessions/${session}/tracks/update`, { tracks });
  }

  inspect(session: string): Promise<unknown> {
    return this.#call("GET", `/sessions/${session}`);
  }

  async iceServers(): Promise<RTCIceServer[]> {
    const answer = await this.#call<{ iceServers: RTCIceServer[] }>("POST", "/generate-ice-servers");
    return answer.iceServers;
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(this.#root + path, {
      method,
      headers: { authorization: `Bearer ${this.#token()}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    });
    const answer = (await response.json().catch(() => ({}))) as { errorCode?: string; errorDescription?: string };
    if (!response.ok || answer.errorCode !== undefined) {
      throw new ApiError(response.status, answer.errorCode ?? "", answer.errorDescription ?? `HTTP ${response.status}`);
    }
    return answer as T;
  }
}
