import type { Amounts } from '@/api/schema';
import { type Certainty, certaintyOf } from '@/ui/format/money';

/** What a call was paid for, in words. */
const KINDS: Readonly<Record<string, string>> = {
  work: 'work: the answers that counted', retry: 'retries', fallback: 'another model’s answers', hedge: 'second calls beside a slow one',
  failed: 'failed calls', cancelled: 'calls cut off', lost: 'lost calls, at their maximum', cached: 'answers from the cache', judge: 'judges', shadow: 'shadow runs',
  embedding: 'embeddings', tool: 'tools', '': 'not told apart yet',
};
const SHORT: Readonly<Record<string, string>> = { '': 'not told apart yet', work: 'work', retry: 'retry', fallback: 'other model', hedge: 'hedge', lost: 'lost, at maximum', cached: 'from the cache' };

/** The name under which the API sums all that has no row of its own. */
export const OTHERS = '*';

export const kindWords = (kind: string): string => KINDS[kind] ?? kind;

/** A value of a grouping as people read it. */
export function valueName(value: string, group = ''): string {
  if (group === 'kind') return SHORT[value] ?? (value === OTHERS ? 'others' : value);
  if (value === '') return '(none)';
  return value === OTHERS ? 'others' : value;
}

/** Why something is dear, as the API calls it. */
const CAUSES: Readonly<Record<string, string>> = {
  spiral: 'goes round and round', retries: 'tries again', lost: 'calls whose answer was lost', long_prompts: 'long prompts', no_cache: 'no use of the cache',
  more_steps: 'more steps than others take', dear_model: 'a dearer model', volume: 'more runs',
};

export const causeWords = (code: string): string => CAUSES[code] ?? code.replaceAll('_', ' ');

/** The certainty of a sum: what is not whole is at least that; else a part may be at its maximum. */
export function certaintyOfSum(used: Pick<Amounts, 'nano' | 'nano_at_maximum'>, partial: boolean): Certainty {
  return partial ? 'partial' : certaintyOf(used);
}

/** Whether calls were made for which nothing was charged: no price is known of their model, or it is free. */
export const isUnpriced = (row: { readonly used: Pick<Amounts, 'nano' | 'tokens_in' | 'tokens_out'> }): boolean => row.used.nano === 0 && row.used.tokens_in + row.used.tokens_out > 0;
