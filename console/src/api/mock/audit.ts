import type { ActionShown } from '@/api/schema';

import { Refusal, type Routes, route } from './route';
import vector from './audit.json';
import { MINUTE, NOW, SEEDS } from './seed';

const state = new URLSearchParams(globalThis.location?.search);
const quiet = state.has('quiet');

const action = (seq: number, over: Partial<ActionShown>): ActionShown => ({
  seq, at: NOW - (20 - seq) * 7 * MINUTE, actor: 'key:operator-a', action: 'approval.decide', target: SEEDS.five, detail: {}, hash: seq.toString(16).padStart(64, '0'), ...over,
});

const actions: ActionShown[] = [
  action(9, { detail: { approval: 'ap_1', decision: 'approve', seen_seconds: 12.4, reason: '' } }),
  action(8, { action: 'control.pause', target: 'agent:inbox-triage', detail: { reason: 'bounces' } }),
  action(7, { actor: 'key:approver-b', action: 'case.claim', detail: { seconds: 3600, forced: false } }),
  action(6, { actor: 'oidc:ann\u202egpj.exe', action: 'content.read', detail: { path: '<img src=x onerror=alert(1)>' } }),
  action(5, { action: 'release.roll_back', target: 'support-desk', detail: { to: 'r41' } }),
];

/** The run that the log speaks of in the mock: `?run=` it and all fits, with another one nothing does. */
const forged = 'ffffffff-ffff-7fff-bfff-ffffffffffff';

/** The audit log: a true one, small. `?quiet`: nothing is sealed yet. */
export const auditRoutes: Routes = {
  'GET /v1/audit': route<'/v1/audit', 'get'>(() => ({
    newest: quiet ? null : { size: 11, at: NOW - MINUTE, checkpoint: vector.now, witnesses: 1 }, keys: quiet ? [] : vector.keys, history: quiet ? [] : vector.history, sealed_at: quiet ? 0 : NOW, problem: '',
  })),
  'GET /v1/audit/inclusion': route<'/v1/audit/inclusion', 'get'>(({ query }) => {
    const run = query.get('run') ?? '';
    if (run !== vector.run && run !== forged) return new Refusal(404, 'not_sealed', `run ${run} is not in the audit log of "acme"`, 'it is sealed about a second after it is recorded');
    return { run, event: 14, index: vector.index, size: 11, leaf: vector.leaf, proof: vector.proof, checkpoint: vector.now };
  }),
  'POST /v1/audit/consistency': route<'/v1/audit/consistency', 'post'>(({ body }) => {
    const { checkpoint } = body as { checkpoint: string };
    return { old: 11, size: 11, proof: checkpoint === vector.now ? [] : vector.growth, checkpoint: vector.now };
  }),
  'GET /v1/audit/runs/{run}/accounts': route<'/v1/audit/runs/{run}/accounts', 'get'>(({ params, query }) => ({
    run: params['run'] ?? '', calls: [{
      run: params['run'], path: query.get('step') ?? '17', seq: 198, at: NOW, what: 'tool', name: 'refund', agent: 'support-desk', release: 'r41', missing: ['reviewed'],
      parties: [{ who: 'ann', part: 'built', source: 'the release r41' }, { who: 'key:approver-b', part: 'approved', source: 'event 201', at: NOW - MINUTE }, { who: 'acme', part: 'beneficiary', source: 'event 1' }],
    }],
    watched: [{ who: 'key:approver-b', how: 'claimed', since: NOW - 5 * MINUTE, until: 0, by: 'key:approver-b', end: '', source: 'action 41' }],
  })),
  'GET /v1/actions': route<'/v1/actions', 'get'>(({ query }) => ({
    items: quiet ? [] : actions.filter((one) => one.action.startsWith(query.get('action') ?? '') && (query.get('actor') || one.actor) === one.actor), next: null,
  })),
};
