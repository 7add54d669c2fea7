import { useSyncExternalStore } from 'react';

// The server's clock less this machine's, so that "3 min ago" is right on a laptop whose clock is not.
let offset = 0;
let current = Date.now() * 1000;
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function tick(): void {
  current = Date.now() * 1000 + offset;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(tick, 1000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** The server's time in microseconds, moving once a second: one timer for all who look. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => current, () => current);
}

/** The server's time in microseconds, exact to this call. */
export function serverNow(): number {
  return Date.now() * 1000 + offset;
}

/** Learns the server's clock from an `as_of` that has just come. */
export function learnClock(asOf: number): void {
  const seen = asOf - Date.now() * 1000;
  // An answer is some milliseconds old when it is read: only a gap that people would see counts.
  offset = Math.abs(seen) < 2_000_000 ? 0 : seen;
}
