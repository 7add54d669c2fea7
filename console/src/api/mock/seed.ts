/** A seeded generator (mulberry32), so that the mock shows the same on each load. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** One of a list. */
export function one<T>(list: readonly T[], random: () => number): T {
  const chosen = list[Math.floor(random() * list.length)];
  if (chosen === undefined) throw new RangeError('nothing to choose from');
  return chosen;
}

/** The n-th id of the mock: a UUID of version 7 whose time is `at` (microseconds). */
export function idAt(at: number, n: number): string {
  const ms = Math.floor(at / 1000).toString(16).padStart(12, '0');
  const tail = ((n * 2_654_435_761) >>> 0).toString(16).padStart(8, '0');
  return `${ms.slice(0, 8)}-${ms.slice(8)}-7${tail.slice(0, 3)}-8${tail.slice(3, 6)}-${n.toString(16).padStart(10, '0')}${tail.slice(6)}`;
}

/** When the mock's story happens: a moment ago. */
export const NOW = Date.now() * 1000;
export const SECOND = 1_000_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** Ids that the pages link to: `/runs/<id>` of the seeds. */
export const SEEDS = {
  five: idAt(NOW - 6 * MINUTE, 5),
  huge: idAt(NOW - 40 * MINUTE, 50_000),
  spiral: idAt(NOW - 3 * MINUTE, 77),
  hostile: idAt(NOW - 2 * MINUTE, 666),
} as const;
