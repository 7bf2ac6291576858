// One's own microphone, camera and screen: what is on, what went wrong, and which devices there are.

import { Store } from "../store";
import { canOpenDevices, listDevices, NO_DEVICES, openCamera, openMicrophone, openScreen, type Devices, type SharedScreen } from "./devices";
import { browserFamily, deviceProblem, insecureOrigin, type DeviceKind, type Problem } from "./problems";
import type { Settings, SettingsStore } from "./settings";

export interface LocalState {
  /** The microphone's track; it stays open while it is muted, so that unmuting takes no time. */
  microphone: MediaStreamTrack | null;
  microphoneOn: boolean;
  /** The camera's track as it is shown and sent; null while it is off, so that its light is off too. */
  camera: MediaStreamTrack | null;
  screen: SharedScreen | null;
  opening: ReadonlySet<DeviceKind>;
  problems: Readonly<Partial<Record<DeviceKind, Problem>>>;
  devices: Devices;
}

/** Changes a track into another one, such as one with a blurred background; `stop` ends the change, not the source. */
export interface Processed {
  track: MediaStreamTrack;
  stop: () => void;
}

export interface Effects {
  camera: (track: MediaStreamTrack, settings: Settings) => Promise<Processed | null>;
  microphone: (track: MediaStreamTrack, settings: Settings) => Promise<Processed | null>;
}

interface Source {
  raw: MediaStreamTrack;
  processed: Processed | null;
}

export class LocalMedia {
  readonly state = new Store<LocalState>({
    microphone: null,
    microphoneOn: false,
    camera: null,
    screen: null,
    opening: new Set(),
    problems: {},
    devices: NO_DEVICES,
  });
  readonly #settings: SettingsStore;
  readonly #effects: Effects;
  readonly #family = browserFamily(navigator.userAgent);
  readonly #sources = new Map<"microphone" | "camera", Source>();
  readonly #stopWatching: () => void;
  #seen: Settings;
  #turns: Promise<void> = Promise.resolve();

  constructor(settings: SettingsStore, effects: Effects) {
    this.#settings = settings;
    this.#effects = effects;
    this.#seen = settings.get();
    this.#stopWatching = settings.subscribe(() => this.#settingsChanged());
    if (canOpenDevices()) navigator.mediaDevices.addEventListener("devicechange", this.#devicesChanged);
  }

  /** Open what the lobby shows: both devices, or the one there is. */
  async start(): Promise<void> {
    if (!canOpenDevices()) {
      const problem = insecureOrigin(location.origin);
      this.state.set({ problems: { microphone: problem, camera: problem } });
      return;
    }
    await this.setMicrophone(true);
    await this.setCamera(true);
  }

  setMicrophone(on: boolean): Promise<void> {
    return this.#turn(async () => {
      if (on && !this.#sources.has("microphone")) await this.#open("microphone");
      const track = this.state.get().microphone;
      if (track !== null) track.enabled = on;
      this.state.set({ microphoneOn: on && track !== null });
    });
  }

