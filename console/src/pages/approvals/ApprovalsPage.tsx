import { Alert, Anchor, Group, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useCallback, useEffect, useRef, useState } from 'react';

import { approvalsQuery } from '@/api/queries';
import { useKeys } from '@/app/keys';
import { useTopic } from '@/app/live/context';
import { Stale } from '@/app/Stale';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { plural } from '@/ui/format/count';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import styles from './approvals.module.css';
import type { Done } from './Card';
import { Inbox } from './Inbox';
import { WORDS } from './model/decide';
import { beside, following } from './model/order';
import { Question } from './Question';

/** What happens if I say yes? */
export function ApprovalsPage() {
  useTopic('approvals');
  const { id } = useParams({ from: '/inside/approvals/{-$id}' });
  const navigate = useNavigate();
  const { data, error, refetch } = useQuery(approvalsQuery);
  const [done, setDone] = useState<Done | null>(null);
  const wanted = useRef(false);
  const phone = globalThis.matchMedia('(max-width: 48em)').matches;
  const items = data?.items;

  const go = useCallback((next: string | undefined, replace = false): void => void navigate({ to: '/approvals/{-$id}', params: { id: next }, replace }), [navigate]);
  const first = items?.[0]?.id;
  // One is shown at once, and stays: what arrives later takes neither its place nor the focus.
  useEffect(() => {
    if (id === undefined && first !== undefined && !phone) go(first, true);
  }, [id, first, phone, go]);

  const takesFocus = useCallback((): boolean => {
    const is = wanted.current;
    wanted.current = false;
    return is;
  }, []);
  const choose = (next: string | undefined): void => {
    wanted.current = true;
    if (next !== undefined && next !== id) go(next);
    else document.querySelector<HTMLElement>('[data-card]')?.focus();
  };
  const move = (by: number): void => {
    const inside = document.activeElement?.closest('[data-card]') instanceof HTMLElement;
    if (items) choose((inside ? beside(items, id, by) : beside(items, id, 0))?.id);
  };
  useKeys('Approvals', [
    { keys: 'j', words: 'to the card, then to the next one', run: () => move(1) },
    { keys: 'k', words: 'to the card before', run: () => move(-1) },
  ]);

  if (!items) {
    return (
      <div className={styles.page}>
        <Title order={1}>Approvals</Title>
        {error ? <ErrorBox error={error} retry={() => void refetch()} /> : <Loading rows={6} height={48} />}
      </div>
    );
  }
  const decided = (what: Done): void => {
    setDone(what);
    const next = following(items, id ?? '');
    wanted.current = true;
    go(next?.id, true);
  };
  return (
    <div className={styles.page}>
      <Group gap="sm" align="baseline">
        <Title order={1}>Approvals</Title>
        <Text c="var(--quiet)" size="sm">{data.mine === items.length ? plural(data.mine, 'waits', 'wait') + ' for you' : `${data.mine} of ${items.length} wait for you`}{data.next ? ', and more after these' : ''}</Text>
      </Group>
      {done ? <LastDone done={done} /> : null}
      {items.length === 0 && id === undefined ? <Empty words="None wait." /> : (
        <div className={styles.columns} data-one={id === undefined ? undefined : true}>
          <Stale><Inbox items={items} id={id} choose={choose} /></Stale>
          {id === undefined ? null : (
            <div>
              <Anchor hiddenFrom="sm" renderRoot={(props) => <Link to="/approvals/{-$id}" params={{ id: undefined }} {...props} />} className={styles.back}>All that wait</Anchor>
              <Question key={id} id={id} takesFocus={takesFocus} decided={decided} next={() => choose(following(items, id)?.id)} />
            </div>
          )}
        </div>
      )}
    </div>
  );
}

function LastDone({ done }: { done: Done }) {
  return (
    <Alert variant="outline" color="blue" p="xs" role="status" data-done>
      You {WORDS[done.choice].did}: <Drawn text={done.summary} />{done.at ? <>, <When at={done.at} plain /></> : null}.{done.missing > 0 ? <strong> It is kept, and waits for {plural(done.missing, 'other person', 'other people')}.</strong> : null}{' '}
      <Anchor renderRoot={(props) => <Link to="/runs/$id" params={{ id: done.run }} {...props} />}>To its run</Anchor>
    </Alert>
  );
}
