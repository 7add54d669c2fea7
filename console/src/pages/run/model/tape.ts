import { STATE, type TraceModel } from './trace';

/** A run as it was after an event: later spans are not there yet, those of then may not have ended. */
export interface AsOf {
  readonly seq: number;
  /** Microseconds after the submission. */
  readonly at: number;
}

/** How a span stood after an event. */
export type Then = 'not yet' | 'running' | 'over';

/** The time of each event that the skeleton knows; of those between, that of the one before. */
export function timesOf(model: TraceModel): Float64Array {
  const times = new Float64Array(model.asOf + 1);
  const put = (seq: number, at: number): void => {
    if (seq > 0 && seq < times.length) times[seq] = Math.max(times[seq] ?? 0, at);
  };
  for (let i = 0; i < model.count; i++) {
    const start = model.start[i] ?? 0;
    put(model.seq[i] ?? 0, start);
    const duration = model.duration[i] ?? 0;
    if (duration >= 0) put(model.endSeq[i] ?? 0, start + duration);
  }
  for (const mark of model.events) put(mark.seq, mark.at);
  for (const point of model.budget) put(point.seq, point.at);
  for (let seq = 1; seq < times.length; seq++) times[seq] = Math.max(times[seq] ?? 0, times[seq - 1] ?? 0);
  return times;
}

/** The place on the tape that an address holds: within the tape, null = its end (live). */
export function seqOf(text: string | undefined, last: number): number | null {
  if (text === undefined || !/^\d{1,9}$/.test(text)) return null;
  const seq = Number(text);
  return seq < 1 || seq > last ? null : seq;
}

/** A step along the tape, `by` events from where it is; null = its end. */
export function stepped(at: number | null, by: number, last: number): number | null {
  const next = Math.max(1, (at ?? last) + by);
  return next >= last ? null : next;
}

export function thenOf(model: TraceModel, span: number, at: number | null): Then {
  const open = (model.duration[span] ?? 0) < 0;
  if (at === null) return open ? 'running' : 'over';
  if ((model.seq[span] ?? 0) > at) return 'not yet';
  return open || (model.endSeq[span] ?? 0) > at ? 'running' : 'over';
}

/** The state to be drawn: what was going on then had no outcome yet, and nobody knew what would come. */
export function stateThen(model: TraceModel, span: number, at: number | null): number {
  if (at === null) return model.state[span] ?? STATE.ok;
  const then = thenOf(model, span, at);
  if (then === 'running') return STATE.open;
  return then === 'not yet' ? STATE.ok : (model.state[span] ?? STATE.ok);
}

const STATUS: Readonly<Record<string, string>> = {
  'run.submitted': 'queued', 'run.claimed': 'running', 'run.parked': 'parked', 'run.handed_back': 'queued', 'run.ended': 'ended',
};

/** How the run stood after an event, from what happened to it until then. */
export function statusThen(model: TraceModel, at: number): string {
  let status = 'queued';
  for (const mark of model.events) {
    if (mark.seq > at) break;
    status = STATUS[mark.kind] ?? status;
  }
  return status;
}

/** The span whose event this is or, where several overlap, the one that began last. Null: it is the run's own. */
export function spanOf(model: TraceModel, seq: number): number | null {
  let found: number | null = null;
  for (let i = 0; i < model.count; i++) {
    if ((model.seq[i] ?? 0) > seq) break;
    if (model.seq[i] === seq || model.endSeq[i] === seq) found = i;
  }
  return found;
}
