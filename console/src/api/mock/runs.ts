import type { Facet, RunLine, RunShown } from '@/api/schema';

import { type Asked, Refusal, type Routes, route } from './route';
import { HOUR, idAt, MINUTE, NOW, one, SECOND, SEEDS, seeded } from './seed';

const AGENTS = ['support-desk', 'support-desk', 'inbox-triage', 'ledger'];
const CUSTOMERS = ['acme', 'beta', 'corvid', 'delta'];
const ENDED = ['succeeded', 'succeeded', 'succeeded', 'succeeded', 'succeeded', 'failed', 'exhausted', 'refused', 'escalated', 'cancelled', 'killed'];
const OPEN = ['running', 'running', 'queued', 'waiting', 'waiting_approval', 'retrying', 'in_doubt', 'paused'];
const CODES: Record<string, string> = { failed: 'tool_failed', exhausted: 'loop', refused: 'policy', escalated: 'in_doubt' };
const COUNT = 12_000;

function line(n: number, random: () => number): RunLine {
  const created = NOW - Math.floor(n * 7.3 * SECOND);
  const open = n < 60 && random() < 0.6;
  const shown = open ? one(OPEN, random) : one(ENDED, random);
  const steps = open && shown === 'queued' ? 0 : 1 + Math.floor(random() * 24);
  const spent = Math.floor(steps * random() ** 3 * 9_000_000);
  const id = idAt(created, n);
  return {
    id, root: id, parent: null, agent: one(AGENTS, random), release: one(['r41', 'r42'], random), environment: 'production',
    status: open ? (shown === 'running' || shown === 'queued' ? shown : 'parked') : 'ended', shown,
    outcome: open ? null : shown, code: CODES[shown] ?? '', stop: null, session: '', priority: 0,
    tags: { customer: one(CUSTOMERS, random), feature: one(['inbox', 'chat'], random), task_type: one(['refund', 'question'], random) },
    steps, model_calls: steps, tool_calls: Math.floor(steps / 2), tokens: steps * 812, nano: spent,
    reserved_nano: open ? 2_000_000 : 0, open_intents: shown === 'running' ? 1 : 0,
    created_at: created, ended_at: open ? null : created + Math.floor(random() ** 2 * 4 * MINUTE), wake_at: null,
    waiting: shown === 'waiting_approval' ? [{ kind: 'approval', path: '17', name: 'refund', id: 'ap_1', until: NOW + 11 * MINUTE }] : [],
  };
}

const random = seeded(41);
const runs: RunLine[] = Array.from({ length: COUNT }, (_, n) => line(n, random));
for (const [i, [name, id]] of Object.entries(SEEDS).entries()) {
  const base = runs[i * 2];
  if (base) runs[i * 2] = { ...base, id, root: id, agent: 'support-desk', session: `seed-${name}` };
}

for (const n of [9, 13, 21]) {
  const base = runs[n];
  if (base) runs[n] = { ...base, status: 'parked', shown: 'waiting', outcome: null, ended_at: null, waiting: [{ kind: 'budget', path: '4', name: 'acme-inbox', id: '', until: NOW + 9 * 24 * HOUR }] };
}

/** The runs that the mock holds, newest first. */
export const mockRuns: readonly RunLine[] = runs;

function found(query: URLSearchParams): RunLine[] {
  const number = (name: string, otherwise: number): number => Number(query.get(name) ?? otherwise);
  const any = (name: string, value: string): boolean => {
    const wanted = query.get(name);
    return !wanted || wanted.split(',').includes(value);
  };
  return runs.filter(
    (run) =>
      any('shown', run.shown) && any('status', run.status) && any('outcome', run.outcome ?? '') && any('agent', run.agent) &&
      any('release', run.release) && any('code', run.code) && any('customer', run.tags['customer'] ?? '') &&
      (!query.has('waiting_for') || run.waiting.some((each) => each.kind === query.get('waiting_for'))) && any('feature', run.tags['feature'] ?? '') && any('task_type', run.tags['task_type'] ?? '') && any('session', run.session) &&
      run.created_at >= number('since', 0) && run.created_at <= number('until', Number.MAX_SAFE_INTEGER) &&
      run.nano >= number('min_nano', 0) && run.id.startsWith(query.get('q') ?? ''),
  );
}