  setCamera(on: boolean): Promise<void> {
    return this.#turn(async () => {
      if (!on) this.#close("camera");
      else if (!this.#sources.has("camera")) await this.#open("camera");
    });
  }

  setScreen(on: boolean): Promise<void> {
    return this.#turn(async () => {
      const { screen } = this.state.get();
      if (!on) {
        this.#closeScreen();
        return;
      }
      if (screen !== null) return;
      this.#opening("screen", true);
      try {
        const shared = await openScreen();
        shared.video.addEventListener("ended", () => this.#closeScreen());
        this.state.set({ screen: shared });
      } catch (error) {
        this.#problem("screen", deviceProblem(error, "screen", this.#family));
      } finally {
        this.#opening("screen", false);
      }
    });
  }

  dismiss(kind: DeviceKind): void {
    this.#problem(kind, null);
  }

  stop(): void {
    this.#stopWatching();
    if (canOpenDevices()) navigator.mediaDevices.removeEventListener("devicechange", this.#devicesChanged);
    this.#close("microphone");
    this.#close("camera");
    this.#closeScreen();
  }

  async #open(kind: "microphone" | "camera"): Promise<void> {
    this.#opening(kind, true);
    try {
      const settings = this.#settings.get();
      const raw = await (kind === "microphone" ? openMicrophone(settings) : openCamera(settings));
      raw.addEventListener("ended", () => this.#ended(kind, raw));
      const source: Source = { raw, processed: null };
      this.#sources.set(kind, source);
      await this.#process(kind, source);
      this.#problem(kind, null);
      this.state.set({ devices: await listDevices() });
    } catch (error) {
      this.#problem(kind, deviceProblem(error, kind, this.#family));
    } finally {
      this.#opening(kind, false);
    }
  }

  async #process(kind: "microphone" | "camera", source: Source): Promise<void> {
    const before = source.processed;
    const settings = this.#settings.get();
    source.processed = await this.#effects[kind](source.raw, settings);
    const track = source.processed?.track ?? source.raw;
    if (kind === "microphone") track.enabled = this.state.get().microphoneOn;
    this.state.set({ [kind]: track });
    before?.stop();
  }

  #close(kind: "microphone" | "camera"): void {
    const source = this.#sources.get(kind);
    this.#sources.delete(kind);
    source?.processed?.stop();
    source?.raw.stop();
    this.state.set(kind === "camera" ? { camera: null } : { microphone: null, microphoneOn: false });
  }

  #closeScreen(): void {
    const { screen } = this.state.get();
    screen?.video.stop();
    screen?.audio?.stop();
    this.state.set({ screen: null });
  }

  // A device that was unplugged: another one takes its place, if there is one.
  #ended(kind: "microphone" | "camera", raw: MediaStreamTrack): void {
    if (this.#sources.get(kind)?.raw !== raw) return;
    const { microphoneOn } = this.state.get();
    this.#close(kind);
    void (kind === "camera" ? this.setCamera(true) : this.setMicrophone(microphoneOn));
  }

  #settingsChanged(): void {
    const [before, now] = [this.#seen, this.#settings.get()];
    this.#seen = now;
    const changed = (...keys: (keyof Settings)[]): boolean => keys.some((key) => before[key] !== now[key]);
    if (changed("microphoneId", "noise") && this.#sources.has("microphone")) void this.#reopen("microphone");
    if (changed("cameraId", "sending") && this.#sources.has("camera")) void this.#reopen("camera");
    else if (changed("background") && this.#sources.has("camera")) {
      void this.#turn(async () => {
        const source = this.#sources.get("camera");
        if (source !== undefined) await this.#process("camera", source);
      });
    }
  }

  #reopen(kind: "microphone" | "camera"): Promise<void> {
    return this.#turn(async () => {
      const { microphoneOn } = this.state.get();
      const source = this.#sources.get(kind);
      this.#sources.delete(kind);
      source?.processed?.stop();
      source?.raw.stop(); // before the next is opened: some systems give a device to one taker at a time
      await this.#open(kind);
      if (!this.#sources.has(kind)) this.#close(kind);
      else if (kind === "microphone") {
        const { microphone } = this.state.get();
        if (microphone !== null) microphone.enabled = microphoneOn;
        this.state.set({ microphoneOn });
      }
    });
  }

  readonly #devicesChanged = (): void => {
    void listDevices().then((devices) => this.state.set({ devices }));
  };

  #opening(kind: DeviceKind, now: boolean): void {
    const opening = new Set(this.state.get().opening);
    if (now) opening.add(kind);
    else opening.delete(kind);
    this.state.set({ opening });
  }

  #problem(kind: DeviceKind, problem: Problem | null): void {
    const others = Object.entries(this.state.get().problems).filter(([of]) => of !== kind);
    this.state.set({ problems: Object.fromEntries(problem === null ? others : [...others, [kind, problem]]) });
  }

  // One at a time: two openings of one device would leave one of them open for ever.
  #turn(change: () => Promise<void>): Promise<void> {
    this.#turns = this.#turns.then(change, change);
    return this.#turns;
  }
}
