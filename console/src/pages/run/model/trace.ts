import type { Trace } from '@/api/schema';

/** How a span stands, the one that is to be seen first last: of many spans on one pixel the highest is drawn. */
export const STATE = { ok: 0, open: 1, held: 2, denied: 3, doubt: 4, failed: 5 } as const;
export type State = (typeof STATE)[keyof typeof STATE];
/** Words for `State`, by its number. */
export const STATE_WORDS = ['ok', 'running', 'held', 'denied', 'in doubt', 'failed'] as const;

const STATES: Readonly<Record<string, State>> = {
  ok: STATE.ok, happened: STATE.ok, did_not_happen: STATE.ok, cached: STATE.ok, allow: STATE.ok, flag: STATE.ok,
  cancelled: STATE.ok, open: STATE.open, waiting: STATE.held, hold: STATE.held, denied: STATE.denied, in_doubt: STATE.doubt,
};

/** The run itself, where an index of a span is asked for. */
export const RUN = -1;

/** What does not grow while a run goes on. */
type Whole = Pick<Trace, 'run' | 'agent' | 'critical' | 'critical_share' | 'budget' | 'marks' | 'loops' | 'events' | 'children'>;

/**
 * All spans of a run in typed arrays: fifty thousand take 3 MB, and no objects for the collector to walk. The same
 * index is the same span, in order of `seq`. Times are microseconds after the submission.
 */
export interface TraceModel extends Whole {
  readonly asOf: number;
  readonly submittedAt: number;
  readonly ended: boolean;
  readonly total: number;
  readonly count: number;
  /** Spans that the server named but that did not come whole. */
  readonly missing: number;
  readonly kinds: readonly string[];
  readonly names: readonly string[];
  readonly statuses: readonly string[];
  readonly path: readonly string[];
  readonly parent: Int32Array;
  readonly kind: Int32Array;
  readonly name: Int32Array;
  readonly status: Int32Array;
  readonly state: Uint8Array;
  readonly verdict: Uint8Array;
  readonly seq: Int32Array;
  readonly endSeq: Int32Array;
  readonly start: Float64Array;
  /** -1: it has not ended. */
  readonly duration: Float64Array;
  readonly tokens: Float64Array;
  readonly nano: Float64Array;
  readonly attempts: Int32Array;
  readonly same: Int32Array;
  readonly child: ReadonlyMap<number, string>;
  /** Children of `i` are `childList` from `childStart[i + 1]` to `childStart[i + 2]`; those of the run come first. */
  readonly childStart: Int32Array;
  readonly childList: Int32Array;
}

const NUMBERS = ['parent', 'kind', 'name', 'status', 'verdict', 'seq', 'end_seq', 'start', 'duration', 'tokens', 'nano', 'attempts', 'same'] as const;

/** How a status word is to be seen; a word that is not known is no success. */
export function stateOf(status: string): State {
  return STATES[status] ?? STATE.failed;
}

/** The trace of the API in typed arrays. */
export function toModel(trace: Trace): TraceModel {
  const { spans } = trace;
  const lengths = [spans.path.length, ...NUMBERS.map((column) => spans[column].length)];
  const count = Math.min(...lengths);
  const cut = (column: readonly number[]): readonly number[] => (column.length === count ? column : column.slice(0, count));
  const parent = Int32Array.from(cut(spans.parent), (above, i) => (above >= RUN && above < i ? above : RUN));
  const status = Int32Array.from(cut(spans.status));
  const byStatus = trace.statuses.map(stateOf);
  return {
    run: trace.run, agent: trace.agent, asOf: trace.as_of_seq, submittedAt: trace.submitted_at, ended: trace.ended, total: trace.total,
    critical: trace.critical, critical_share: trace.critical_share, budget: trace.budget, marks: trace.marks,
    loops: trace.loops, events: trace.events, children: trace.children,
    count,
    missing: Math.max(...lengths) - count,
    kinds: trace.kinds, names: trace.names, statuses: trace.statuses,
    path: spans.path.length === count ? spans.path : spans.path.slice(0, count),
    parent,
    kind: Int32Array.from(cut(spans.kind)),
    name: Int32Array.from(cut(spans.name)),
    status,
    state: Uint8Array.from(status, (word) => byStatus[word] ?? STATE.failed),
    verdict: Uint8Array.from(cut(spans.verdict)),
    seq: Int32Array.from(cut(spans.seq)),
    endSeq: Int32Array.from(cut(spans.end_seq)),
    start: Float64Array.from(cut(spans.start)),
    duration: Float64Array.from(cut(spans.duration)),
    tokens: Float64Array.from(cut(spans.tokens)),
    nano: Float64Array.from(cut(spans.nano)),
    attempts: Int32Array.from(cut(spans.attempts)),
    same: Int32Array.from(cut(spans.same)),
    child: new Map(Object.entries(spans.child).map(([i, run]) => [Number(i), run])),
    ...childrenOf(parent),
  };
}

