import { above, below, kindOf, nameOf, RUN, STATE, type TraceModel } from './trace';

/** Siblings up to this number are all shown: a run of a few steps is read step by step. */
export const FOLD_FROM = 41;
/** Calls of the same kind and name in a row that become one row. */
const ALONE_MIN = 4;
/** The same for a pattern of several calls, such as model → search_kb. */
const PATTERN_MIN = 3;
const PATTERN_MAX = 4;
/** Rows below one span, after folding, up to which all are shown. */
const ROWS_MAX = 200;
/** Rows that are taken together where nothing repeats. */
const STRETCH = 500;
/** Rows before and after one that must be seen, so that it is seen among its neighbours. */
const BESIDE = 5;

/**
 * Siblings in one row: `members` are their indices, in order. A `pattern` repeats `names`; a `stretch` is what follows
 * each other without a pattern where there are too many rows, and `names` are all that occur in it.
 */
export interface Fold {
  readonly kind: 'pattern' | 'stretch';
  readonly id: string;
  readonly parent: number;
  readonly members: Int32Array;
  readonly names: readonly string[];
  /** How often the pattern comes; `members.length` when it is of one call. */
  readonly times: number;
  readonly failed: number;
  readonly held: number;
  readonly nano: number;
  readonly verdict: number;
  readonly state: number;
}

/** A row of the tree: a span (`RUN` = the run itself) or a fold. `level`, `place` and `of` are as ARIA counts, from 1. */
export interface Row {
  readonly id: string;
  readonly span: number | null;
  readonly fold: Fold | null;
  readonly level: number;
  readonly place: number;
  readonly of: number;
  readonly expanded: boolean | null;
}

/** The rows that are open, and what became of all others: every span is in exactly one of the three. */
export interface Rows {
  readonly rows: readonly Row[];
  readonly shown: number;
  readonly folded: number;
  readonly filtered: number;
}

export const RUN_ID = 'run';
export const spanId = (model: TraceModel, span: number): string => (span === RUN ? RUN_ID : `s${model.path[span]}`);

/**
 * The siblings below a span, with like ones folded. What is in `keep` is never inside a fold: it stays a row of its
 * own, between those that come before and after it.
 */
export function siblings(model: TraceModel, parent: number, children: Int32Array, keep: ReadonlySet<number>): (number | Fold)[] {
  if (children.length < FOLD_FROM) return [...children];
  const items = patterns(model, parent, children, keep);
  return items.length > ROWS_MAX ? stretchesOf(model, parent, items, keep) : items;
}

/** Too many rows in stretches, but for those that must be seen and what is beside them. */
function stretchesOf(model: TraceModel, parent: number, items: readonly (number | Fold)[], keep: ReadonlySet<number>): (number | Fold)[] {
  const near = new Uint8Array(items.length);
  items.forEach((item, k) => {
    if (typeof item === 'number' && keep.has(item)) near.fill(1, Math.max(0, k - BESIDE), k + BESIDE + 1);
  });
  const out: (number | Fold)[] = [];
  let from = 0;
  for (let k = 0; k <= items.length; k++) {
    const ends = k === items.length || near[k] === 1 || k - from === STRETCH;
    if (!ends) continue;
    const taken = items.slice(from, k);
    if (taken.length < ALONE_MIN) out.push(...taken);
    else out.push(makeFold(model, parent, Int32Array.from(taken.flatMap((item) => (typeof item === 'number' ? [item] : [...item.members]))), 'stretch', 0, 1));
    from = k;
    if (k < items.length && near[k] === 1) {
      out.push(items[k] ?? 0);
      from = k + 1;
    }
  }
  return out;
}

/** Siblings with what repeats folded. */
function patterns(model: TraceModel, parent: number, children: Int32Array, keep: ReadonlySet<number>): (number | Fold)[] {
  const keys = new Float64Array(children.length);
  for (let k = 0; k < children.length; k++) {
    const i = children[k] ?? 0;
    keys[k] = keep.has(i) ? -1 - k : (model.kind[i] ?? 0) * 1_000_000 + (model.name[i] ?? 0);
  }
  const out: (number | Fold)[] = [];
  let at = 0;
  while (at < children.length) {
    const { period, times } = longest(keys, at);
    if (times === 0) {
      out.push(children[at] ?? 0);
      at += 1;
    } else {
      out.push(makeFold(model, parent, children.slice(at, at + period * times), 'pattern', period, times));
      at += period * times;
    }
  }
  return out;
}

/** The pattern that covers most from `at` on; `times` 0 when none repeats often enough. */
function longest(keys: Float64Array, at: number): { period: number; times: number } {
  let best = { period: 1, times: 0 };
  for (let period = 1; period <= PATTERN_MAX; period++) {
    let end = at + period;
    while (end < keys.length && keys[end] === keys[end - period]) end += 1;
    const times = Math.floor((end - at) / period);
    const enough = times >= (period === 1 ? ALONE_MIN : PATTERN_MIN);
    if (enough && times * period > best.times * best.period) best = { period, times };
  }
  return best;
}

