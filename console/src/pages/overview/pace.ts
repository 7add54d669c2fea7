const DAY = 86_400_000_000;

/** What will have been spent by the end of the day (UTC) at the pace of the day so far; null in its first hour. */
export function byMidnight(spent: number, asOf: number): number | null {
  const elapsed = asOf % DAY;
  if (elapsed < DAY / 24) return null;
  return Math.round((spent / elapsed) * DAY);
}
