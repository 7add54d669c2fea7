const time = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const zone = new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' });

const two = (n: number): string => String(n).padStart(2, '0');

/** The zone in use at a moment, as people say it: "CET", "UTC", "GMT+5:30". */
export function zoneName(us: number): string {
  return zone.formatToParts(new Date(us / 1000)).find((part) => part.type === 'timeZoneName')?.value ?? 'UTC';
}

/** "14:02:11". Microseconds since the epoch. */
export function clock(us: number): string {
  return time.format(new Date(us / 1000));
}

/** "2026-11-21", in the zone of the browser. */
export function day(us: number): string {
  const date = new Date(us / 1000);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** "14:02:11" on the same day as `now`, "2026-11-20 14:02" on another. */
export function moment(us: number, now: number): string {
  return day(us) === day(now) ? clock(us) : `${day(us)} ${clock(us).slice(0, 5)}`;
}

/** Everything: "2026-11-20 14:02:11.340512 CET". */
export function exactTime(us: number): string {
  return `${day(us)} ${clock(us)}.${String(us % 1_000_000).padStart(6, '0')} ${zoneName(us)}`;
}
