import type { Trace } from '@/api/schema';

import { toModel, type TraceModel } from './model/trace';

/** A call of a made-up trace: `[kind, name]` and whatever differs from a call that took a second and was fine. */
export interface Sample {
  readonly kind?: string;
  readonly name?: string;
  readonly status?: string;
  readonly verdict?: number;
  readonly start?: number;
  readonly duration?: number;
  readonly nano?: number;
  readonly parent?: number;
  readonly path?: string;
}

const KINDS = ['model', 'tool', 'gather', 'timer'];
const STATUSES = ['ok', 'error', 'open', 'waiting', 'denied', 'in_doubt'];
export const S = 1_000_000;

/** The API's trace of calls, for tests. Call `i` begins at `i` seconds and has the events `2i + 2` and `2i + 3`. */
export function sampleTrace(calls: readonly Sample[], extra: Partial<Trace> = {}): Trace {
  const names = [...new Set(calls.map((call) => call.name ?? 'look'))];
  const column = (of: (call: Sample, i: number) => number): number[] => calls.map(of);
  return {
    run: 'r', agent: 'desk', as_of_seq: calls.length * 2 + 1, submitted_at: 0, ended: true, total: calls.length * S, kinds: KINDS, names, statuses: STATUSES,
    spans: {
      path: calls.map((call, i) => call.path ?? String(i)), parent: column((call) => call.parent ?? -1),
      kind: column((call) => KINDS.indexOf(call.kind ?? 'tool')), name: column((call) => names.indexOf(call.name ?? 'look')),
      status: column((call) => STATUSES.indexOf(call.status ?? 'ok')), verdict: column((call) => call.verdict ?? 0),
      seq: column((_, i) => 2 * i + 2), end_seq: column((_, i) => 2 * i + 3), start: column((call, i) => call.start ?? i * S),
      duration: column((call) => call.duration ?? S), tokens: column(() => 0), nano: column((call) => call.nano ?? 0),
      attempts: column(() => 1), same: column(() => 0), child: {},
    },
    sentence: '', critical: [], critical_share: {}, budget: [], marks: [], loops: [], events: [], children: [], ...extra,
  };
}

export const sample = (calls: readonly Sample[], extra: Partial<Trace> = {}): TraceModel => toModel(sampleTrace(calls, extra));
export const many = (n: number, call: (i: number) => Sample): Sample[] => Array.from({ length: n }, (_, i) => call(i));
