import type { ApprovalLine, ApprovalShown, CaseShown, DecisionGiven } from '@/api/schema';

import { canonicalOf } from '@/pages/approvals/model/edit';

import { Refusal, type Routes, route } from './route';
import { HOUR, MINUTE, NOW, SECOND, SEEDS } from './seed';

const line = (n: number, over: Partial<ApprovalLine>): ApprovalLine => ({
  id: `ap_${n}`, run: SEEDS.five, agent: 'support-desk', tool: 'refund', path: '17', question: 'may_run', risk: 'high',
  summary: 'refund order 1182, 49.00', customer: 'acme', digest: `d${n}`, version: 198, asked_at: NOW - n * 9 * MINUTE,
  expires: NOW + n * 11 * MINUTE, mine: true, why_not: '', seen_by: [], terms: null, votes: [], holder: '', group: '', again: '', ...over,
});

const GROUP = 'a7'.repeat(16);
const payout = (n: number, args: Record<string, unknown>, over: Partial<ApprovalLine> = {}): ApprovalLine => {
  ARGS[`ap_${n}`] = canonicalOf(args);
  return line(n, { run: SEEDS.five.replace(/.{4}$/, String(7000 + n)), tool: 'pay_out', agent: 'ledger', summary: `pay out ${String(args['cents'])}`, customer: 'beta', group: GROUP, expires: NOW + 20 * HOUR, ...over });
};

const ARGS: Record<string, string> = {
  ap_2: JSON.stringify({ body: Array.from({ length: 90 }, (_, i) => `line ${i + 1} of a long letter`).join('\n'), subject: 'Your refund', to: 'beta@example.com' }),
  ap_5: '{"customer":"beta","limit_cents":500000,"tier":"gold"}',
  ap_6: '{"question":"There are two accounts. Which one?"}',
  ap_3: '{"cents":1200,"note":"<img src=x onerror=alert(1)>","order":"77\u202e88"}',
};

const lines: ApprovalLine[] = [
  line(1, { seen_by: ['key:approver-b'] }),
  line(2, { tool: 'mail', risk: 'medium', summary: 'mail to beta@example.com, subject Your refund', customer: 'beta' }),
  line(3, { run: SEEDS.hostile, question: 'did_it_happen', summary: 'refund order 77\u202e88, 12.00' }),
  line(5, {
    risk: 'medium', summary: 'raise limit of beta, 5,000.00', tool: 'raise_limit', customer: 'beta',
    terms: { roles: ['finance'], count: 2, escalate_to: ['head-of-finance'], escalate_after_seconds: 1800 }, votes: [{ actor: 'key:approver-b', behalf: 'key:approver-c', at: NOW - MINUTE, problem: '' }, { actor: 'key:approver-d', behalf: '', at: NOW - 2 * MINUTE, problem: 'it was signed by no key that counts here' }],
    again: 'what was delivered before is signed by no key that counts here',
  }),
  line(6, { question: 'help', tool: 'escalate', risk: 'low', summary: 'There are two accounts. Which one?', holder: 'key:approver-b' }),
  payout(10, { cents: 4_900, currency: 'EUR', order: 'o-17', why: 'paid twice' }),
  payout(11, { cents: 12_000, currency: 'EUR', order: 'o-18\u202e71', why: 'returned' }),
  payout(12, { cents: 90, currency: 'EUR', order: 'o-19' }),
  payout(13, { cents: 700, currency: 'EUR', order: 'o-20', why: 'a long story. '.repeat(60) }),
  payout(14, { cents: 1_500, currency: 'EUR', order: 'o-21', why: 'paid twice' }, { mine: false, why_not: 'you asked for this run yourself' }),
  payout(15, { cents: 2_500, currency: 'EUR', order: 'o-22', why: 'paid twice' }),
  line(4, { mine: false, why_not: 'you asked for this run yourself', risk: 'low', summary: 'close order 9', tool: 'close' }),
];
const decidedAt = new Map<string, { decision: string; actor: string; at: number }>();

const SCHEMAS: Record<string, Record<string, unknown>> = {
  refund: { type: 'object', properties: { order: { type: 'string' }, cents: { type: 'integer', description: 'what is paid back' }, note: { type: 'string' } }, required: ['order', 'cents'] },
  raise_limit: { type: 'object', properties: { customer: { type: 'string' }, limit_cents: { type: 'integer' }, tier: { enum: ['silver', 'gold'] } }, required: ['customer', 'limit_cents', 'tier'] },
};

function shown(one: ApprovalLine): ApprovalShown {
  return {
    ...one, takes: one.question === 'may_run' ? (SCHEMAS[one.tool] ?? null) : null, args: ARGS[one.id] ?? '{"cents":4900,"order":"1182"}', hidden: '', effect: 'write', reversible: one.id === 'ap_2' ? 'a second letter' : '', policy: '3f9a'.repeat(16),
    why: [{ rule: 'refund-2', version: 7, verdict: 'hold', reason: 'amount > $25', code: 'approval_needed' }],
    previewed: one.tool !== 'close' && one.question === 'may_run', changes_unknown: one.tool === 'mail' ? 'its preview failed: no answer within 5 s' : '',
    changes: one.tool === 'refund' && one.question === 'may_run' ? [{ what: 'order 1182: refunded', before: '$0.00', after: '$49.00' }] : [],
    agent_says: 'The customer is very upset, please approve quickly.', goal: 'I was charged twice for order 1182',
    so_far: ['goal given', 'model: looks the order up', 'search_kb: 2 results', 'get_account: charged twice on 12 May', 'model: asks to refund'],
    spent_nano: 96_400_000, budget_nano: 100_000_000,
    like: {
      approved: 18, denied: 2, edited: 1, expired: 0, median_seconds: 105, numbers: { cents: { value: 4900, median: 2200, percentile: 97, count: 18 } },
      recent: [{ run: SEEDS.spiral, at: NOW - HOUR, decision: 'deny', actor: 'key:approver-b', reason: 'wrong amount', summary: 'refund order 7, 900.00' }],
    },
    conflicts: one.id === 'ap_1' ? [SEEDS.spiral] : [],
  };
}

