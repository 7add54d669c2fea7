import type { LoopShown } from '@/api/schema';

import type { Row } from './fold';
import type { TraceModel } from './trace';

/** Where a row is in a loop: its bracket begins, goes on or ends there. */
export interface Bracket {
  readonly loop: number;
  readonly at: 'begin' | 'inside' | 'end' | 'alone';
}

/** Number of the loop of each span, -1 = none. Of two loops the earlier has it. */
export function loopOf(model: TraceModel): Int32Array {
  const loops = new Int32Array(model.count).fill(-1);
  model.loops.forEach((loop, n) => {
    for (const span of loop.spans) if (loops[span] === -1) loops[span] = n;
  });
  return loops;
}

/**
 * The brackets beside the rows: from the first row of a loop to its last, over what lies between, since that belongs to
 * the repetition. A bracket that would cross the one before it begins where that ends.
 */
export function bracketsOf(rows: readonly Row[], loops: Int32Array): Map<number, Bracket> {
  const ends = new Map<number, { from: number; to: number }>();
  rows.forEach((row, r) => {
    const members = row.fold ? row.fold.members : row.span !== null && row.span >= 0 ? [row.span] : [];
    if (row.fold && row.expanded) return;
    for (const span of members) {
      const loop = loops[span] ?? -1;
      if (loop < 0) continue;
      const known = ends.get(loop);
      ends.set(loop, { from: Math.min(known?.from ?? r, r), to: r });
    }
  });
  const brackets = new Map<number, Bracket>();
  for (const [loop, { from, to }] of [...ends].sort((a, b) => a[1].from - b[1].from)) {
    for (let r = from; r <= to; r++) {
      if (brackets.has(r)) continue;
      brackets.set(r, { loop, at: from === to ? 'alone' : r === from ? 'begin' : r === to ? 'end' : 'inside' });
    }
  }
  return brackets;
}

/** "search_kb × 7": what stands at the bracket. */
export const loopName = (loop: LoopShown): string => `${loop.name} × ${loop.spans.length.toLocaleString('en-US')}`;
