import type { ReleaseDraft, ReleaseLine, ReleaseNumbers, ReleasePreview, ReleaseRollback, ReleaseRoute, ReleaseStep } from '@/api/schema';

import { Refusal, type Routes, route } from './route';
import { DAY, HOUR, MINUTE, NOW } from './seed';

const HOSTILE = '<b onmouseover=alert(1)>\u202egnp';
const ME = 'key:operator-a';
const id = (n: number): string => Array.from({ length: 8 }, (_, i) => ((n * 2_654_435_761 + i * 40_503_777) >>> 0).toString(16).padStart(8, '0')).join('');
const line = (n: number, over: Partial<ReleaseLine>): ReleaseLine => ({ id: id(n), agent: 'support-desk', state: 'draft', percent: 0, author: 'key:author-c', approved_by: '', key: '9f2c51d07ab3', drafted_at: NOW - n * DAY, at: NOW - n * DAY + HOUR, objection: '', ...over });

const SETTINGS = { max_tokens: 300, temperature: null, timeout_seconds: 60, extra: {}, prompt_cache: true, attempts: 3, repairs: 1, show_budget: false };

const releases: ReleaseLine[] = [
  line(1, { state: 'review' }),
  line(2, { state: 'review', author: ME }),
  line(3, { state: 'canary', percent: 5, approved_by: 'key:operator-b' }),
  line(4, { agent: 'inbox-triage', state: 'live', approved_by: 'key:operator-b' }),
  line(5, { state: 'live', approved_by: 'key:operator-b' }),
  line(6, { agent: 'ledger', state: 'approved', author: HOSTILE, objection: 'it was signed by the key 000000000000; trusted are 9f2c51d07ab3' }),
  line(7, { state: 'retired', approved_by: 'key:operator-b' }),
  line(8, { state: 'rolled_back' }),
];
const steps = new Map<string, ReleaseStep[]>(
  releases.map((one) => [one.id, [
    { number: 1, at: one.drafted_at, state: 'draft', percent: 0, actor: one.author, reason: 'kinder' },
    ...(one.state === 'draft' ? [] : [{ number: 2, at: one.drafted_at + 10 * MINUTE, state: 'review' as const, percent: 0, actor: one.author, reason: '' }]),
    ...(one.state === 'review' ? [] : [{ number: 3, at: one.at, state: one.state, percent: one.percent, actor: 'key:operator-b', reason: `reads well ${HOSTILE}` }]),
  ]]),
);

function routeOf(agent: string): ReleaseRoute {
  const of = (state: string): ReleaseLine | undefined => releases.find((one) => one.agent === agent && one.state === state);
  const canary = of('canary');
  return { agent, live: of('live')?.id ?? '', canary: canary?.id ?? '', percent: canary?.percent ?? 0 };
}

const find = (wanted: string | undefined): ReleaseLine | Refusal => releases.find((one) => one.id === wanted) ?? new Refusal(404, 'release_unknown', `no release has the id '${wanted}'`);

function move(one: ReleaseLine, state: ReleaseLine['state'], reason: string, percent = 0): ReleaseLine {
  const at = Date.now() * 1000;
  const made = { ...one, state, percent, at, approved_by: state === 'approved' ? ME : one.approved_by };
  releases[releases.findIndex((each) => each.id === one.id)] = made;
  const of = steps.get(one.id) ?? [];
  of.push({ number: of.length + 1, at, state, percent, actor: ME, reason });
  return made;
}

const decided = (state: ReleaseLine['state']) => ({ params, body }: { params: Readonly<Record<string, string>>; body: unknown }): ReleaseLine | Refusal => {
  const one = find(params['id']);
  if (one instanceof Refusal) return one;
  const { reason, percent } = body as { reason: string; percent?: number };
  if (state === 'approved' && one.author === ME) return new Refusal(403, 'release_own', `${ME} drafted the release, or put it up for review`);
  if (state === 'live') {
    const before = releases.find((each) => each.agent === one.agent && each.state === 'live');
    if (before) move(before, 'retired', `${one.id.slice(0, 12)} went live`);
  }
  return move(one, state, reason, percent);
};

const numbers = (one: ReleaseLine, over: Partial<ReleaseNumbers>): ReleaseNumbers => ({ release: one.id, state: one.state, runs: 0, ended: 0, failed: 0, escalated: 0, refused: 0, cancelled: 0, nano: 0, tokens: 0, steps: 0, tool_calls: 0, median_us: 0, ...over });

