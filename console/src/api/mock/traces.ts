import type { ChildShown, SpanShown, Trace } from '@/api/schema';

import { Refusal, type Routes, route } from './route';
import { mockRuns } from './runs';
import { idAt, SECOND, seeded, SEEDS } from './seed';

type Kind = 'model' | 'tool' | 'child' | 'gather';

interface Call {
  readonly kind: Kind;
  readonly name: string;
  readonly took: number;
  readonly status?: string;
  readonly verdict?: number;
  readonly nano?: number;
  readonly parent?: number;
  readonly same?: number;
  readonly path?: string;
}

/** A trace of calls, one after the other. */
function traceOf(run: string, calls: readonly Call[], ended: boolean, extra: Partial<Trace> = {}): Trace {
  const kinds = ['model', 'tool', 'child', 'gather'];
  const names = [...new Set(calls.map((call) => call.name))];
  const numbers = new Map(names.map((name, i) => [name, i]));
  const statuses = ['ok', 'error', 'open', 'waiting', 'denied', 'failed', 'in_doubt'];
  const spans: Trace['spans'] = {
    path: [], parent: [], kind: [], name: [], status: [], verdict: [], seq: [], end_seq: [], start: [], duration: [],
    tokens: [], nano: [], attempts: [], same: [], child: {},
  };
  const critical: Trace['critical'] = [{ span: -1, part: 'queue', start: 0, duration: 80_000 }];
  const budget: Trace['budget'] = [];
  let at = 80_000;
  let seq = 2;
  let nano = 0;
  let steps = 0;
  calls.forEach((call, i) => {
    const open = call.status === 'open' || call.status === 'waiting';
    const cost = call.nano ?? (call.kind === 'model' ? 1_900_000 : 0);
    steps += call.kind === 'model' ? 1 : 0;
    spans.path.push(call.path ?? String(i));
    spans.parent.push(call.parent ?? -1);
    spans.kind.push(kinds.indexOf(call.kind));
    spans.name.push(numbers.get(call.name) ?? 0);
    spans.status.push(Math.max(0, statuses.indexOf(call.status ?? 'ok')));
    spans.verdict.push(call.verdict ?? 0);
    spans.seq.push(seq + 1);
    spans.end_seq.push(seq + 2);
    spans.start.push(at);
    spans.duration.push(open ? -1 : call.took);
    spans.tokens.push(call.kind === 'model' ? 900 : 0);
    spans.nano.push(cost);
    spans.attempts.push(1);
    spans.same.push(call.same ?? 0);
    const waits = call.verdict === 2 ? Math.floor(call.took * 0.9) : 0;
    const part = call.kind === 'model' ? 'model' : 'tool';
    if (calls.length < 1_000 && call.kind !== 'gather') {
      if (waits > 0) critical.push({ span: i, part: 'approval', start: at, duration: waits });
      critical.push({ span: i, part, start: at + waits, duration: call.took - waits });
      critical.push({ span: -1, part: 'engine', start: at + call.took, duration: 2_000 });
    }
    if (i % Math.ceil(calls.length / 900) === 0) {
      budget.push({ seq: seq + 1, at, nano, reserved_nano: cost > 0 ? 6_000_000 : 0, tokens: i * 900, steps });
      budget.push({ seq: seq + 2, at: at + call.took, nano: nano + cost, reserved_nano: 0, tokens: (i + 1) * 900, steps });
    }
    nano += cost;
    seq += 2;
    // A group's calls are inside it.
    if (call.kind !== 'gather') at += call.took + 2_000;
  });
  const total = at;
  const shares: Record<string, number> = { queue: 0, model: 0, tool: 0, approval: 0, wait: 0, engine: 0 };
  for (const part of critical) shares[part.part] = (shares[part.part] ?? 0) + part.duration / total;
  return {
    run, agent: 'support-desk', as_of_seq: seq + (ended ? 1 : 0), submitted_at: mockRuns.find((one) => one.id === run)?.created_at ?? 0, ended, total,
    sentence: '', kinds, names, statuses, spans, critical, critical_share: shares, budget, marks: [], loops: [],
    events: [
      { kind: 'run.submitted', seq: 1, at: 0, words: 'submitted by key:inbox' },
      { kind: 'run.claimed', seq: 2, at: 80_000, words: 'worker-1 took it' },
      ...(ended ? [{ kind: 'run.ended', seq: seq + 1, at: total, words: 'ended as succeeded' }] : []),
    ],
    children: [], ...extra,
  };
}

