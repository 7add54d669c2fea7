import { Button, Checkbox, Group, NativeSelect, Paper, Text, TextInput, Title } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import { useAnnounce } from '@/app/announce';
import { useMe } from '@/app/session';
import { ErrorBox } from '@/ui/ErrorBox';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { isActorName, SPANS } from './people';
import styles from './people.module.css';

/** Hands the caller's right to somebody for a time. `roles`: what they could hand on; `whyNot`: why nothing. */
export function HandOn({ roles, whyNot }: { roles: readonly string[]; whyNot: string }) {
  const me = useMe().actor;
  const client = useQueryClient();
  const { assertive } = useAnnounce();
  const [to, setTo] = useState('');
  const [seconds, setSeconds] = useState('28800');
  const [reason, setReason] = useState('');
  const [kept, setKept] = useState<readonly string[]>([]);
  const handed = roles.filter((role) => !kept.includes(role));
  const name = to.trim();
  const give = useMutation({
    mutationFn: () => ask(api.POST('/v1/delegations', { body: { to: name, seconds: Number(seconds), reason: reason.trim(), roles: kept.length > 0 ? [...handed] : [] } })),
    onSuccess: (made) => {
      setTo('');
      setReason('');
      assertive(`${made.to} may decide for you.`);
    },
    onSettled: () => client.invalidateQueries({ queryKey: keys.delegations }),
  });
  if (whyNot !== '') return <Text size="sm" data-why-not>You can hand nothing on: {whyNot}.</Text>;
  const ready = isActorName(name) && name !== me && reason.trim() !== '' && (roles.length === 0 || handed.length > 0);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (ready && !give.isPending) give.mutate();
  };
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="hand-on">
      <Title order={2} id="hand-on" mb="xs">Hand your right on</Title>
      <Text size="sm" mb="xs">They decide with “for {me}”, and the two of you count as one person. It ends with its time, when either of you ends it, and with the key that you are signed in by. It cannot be handed on again.</Text>
      <form onSubmit={submit} className={styles.form} data-hand-on>
        <TextInput label="to" description="an actor, such as key:ben" value={to} error={name === me ? 'that is you' : to !== '' && !isActorName(name) ? 'nobody can be called like this' : null} onChange={(event) => setTo(event.currentTarget.value)} maxLength={200} autoComplete="off" spellCheck={false} required />
        <NativeSelect label="for" description="from now on" data={[...SPANS]} value={seconds} onChange={(event) => setSeconds(event.currentTarget.value)} />
        <TextInput label="reason" description="goes on the record" value={reason} onChange={(event) => setReason(event.currentTarget.value)} maxLength={2000} className={styles.wide} autoComplete="off" required />
        {roles.length > 1 ? (
          <Checkbox.Group label="as" description="what counts where a policy asks for a role" value={[...handed]} onChange={(now) => setKept(roles.filter((role) => !now.includes(role)))} w="100%">
            <Group gap="md" mt={6}>{roles.map((role) => <Checkbox key={role} value={role} label={<Drawn text={role} />} />)}</Group>
          </Checkbox.Group>
        ) : null}
        <Button type="submit" loading={give.isPending} disabled={!ready} data-give>Hand it on</Button>
      </form>
      {give.data && !give.isPending ? <Text role="status" mt="xs" data-done><Drawn text={give.data.to} /> may decide for you until <When at={give.data.until} />.</Text> : null}
      {give.error ? <ErrorBox error={give.error} /> : null}
    </Paper>
  );
}