/** Releases: a canary, two under review of which one is the caller's own, one that nobody can believe. */
export const releaseRoutes: Routes = {
  'GET /v1/releases': route<'/v1/releases', 'get'>(({ query }) => ({ items: new URLSearchParams(location.search).has('quiet') ? [] : releases.filter((one) => !query.has('agent') || one.agent === query.get('agent')), next: null })),
  'GET /v1/releases/compare': route<'/v1/releases/compare', 'get'>(({ query }) => {
    const agent = query.get('agent') ?? '';
    const of = releases.filter((one) => one.agent === agent);
    const items = [
      ...of.filter((one) => one.state === 'canary').map((one) => numbers(one, { runs: 24, ended: 22, failed: 3, escalated: 1, nano: 2_210_000_000, tokens: 210_000, steps: 160, tool_calls: 71, median_us: 41_000_000 })),
      ...of.filter((one) => one.state === 'live').map((one) => numbers(one, { runs: 1_204, ended: 1_190, failed: 31, escalated: 12, refused: 2, nano: 98_400_000_000, tokens: 9_100_000, steps: 6_900, tool_calls: 2_810, median_us: 38_000_000 })),
    ];
    return { agent, since: NOW - Number(query.get('hours') ?? 24) * HOUR, items };
  }),
  'POST /v1/releases/rollback': route<'/v1/releases/rollback', 'post'>(({ body }) => {
    const { agent, reason, runs, to } = body as ReleaseRollback;
    const before = routeOf(agent);
    const bad = releases.filter((one) => one.id === before.canary || (one.id === before.live && (before.canary === '' || to === 'offered')));
    if (bad.length === 0) return new Refusal(409, 'release_state', `no release of ${agent} is in use that could be rolled back`);
    for (const one of bad) move(one, 'rolled_back', reason);
    return { agent, bad: bad.map((one) => one.id), live: routeOf(agent).live, sealed: runs === 'go-on' ? null : true, open_intents: 4, documents: 0, versions: 0, others: 0, failed: [] };
  }),
  'POST /v1/releases/tools': route<'/v1/releases/tools', 'post'>(({ body }) => body as { tool: string; digest: string }),
  'GET /v1/releases/offered': route<'/v1/releases/offered', 'get'>(({ query }) => {
    const agent = query.get('agent') ?? '';
    return { route: routeOf(agent), manifest: { agent, prompts: { instructions: 'You answer customers.\nYou are brief.' }, models: ['gpt-5-mini'], settings: SETTINGS, budget: { nano: 100_000_000, steps: 20 }, policy: {}, version: '1.4', author: ME } };
  }),
  'POST /v1/releases/preview': route<'/v1/releases/preview', 'post'>(({ body }) => {
    const { base, models, prompts } = body as ReleasePreview;
    if (models.includes('no-such')) return new Refusal(422, 'release_invalid', 'there is no model no-such');
    const said = prompts['instructions'] ?? '';
    return { old: base, new: id(99), differences: said.endsWith('kind.') ? [{ what: 'prompt instructions', lines: ['line 2:', '- You are brief.', `+ ${said.split('\n').at(-1) ?? ''}`] }, { what: 'model', lines: [`${models.join(' then ')}, was gpt-5-mini`] }] : [] };
  }),
  'POST /v1/releases': route<'/v1/releases', 'post'>(({ body }) => {
    const { agent } = body as ReleaseDraft;
    const made = line(99, { agent, author: ME, drafted_at: Date.now() * 1000, at: Date.now() * 1000 });
    releases.unshift(made);
    steps.set(made.id, [{ number: 1, at: made.at, state: 'draft', percent: 0, actor: ME, reason: '' }]);
    return made;
  }),
  'GET /v1/releases/{id}': route<'/v1/releases/{id}', 'get'>(({ params }) => {
    const one = find(params['id']);
    if (one instanceof Refusal) return one;
    return {
      ...one, steps: steps.get(one.id) ?? [], route: routeOf(one.agent), keys: ['9f2c51d07ab3'], problem: one.agent === 'ledger' ? 'the statement 3 about it is signed by the key 000000000000' : '',
      refusals: one.state === 'canary' ? [{ worker: 'worker-3', why: 'it offers no tool refund with that schema', at: NOW - MINUTE }] : [],
      manifest: { agent: one.agent, prompts: { instructions: `You answer customers.\nYou are kind. ${HOSTILE}` }, models: ['gpt-5-mini'], settings: SETTINGS, budget: { nano: 100_000_000, steps: 20 }, policy: { 'policy.yaml': 'version: 1\nrules: []\n' }, filters: { output: [{ what: 'card', then: 'mask' }] }, version: '1.4', author: one.author },
    };
  }),
  'GET /v1/releases/{id}/diff': route<'/v1/releases/{id}/diff', 'get'>(({ params, query }) => {
    const one = find(params['id']);
    if (one instanceof Refusal) return one;
    const to = query.get('to');
    const [old, made] = to === null ? [routeOf(one.agent).live, one.id] : [one.id, to];
    return {
      old, new: made,
      differences: [
        { what: 'prompt instructions', lines: ['line 2:', '- You are brief.', `+ You are kind. ${HOSTILE}`] },
        { what: 'model', lines: ['gpt-5-mini then claude-haiku, was gpt-5-mini'] },
        { what: 'tools', lines: ['refund has another name, description or schema', 'search_kb has other code, with the same schema'] },
        { what: 'budget', lines: ['money: $0.20, was $0.10'] },
      ],
    };
  }),
  'POST /v1/releases/{id}/submit': route<'/v1/releases/{id}/submit', 'post'>(decided('review')),
  'POST /v1/releases/{id}/approve': route<'/v1/releases/{id}/approve', 'post'>(decided('approved')),
  'POST /v1/releases/{id}/reject': route<'/v1/releases/{id}/reject', 'post'>(decided('rejected')),
  'POST /v1/releases/{id}/canary': route<'/v1/releases/{id}/canary', 'post'>(decided('canary')),
  'POST /v1/releases/{id}/promote': route<'/v1/releases/{id}/promote', 'post'>(decided('live')),
  'POST /v1/releases/{id}/retire': route<'/v1/releases/{id}/retire', 'post'>(decided('retired')),
};