const open = (): ApprovalLine[] => lines.filter((one) => !decidedAt.has(one.id));

function find(id: string | undefined): ApprovalLine | Refusal {
  const one = lines.find((candidate) => candidate.id === id);
  if (!one) return new Refusal(404, 'approval_unknown', `no approval ${id} waits`, 'it may have expired, or its run was stopped');
  const by = decidedAt.get(one.id);
  return by ? new Refusal(409, 'approval_decided', `approval ${one.id} was decided before by ${by.actor}: ${by.decision}`, '', by) : one;
}

/** Questions that wait. The second one is always lost to another person, to see what that looks like. */
export const approvalRoutes: Routes = {
  'GET /v1/approvals': route<'/v1/approvals', 'get'>(() => ({ items: open(), mine: open().filter((one) => one.mine).length, next: null })),
  'GET /v1/approvals/alike': route<'/v1/approvals/alike', 'get'>(({ query }) => {
    const items = open().filter((one) => one.group !== '' && one.group === query.get('group')).map((one) => ({ ...one, args: ARGS[one.id] ?? '{}', hidden: '' }));
    const why = items.length > 0 ? [{ rule: 'payouts', version: 2, verdict: 'hold', reason: 'a payout is looked at', code: 'approval_needed' }] : [];
    return { items, why, policy: items.length > 0 ? '3f9a'.repeat(16) : '', more: false };
  }),
  'GET /v1/approvals/{id}': route<'/v1/approvals/{id}', 'get'>(({ params }) => {
    const one = find(params['id']);
    return one instanceof Refusal ? one : shown(one);
  }),
  'POST /v1/approvals/{id}/decision': route<'/v1/approvals/{id}/decision', 'post'>(({ params, body }) => {
    const one = find(params['id']);
    if (one instanceof Refusal) return one;
    const { decision } = body as DecisionGiven;
    const at = Date.now() * 1000;
    if (one.id === 'ap_15') {
      decidedAt.set(one.id, { decision: 'deny', actor: 'key:approver-b', at: at - SECOND });
      return find(one.id) as Refusal;
    }
    if (one.id === 'ap_2') decidedAt.set(one.id, { decision: 'approve', actor: 'key:approver-b', at: at - 2 * SECOND });
    else decidedAt.set(one.id, { decision, actor: ME, at });
    const by = find(one.id);
    if (one.id === 'ap_2' && by instanceof Refusal) return by;
    return { id: one.id, run: one.run, decision, actor: ME, at, counts: true, missing: 0, allowed: [] };
  }),
  'GET /v1/cases': route<'/v1/cases', 'get'>(() => ({
    items: new URLSearchParams(location.search).has('quiet') ? [] : [
      ...open().filter((one, i, all) => all.findIndex((each) => each.run === one.run) === i).map((one) => ({ ...stateOf(one), agent: one.agent, customer: one.customer, why: 'question' as const, ends: one.expires, late: false, questions: open().filter((each) => each.run === one.run).map((each) => each.id) })),
      { run: SEEDS.spiral, assignee: 'operator-a', due: NOW - HOUR, holder: '', claimed_at: 0, until: 0, closed_at: 0, note: 'she will call again <b>at noon</b>', claims: 1, agent: 'inbox-triage', customer: '', why: 'escalated' as const, ends: 0, late: true, questions: [] },
    ], mine: 0,
  })),
  'POST /v1/cases/{run}/assign': route<'/v1/cases/{run}/assign', 'post'>(({ params, body }) => {
    const { to, due } = body as { to: string; due: number };
    assigned.set(params['run'] ?? '', { to, due });
    return taken(params['run'] ?? '', null, '');
  }),
  'POST /v1/cases/{run}/claim': route<'/v1/cases/{run}/claim', 'post'>(({ params }) => taken(params['run'] ?? '', ME, '')),
  'POST /v1/cases/{run}/hand-back': route<'/v1/cases/{run}/hand-back', 'post'>(({ params, body }) => taken(params['run'] ?? '', '', (body as { note: string }).note)),
};

const ME = 'key:operator-a';
const notes = new Map<string, string>();
const assigned = new Map<string, { readonly to: string; readonly due: number }>();

function stateOf(one: ApprovalLine): CaseShown {
  const held = one.holder !== '';
  const { to, due } = assigned.get(one.run) ?? { to: held ? 'ada' : '', due: held ? NOW + HOUR : 0 };
  return { run: one.run, assignee: to, due, holder: one.holder, claimed_at: held ? NOW : 0, until: held ? NOW + HOUR : 0, closed_at: 0, note: notes.get(one.run) ?? '', claims: held ? 1 : 0 };
}

function taken(run: string, holder: string | null, note: string): CaseShown | Refusal {
  const here = lines.filter((one) => one.run === run);
  const [first] = here;
  if (!first) return new Refusal(404, 'case_unknown', `nothing in the run ${run} waits for a person`);
  if (holder !== null) for (const one of here) one.holder = holder;
  notes.set(run, note);
  return stateOf(first);
}
