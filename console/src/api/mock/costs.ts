import type { CostRow } from '@/api/schema';

import { type Routes, route } from './answer';
import { HOUR, SEEDS, seeded } from './seed';

const VALUES: Record<string, string[]> = {
  customer: ['acme', 'beta', 'corvid', 'delta'], feature: ['inbox', 'chat'], agent: ['support-desk', 'inbox-triage', 'ledger'],
  task_type: ['refund', 'question'], model: ['gpt-5-mini', 'claude-haiku'], release: ['r41', 'r42'],
};

export const costRoutes: Routes = {
  'GET /v1/costs': route<'/v1/costs', 'get'>(({ query }) => {
    const by = (query.get('by') ?? 'customer') as 'customer';
    const until = Number(query.get('until') ?? Date.now() * 1000);
    const since = Number(query.get('since') ?? until - 24 * HOUR);
    const width = Math.max(HOUR, Math.ceil((until - since) / 96 / HOUR) * HOUR);
    const random = seeded(by.length);
    const values = VALUES[by] ?? [];
    const series = Array.from({ length: Math.ceil((until - since) / width) }, (_, i) => ({
      at: Math.floor(since / width) * width + i * width,
      nano: Object.fromEntries(values.map((value, v) => [value, Math.floor(random() * 4_000_000_000 / (v + 1))])),
    }));
    const rows = values.map((value): CostRow => {
      const nano = series.reduce((sum, point) => sum + (point.nano[value] ?? 0), 0);
      return {
        value, used: { tokens_in: nano / 500, tokens_out: nano / 9000, nano, nano_at_maximum: value === 'beta' ? 3_100_000 : 0 },
        runs: Math.floor(nano / 9_000_000), model_calls: Math.floor(nano / 1_000_000), before_nano: Math.floor(nano * (0.3 + random())), dearest: SEEDS.spiral,
      };
    }).sort((a, b) => b.used.nano - a.used.nano);
    const nano = rows.reduce((sum, row) => sum + row.used.nano, 0);
    return {
      since, until, as_of: Date.now() * 1000, by, rows, others: { tokens_in: 0, tokens_out: 0, nano: 0, nano_at_maximum: 0 },
      total: { tokens_in: 0, tokens_out: 0, nano, nano_at_maximum: 3_100_000 }, total_runs: rows.reduce((sum, row) => sum + row.runs, 0),
      width, series, counted_until: until - 2 * 60_000_000, live_nano: 812_000_000, partial: false,
    };
  }),
};
