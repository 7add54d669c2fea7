import type { ApprovalLine, TermsShown } from '@/api/schema';

/** How many of the votes count. */
export const counting = (votes: ApprovalLine['votes']): number => votes.filter((vote) => vote.problem === '').length;

/** When nobody's answer is told to others, microseconds since the epoch; 0: never. */
export function escalatesAt({ terms, asked_at }: Pick<ApprovalLine, 'terms' | 'asked_at'>): number {
  if (!terms || terms.escalate_to.length === 0 || terms.escalate_after_seconds <= 0) return 0;
  return asked_at + Math.round(terms.escalate_after_seconds * 1e6);
}

/** How many have allowed it of those who must, where one is not enough. */
export function quorumWords(terms: Pick<TermsShown, 'count'>, allowed: number): string {
  if (terms.count <= 1) return '';
  const missing = Math.max(0, terms.count - allowed);
  const needs = missing === 1 ? 'needs another' : `needs ${missing} others`;
  return allowed === 0 ? `${terms.count} different people must allow it.` : `${allowed} of ${terms.count} have allowed it, ${missing > 0 ? needs : 'that is enough'}.`;
}
