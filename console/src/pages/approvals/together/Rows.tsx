import { Checkbox, Table, Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';

import type { ApprovalAlike } from '@/api/schema';
import { count } from '@/ui/format/count';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import styles from '../approvals.module.css';
import { numberOf } from '../model/canonical';
import { LONG } from '../model/columns';
import { who } from '../model/decide';
import { counting } from '../model/terms';
import type { Result } from '../model/together';

/** Pixels that the foot may cover. */
const FOOT = 90;

interface RowsProps {
  readonly items: readonly ApprovalAlike[];
  readonly members: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly differing: readonly string[];
  readonly chosen: ReadonlySet<string>;
  readonly alone: ReadonlyMap<string, string>;
  readonly results: ReadonlyMap<string, Result>;
  readonly still: boolean;
  readonly choose: (id: string, is: boolean) => void;
  readonly saw: (id: string) => void;
}

/** The questions, one a row: every argument in which they differ, whole. */
export function Rows({ items, members, differing, chosen, alone, results, still, choose, saw }: RowsProps) {
  const body = useRef<HTMLTableSectionElement>(null);
  const seeing = useRef(saw);
  useEffect(() => {
    seeing.current = saw;
  });
  const ids = items.map((item) => item.id).join(' ');
  useEffect(() => {
    // Of a row that is taller than the window its end is what counts.
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting && entry.target instanceof HTMLElement) seeing.current(entry.target.dataset['end'] ?? '');
    }, { rootMargin: `0px 0px -${FOOT}px 0px` });
    for (const end of body.current?.querySelectorAll('[data-end]') ?? []) seen.observe(end);
    return () => seen.disconnect();
  }, [ids]);
  return (
    <div className={styles.scroll}>
      <Table verticalSpacing={6} className={styles.together} role="table" aria-label="questions that the same rules hold">
        <Table.Thead>
          {/* The roles are said, as a narrow window lays rows out as blocks. */}
          <Table.Tr role="row">
            <Table.Th role="columnheader">choose</Table.Th>
            {differing.map((name) => <Table.Th key={name} role="columnheader"><Drawn text={name} /></Table.Th>)}
            <Table.Th role="columnheader">for</Table.Th><Table.Th role="columnheader">ends</Table.Th><Table.Th role="columnheader">what becomes of it</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody ref={body}>
          {items.map((item) => {
            const why = alone.get(item.id) ?? '';
            const result = results.get(item.id);
            return (
              <Table.Tr key={item.id} role="row" data-question={item.id}>
                <Table.Td role="cell">
                  <Checkbox
                    size="md"
                    aria-label={`choose ${item.summary}`}
                    checked={chosen.has(item.id)}
                    disabled={why !== '' || still || result?.kind === 'done' || result?.kind === 'lost'}
                    onChange={(event) => choose(item.id, event.currentTarget.checked)}
                    data-choose
                  />
                  <span data-end={item.id} />
                </Table.Td>
                {differing.map((name) => <Table.Td key={name} role="cell" data-name={name} className={styles.value}><Value name={name} value={members.get(item.id)?.get(name)} /></Table.Td>)}
                <Table.Td role="cell" data-name="for">{item.customer ? <><Drawn text={item.customer} />, </> : null}<Link to="/runs/$id" params={{ id: item.run }} search={{ span: item.path }} className={styles.toRun}>run</Link>, <Link to="/approvals/{-$id}" params={{ id: item.id }} className={styles.toRun}>card</Link></Table.Td>
                <Table.Td role="cell" data-name="ends">{item.expires ? <When at={item.expires} plain /> : 'not by itself'}</Table.Td>
                <Table.Td role="cell" className={styles.became} data-became={result?.kind}>{result ? <Became result={result} /> : why ? <Text size="sm">{why}</Text> : <Votes item={item} />}</Table.Td>
              </Table.Tr>
            );
          })}
        </Table.Tbody>
      </Table>
    </div>
  );
}

/** An argument as it is written; an amount in cents besides as people read it. */
export function Value({ name, value }: { name: string; value: string | undefined }) {
  if (value === undefined) return <span className={styles.quiet}>not given</span>;
  // It cannot be chosen here (`whyAlone`), so that nothing is decided that is not shown whole.
  if (value.length > LONG) return <span className={styles.quiet}>a text of {count(value.length)} characters: on its card</span>;
  const cents = /(^|_)cents$/i.test(name) && /^-?\d{1,15}$/.test(value);
  return <><Drawn text={value} />{cents ? <span className={styles.quiet}> ({numberOf(name, Number(value))})</span> : null}</>;
}

function Votes({ item }: { item: ApprovalAlike }) {
  if (!item.terms || item.terms.count <= 1) return <span className={styles.quiet}>waits</span>;
  return <span className={styles.quiet}>{counting(item.votes)} of {item.terms.count} have allowed it</span>;
}

function Became({ result }: { result: Result }) {
  switch (result.kind) {
    case 'done':
      return <span><span aria-hidden="true">● </span>{result.answer === 'approve' ? 'approved' : 'denied'}{result.missing > 0 ? `; kept, ${result.missing} more needed` : ''}</span>;
    case 'lost':
      return <span className={styles.not}><span aria-hidden="true">■ </span>{who(result.actor, result.decision)} before you</span>;
    case 'refused':
      return <span className={styles.not}><span aria-hidden="true">■ </span>not decided: <Drawn text={result.words} /></span>;
    case 'unsure':
      return <span className={styles.not}><span aria-hidden="true">▲ </span>not confirmed; it may have been recorded</span>;
  }
}
