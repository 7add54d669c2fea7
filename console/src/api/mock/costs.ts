import type { CostExplained, CostRow } from '@/api/schema';

import { Refusal, type Routes, route } from './route';
import { HOUR, idAt, NOW, SEEDS, seeded } from './seed';

const HOSTILE = '<b onmouseover=alert(1)>\u202egnp';
const VALUES: Record<string, string[]> = {
  customer: ['acme', 'beta', 'corvid', 'delta', HOSTILE, '', '*'], feature: ['inbox', 'chat'], agent: ['support-desk', 'inbox-triage', 'ledger'],
  task_type: ['refund', 'question'], model: ['gpt-5-mini', 'claude-haiku', 'house-model'], release: ['r41', 'r42'], user: ['u_19', 'u_77', ''],
  kind: ['work', 'retry', 'failed', 'lost', 'judge', 'embedding', ''],
};
/** Of tokens without money: no price is known of it. */
const UNPRICED = 'house-model';

function combinations(by: readonly string[]): string[][] {
  return by.reduce<string[][]>((found, name) => found.flatMap((values) => (VALUES[name] ?? ['red', 'blue', '']).map((value) => [...values, value])), [[]]);
}

const dear = (n: number) => idAt(NOW - n * HOUR, 7_000 + n);

function explained(customer: string, feature: string): CostExplained {
  return {
    since: NOW - 7 * 24 * HOUR, until: NOW, customer, feature, words: `${customer}’s ${feature || 'inbox'} costs $12.04 a run because it spirals: 9 of 60 runs, 84 % of the money, search_kb repeated.`,
    nano: 722_400_000_000, runs: 60, per_run_nano: 12_040_000_000, peers: 14, peers_per_run_nano: 310_000_000, ratio: 38.8,
    by_kind: { work: 690_000_000_000, retry: 22_400_000_000, lost: 10_000_000_000 }, by_step: { search_kb: 606_000_000_000, refund: 60_000_000_000, '': 56_400_000_000 }, cached_share: 0.12,
    reasons: [
      { code: 'spiral', words: 'search_kb was asked the same thing up to 41 times and brought nothing new', nano: 606_000_000_000, share: 0.84, runs: 9, name: 'search_kb', examples: [SEEDS.spiral, dear(1), dear(2)] },
      { code: 'long_prompts', words: 'prompts are 6.2 times as long as those of others', nano: 60_000_000_000, share: 0.08, runs: 51, name: '', examples: [dear(3)] },
      { code: 'retries', words: 'answers that were asked for again', nano: 22_400_000_000, share: 0.03, runs: 12, name: 'gpt-5-mini', examples: [] },
    ],
    dearest: [
      { id: SEEDS.spiral, agent: 'support-desk', nano: 96_400_000_000, outcome: 'exhausted', code: 'over_usd', steps: 41, circles: 'search_kb ×41, 38 in vain' },
      { id: SEEDS.hostile, agent: 'support-desk', nano: 81_000_000_000, outcome: 'succeeded', code: '', steps: 33, circles: '' },
      { id: dear(2), agent: 'support-desk', nano: 44_100_000_000, outcome: null, code: '', steps: 12, circles: 'search_kb ×9, 7 in vain' },
    ],
    looked_at: 40, looked_at_nano: 701_000_000_000, partial: false,
  };
}

/** What was spent. `?as=` and `?quiet` as elsewhere; `?partial` in the address: not everything is counted. */
export const costRoutes: Routes = {
  'GET /v1/costs': route<'/v1/costs', 'get'>(({ query }) => {
    const asked = new URLSearchParams(location.search);
    const by = (query.get('by') ?? 'customer').split(',');
    const until = Number(query.get('until') ?? Date.now() * 1000);
    const since = Number(query.get('since') ?? until - 24 * HOUR);
    const width = Math.max(HOUR, Math.ceil((until - since) / 96 / HOUR) * HOUR);
    const moved = Math.floor((until - NOW) / 1_000_000) * 3_100_000;
    const random = seeded(by.join().length);
    const groups = asked.has('quiet') ? [] : combinations(by);
    const bins = Array.from({ length: Math.ceil((until - since) / width) }, (_, i) => Math.floor(since / width) * width + i * width);
    const rows = groups.map((values, v): CostRow => {
      const value = values[0] ?? '';
      const nano = values.includes(UNPRICED) ? 0 : Math.floor((random() * 90_000_000_000) / (v + 1)) + moved;
      const tokens = 4_000_000 / (v + 1);
      return {
        value, values, used: { tokens_in: Math.floor(tokens), tokens_out: Math.floor(tokens / 18), nano, nano_at_maximum: value === 'beta' || value === 'lost' ? 3_100_000 : 0 }, classes: { cached: Math.floor(tokens * 0.41), reasoning: 3_200 },
        runs: 1 + Math.floor(nano / 9_000_000), model_calls: 3 + Math.floor(nano / 1_000_000), before_nano: Math.floor(nano * (0.3 + random())), dearest: SEEDS.spiral,
      };
    }).sort((a, b) => b.used.nano - a.used.nano);
    const nano = rows.reduce((sum, row) => sum + row.used.nano, 0);
    const series = bins.map((at) => ({ at, nano: Object.fromEntries(rows.map((row) => [row.value, Math.floor((row.used.nano / bins.length) * (0.5 + random()))])) }));
    const none = { tokens_in: 0, tokens_out: 0, nano: 0, nano_at_maximum: 0 };
    return {
      since, until, as_of: Date.now() * 1000, by: by.join(','), dimensions: by, rows, others: none, classes: { cached: 1_600_000 },
      total: { ...none, nano, nano_at_maximum: rows.length > 0 ? 3_100_000 : 0 }, total_runs: rows.reduce((sum, row) => sum + row.runs, 0),
      width, series, counted_until: until - 2 * 60_000_000, live_nano: rows.length > 0 ? 812_000_000 : 0, partial: asked.has('partial'),
    };
  }),
  'GET /v1/costs/explain': route<'/v1/costs/explain', 'get'>(({ query }) => {
    const customer = query.get('customer') ?? '';
    if (customer === 'beta') return new Refusal(503, 'journal_unavailable', 'The journal does not answer.', 'Look at the database.');
    return explained(customer, query.get('feature') ?? '');
  }),
  'GET /v1/costs/rerates': route<'/v1/costs/rerates', 'get'>(() => ({
    items: new URLSearchParams(location.search).has('quiet') ? [] : [{
      id: idAt(NOW - HOUR, 9), at: NOW - HOUR, model: 'gpt-5-mini', since: NOW - 14 * 24 * HOUR, until: NOW - 7 * 24 * HOUR, price: 'in 250 out 2000 cached 25, file prices.toml 3f9a', before: { 'in 300 out 2400, genai-prices 2026-11-01': 12_400, 'in 250 out 2000, genai-prices 2026-10-12': 310 },
      billed: 402_110_000_000, corrected: 335_091_000_000, partial: false, pruned: 12, reason: 'the provider corrected its list',
      rows: [
        { customer: 'acme', calls: 9_120, billed: 301_000_000_000, corrected: 250_800_000_000, difference: -50_200_000_000, kept: 3_100_000 },
        { customer: HOSTILE, calls: 3_590, billed: 101_110_000_000, corrected: 84_291_000_000, difference: -16_819_000_000, kept: 0 },
      ],
    }],
  })),
};
