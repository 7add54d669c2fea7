/** Words in a row that both texts have, or that only one has. */
export interface DiffPart {
  readonly side: 'both' | 'left' | 'right';
  readonly text: string;
}

/** Words beyond this are not compared one by one: the table of the algorithm grows with the square of what differs. */
const EDITS_MAX = 1_000;

const wordsOf = (text: string): string[] => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];

/**
 * Two texts, word by word: the shortest edit script after E. Myers, "An O(ND) difference algorithm and its variations"
 * (Algorithmica 1986). With more than a thousand edits the middles are given as wholly different.
 */
export function wordDiff(left: string, right: string): DiffPart[] {
  const a = wordsOf(left);
  const b = wordsOf(right);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const middle = edits(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  return joined([part('both', a.slice(0, head)), ...middle, part('both', a.slice(a.length - tail))]);
}

const part = (side: DiffPart['side'], words: readonly string[]): DiffPart => ({ side, text: words.join('') });

function edits(a: readonly string[], b: readonly string[]): DiffPart[] {
  const most = Math.min(EDITS_MAX, a.length + b.length);
  const reached = new Map<number, number>([[1, 0]]);
  const trace: Map<number, number>[] = [];
  for (let d = 0; d <= most; d++) {
    trace.push(new Map(reached));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (reached.get(k - 1) ?? -1) < (reached.get(k + 1) ?? -1));
      let x = down ? (reached.get(k + 1) ?? 0) : (reached.get(k - 1) ?? 0) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x += 1;
      reached.set(k, x);
      if (x >= a.length && x - k >= b.length) return walkedBack(trace, a, b);
    }
    // The furthest points of all diagonals are kept of every round: bound what that may take.
    if (d * d > 4_000_000) break;
  }
  return [part('left', a), part('right', b)];
}

function walkedBack(trace: readonly Map<number, number>[], a: readonly string[], b: readonly string[]): DiffPart[] {
  const out: DiffPart[] = [];
  let x = a.length;
  let y = b.length;
  for (let d = trace.length - 1; d >= 0 && (x > 0 || y > 0); d--) {
    const reached = trace[d];
    const k = x - y;
    const down = k === -d || (k !== d && (reached?.get(k - 1) ?? -1) < (reached?.get(k + 1) ?? -1));
    const before = down ? k + 1 : k - 1;
    const fromX = d === 0 ? 0 : (reached?.get(before) ?? 0);
    const fromY = d === 0 ? 0 : fromX - before;
    while (x > fromX && y > fromY) {
      out.push({ side: 'both', text: a[x - 1] ?? '' });
      x -= 1;
      y -= 1;
    }
    if (d === 0) break;
    if (down) out.push({ side: 'right', text: b[y - 1] ?? '' });
    else out.push({ side: 'left', text: a[x - 1] ?? '' });
    x = fromX;
    y = fromY;
  }
  return out.reverse();
}

/** Neighbours of the same side as one; empty ones are left out. */
function joined(parts: readonly DiffPart[]): DiffPart[] {
  const out: DiffPart[] = [];
  for (const one of parts) {
    const last = out.at(-1);
    if (one.text === '') continue;
    if (last?.side === one.side) out[out.length - 1] = { side: one.side, text: last.text + one.text };
    else out.push(one);
  }
  return out;
}
