// Where picture and sound come from: the camera and microphone, or a test picture and a tone.

const CAMERA = {
  audio: true,
  video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
};

/** The camera and microphone; where one of them is missing, the other alone. */
export async function openCamera() {
  try {
    return await navigator.mediaDevices.getUserMedia(CAMERA);
  } catch (error) {
    if (error.name !== "NotFoundError") throw error;
    const devices = await navigator.mediaDevices.enumerateDevices();
    const has = (kind) => devices.some((device) => device.kind === kind);
    if (has("videoinput")) return navigator.mediaDevices.getUserMedia({ video: CAMERA.video });
    if (has("audioinput")) return navigator.mediaDevices.getUserMedia({ audio: true });
    throw error;
  }
}

/** A moving picture with a clock, and a quiet tone: for a machine without a camera. */
export function openTestPicture() {
  const canvas = document.createElement("canvas");
  canvas.width = 640;
  canvas.height = 360;
  const context = canvas.getContext("2d");
  const draw = () => {
    const seconds = performance.now() / 1000;
    context.fillStyle = `hsl(${(seconds * 20) % 360} 45% 30%)`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = "white";
    context.beginPath();
    context.arc(320 + 220 * Math.sin(seconds), 180 + 100 * Math.cos(seconds * 1.7), 36, 0, 2 * Math.PI);
    context.fill();
    context.font = "bold 44px system-ui, sans-serif";
    context.textAlign = "center";
    // The page shows pictures as in a mirror; the text must be readable there.
    context.save();
    context.scale(-1, 1);
    context.fillText(new Date().toLocaleTimeString(), -320, 196);
    context.restore();
  };
  draw();
  const timer = setInterval(draw, 33);
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  const out = audio.createMediaStreamDestination();
  volume.gain.value = 0.1;
  tone.frequency.value = 220;
  tone.connect(volume).connect(out);
  tone.start();
  const stream = new MediaStream([...canvas.captureStream(30).getTracks(), ...out.stream.getTracks()]);
  const stop = () => {
    clearInterval(timer);
    void audio.close();
  };
  return { stream, stop };
}

/**
 * How loud a received track is, from 0 to 1, whether or not it can be heard. Chromium's statistics
 * know nothing of a muted element's sound, and Firefox's Web Audio nothing of a received track's: ask both.
 */
export class LevelMeter {
  #context = new AudioContext();
  #analyser = this.#context.createAnalyser();
  #samples = new Float32Array(this.#analyser.fftSize);

  constructor(track) {
    this.#context.createMediaStreamSource(new MediaStream([track])).connect(this.#analyser);
  }

  read() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return this.#samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
  }

  close() {
    void this.#context.close();
  }
}
