const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** "12,480", never "12.5k". */
export function count(n: number): string {
  return grouped.format(n);
}

/** "12 %", "0.3 %", "<0.1 %" of a share from 0 to 1. */
export function percent(share: number): string {
  const value = share * 100;
  if (value !== 0 && Math.abs(value) < 0.1) return '<0.1 %';
  return `${Math.abs(value) < 1 && value !== 0 ? value.toFixed(1) : Math.round(value)} %`;
}

/** "1 run", "2 runs". */
export function plural(n: number, one: string, many = one + 's'): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** An id cut in the middle. It is copied whole. */
export function shortId(id: string): string {
  return id.length <= 14 ? id : `${id.slice(0, 4)}…${id.slice(-6)}`;
}

/** Bytes for reading: "812 B", "64.0 kB", "1.2 MB" (powers of ten). */
export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  return n < 1_000_000 ? `${(n / 1000).toFixed(1)} kB` : `${(n / 1_000_000).toFixed(1)} MB`;
}
