import type { BudgetAccount } from '@/api/schema';
import { count } from '@/ui/format/count';
import { money } from '@/ui/format/money';

/** What is counted of calls, each with a limit of its own. */
export const RESOURCES = ['nano', 'tokens', 'calls'] as const;
export type Resource = (typeof RESOURCES)[number];
export type Triple = Readonly<Record<Resource, number>>;

/** Per cent of a limit at which runs are told to come to an end (70), have only the answer left (90), and stop (100). */
export const LEVELS = [70, 90, 100] as const;

/** How one limit stands. `share`: of the limit, spent and held together; over 1 where the limit was lowered since. */
export interface Standing {
  readonly resource: Resource;
  readonly limit: number;
  readonly spent: number;
  readonly held: number;
  readonly left: number;
  readonly share: number;
  readonly level: 0 | (typeof LEVELS)[number];
}

/** How an account stands against each limit of its budget. */
export function standingOf(budget: Triple, account: Triple & Pick<BudgetAccount, 'held_nano' | 'held_tokens' | 'held_calls'>): Standing[] {
  return standingsOf(budget, account, { nano: account.held_nano, tokens: account.held_tokens, calls: account.held_calls });
}

/** How each limit stands that there is, in the order of `RESOURCES`. */
export function standingsOf(limits: Triple, spent: Triple, held: Triple): Standing[] {
  return RESOURCES.filter((resource) => limits[resource] > 0).map((resource) => {
    const limit = limits[resource];
    const used = spent[resource] + held[resource];
    // Exact in integers: shares are rounded, and the last cent counts.
    const level = LEVELS.toReversed().find((one) => spent[resource] * 100 >= one * limit) ?? 0;
    return { resource, limit, spent: spent[resource], held: held[resource], left: Math.max(0, limit - used), share: used / limit, level };
  });
}

/** The account that is nearest to its end, of those that were given. */
export function fullest<A extends { readonly used_percent: number }>(accounts: readonly A[]): A | undefined {
  return accounts.toSorted((a, b) => b.used_percent - a.used_percent)[0];
}

/** An amount of a resource for reading: "$41.20", "20,000 tokens", "1 call". */
export function amount(resource: Resource, value: number): string {
  if (resource === 'nano') return money(value);
  const word = resource === 'calls' ? 'call' : 'token';
  return `${count(value)} ${value === 1 ? word : word + 's'}`;
}

/** The limits in words: "$60.00, 1,000 calls". */
export function limitWords(limits: Triple): string {
  return RESOURCES.filter((resource) => limits[resource] > 0).map((resource) => amount(resource, limits[resource])).join(', ');
}
