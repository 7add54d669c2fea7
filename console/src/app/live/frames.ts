/** Longest wait of a batch where no frames are drawn (a hidden tab). */
const HIDDEN_MS = 500;

/**
 * Gathers items and hands them on once a frame, so that two hundred events a second cost one commit a frame. In a
 * hidden tab browsers draw no frames: a timer does it there.
 */
export function onceAFrame<T>(flush: (items: readonly T[]) => void): { add: (item: T) => void; stop: () => void } {
  let items: T[] = [];
  let frame = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const run = (): void => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    frame = 0;
    timer = undefined;
    const batch = items;
    items = [];
    if (batch.length > 0) flush(batch);
  };
  return {
    add(item) {
      items.push(item);
      if (frame === 0) frame = requestAnimationFrame(run);
      timer ??= setTimeout(run, HIDDEN_MS);
    },
    stop() {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      items = [];
    },
  };
}