function makeFold(model: TraceModel, parent: number, members: Int32Array, kind: Fold['kind'], period: number, times: number): Fold {
  let failed = 0;
  let held = 0;
  let nano = 0;
  let verdict = 0;
  let state = 0;
  for (const i of members) {
    const mine = model.state[i] ?? 0;
    if (mine >= STATE.denied) failed += 1;
    if ((model.verdict[i] ?? 0) === 2) held += 1;
    nano += model.nano[i] ?? 0;
    verdict = Math.max(verdict, model.verdict[i] ?? 0);
    state = Math.max(state, mine);
  }
  const named = kind === 'pattern' ? members.subarray(0, period) : Int32Array.from(new Set(Array.from(members, (i) => model.name[i] ?? 0)));
  const names = Array.from(named, (n) => (kind === 'pattern' ? nameOf(model, n) : (model.names[n] ?? '')));
  return { kind, id: `${kind === 'pattern' ? 'f' : 'g'}${model.path[members[0] ?? 0]}`, parent, members, names, times, failed, held, nano, verdict, state };
}

const NAMED_MAX = 4;

/** The calls of a fold: "model → search_kb", or of a stretch "model, search_kb and 2 more". */
export function foldCalls(fold: Fold): string {
  if (fold.kind === 'pattern') return fold.names.join(' → ');
  const more = fold.names.length - NAMED_MAX;
  return fold.names.slice(0, NAMED_MAX).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** How many: repetitions of a pattern, calls of a stretch. */
export function foldTimes(fold: Fold): string {
  return fold.kind === 'pattern' ? `× ${fold.times.toLocaleString('en-US')}` : `${fold.members.length.toLocaleString('en-US')} calls`;
}

/** "model → search_kb × 412, 2 failed". */
export function foldName(fold: Fold): string {
  const failed = fold.failed > 0 ? `, ${fold.failed} failed` : '';
  const held = fold.held > 0 ? `, ${fold.held} held` : '';
  return `${foldCalls(fold)} ${foldTimes(fold)}${failed}${held}`;
}

/**
 * The rows of the tree for the nodes that are open. `match` (one byte a span) leaves only what it marks and what that
 * is in; null = everything.
 */
export function rowsOf(model: TraceModel, open: ReadonlySet<string>, keep: ReadonlySet<number>, match: Uint8Array | null): Rows {
  const rows: Row[] = [];
  let shown = 0;
  const visible = (list: Int32Array): Int32Array => (match ? list.filter((i) => match[i] === 1) : list);
  const addSpan = (span: number, level: number, place: number, of: number): void => {
    const children = visible(below(model, span));
    const id = spanId(model, span);
    const isOpen = open.has(id);
    if (span !== RUN) shown += 1;
    rows.push({ id, span, fold: null, level, place, of, expanded: children.length === 0 ? null : isOpen });
    if (isOpen && children.length > 0) addAll(siblings(model, span, children, keep), level + 1);
  };
  const addAll = (items: readonly (number | Fold)[], level: number): void => {
    items.forEach((item, k) => {
      if (typeof item === 'number') {
        addSpan(item, level, k + 1, items.length);
        return;
      }
      const isOpen = open.has(item.id);
      rows.push({ id: item.id, span: null, fold: item, level, place: k + 1, of: items.length, expanded: isOpen });
      if (isOpen) addAll(item.kind === 'stretch' ? patterns(model, item.parent, item.members, keep) : [...item.members], level + 1);
    });
  };
  addSpan(RUN, 1, 1, 1);
  let filtered = 0;
  if (match) for (let i = 0; i < model.count; i++) if (match[i] === 0) filtered += 1;
  return { rows, shown, folded: model.count - shown - filtered, filtered };
}

/** Nodes that are open at first: the run, the ways to the spans of `keep`, and in a short run everything. */
export function openAtFirst(model: TraceModel, keep: Iterable<number>): Set<string> {
  const open = new Set([RUN_ID]);
  for (const span of keep) for (const i of above(model, span)) open.add(spanId(model, i));
  if (model.count < FOLD_FROM) for (let i = 0; i < model.count; i++) open.add(spanId(model, i));
  return open;
}

/**
 * Marks the spans that a filter finds, with what they are in; null for an empty filter. All words must match: `name`,
 * `kind` or `status` hold the word, or it is `kind:…`, `status:…`, `verdict:…`, `name:…`, `is:failed`, `is:critical`.
 */
export function matching(model: TraceModel, filter: string): Uint8Array | null {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return null;
  const critical = new Set(model.critical.map((part) => part.span));
  const tests = words.map((word) => testOf(model, word, critical));
  const match = new Uint8Array(model.count);
  for (let i = 0; i < model.count; i++) {
    if (!tests.every((test) => test(i))) continue;
    for (let up = i; up !== RUN && match[up] === 0; up = model.parent[up] ?? RUN) match[up] = 1;
  }
  return match;
}

function testOf(model: TraceModel, word: string, critical: ReadonlySet<number>): (i: number) => boolean {
  const [, field, value = ''] = /^(kind|status|verdict|name|is):(.+)$/.exec(word) ?? [];
  const held = (text: string, part: string): boolean => text.toLowerCase().includes(part);
  switch (field) {
    case 'kind':
      return (i) => held(kindOf(model, i), value);
    case 'name':
      return (i) => held(nameOf(model, i), value);
    case 'status':
      return (i) => held(model.statuses[model.status[i] ?? -1] ?? '', value);
    case 'verdict':
      return (i) => ['allow', 'flag', 'hold', 'deny'][model.verdict[i] ?? 0] === value;
    case 'is':
      return value === 'critical' ? (i) => critical.has(i) : (i) => (model.state[i] ?? 0) >= STATE.denied;
    default:
      return (i) => held(nameOf(model, i), word) || held(kindOf(model, i), word) || held(model.statuses[model.status[i] ?? -1] ?? '', word);
  }
}
