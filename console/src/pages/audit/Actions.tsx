import { Button, Group, Table, Text, TextInput, Title } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { type FormEvent, useState } from 'react';

import type { ActionShown } from '@/api/schema';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { Id } from '@/ui/Id';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import styles from './audit.module.css';
import { detailWords, runOf } from './model/words';
import { actionsQuery } from './queries';
import { auditSearch } from './search';

/** Who did what, when. */
export function Actions() {
  const { run = '', actor = '', action = '' } = useSearch({ from: '/inside/audit' });
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery(actionsQuery({ actor, action }));
  const items = (data?.pages ?? []).flatMap((page) => page.items);
  const filtered = actor !== '' || action !== '';
  return (
    <section aria-labelledby="actions">
      <Title order={2} id="actions" mb="xs">Who did what</Title>
      <Narrow key={`${actor} ${action}`} run={run} actor={actor} action={action} />
      {error && !data ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <Loading rows={6} /> : null}
      {data && items.length === 0 ? (
        <Empty words={filtered ? 'Nothing was done that matches.' : 'Nothing was done yet.'}>
          {filtered ? <Link to="/audit" search={auditSearch({ run })}>Show all</Link> : null}
        </Empty>
      ) : null}
      {items.length > 0 ? <Rows items={items} /> : null}
      {hasNextPage ? <Button size="compact-sm" variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show more</Button> : null}
    </section>
  );
}

function Narrow({ run, actor, action }: { run: string; actor: string; action: string }) {
  const navigate = useNavigate();
  const [who, setWho] = useState(actor);
  const [what, setWhat] = useState(action);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    void navigate({ to: '/audit', search: auditSearch({ run, actor: who.trim(), action: what.trim() }) });
  };
  return (
    <form onSubmit={submit}>
      <Group gap="sm" align="end" mb="sm">
        <TextInput label="who" placeholder="key:operator-a" value={who} maxLength={300} onChange={(event) => setWho(event.currentTarget.value)} autoComplete="off" spellCheck={false} />
        <TextInput label="what, or how it begins" placeholder="approval." value={what} maxLength={100} onChange={(event) => setWhat(event.currentTarget.value)} autoComplete="off" spellCheck={false} />
        <Button type="submit" variant="default">Show</Button>
      </Group>
    </form>
  );
}

function Rows({ items }: { items: readonly ActionShown[] }) {
  return (
    <Table.ScrollContainer minWidth={640}>
      <Table verticalSpacing={4} data-actions>
        <Table.Thead><Table.Tr><Table.Th>when</Table.Th><Table.Th>who</Table.Th><Table.Th>what</Table.Th><Table.Th>of</Table.Th><Table.Th>detail</Table.Th></Table.Tr></Table.Thead>
        <Table.Tbody>
          {items.map((item) => (
            <Table.Tr key={item.seq}>
              <Table.Td className={styles.when}><When at={item.at} plain /></Table.Td>
              <Table.Td><Drawn text={item.actor} /></Table.Td>
              <Table.Td><code>{item.action}</code></Table.Td>
              <Table.Td className={styles.of}>{runOf(item) ? <Link to="/runs/$id" params={{ id: item.target }}><Id id={item.target} still /></Link> : <Drawn text={item.target} />}</Table.Td>
              <Table.Td className={styles.detail}><Text size="sm" component="span"><Drawn text={detailWords(item.detail)} /></Text></Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
