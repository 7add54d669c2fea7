import { Button, Group, Text, TextInput, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useRef } from 'react';

import type { CaseLine } from '@/api/schema';
import { useKeys } from '@/app/keys';
import { useTopic } from '@/app/live/context';
import { useMe } from '@/app/session';
import { Stale } from '@/app/Stale';
import { casesQuery } from '@/pages/approvals/queries';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { count } from '@/ui/format/count';
import { Loading } from '@/ui/Loading';
import { useNow } from '@/ui/now';

import { casesShown, countShown, readShow, type Show, SHOWS } from './cases';
import styles from './cases.module.css';
import { OneCase } from './OneCase';

const LABELS: Readonly<Record<Show, string>> = { all: 'All', mine: 'Mine', unassigned: 'Nobody’s', overdue: 'Overdue' };
const NONE: Readonly<Record<Show, string>> = {
  all: 'No case is open: no run waits for a person, and none was given up.', mine: 'None is yours.', unassigned: 'Somebody is to look at each.', overdue: 'None is overdue.',
};
/** Cases that are read at once; of more the list says so. */
const READ = 500;

/** Which runs wait for a person, who is to look at them, and who has them in hand? */
export function CasesPage() {
  useTopic('approvals');
  const { data, error, refetch } = useQuery(casesQuery);
  return (
    <div className={styles.page}>
      <Group gap="sm" align="baseline">
        <Title order={1}>Cases</Title>
        <Link to="/approvals/{-$id}" params={{ id: undefined }}>Their questions</Link>
      </Group>
      {error && !data ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {data ? <Stale><Cases items={data.items} /></Stale> : error ? null : <Loading rows={6} height={60} />}
    </div>
  );
}

function Cases({ items }: { items: readonly CaseLine[] }) {
  const search = useSearch({ from: '/inside/approvals/cases' });
  const navigate = useNavigate();
  const me = useMe().actor;
  const now = useNow();
  const list = useRef<HTMLUListElement>(null);
  const show = readShow(search.show);
  const shown = casesShown(items, show, search.q ?? '', me, now);
  const counts = countShown(items, me, now);
  const go = (part: { show?: string; q?: string }): void => void navigate({ to: '/approvals/cases', search: { ...search, ...part }, replace: true });
  const move = (by: number): void => {
    const rows = [...(list.current?.querySelectorAll<HTMLElement>('[data-case-of]') ?? [])];
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    rows[at === -1 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by))]?.focus();
  };
  useKeys('Cases', [
    { keys: 'j', words: 'to the next case', run: () => move(1) },
    { keys: 'k', words: 'to the case before', run: () => move(-1) },
  ]);
  return (
    <>
      <div className={styles.bar}>
        <div role="group" aria-label="which" className={styles.which}>
          {SHOWS.map((one) => (
            <Button key={one} size="compact-md" variant={one === show ? 'filled' : 'default'} aria-pressed={one === show} onClick={() => go({ show: one === 'all' ? '' : one })} data-show={one}>{LABELS[one]} {count(counts[one])}</Button>
          ))}
        </div>
        <TextInput size="xs" data-search aria-label="find by agent, customer, person, run or note" placeholder="agent, customer, person, run, note" value={search.q ?? ''} onChange={(event) => go({ q: event.currentTarget.value })} maxLength={100} autoComplete="off" className={styles.find} />
      </div>
      {shown.length === 0 ? <Empty words={search.q ? `None has “${search.q}”.` : NONE[show]}>{search.q ? <Button variant="default" size="compact-sm" onClick={() => go({ q: '' })}>Drop the word</Button> : null}</Empty> : null}
      <ul ref={list} className={styles.cases}>{shown.map((one) => <OneCase key={one.run} line={one} />)}</ul>
      {items.length >= READ ? <Text size="sm" c="var(--quiet)">There may be more: those whose question ends first are shown.</Text> : null}
    </>
  );
}