const FIVE: readonly Call[] = [
  { kind: 'model', name: 'gpt-5-mini', took: 1_400_000 },
  { kind: 'tool', name: 'get_account', took: 90_000 },
  { kind: 'model', name: 'gpt-5-mini', took: 2_100_000 },
  { kind: 'tool', name: 'refund', took: 105 * SECOND, verdict: 2 },
  { kind: 'model', name: 'gpt-5-mini', took: 1_200_000 },
];

function spiral(run: string): Trace {
  const calls: Call[] = [{ kind: 'model', name: 'gpt-5-mini', took: 900_000 }, { kind: 'tool', name: 'get_account', took: 80_000 }];
  for (let i = 0; i < 7; i++) {
    calls.push({ kind: 'model', name: 'gpt-5-mini', took: 800_000 + i * 210_000, nano: 1_900_000 + i * 700_000 });
    calls.push({ kind: 'tool', name: 'search_kb', took: 140_000, same: 1, verdict: i > 4 ? 1 : 0, ...(i === 6 ? { status: 'denied', verdict: 3 } : {}) });
  }
  const trace = traceOf(run, calls, true);
  const loop = calls.flatMap((call, i) => (call.same ? [i] : []));
  return {
    ...trace,
    loops: [{ name: 'search_kb', spans: loop, nano: 28_400_000, tokens_growth: 2.6, said: 'search_kb ×7 with the same arguments, nothing new came back; the prompt grew 2.6-fold' }],
    marks: [{ level: 70, resource: 'steps', seq: 23, span: 10 }, { level: 90, resource: 'steps', seq: 29, span: 13 }],
    events: [...trace.events, { kind: 'limit.reached', seq: trace.as_of_seq, at: trace.total, words: 'steps at 90 %: tools removed, must answer next' }],
  };
}

/** Fifty thousand calls: a model and a few tools in turn, some of them in groups of branches. */
function huge(run: string): Trace {
  const random = seeded(50_000);
  const calls: Call[] = [];
  while (calls.length < 50_000) {
    const group = calls.length;
    if (random() < 0.1) {
      calls.push({ kind: 'gather', name: '4 branches', took: 400_000 });
      for (let b = 0; b < 4; b++) calls.push({ kind: 'tool', name: 'get_account', took: 60_000 + Math.floor(random() * 60_000), parent: group, path: `${group}.${b}.1` });
      continue;
    }
    calls.push({ kind: 'model', name: 'gpt-5-mini', took: 200_000 + Math.floor(random() * 900_000), nano: 100_000 + Math.floor(random() ** 6 * 90_000_000) });
    const tools = 1 + Math.floor(random() * 5);
    for (let t = 0; t < tools; t++) {
      const failed = random() < 0.0004;
      calls.push({ kind: 'tool', name: random() < 0.9 ? 'get_account' : 'search_kb', took: 20_000 + Math.floor(random() * 90_000), ...(failed ? { status: 'error' } : {}), ...(random() < 0.0003 ? { verdict: 2 } : {}) });
    }
  }
  return traceOf(run, calls.slice(0, 50_000), true);
}

function team(run: string): Trace {
  const names = ['classifier', 'accounts', 'kb', 'writer'];
  const calls = [...FIVE.slice(0, 2), ...names.map((name, i): Call => ({ kind: 'child', name, took: 800_000 + i * 300_000, ...(name === 'kb' ? { status: 'failed' } : {}) }))];
  const children: ChildShown[] = names.map((agent, i) => ({
    run: idAt(1_700_000_000_000_000, 900 + i), parent: run, agent, path: String(i + 2), status: 'ended', outcome: agent === 'kb' ? 'failed' : 'succeeded', nano: 4_000_000 * (i + 1), first_failed: agent === 'kb',
  }));
  const trace = traceOf(run, calls, true, { children });
  for (const [i, child] of children.entries()) trace.spans.child[i + 2] = child.run;
  return trace;
}

const made = new Map<string, Trace>();

