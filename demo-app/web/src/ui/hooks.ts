import { useEffect, useRef, useState, useSyncExternalStore, type RefObject } from "react";

import { Meter } from "../media/meter";
import type { Readable } from "../store";
import type { Box } from "./grid";

export function useStore<T>(store: Readable<T>): T {
  return useSyncExternalStore(store.subscribe, store.get);
}

/** An element's inner size, as it changes. */
export function useBox(): [RefObject<HTMLDivElement | null>, Box] {
  const ref = useRef<HTMLDivElement>(null);
  const [box, setBox] = useState<Box>({ width: 0, height: 0 });
  useEffect(() => {
    const element = ref.current;
    if (element === null) return;
    const observer = new ResizeObserver(([entry]) => {
      if (entry === undefined) return;
      setBox({ width: Math.floor(entry.contentRect.width), height: Math.floor(entry.contentRect.height) });
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, box];
}

/** How loud a track is in -dBov, ten times a second while `on`. */
export function useLoudness(track: MediaStreamTrack | null, on: boolean): number {
  const [level, setLevel] = useState(127);
  useEffect(() => {
    if (track === null || !on) return;
    const meter = new Meter(track);
    const timer = setInterval(() => setLevel(meter.read()), 100);
    return () => {
      clearInterval(timer);
      meter.close();
    };
  }, [track, on]);
  return on && track !== null ? level : 127;
}

/** The time, every `everyMs`. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

export function useMedia(query: string): boolean {
  const [list] = useState(() => matchMedia(query));
  return useSyncExternalStore(
    (listener) => {
      list.addEventListener("change", listener);
      return () => list.removeEventListener("change", listener);
    },
    () => list.matches,
  );
}
