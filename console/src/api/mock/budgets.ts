import type { BudgetAccount, BudgetSet, SharedBudget } from '@/api/schema';

import { Refusal, type Routes, route } from './route';
import { DAY, HOUR, NOW, seeded } from './seed';

const HOSTILE = '<b onmouseover=alert(1)>\u202egnp';
const MONTH = Math.floor(NOW / DAY) * DAY - 11 * DAY;

const account = (id: number, who: Record<string, string>, limits: BudgetSet, part: number, held = 0.01): BudgetAccount => {
  const [nano, tokens, calls] = [limits.nano, limits.tokens, limits.calls].map((limit) => Math.floor((limit ?? 0) * part)) as [number, number, number];
  const [heldNano, heldTokens, heldCalls] = [limits.nano, limits.tokens, limits.calls].map((limit) => Math.floor((limit ?? 0) * held)) as [number, number, number];
  const left = (limit: number | undefined, used: number): number | null => (limit ? Math.max(0, limit - used) : null);
  return {
    id, who, since: limits.period === 'run' || limits.period === 'total' ? 0 : MONTH, until: limits.period === 'run' || limits.period === 'total' ? 0 : MONTH + 30 * DAY, nano, tokens, calls, held_nano: heldNano, held_tokens: heldTokens, held_calls: heldCalls,
    left_nano: left(limits.nano, nano + heldNano), left_tokens: left(limits.tokens, tokens + heldTokens), left_calls: left(limits.calls, calls + heldCalls),
    used_percent: part * 100, threshold: [100, 90, 70].find((level) => part * 100 >= level) ?? 0,
  };
};

const set = (over: Partial<SharedBudget>): BudgetSet => ({ match: {}, period: 'month', timezone: 'UTC', nano: 0, tokens: 0, calls: 0, at_end: 'stop', ...over });

interface Kept {
  readonly name: string;
  terms: BudgetSet;
  readonly accounts: (terms: BudgetSet) => BudgetAccount[];
}

const random = seeded(31);
const MANY = Array.from({ length: 10_000 }, (_, i) => [10_000 - i, i === 0 ? HOSTILE : i === 3 ? '' : `customer-${10_000 - i}`, Math.min(1, random() ** 3 * 1.1)] as const);

const kept: Kept[] = [
  { name: 'acme-inbox', terms: set({ match: { customer: 'acme', feature: 'inbox' }, timezone: 'Europe/Berlin', nano: 60_000_000_000, at_end: 'park' }), accounts: (terms) => [account(1, {}, terms, terms.nano === 60_000_000_000 ? 0.91 : (0.91 * 60_000_000_000) / (terms.nano || 1), 0.04)] },
  { name: 'each-customer', terms: set({ match: { customer: '*' }, nano: 2_000_000_000, calls: 4_000 }), accounts: (terms) => MANY.map(([id, customer, part]) => account(id, { customer }, terms, part)) },
  { name: 'everything', terms: set({ period: 'day', nano: 60_000_000_000, tokens: 90_000_000 }), accounts: (terms) => [account(3, {}, terms, 0.687)] },
  { name: 'one run', terms: set({ period: 'run', calls: 500 }), accounts: () => [] },
  { name: 'overdrawn', terms: set({ match: { agent: 'ledger' }, nano: 1_000_000_000, timezone: 'America/New_York' }), accounts: (terms) => [account(4, {}, terms, 1.4, 0)] },
];

const shown = (one: Kept): SharedBudget => {
  const accounts = one.accounts(one.terms);
  return { ...one.terms, name: one.name, thresholds: [70, 90, 100], accounts: accounts.slice(0, 20), more_accounts: accounts.length > 20 };
};

function find(name: string | undefined): Kept | Refusal {
  return kept.find((one) => one.name === name) ?? new Refusal(404, 'budget_unknown', `there is no budget '${name}'`);
}

/** Budgets: one that is nearly spent and has parked runs, one with 10,000 accounts, one that was lowered below what is spent. */
export const budgetRoutes: Routes = {
  'GET /v1/budgets': route<'/v1/budgets', 'get'>(() => ({ items: new URLSearchParams(location.search).has('quiet') ? [] : kept.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map(shown), next: null })),
  'POST /v1/budgets/preview': route<'/v1/budgets/preview', 'post'>(({ body }) => {
    const terms = body as BudgetSet;
    const until = Date.now() * 1000;
    const spent = 74_200_000_000;
    const over = Math.max(0, spent - (terms.nano || spent));
    const since = until - 7 * DAY;
    return {
      since, until, accounts: Object.keys(terms.match ?? {}).length > 2 ? 0 : 12, over_nano: over, over_runs: Math.ceil(over / 310_000_000), partial: new URLSearchParams(location.search).has('partial'),
      stopped: over === 0 ? [] : ['acme', HOSTILE].map((customer, i) => ({ who: { customer }, since: MONTH, until: MONTH + 30 * DAY, nano: Math.floor(spent / (i + 1.5)), tokens: 0, calls: 0, runs: 190, over_nano: Math.floor(over / (i + 1.5)), over_tokens: 0, over_calls: 0, over_runs: Math.ceil(over / 310_000_000 / (i + 1.5)), first_over_at: until - 2 * DAY - HOUR * i })),
    };
  }),
  'GET /v1/budgets/{name}': route<'/v1/budgets/{name}', 'get'>(({ params }) => {
    const one = find(params['name']);
    return one instanceof Refusal ? one : shown(one);
  }),
  'PUT /v1/budgets/{name}': route<'/v1/budgets/{name}', 'put'>(({ params, body }) => {
    const terms = body as BudgetSet;
    if (terms.timezone === 'Mars/Olympus') return new Refusal(422, 'budget_invalid', "there is no time zone 'Mars/Olympus'", 'use an IANA name, for example Europe/Berlin or UTC');
    const one = find(params['name']);
    if (!(one instanceof Refusal)) {
      one.terms = terms;
      return shown(one);
    }
    const made: Kept = { name: params['name'] ?? '', terms, accounts: () => [] };
    kept.push(made);
    return shown(made);
  }),
  'DELETE /v1/budgets/{name}': route<'/v1/budgets/{name}', 'delete'>(({ params }) => {
    const one = find(params['name']);
    if (one instanceof Refusal) return one;
    kept.splice(kept.indexOf(one), 1);
    return { name: one.name };
  }),
  'GET /v1/budgets/{name}/accounts': route<'/v1/budgets/{name}/accounts', 'get'>(({ params, query }) => {
    const one = find(params['name']);
    if (one instanceof Refusal) return one;
    const after = Number(query.get('cursor') ?? 0);
    const limit = Number(query.get('limit') ?? 100);
    const rest = one.accounts(one.terms).filter((each) => after === 0 || each.id < after);
    const items = rest.slice(0, limit);
    return { items, next: rest.length > limit ? String(items.at(-1)?.id) : null };
  }),
};
