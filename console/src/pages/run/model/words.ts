import { count, percent, plural } from '@/ui/format/count';
import { duration } from '@/ui/format/duration';
import { money } from '@/ui/format/money';

import { foldName, type Row, type Rows } from './fold';
import { thenOf } from './tape';
import { kindOf, nameOf, RUN, statusOf, type TraceModel } from './trace';

const VERDICTS = ['', 'flagged', 'held', 'denied'];

/** What the bars of a row show, in words: what a screen reader hears instead of the canvas. */
export function rowWords(model: TraceModel, row: Row, at: number | null): string {
  if (row.fold) return `${foldName(row.fold)}, ${money(row.fold.nano)}${row.fold.verdict ? `, ${VERDICTS[row.fold.verdict] ?? ''}` : ''}`;
  const span = row.span ?? RUN;
  if (span === RUN) return `${model.agent}, ${plural(model.count, 'call')}, ${model.ended ? duration(model.total) : 'not ended'}`;
  const parts = [`${nameOf(model, span)}, ${kindOf(model, span)}`];
  const then = thenOf(model, span, at);
  if (then === 'not yet') return `${parts[0] ?? ''}, not yet at this place of the tape`;
  parts.push(then === 'running' ? 'not ended' : statusOf(model, span));
  parts.push(`after ${duration(model.start[span] ?? 0)}`);
  const took = model.duration[span] ?? 0;
  if (took >= 0 && then === 'over') parts.push(`took ${duration(took)}`);
  const verdict = VERDICTS[model.verdict[span] ?? 0];
  if (verdict) parts.push(verdict);
  if ((model.nano[span] ?? 0) > 0) parts.push(money(model.nano[span] ?? 0));
  if ((model.attempts[span] ?? 0) > 1) parts.push(`${model.attempts[span]} attempts`);
  return parts.join(', ');
}

/** "769 shown, 49,231 folded, 0 missing". */
export function countWords(rows: Rows, missing: number): string {
  const filtered = rows.filtered > 0 ? `, ${count(rows.filtered)} hidden by the filter` : '';
  return `${plural(rows.shown, 'call')} shown, ${count(rows.folded)} folded${filtered}, ${count(missing)} missing`;
}

const PARTS: Readonly<Record<string, string>> = {
  queue: 'waiting in the queue', model: 'models', tool: 'tools', approval: 'waiting for a person', wait: 'waiting', engine: 'the agent’s own code',
};

/** "Of 3 m 07 s: 56 % waiting for a person, 34 % models". */
export function criticalWords(total: number, parts: readonly { part: string; share: number }[]): string {
  return `Of ${duration(total)}: ${parts.map(({ part, share }) => `${percent(share)} ${PARTS[part] ?? part}`).join(', ')}`;
}

/** "queued, 3rd": how many come before, as an ordinal of its own place. */
export function placeWords(before: number): string {
  const n = before + 1;
  const tens = n % 100;
  const suffix = tens >= 11 && tens <= 13 ? 'th' : ({ 1: 'st', 2: 'nd', 3: 'rd' }[n % 10] ?? 'th');
  return `queued, ${count(n)}${suffix}`;
}
