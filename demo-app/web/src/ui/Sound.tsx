import { useEffect, useRef } from "react";

interface Props {
  track: MediaStreamTrack;
  speakerId: string;
  onBlocked: () => void;
  /** Grows when somebody has pressed something, after which a blocked sound may play. */
  nudge: number;
}

/** A voice. */
export function Sound({ track, speakerId, onBlocked, nudge }: Props) {
  const ref = useRef<HTMLAudioElement>(null);
  useEffect(() => {
    const element = ref.current;
    if (element === null) return;
    element.srcObject = new MediaStream([track]);
    return () => {
      element.srcObject = null;
    };
  }, [track]);
  useEffect(() => {
    ref.current?.play().catch((error: unknown) => {
      if (error instanceof Error && error.name === "NotAllowedError") onBlocked();
    });
  }, [track, nudge, onBlocked]);
  useEffect(() => {
    const element = ref.current;
    if (element === null || !("setSinkId" in element)) return;
    void element.setSinkId(speakerId).catch(() => undefined); // a speaker that is gone: the system's own goes on
  }, [speakerId]);
  return <audio ref={ref} autoPlay />;
}
