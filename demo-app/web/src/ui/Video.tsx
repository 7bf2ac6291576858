import { useEffect, useRef, useState } from "react";

interface Props {
  track: MediaStreamTrack;
  /** When this track took its section over; the picture before that was somebody else's. */
  since?: number;
  mirror?: boolean;
  fit?: "cover" | "contain";
  label: string;
}

// What was on its way when the server changed the source; no picture of it may appear under another name.
const STALE_MS = 300;

/** A picture, hidden until its first frame is there. */
export function Video({ track, since, mirror = false, fit = "cover", label }: Props) {
  const ref = useRef<HTMLVideoElement>(null);
  const key = `${track.id}/${since ?? 0}`;
  const [shown, setShown] = useState("");
  useEffect(() => {
    const element = ref.current;
    if (element === null) return;
    let over = false;
    element.srcObject = new MediaStream([track]);
    void element.play().catch(() => undefined); // a picture without sound may always play; it is tried again by autoplay
    const wait = (): void => {
      element.requestVideoFrameCallback((now) => {
        if (over) return;
        if (since !== undefined && now < since + STALE_MS) wait();
        else setShown(key);
      });
    };
    wait();
    return () => {
      over = true;
      element.srcObject = null;
    };
  }, [track, since, key]);
  const classes = ["video", mirror ? "video-mirror" : "", fit === "contain" ? "video-contain" : "", shown === key ? "" : "video-waiting"];
  return <video ref={ref} className={classes.join(" ")} muted autoPlay playsInline aria-label={label} />;
}
