import { childrenOf, RUN, STATE, stateOf, type TraceModel } from '../model/trace';

/** An event of the journal as the stream tells it. `at` is microseconds since the epoch. */
export interface RunEvent {
  readonly seq: number;
  readonly at: number;
  readonly kind: string;
  readonly path: string;
  readonly line: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Kind, name and status that an event gives its call; what is absent stays as it was. */
interface Standing {
  readonly kind?: string;
  readonly name?: string;
  readonly status?: string;
}

const text = (value: unknown, otherwise = ''): string => (typeof value === 'string' ? value : otherwise);
const ended = (body: RunEvent['body']): Standing => ({ status: body['again'] === true ? 'open' : text(body['status'], 'ok') });
const failing = (body: RunEvent['body']): Standing => ({ status: body['failure'] ? 'error' : 'ok' });
const oneOf = (value: unknown, good: readonly string[]): string => (good.includes(text(value)) ? 'ok' : text(value, 'ok'));

/** As `penstock.views.standing`, so that what is shown live is what is shown after. */
const STANDINGS: Readonly<Record<string, (body: RunEvent['body']) => Standing>> = {
  'model.intent': (body) => ({ kind: 'model', name: text(body['model']), status: 'open' }),
  'model.outcome': ended,
  'tool.intent': (body) => ({ kind: 'tool', name: text(body['tool']), status: 'open' }),
  'tool.doubted': () => ({ status: 'in_doubt' }),
  'tool.outcome': ended,
  'approval.requested': (body) => ({ kind: 'tool', name: text(body['tool']), status: 'waiting' }),
  'approval.decided': (body) => ({ status: ['deny', 'expired', 'withdrawn'].includes(text(body['decision'])) ? 'denied' : 'open' }),
  'verdict.recorded': (body) => ({ kind: text(body['gate']), name: text(body['name']), status: body['verdict'] === 'deny' ? 'denied' : text(body['verdict']) }),
  'child.intent': (body) => ({ kind: 'child', name: text(body['child_agent']), status: 'open' }),
  'child.outcome': (body) => ({ status: oneOf(body['outcome'], ['succeeded']) }),
  'timer.set': (body) => ({ kind: 'timer', name: text(body['name']), status: 'waiting' }),
  'timer.fired': () => ({ status: 'ok' }),
  'note.recorded': (body) => ({ kind: 'note', name: text(body['name']), ...failing(body) }),
  'run.patched': (body) => ({ kind: 'patch', name: text(body['patch']), status: 'ok' }),
  'decision.recorded': (body) => ({ kind: 'decision', name: text(body['name']), status: 'ok' }),
  'stage.entered': (body) => ({ kind: 'stage', name: text(body['name']), status: 'open' }),
  'stage.ended': failing,
  'message.sent': (body) => ({ kind: 'message', name: text(body['topic']), status: 'open' }),
  'message.delivered': (body) => ({ status: oneOf(body['status'], ['delivered', 'known']) }),
  'wait.begun': (body) => ({ kind: 'wait', name: text(body['name']) || `run ${text(body['target'])}`, status: 'waiting' }),
  'wait.ended': (body) => ({ status: oneOf(body['status'], ['received', 'ended']) }),
  'document.intent': (body) => ({ kind: 'document', name: `${text(body['of'])} ${text(body['name'])}`, status: 'open' }),
  'document.read': (body) => ({ kind: 'document', name: `${text(body['of'])} ${text(body['name'])}`, status: oneOf(body['status'], ['ok', 'absent', 'erased', 'written']) }),
  'document.written': (body) => ({ kind: 'document', name: `${text(body['of'])} ${text(body['name'])}`, status: oneOf(body['status'], ['ok', 'absent', 'erased', 'written']) }),
};
/** Events that belong to the run and to no call of it. */
const OF_THE_RUN = new Set([
  'run.submitted', 'run.claimed', 'run.parked', 'run.handed_back', 'run.adopted', 'run.continued', 'run.ended',
  'limit.reached', 'control.applied', 'message.received',
]);
const UNFINISHED = new Set(['open', 'waiting', 'in_doubt']);
const STRICT: Readonly<Record<string, number>> = { allow: 0, flag: 1, hold: 2, deny: 3 };

type Column = Int32Array | Float64Array | Uint8Array;
const COLUMNS = ['parent', 'kind', 'name', 'status', 'state', 'verdict', 'seq', 'endSeq', 'start', 'duration', 'tokens', 'nano', 'attempts', 'same'] as const;

/** Where each path stands. It goes from a list of paths to the longer one that follows it. */
const indices = new WeakMap<readonly string[], Map<string, number>>();

function indexOf(path: readonly string[]): Map<string, number> {
  const index = indices.get(path) ?? new Map(path.map((one, i) => [one, i]));
  indices.set(path, index);
  return index;
}

/** The column with room for `count`, on the same buffer as long as that has room: growing costs no copy a frame. */
function withRoom<C extends Column>(column: C, count: number): C {
  const Kind = column.constructor as new (buffer: ArrayBufferLike, offset: number, length: number) => C;
  if (column.byteOffset + count * column.BYTES_PER_ELEMENT <= column.buffer.byteLength) return new Kind(column.buffer, column.byteOffset, count);
  const grown = new Kind(new ArrayBuffer(Math.max(64, count * 2) * column.BYTES_PER_ELEMENT), 0, count);
  grown.set(column);
  return grown;
}

const wordNumber = (words: string[], word: string): number => {
  const known = words.indexOf(word);
  return known >= 0 ? known : words.push(word) - 1;
};

/**
 * The model after further events: what the server would give but for the critical path, the loops and the marks of the
 * budget, which it reckons over the whole and which come when the trace is read again. Events must follow each other
 * without a gap from `model.asOf` on; those that do not are left out, and `gap` says so.
 */
export function applyEvents(model: TraceModel, events: readonly RunEvent[]): { model: TraceModel; gap: boolean } {
  let asOf = model.asOf;
  const fresh = [...events].sort((a, b) => a.seq - b.seq).filter((event) => {
    if (event.seq !== asOf + 1) return false;
    asOf = event.seq;
    return true;
  });
  const gap = events.some((event) => event.seq > asOf);
  if (fresh.length === 0) return { model, gap };

  const index = indexOf(model.path);
  const path = [...model.path];
  const placed = fresh.map((event) => (event.path === '' || OF_THE_RUN.has(event.kind) ? RUN : place(index, path, event.path)));
  indices.set(path, index);
  const next = { ...model, asOf, path, count: path.length, kinds: [...model.kinds], names: [...model.names], statuses: [...model.statuses], child: new Map(model.child) };
  const grown = next as Record<string, unknown>;
  for (const column of COLUMNS) grown[column] = withRoom(model[column], path.length);
  for (let i = model.count; i < path.length; i++) begin(next, index, i, fresh[placed.indexOf(i)] ?? fresh[placed.findIndex((at) => at > i)]);
  const marks: TraceModel['events'][number][] = [];
  fresh.forEach((event, k) => {
    const i = placed[k] ?? RUN;
    const at = Math.max(0, event.at - model.submittedAt);
    next.total = Math.max(next.total, at);
    if (i !== RUN) take(next, i, event, at);
    else marks.push({ kind: event.kind, seq: event.seq, at, words: event.line });
    if (event.kind === 'run.ended') next.ended = true;
  });
  if (marks.length > 0) next.events = [...model.events, ...marks];
  if (path.length > model.count) Object.assign(next, childrenOf(next.parent));
  next.budget = budgetAfter(next, fresh);
  return { model: next, gap };
}

/** The index of a path, new ones at the end; a group of branches comes before what is in it. */
function place(index: Map<string, number>, path: string[], wanted: string): number {
  const known = index.get(wanted);
  if (known !== undefined) return known;
  const group = groupOf(wanted);
  if (group !== '') place(index, path, group);
  index.set(wanted, path.length);
  return path.push(wanted) - 1;
}

/** "4.0.1" is call 1 of branch 0 of the group "4". */
function groupOf(path: string): string {
  const parts = path.split('.');
  return parts.length < 3 ? '' : parts.slice(0, -2).join('.');
}

type Mutable = { -readonly [K in keyof TraceModel]: TraceModel[K] } & { kinds: string[]; names: string[]; statuses: string[]; child: Map<number, string> };

function begin(model: Mutable, index: Map<string, number>, i: number, event: RunEvent | undefined): void {
  model.parent[i] = index.get(groupOf(model.path[i] ?? '')) ?? RUN;
  model.seq[i] = event?.seq ?? model.asOf;
  model.endSeq[i] = model.seq[i] ?? 0;
  model.start[i] = Math.max(0, (event?.at ?? model.submittedAt) - model.submittedAt);
  model.duration[i] = -1;
  model.kind[i] = wordNumber(model.kinds, 'gather');
  model.name[i] = wordNumber(model.names, '');
  model.status[i] = wordNumber(model.statuses, 'open');
  model.state[i] = STATE.open;
  for (const column of [model.verdict, model.tokens, model.nano, model.attempts, model.same]) column[i] = 0;
}

function take(model: Mutable, i: number, event: RunEvent, at: number): void {
  const { body, kind } = event;
  const standing: Standing = STANDINGS[kind]?.(body) ?? { kind, status: 'ok' };
  if (standing.kind !== undefined) model.kind[i] = wordNumber(model.kinds, standing.kind);
  if (standing.name !== undefined) model.name[i] = wordNumber(model.names, standing.name);
  if (standing.status !== undefined) {
    model.status[i] = wordNumber(model.statuses, standing.status);
    model.state[i] = stateOf(standing.status);
    model.duration[i] = UNFINISHED.has(standing.status) ? -1 : at - (model.start[i] ?? 0);
  }
  model.endSeq[i] = event.seq;
  if (kind.endsWith('.intent')) model.attempts[i] = (model.attempts[i] ?? 0) + 1;
  const used = amountOf(body[kind === 'child.outcome' ? 'totals' : 'used']);
  model.nano[i] = (model.nano[i] ?? 0) + used.nano;
  model.tokens[i] = (model.tokens[i] ?? 0) + used.tokens;
  const verdicts = Array.isArray(body['verdicts']) ? (body['verdicts'] as { verdict?: string }[]).map((said) => said.verdict) : [];
  if (kind === 'approval.requested') verdicts.push('hold');
  if (kind === 'verdict.recorded') verdicts.push(text(body['verdict']));
  for (const said of verdicts) model.verdict[i] = Math.max(model.verdict[i] ?? 0, STRICT[said ?? ''] ?? 0);
  if (typeof body['child'] === 'string') model.child.set(i, body['child']);
  // What holds a call that goes on, or a later one, goes on itself.
  for (let up = model.parent[i] ?? RUN; up !== RUN; up = model.parent[up] ?? RUN) {
    if (model.kinds[model.kind[up] ?? 0] !== 'gather') continue;
    model.endSeq[up] = event.seq;
    model.duration[up] = -1;
  }
}

function amountOf(value: unknown): { tokens: number; nano: number } {
  const amount = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const number = (name: string): number => (typeof amount[name] === 'number' ? amount[name] : 0);
  return { tokens: number('tokens_in') + number('tokens_out'), nano: number('nano') };
}

/** The accounts after the events; a reservation ends with the outcome of its attempt. */
function budgetAfter(model: Mutable, events: readonly RunEvent[]): TraceModel['budget'] {
  const points = [...model.budget];
  for (const { kind, seq, at, body } of events) {
    const last = points.at(-1) ?? { seq: 0, at: 0, nano: 0, reserved_nano: 0, tokens: 0, steps: 0 };
    const used = amountOf(body[kind === 'child.outcome' ? 'totals' : 'used']);
    const reserved = amountOf(body['reserved']).nano;
    const first = body['attempt'] === undefined || body['attempt'] === 1;
    if (kind.endsWith('.intent') && kind !== 'document.intent') {
      points.push({ ...last, seq, at: at - model.submittedAt, reserved_nano: last.reserved_nano + reserved, steps: last.steps + (kind === 'model.intent' && first ? 1 : 0) });
    } else if (['model.outcome', 'tool.outcome', 'child.outcome'].includes(kind)) {
      // Which reservation ended is not in the outcome: the row's own figure says what is reserved, with the status.
      points.push({ ...last, seq, at: at - model.submittedAt, nano: last.nano + used.nano, tokens: last.tokens + used.tokens });
    }
  }
  return points;
}

/** What is reserved now, as the run's row says: it goes to the last point. */
export function withReserved(model: TraceModel, reserved: number): TraceModel {
  const last = model.budget.at(-1);
  if (!last || last.reserved_nano === reserved) return model;
  return { ...model, budget: [...model.budget.slice(0, -1), { ...last, reserved_nano: reserved }] };
}
