import { Text } from '@mantine/core';

import type { ApprovalShown } from '@/api/schema';
import { useNow } from '@/ui/now';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import styles from './approvals.module.css';
import { counting, escalatesAt, quorumWords } from './model/terms';

/** Who must allow it, who has, and who is told when nobody does. */
export function Terms({ approval }: { approval: ApprovalShown }) {
  const now = useNow();
  const { terms, votes } = approval;
  if (!terms) return null;
  const quorum = quorumWords(terms, counting(votes));
  const at = escalatesAt(approval);
  const told = terms.escalate_to.join(', ');
  if (!quorum && terms.roles.length === 0 && at === 0) return null;
  return (
    <section aria-label="who must allow it" data-terms>
      {quorum ? <Text size="sm"><strong>{quorum}</strong></Text> : null}
      {terms.roles.length > 0 ? <Text size="sm">The policy asks for {terms.roles.join(' or ')}.</Text> : null}
      {votes.length > 0 ? (
        <ul className={styles.list}>
          {votes.map((vote) => (
            <li key={vote.actor}>{vote.actor}{vote.behalf ? ` by the right that ${vote.behalf} handed on` : ''} allowed it <When at={vote.at} />{vote.problem ? <strong className={styles.not}> which does not count: <Drawn text={vote.problem} /></strong> : null}</li>
          ))}
        </ul>
      ) : null}
      {at === 0 ? null : now >= at
        ? <Text size="sm" c="var(--flag)" data-escalated>Nobody had answered by <When at={at} />: escalated to {told}.</Text>
        : <Text size="sm">When nobody answers by <When at={at} />, {told} {terms.escalate_to.length === 1 ? 'is' : 'are'} told.</Text>}
    </section>
  );
}
