/** A stacked chart over time: bins of the same width, one list of values a series. */
export interface Stack {
  /** Beginnings of the bins, microseconds since the epoch. */
  readonly at: readonly number[];
  /** Width of a bin in microseconds. */
  readonly width: number;
  readonly series: readonly Series[];
}

export interface Series {
  readonly label: string;
  /** A CSS colour, may be a variable: "var(--allow)". */
  readonly color: string;
  readonly values: readonly number[];
}

/** Bins as the API gives them. */
export interface Bin {
  readonly at: number;
  readonly counts: Readonly<Record<string, number>>;
}

/**
 * Bins as a stack, the series in the order of `order`, those it does not name after them; series without a value are
 * left out. Bins that are missing between others are empty ones.
 */
export function stackOf(bins: readonly Bin[], width: number, order: readonly string[], colorOf: (label: string, i: number) => string): Stack {
  const sorted = [...bins].sort((a, b) => a.at - b.at);
  const first = sorted[0]?.at ?? 0;
  const last = sorted.at(-1)?.at ?? 0;
  const size = sorted.length === 0 ? 0 : Math.round((last - first) / width) + 1;
  const at = Array.from({ length: size }, (_, i) => first + i * width);
  const found = new Set(sorted.flatMap((bin) => Object.keys(bin.counts).filter((label) => bin.counts[label])));
  const labels = [...order.filter((label) => found.has(label)), ...[...found].filter((label) => !order.includes(label)).sort()];
  const series = labels.map((label, i) => {
    const values = new Array<number>(size).fill(0);
    for (const bin of sorted) {
      const place = Math.round((bin.at - first) / width);
      values[place] = (values[place] ?? 0) + (bin.counts[label] ?? 0);
    }
    return { label, color: colorOf(label, i), values };
  });
  return { at, width, series };
}

/** Sums of the series from the first up: what a stacked bar's top edge is. */
export function cumulated(stack: Stack): number[][] {
  const sums = new Array<number>(stack.at.length).fill(0);
  return stack.series.map((one) => one.values.map((value, i) => (sums[i] = (sums[i] ?? 0) + value)));
}
