const MS = 1000;
const S = 1_000_000;
const MINUTE = 60 * S;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const two = (n: number): string => String(n).padStart(2, '0');

/** Microseconds for reading: 340 µs, 340 ms, 2.41 s, 24.1 s, 3 m 07 s, 2 h 05 m, 3 d 04 h. */
export function duration(us: number): string {
  if (us < 0) return '−' + duration(-us);
  if (us < MS) return us === 0 ? '0 s' : `${Math.round(us)} µs`;
  if (Math.round(us / MS) < 1000) return `${Math.round(us / MS)} ms`;
  if (us < 9.995 * S) return `${(us / S).toFixed(2)} s`;
  if (us < 59.95 * S) return `${(us / S).toFixed(1)} s`;
  const seconds = Math.round(us / S);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  const minutes = Math.round(us / MINUTE);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
  const hours = Math.round(us / HOUR);
  return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
}

/** How long ago, in words: "now", "42 s ago", "in 11 min", "3 days ago". */
export function relative(at: number, now: number): string {
  const gap = now - at;
  const size = Math.abs(gap);
  if (size < 1 * S) return 'now';
  const words = rough(size);
  return gap >= 0 ? `${words} ago` : `in ${words}`;
}

function rough(us: number): string {
  if (us < MINUTE) return `${Math.floor(us / S)} s`;
  if (us < 2 * HOUR) return `${Math.floor(us / MINUTE)} min`;
  if (us < 2 * DAY) return `${Math.floor(us / HOUR)} h`;
  return `${Math.floor(us / DAY)} days`;
}
