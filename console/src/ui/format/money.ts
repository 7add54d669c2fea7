/** Nano-dollars of one dollar. */
export const USD = 1_000_000_000;

/** What is known of an amount: exact, its maximum ("≤"), a part of it ("≥"), or nothing. */
export type Certainty = 'exact' | 'at_maximum' | 'partial' | 'unpriced';

const whole = new Intl.NumberFormat('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const MARK: Record<Certainty, string> = { exact: '', at_maximum: '≤', partial: '≥', unpriced: '' };

/**
 * Nano-dollars for reading: two decimals from $1, three significant digits below, never $0.00 for what is not zero.
 */
export function money(nano: number, certainty: Certainty = 'exact'): string {
  if (certainty === 'unpriced') return 'unpriced';
  const sign = nano < 0 ? '−' : '';
  const size = Math.abs(nano);
  return MARK[certainty] + sign + '$' + magnitude(size);
}

function magnitude(nano: number): string {
  if (nano === 0) return '0';
  if (nano >= USD) return whole.format(nano / USD);
  const digits = String(nano).length;
  const unit = 10 ** Math.max(0, digits - 3);
  const rounded = Math.round(nano / unit) * unit;
  if (rounded >= USD) return whole.format(1);
  // Digits after the point: those that the rounding kept.
  return (rounded / USD).toFixed(Math.min(9, 12 - String(rounded).length));
}

/** Amounts of an axis, all with the decimals that the finest of them needs: "$0.25", "$0.50". */
export function moneyAxis(ticks: readonly number[]): string[] {
  const fits = (decimals: number): boolean => ticks.every((nano) => Number.isInteger(Math.round(nano) / 10 ** (9 - decimals)));
  let decimals = 2;
  while (decimals < 9 && !fits(decimals)) decimals += 1;
  return ticks.map((nano) => (nano === 0 ? '$0' : `$${(nano / USD).toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals })}`));
}

/** Every digit of an amount: "$0.096412345". */
export function exactMoney(nano: number): string {
  const sign = nano < 0 ? '−' : '';
  const size = Math.abs(nano);
  const rest = String(size % USD).padStart(9, '0');
  return `${sign}$${Math.floor(size / USD)}.${rest}`;
}

/** The certainty of an amount that the server gave with how much of it is charged at the maximum. */
export function certaintyOf(amounts: { readonly nano: number; readonly nano_at_maximum: number }): Certainty {
  return amounts.nano_at_maximum > 0 ? 'at_maximum' : 'exact';
}

/**
 * Nano-dollars of an amount that somebody typed: "60", "$1,200.50", "0.000000001". Null when it is none, is negative, has
 * more than nine decimals, or is more than can be counted exactly.
 */
export function parseMoney(text: string): number | null {
  const match = /^\$?(\d{1,3}(?:,\d{3})+|\d{1,9})(?:\.(\d{1,9}))?$/.exec(text.trim());
  if (!match) return null;
  const nano = Number((match[1] ?? '').replaceAll(',', '')) * USD + Number((match[2] ?? '').padEnd(9, '0') || 0);
  return Number.isSafeInteger(nano) ? nano : null;
}

/** An amount as one types it: "60", "0.25". Nothing is lost. */
export function typedMoney(nano: number): string {
  const rest = String(nano % USD).padStart(9, '0').replace(/0+$/, '');
  return String(Math.floor(nano / USD)) + (rest ? `.${rest}` : '');
}