/** Children by span in two arrays, in order: a counting sort by parent. */
export function childrenOf(parent: Int32Array): { childStart: Int32Array; childList: Int32Array } {
  const count = parent.length;
  const childStart = new Int32Array(count + 2);
  for (let i = 0; i < count; i++) {
    const slot = (parent[i] ?? RUN) + 2;
    childStart[slot] = (childStart[slot] ?? 0) + 1;
  }
  for (let slot = 1; slot < childStart.length; slot++) childStart[slot] = (childStart[slot] ?? 0) + (childStart[slot - 1] ?? 0);
  const next = childStart.slice();
  const childList = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const slot = (parent[i] ?? RUN) + 1;
    const place = next[slot] ?? 0;
    childList[place] = i;
    next[slot] = place + 1;
  }
  return { childStart, childList };
}

/** The spans right below a span, or below the run. */
export function below(model: TraceModel, span: number): Int32Array {
  return model.childList.subarray(model.childStart[span + 1] ?? 0, model.childStart[span + 2] ?? 0);
}

/** What a span is called: its name, else its kind. */
export function nameOf(model: TraceModel, span: number): string {
  if (span === RUN) return model.agent;
  return model.names[model.name[span] ?? -1] || kindOf(model, span);
}

export function kindOf(model: TraceModel, span: number): string {
  return span === RUN ? 'run' : (model.kinds[model.kind[span] ?? -1] ?? 'call');
}

export function statusOf(model: TraceModel, span: number): string {
  return model.statuses[model.status[span] ?? -1] ?? 'unknown';
}

/** When a span ended, or the end of what is known for one that has not. */
export function endOf(model: TraceModel, span: number): number {
  const duration = model.duration[span] ?? 0;
  return duration < 0 ? model.total : (model.start[span] ?? 0) + duration;
}

/** The spans that a span is in, the outermost first. */
export function above(model: TraceModel, span: number): number[] {
  const chain: number[] = [];
  for (let i = model.parent[span] ?? RUN; i !== RUN; i = model.parent[i] ?? RUN) chain.unshift(i);
  return chain;
}

/** The span at a path, or null. */
export function spanAt(model: TraceModel, path: string | undefined): number | null {
  const found = path === undefined ? -1 : model.path.indexOf(path);
  return found < 0 ? null : found;
}

/** Spans that are worth being seen at first: the first failure, the first refusal, the current step, the dearest call. */
export interface Landmarks {
  readonly failure: number | null;
  readonly denied: number | null;
  readonly current: number | null;
  readonly dearest: number | null;
}

export function landmarks(model: TraceModel): Landmarks {
  let failure: number | null = null;
  let denied: number | null = null;
  let current: number | null = null;
  let dearest: number | null = null;
  for (let i = 0; i < model.count; i++) {
    const isLeaf = model.childStart[i + 1] === model.childStart[i + 2];
    if (!isLeaf) continue;
    const state = model.state[i] ?? 0;
    if (state >= STATE.doubt) failure ??= i;
    else if (state === STATE.denied) denied ??= i;
    if (!model.ended && (model.duration[i] ?? 0) < 0) current = i;
    if ((model.nano[i] ?? 0) > (dearest === null ? 0 : (model.nano[dearest] ?? 0))) dearest = i;
  }
  return { failure, denied, current, dearest };
}

/**
 * The span that the page opens with: the failure, else what goes on, else the last one. A refusal is what an agent goes
 * on from: it comes before what goes on only when nothing does.
 */
export function opening(model: TraceModel, seen: Landmarks): number | null {
  return seen.failure ?? seen.current ?? seen.denied ?? (model.count > 0 ? model.count - 1 : null);
}
