import { Button, Group, Text } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import type { DelegationLine } from '@/api/schema';
import { useAnnounce } from '@/app/announce';
import { useMe } from '@/app/session';
import { ErrorBox } from '@/ui/ErrorBox';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import styles from './people.module.css';

/** A right that was handed on, and how it is ended: with a second press, shown when the server says so. */
export function Right({ right }: { right: DelegationLine }) {
  const me = useMe().actor;
  const [sure, setSure] = useState(false);
  const yes = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (sure) yes.current?.focus();
  }, [sure]);
  const client = useQueryClient();
  const { assertive } = useAnnounce();
  const end = useMutation({
    mutationFn: () => ask(api.DELETE('/v1/delegations/{id}', { params: { path: { id: right.id } } })),
    onSuccess: () => assertive('It is ended.'),
    onSettled: () => client.invalidateQueries({ queryKey: keys.delegations }),
  });
  return (
    <li className={styles.item} data-right={right.id}>
      <div>
        <strong>{right.to === me ? 'You' : <Drawn text={right.to} />}</strong> may decide for <strong>{right.giver === me ? 'you' : <Drawn text={right.giver} />}</strong> until <When at={right.until} />
        {right.roles.length > 0 ? <>, as {right.roles.join(', ')}</> : null}.{right.reason ? <> “<Drawn text={right.reason} />”</> : null}
      </div>
      <Group gap="sm">
        {sure ? (
          <>
            <Button ref={yes} size="compact-sm" color="red" loading={end.isPending} onKeyDown={(event) => event.repeat && event.preventDefault()} onClick={() => end.mutate()} data-confirm>Yes: {right.to === me ? 'give it back' : 'end it'}</Button>
            <Button size="compact-sm" variant="default" onClick={() => setSure(false)}>No</Button>
            <Text size="sm">What was decided by it and has not taken effect does not count then.</Text>
          </>
        ) : <Button size="compact-sm" variant="default" onClick={() => setSure(true)} data-end>{right.to === me ? 'Give it back' : 'End it'}…</Button>}
      </Group>
      {end.error ? <ErrorBox error={end.error} /> : null}
    </li>
  );
}
