// How loud a track is.

let shared: AudioContext | null = null;

/** The page's one AudioContext; browsers let it run only after somebody has touched the page. */
export function audioContext(): AudioContext {
  shared ??= new AudioContext();
  if (shared.state === "suspended") void shared.resume();
  return shared;
}

/** Loudness of samples from -1 to 1 in -dBov (RFC 6464): 0 is loudest, 127 silence. */
export function loudness(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const level = 10 * Math.log10(sum / Math.max(1, samples.length));
  return Number.isFinite(level) ? Math.round(Math.min(127, Math.max(0, -level))) : 127;
}

export class Meter {
  readonly #source: MediaStreamAudioSourceNode;
  readonly #analyser: AnalyserNode;
  readonly #samples: Float32Array<ArrayBuffer>;

  constructor(track: MediaStreamTrack) {
    const context = audioContext();
    this.#source = context.createMediaStreamSource(new MediaStream([track]));
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = 2048;
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#source.connect(this.#analyser);
  }

  /** The loudness of the last 40 ms, in -dBov. */
  read(): number {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return loudness(this.#samples);
  }

  close(): void {
    this.#source.disconnect();
  }
}

const HEARD = 50; // -dBov: speech at a microphone is 15 to 40, a quiet room 60 and more

/** What to say on the room socket about a microphone's loudness: numbers while it is heard, then one 127. Pure. */
export class LevelReports {
  #speaking = false;

  /** What to send for this loudness, or null for nothing. */
  next(level: number): number | null {
    if (level <= HEARD) {
      this.#speaking = true;
      return level;
    }
    if (!this.#speaking) return null;
    this.#speaking = false;
    return 127;
  }
}