/** The trace of a run: those of the seeds are special, the others have five steps. */
export function mockTrace(run: string): Trace | Refusal {
  const line = mockRuns.find((one) => one.id === run);
  if (!line) return new Refusal(404, 'run_not_found', 'There is no such run.', 'Look at the id, and whether it is of this tenant.');
  const known = made.get(run);
  if (known) return known;
  const open = line.status === 'running' || line.status === 'parked';
  const last: Call = line.shown === 'waiting_approval' ? { kind: 'tool', name: 'refund', took: 40 * SECOND, verdict: 2, status: 'waiting' } : { kind: 'model', name: 'gpt-5-mini', took: 2 * SECOND, status: 'open' };
  let trace: Trace;
  if (run === SEEDS.huge) trace = huge(run);
  else if (run === SEEDS.spiral) trace = spiral(run);
  else if (run === SEEDS.hostile) trace = team(run);
  else if (line.status === 'queued') trace = traceOf(run, [], false);
  else if (open) trace = traceOf(run, [...FIVE.slice(0, 3), last], false);
  else if (line.outcome === 'failed') trace = traceOf(run, [...FIVE.slice(0, 3), { kind: 'tool', name: 'refund', took: 300_000, status: 'error' }], true);
  else trace = traceOf(run, FIVE, true);
  made.set(run, trace);
  return trace;
}

const HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>\n[click](javascript:window.pwned=1) \u202egnp.exe\u202c zero\u200bwidth\u0007';
const none = { tokens_in: 0, tokens_out: 0, nano: 0, nano_at_maximum: 0 };

function span(run: string, path: string): SpanShown | Refusal {
  const trace = mockTrace(run);
  if (trace instanceof Refusal) return trace;
  const i = trace.spans.path.indexOf(path);
  if (i < 0) return new Refusal(404, 'span_unknown', 'This run has no such call.', 'Look at the path.');
  const kind = trace.kinds[trace.spans.kind[i] ?? 0] ?? '';
  const name = trace.names[trace.spans.name[i] ?? 0] ?? '';
  const status = trace.statuses[trace.spans.status[i] ?? 0] ?? 'ok';
  const held = trace.spans.verdict[i] === 2;
  const nano = trace.spans.nano[i] ?? 0;
  const at = trace.submitted_at + (trace.spans.start[i] ?? 0);
  const took = trace.spans.duration[i] ?? 0;
  const output = run === SEEDS.hostile ? HOSTILE : kind === 'model' ? 'I will refund the second charge of $49.00.' : { receipt: 'rc_1182', amount_cents: 4900 };
  return {
    path, kind, name, status, seq: trace.spans.seq[i] ?? 0, started_at: at, ended_at: took < 0 ? 0 : at + took,
    sentence: held ? 'Called refund; refund-2 held it and approver-b approved after 1 m 45 s.' : kind === 'model' ? `Asked ${name}; it took ${(took / SECOND).toFixed(2)} s.` : `Called ${name}.`,
    input: { ref: '', size: 40, cut: false, value: kind === 'model' ? [{ ref: 'm1', size: 34, cut: false, role: 'user', parts: [{ part: 'text', text: 'I was charged twice for order 1182' }] }] : { order_id: '1182', amount_cents: 4900 }, hidden: '' },
    output: took < 0 ? null : { ref: 'A'.repeat(43), size: 200_000, cut: kind === 'model', value: output, hidden: '' },
    reasoning: kind === 'model' ? ['Two charges of $49.00 on the same day; the second is a duplicate.'] : [],
    asks: kind === 'model' ? [{ id: 'c1', name: 'refund', args: '{"order_id":"1182","amount_cents":4900}' }] : [],
    error: status === 'error' ? 'refund answered 500: ledger is locked' : '', used: { tokens_in: 812, tokens_out: 60, nano, nano_at_maximum: 0 }, cached: 300, simulated: true,
    about: kind === 'tool' ? { effect: 'write', risk: 'high' } : { purpose: 'step', finish: 'tool_calls', ...(run === SEEDS.five && path === '2' ? { 'served by': `what call 0 of run ${SEEDS.spiral} came to` } : {}) },
    verdicts: held ? [{ rule: 'refund-2', version: 7, verdict: 'hold', reason: 'amount > $25', code: 'over_amount' }] : status === 'denied' ? [{ rule: 'repeats', version: 1, verdict: 'deny', reason: 'the same call for the seventh time', code: 'repeated_call' }] : [],
    passed: ['limits@1', 'schema@1', 'loop@2'],
    attempts: [{ number: 1, status, started_at: at, ended_at: at + took, latency: Math.max(0, took), reserved: { ...none, nano: 6_000_000 }, used: { ...none, nano }, at_maximum: false, because: '', failure: '', doubt: '', settled_by: '' }],
    approvals: held ? [{ id: 'ap_1', question: 'Refund $49.00 for order 1182?', risk: 'high', asked_at: at, expires: at + 3600 * SECOND, decision: 'approve', decided_at: at + 105 * SECOND, actor: 'approver-b', reason: 'duplicate charge confirmed' }] : [],
    decision: null, same_as: [], child: trace.spans.child[i] ?? null, command: `penstock runs show ${run} --full`,
  };
}

