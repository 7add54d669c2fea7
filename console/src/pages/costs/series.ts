import type { Costs } from '@/api/schema';
import { type Bin, type Stack, stackOf } from '@/ui/chart/model';

/** The name under which the API sums all that has no row of its own. */
export const OTHERS = '*';
const SHOWN = 7;

/** A value as people read it. */
export function valueName(value: string): string {
  if (value === '') return '(none)';
  return value === OTHERS ? 'others' : value;
}

/** The trend: the seven dearest values one above the other, all others as one. */
export function trendOf(costs: Costs): Stack {
  const top = costs.rows.slice(0, SHOWN).map((row) => row.value);
  const bins = costs.series.map((point): Bin => {
    const counts: Record<string, number> = {};
    for (const [value, nano] of Object.entries(point.nano)) {
      const name = valueName(top.includes(value) ? value : OTHERS);
      counts[name] = (counts[name] ?? 0) + nano;
    }
    return { at: point.at, counts };
  });
  return stackOf(bins, costs.width, top.map(valueName), (label, i) => (label === 'others' ? 'var(--c5)' : `var(--c${i % 8 < 5 ? i % 8 : (i % 8) + 1})`));
}

/** How much more than before: "+212 %", "−8 %", "new", "" when nothing was spent in either. */
export function change(now: number, before: number): string {
  if (before === 0) return now === 0 ? '' : 'new';
  const share = Math.round((now / before - 1) * 100);
  if (share === 0) return '±0 %';
  return `${share > 0 ? '+' : '−'}${Math.abs(share).toLocaleString('en-US')} %`;
}
