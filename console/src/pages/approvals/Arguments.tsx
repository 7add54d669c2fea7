import { Table, Text, Title } from '@mantine/core';
import { useCallback, useEffect, useRef } from 'react';

import type { ApprovalShown, Change } from '@/api/schema';
import { Drawn } from '@/ui/Theirs';
import { plural } from '@/ui/format/count';
import { pieces } from '@/ui/format/unseen';

import styles from './approvals.module.css';
import { inUnits, laidOut } from './model/canonical';

/** Pixels from its end at which a text counts as read to the end. */
const NEAR_END = 4;

/** What exactly will be done: the arguments whole, and what they change. Long ones scroll; their end must be seen. */
export function Arguments({ approval, seeEnd }: { approval: ApprovalShown; seeEnd: (seen: boolean) => void }) {
  const box = useRef<HTMLPreElement>(null);
  const { args } = approval;
  const look = useCallback(() => {
    const at = box.current;
    if (at) seeEnd(at.scrollHeight - at.scrollTop - at.clientHeight <= NEAR_END);
  }, [seeEnd]);
  useEffect(() => {
    look();
    const at = box.current;
    if (!at) return undefined;
    const resized = new ResizeObserver(look);
    resized.observe(at);
    return () => resized.disconnect();
    // Also when the question has another version with the same arguments: they are to be read again.
  }, [look, args, approval.version]);
  const unseen = pieces(args).filter((piece) => piece.unseen).length;
  return (
    <section aria-labelledby="exactly">
      <Title order={3} id="exactly">Exactly</Title>
      {approval.hidden ? <Text role="alert">You may not read the arguments (the right payloads:read), so you cannot decide.</Text> : (
        <>
          {/* The keyboard must be able to scroll it. */}
          {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
          <pre ref={box} tabIndex={0} role="region" aria-label="arguments, whole" className={styles.args} onScroll={look} data-args>
            <Drawn text={laidOut(args)} />
          </pre>
          {inUnits(args).map((one) => <Text key={one.name} size="sm"><Drawn text={one.name} />: {one.words}</Text>)}
          {unseen > 0 ? <Text c="var(--deny)" size="sm" role="alert">{plural(unseen, 'character')} that one would not see, drawn in {unseen === 1 ? 'a frame' : 'frames'}.</Text> : null}
        </>
      )}
      {approval.previewed ? <Changes changes={approval.changes} unknown={approval.changes_unknown} /> : null}
    </section>
  );
}

/** What its tool says would change, as it was when the question was asked. */
export function Changes({ changes, unknown }: { changes: readonly Change[]; unknown: string }) {
  if (unknown) return <Text size="sm" mt="xs" c="var(--flag)" data-unknown>The state before is unknown: <Drawn text={unknown} />.</Text>;
  if (changes.length === 0) return <Text size="sm" mt="xs">Its tool says that nothing would change.</Text>;
  return (
    <Table verticalSpacing={2} mt="xs">
      <Table.Thead><Table.Tr><Table.Th>what changes</Table.Th><Table.Th>before</Table.Th><Table.Th>after</Table.Th></Table.Tr></Table.Thead>
      <Table.Tbody>
        {changes.map((change, at) => (
          // Two may have the same words, and their order does not change.
          <Table.Tr key={at}>
            <Table.Td><Drawn text={change.what} /></Table.Td>
            <Table.Td><del className={styles.before}><Drawn text={change.before} /></del></Table.Td>
            <Table.Td><ins className={styles.after}><Drawn text={change.after} /></ins></Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
