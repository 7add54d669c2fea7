import type { Costs } from '@/api/schema';
import { type Bin, type Stack, stackOf } from '@/ui/chart/model';

import { OTHERS, valueName } from './words';

const SHOWN = 7;

/** The trend by the first grouping: its seven dearest values one above the other, all others as one. */
export function trendOf(costs: Costs, group = ''): Stack {
  const top = [...new Set(costs.rows.map((row) => row.value))].slice(0, SHOWN);
  const bins = costs.series.map((point): Bin => {
    const counts: Record<string, number> = {};
    for (const [value, nano] of Object.entries(point.nano)) {
      const name = valueName(top.includes(value) ? value : OTHERS, group);
      counts[name] = (counts[name] ?? 0) + nano;
    }
    return { at: point.at, counts };
  });
  return stackOf(bins, costs.width, top.map((value) => valueName(value, group)), (label, i) => (label === 'others' ? 'var(--c5)' : `var(--c${i % 8 < 5 ? i % 8 : (i % 8) + 1})`));
}

/** How much more than before: "+212 %", "−8 %", "new", "" when nothing was spent in either. */
export function change(now: number, before: number): string {
  if (before === 0) return now === 0 ? '' : 'new';
  const share = Math.round((now / before - 1) * 100);
  if (share === 0) return '±0 %';
  return `${share > 0 ? '+' : '−'}${Math.abs(share).toLocaleString('en-US')} %`;
}