export const traceRoutes: Routes = {
  'GET /v1/runs/{run}/trace': route<'/v1/runs/{run}/trace', 'get'>(({ params }) => mockTrace(params['run'] ?? '')),
  'GET /v1/runs/{run}/spans/{path}': route<'/v1/runs/{run}/spans/{path}', 'get'>(({ params }) => span(params['run'] ?? '', params['path'] ?? '')),
  'GET /v1/runs/{run}/events': route<'/v1/runs/{run}/events', 'get'>(({ query }) => {
    const after = Number(query.get('after') ?? 0);
    const items = Array.from({ length: 50 }, (_, i) => ({ seq: after + i + 1, at: 0, hash: '4'.padStart(64, '0'), line: `event ${after + i + 1} of the tape, as it was recorded`, body: {} }));
    return { items, next: after + 50 };
  }),
  'GET /v1/runs/{run}/diff/{other}': route<'/v1/runs/{run}/diff/{other}', 'get'>(({ params }) => {
    const left = mockTrace(params['run'] ?? '');
    const right = mockTrace(params['other'] ?? '');
    if (left instanceof Refusal) return left;
    if (right instanceof Refusal) return right;
    const count = Math.min(300, Math.max(left.spans.path.length, right.spans.path.length));
    const rows = Array.from({ length: count }, (_, i) => {
      const [l, r] = [i < left.spans.path.length ? i : null, i < right.spans.path.length ? i : null];
      const place = l === null ? 'only_right' : r === null ? 'only_left' : left.names[left.spans.name[i] ?? 0] === right.names[right.spans.name[i] ?? 0] ? 'same' : 'changed';
      return { place, left: l, right: r, differs: place === 'changed' ? ['output'] : [] };
    });
    const first = rows.findIndex((row) => row.place !== 'same');
    return { left: left.run, right: right.run, first: first < 0 ? null : first, rows, skipped: 0, more: 0, nano: 3_400_000, duration: right.total - left.total, steps: right.spans.path.length - left.spans.path.length };
  }),
};

const WORDS = 'I looked at both charges. They are for the same order on the same day, so the second one is a duplicate and I will refund it now. '.split(' ');
const begun = new Map<string, { seq: number; step: number }>();

/** What a running run of the mock says each second: words of its open model call, then its outcome and the next call. */
export function runSource(second: number, topic: string): { event: string; data: unknown } | undefined {
  const run = topic.slice('run:'.length);
  const trace = mockTrace(run);
  const line = mockRuns.find((one) => one.id === run);
  if (trace instanceof Refusal || trace.ended || line?.status !== 'running') return undefined;
  const state = begun.get(run) ?? { seq: trace.as_of_seq, step: trace.spans.path.length - 1 };
  begun.set(run, state);
  const phase = second % 6;
  const path = String(state.step);
  if (phase < 4) {
    const words = (n: number): string => WORDS.slice(0, n * 6).join(' ') + ' ';
    const before = phase === 0 ? '' : words(phase);
    return { event: 'tokens', data: { run, path, attempt: 1, offset: before.length, text: words(phase + 1).slice(before.length), reset: false } };
  }
  state.seq += 1;
  const at = Date.now() * 1000;
  if (phase === 4) {
    return { event: 'event', data: { run, seq: state.seq, at, kind: 'model.outcome', path, line: `model answered in step ${path}`, body: { status: 'ok', used: { tokens_in: 900, tokens_out: 60, nano: 2_100_000 } } } };
  }
  state.step += 1;
  return { event: 'event', data: { run, seq: state.seq, at, kind: 'model.intent', path: String(state.step), line: 'asking gpt-5-mini', body: { model: 'gpt-5-mini', reserved: { nano: 6_000_000 } } } };
}