function facet(inside: readonly RunLine[], outside: readonly RunLine[], of: (run: RunLine) => string): Facet[] {
  const here = Map.groupBy(inside, of);
  const there = Map.groupBy(outside, of);
  return [...here]
    .map(([value, list]) => ({
      value, count: list.length, share: list.length / inside.length,
      elsewhere: (there.get(value)?.length ?? 0) / Math.max(1, outside.length),
    }))
    .filter((one_) => one_.value !== '')
    .sort((a, b) => b.count - a.count)
    .slice(0, 10);
}

function shownRun({ params }: Asked): RunShown | Refusal {
  const run = runs.find((candidate) => candidate.id === params['run']);
  if (!run) return new Refusal(404, 'run_not_found', 'There is no such run.', 'Look at the id, and whether it is of this tenant.');
  return {
    ...run, goal: 'I was charged twice for order 1182', sentence: run.waiting.some((each) => each.kind === 'budget') ? 'It waits for room in the budget acme-inbox.' : 'refund held by refund-2; waits for a person since 49 min',
    input: { ref: '', size: 34, cut: false, value: 'I was charged twice for order 1182', hidden: '' },
    output: run.outcome === 'succeeded' ? { ref: '', size: 40, cut: false, value: { reply: 'We refunded $49.00.' }, hidden: '' } : null,
    reason: '', missing: [], needed: [], first_cause: run.code, budget: { tokens: 20_000, nano: 100_000_000, steps: 20, calls: 0, attempts: 3, seconds: 0 },
    used: { tokens_in: run.tokens, tokens_out: run.steps * 60, nano: run.nano, nano_at_maximum: 0 }, simulated: true, last_seq: run.steps * 6,
    head: 'ab'.repeat(32), actor: 'key:inbox', behalf: '', place: run.shown === 'queued' ? 3 : null, expected_wait: run.shown === 'queued' ? 4 * SECOND : null,
    answers: [], command: `penstock show ${run.id}`,
  };
}

export const runRoutes: Routes = {
  'GET /v1/runs': route<'/v1/runs', 'get'>(({ query }) => {
    const all = found(query);
    const from = Number(query.get('cursor') ?? 0);
    const limit = Number(query.get('limit') ?? 100);
    return { items: all.slice(from, from + limit), next: from + limit < all.length ? String(from + limit) : null, looked_to: null, read_as: '', as_of: Date.now() * 1000 };
  }),
  'GET /v1/runs/facets': route<'/v1/runs/facets', 'get'>(({ query }) => {
    const inside = found(query);
    const set = new Set(inside);
    const outside = runs.filter((run) => !set.has(run));
    const width = HOUR / 4;
    const bins = Map.groupBy(inside, (run) => Math.floor(run.created_at / width) * width);
    return {
      found: inside.length, others: outside.length, sampled: false,
      agent: facet(inside, outside, (run) => run.agent), release: facet(inside, outside, (run) => run.release),
      outcome: facet(inside, outside, (run) => run.outcome ?? ''), code: facet(inside, outside, (run) => run.code),
      customer: facet(inside, outside, (run) => run.tags['customer'] ?? ''), feature: facet(inside, outside, (run) => run.tags['feature'] ?? ''),
      task_type: facet(inside, outside, (run) => run.tags['task_type'] ?? ''),
      histogram: [...bins].sort(([a], [b]) => a - b).map(([at, list]) => ({
        at, width, counts: Object.fromEntries([...Map.groupBy(list, (run) => run.shown)].map(([shown, some]) => [shown, some.length])),
      })),
    };
  }),
  'GET /v1/runs/{run}': route<'/v1/runs/{run}', 'get'>(shownRun),
};
