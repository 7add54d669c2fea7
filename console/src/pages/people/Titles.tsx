import { Button, Checkbox, Group, Paper, Table, Text, TextInput, Title } from '@mantine/core';
import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useEffect, useRef, useState } from 'react';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import type { PersonLine } from '@/api/schema';
import { useAnnounce } from '@/app/announce';
import { useMe } from '@/app/session';
import { ErrorBox } from '@/ui/ErrorBox';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { type Draft, draftOf, NOBODY, readPerson } from './people';
import styles from './people.module.css';
import { peopleQuery } from './queries';

/** Which actors are one person, what titles they hold, who is barred: for admins. */
export function Titles() {
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery(peopleQuery);
  const [edited, setEdited] = useState<Draft | null>(null);
  const items = data?.pages.flatMap((page) => page.items);
  return (
    <section aria-labelledby="titles" data-titles>
      <Group gap="sm" mb="xs"><Title order={2} id="titles">Who they are</Title>{edited ? null : <Button size="compact-sm" variant="default" onClick={() => setEdited(NOBODY)} data-new>Say who somebody is…</Button>}</Group>
      <Text size="sm" mb="xs">Actors of one person count once. Titles are what policies ask for, besides the roles of keys. Of whom nothing is said here, the name alone is the person.</Text>
      {edited ? <Form key={edited.actor} before={edited} done={() => setEdited(null)} /> : null}
      {error && !data ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {!items && !error ? <Loading rows={4} /> : null}
      {items?.length === 0 ? <Text size="sm" c="var(--quiet)">Nothing is said of anybody.</Text> : null}
      {items && items.length > 0 ? <List items={items} edit={(one) => setEdited(draftOf(one))} /> : null}
      {hasNextPage ? <Button mt="xs" size="compact-sm" variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show more</Button> : null}
    </section>
  );
}

function List({ items, edit }: { items: readonly PersonLine[]; edit: (one: PersonLine) => void }) {
  const me = useMe().actor;
  return (
    <Table.ScrollContainer minWidth={620}>
      <Table verticalSpacing={4} aria-label="who they are">
        <Table.Thead><Table.Tr><Table.Th>actor</Table.Th><Table.Th>person</Table.Th><Table.Th>titles</Table.Th><Table.Th>told at</Table.Th><Table.Th>said by</Table.Th><Table.Th /></Table.Tr></Table.Thead>
        <Table.Tbody>
          {items.map((one) => (
            <Table.Tr key={one.actor} data-person={one.actor}>
              <Table.Td><Drawn text={one.actor} />{one.barred ? <strong className={styles.barred}> ■ barred</strong> : null}</Table.Td>
              <Table.Td><Drawn text={one.person} /></Table.Td>
              <Table.Td>{one.roles.join(', ')}</Table.Td>
              <Table.Td><Drawn text={one.mail} /></Table.Td>
              <Table.Td><Drawn text={one.set_by} />{one.set_at ? <>, <When at={one.set_at} plain /></> : null}</Table.Td>
              <Table.Td>{one.actor === me ? <span className={styles.quiet}>you</span> : <Button size="compact-xs" variant="default" aria-label={`change ${one.actor}`} onClick={() => edit(one)}>Change…</Button>}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function Form({ before, done }: { before: Draft; done: () => void }) {
  const me = useMe().actor;
  const client = useQueryClient();
  const { assertive } = useAnnounce();
  const [draft, setDraft] = useState(before);
  const first = useRef<HTMLInputElement>(null);
  const isNew = before.actor === '';
  const { said, wrong } = readPerson(draft, me);
  const path = { actor: draft.actor.trim() };
  const settled = {
    onSuccess: () => {
      assertive('It is said.');
      done();
    },
    onSettled: () => client.invalidateQueries({ queryKey: keys.people }),
  };
  const set = useMutation({ mutationFn: (body: NonNullable<typeof said>) => ask(api.PUT('/v1/people/{actor}', { params: { path }, body })), ...settled });
  const forget = useMutation({ mutationFn: () => ask(api.DELETE('/v1/people/{actor}', { params: { path } })), ...settled });
  useEffect(() => first.current?.focus(), []);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (said && !set.isPending) set.mutate(said);
  };
  const change = (part: Partial<Draft>): void => setDraft({ ...draft, ...part });
  return (
    <Paper withBorder p="sm" mb="sm">
      <form onSubmit={submit} className={styles.form} data-person-form>
        {isNew ? <TextInput ref={first} label="actor" description="such as key:ben" value={draft.actor} onChange={(event) => change({ actor: event.currentTarget.value })} maxLength={200} autoComplete="off" spellCheck={false} required /> : <Text w="100%"><strong><Drawn text={before.actor} /></strong></Text>}
        <TextInput ref={isNew ? undefined : first} label="person" description="empty: the name alone" value={draft.person} onChange={(event) => change({ person: event.currentTarget.value })} maxLength={200} autoComplete="off" spellCheck={false} />
        <TextInput label="titles" description="such as finance lead" value={draft.titles} onChange={(event) => change({ titles: event.currentTarget.value })} maxLength={2000} autoComplete="off" spellCheck={false} />
        <TextInput label="told at" description="mail; empty: nowhere" value={draft.mail} onChange={(event) => change({ mail: event.currentTarget.value })} maxLength={320} autoComplete="off" spellCheck={false} />
        <Checkbox label="barred: decides nothing any more" checked={draft.barred} onChange={(event) => change({ barred: event.currentTarget.checked })} w="100%" />
        <Button type="submit" loading={set.isPending} disabled={said === null} data-say>Say so</Button>
        <Button variant="default" onClick={done}>Back</Button>
        {isNew ? null : <Button variant="subtle" color="red" loading={forget.isPending} onClick={() => forget.mutate()}>Know nothing of them any more</Button>}
      </form>
      {draft.actor !== '' && wrong ? <Text size="sm" c="var(--bad)" mt="xs">{wrong}</Text> : null}
      {set.error ?? forget.error ? <ErrorBox error={set.error ?? forget.error} /> : null}
    </Paper>
  );
}
