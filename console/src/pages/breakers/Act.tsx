import { Button, Checkbox, Group, NativeSelect, Paper, Text, TextInput, Title } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useEffect, useRef, useState } from 'react';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import { ApiProblem } from '@/api/problem';
import type { BreakerShown } from '@/api/schema';
import { useAnnounce } from '@/app/announce';
import { ErrorBox } from '@/ui/ErrorBox';

import styles from './breakers.module.css';
import { circuitWords, EACH } from './model/words';

type Action = 'reset' | 'trip';
const ALL = '';

interface Doing {
  readonly action: Action;
  readonly value: string;
  readonly reason: string;
  readonly relearn: boolean;
}

/** Closes a breaker, or opens it by hand with a reason; both with a second press. It is shown as done when the server says so. */
export function Act({ breaker }: { breaker: BreakerShown }) {
  const shut = breaker.circuits.filter((circuit) => circuit.state !== 'closed');
  const [action, setAction] = useState<Action>(shut.length > 0 ? 'reset' : 'trip');
  const [value, setValue] = useState(breaker.value === EACH ? '' : breaker.value);
  const [reason, setReason] = useState('');
  const [relearn, setRelearn] = useState(false);
  const [sure, setSure] = useState(false);
  const confirm = useRef<HTMLButtonElement>(null);
  const { assertive } = useAnnounce();
  const client = useQueryClient();
  const act = useMutation({
    mutationFn: (doing: Doing) => send(breaker.name, doing),
    onSuccess: (_, doing) => {
      assertive(`${breaker.name}: ${doing.action === 'reset' ? 'closed' : 'open'}`);
      setReason('');
    },
    onSettled: () => {
      setSure(false);
      void client.invalidateQueries({ queryKey: keys.breakers });
    },
  });
  useEffect(() => {
    if (sure) confirm.current?.focus();
  }, [sure]);
  const ready = action === 'reset' || (reason.trim() !== '' && value !== '');
  const press = (event: FormEvent): void => {
    event.preventDefault();
    if (!ready || act.isPending) return;
    if (sure) act.mutate({ action, value, reason: reason.trim(), relearn });
    else setSure(true);
  };
  const of = value === ALL ? 'all of it' : circuitWords(breaker.scope, value);
  const problem = act.error ? ApiProblem.of(act.error) : null;
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="act">
      <Title order={2} id="act" mb="xs">By hand</Title>
      {act.isSuccess && !sure ? <Text role="status" mb="xs" data-done>{act.variables.action === 'reset' ? 'Closed: calls pass.' : 'Open: no new call passes.'}</Text> : null}
      {problem !== null && !sure ? (problem.code === 'unreachable' || problem.status >= 500 ? <Text c="var(--bad)" role="alert" mb="xs">The server did not answer: it may have been done. The state above is as the server last said.</Text> : <ErrorBox error={problem} />) : null}
      <form onSubmit={press} className={styles.act} data-act>
        <NativeSelect label="do" data={[{ value: 'reset', label: 'close it (reset)' }, { value: 'trip', label: 'open it (trip)' }]} value={action} onChange={(event) => { setAction(event.currentTarget.value as Action); setSure(false); }} />
        {breaker.value === EACH ? <Which breaker={breaker} action={action} value={value} give={(next) => { setValue(next); setSure(false); }} /> : null}
        <TextInput label="reason" description="goes on the record" required={action === 'trip'} maxLength={500} value={reason} onChange={(event) => setReason(event.currentTarget.value)} className={styles.reason} />
        {action === 'trip' ? null : <Checkbox label="forget what is expected, learn anew" checked={relearn} onChange={(event) => setRelearn(event.currentTarget.checked)} />}
        {sure ? (
          <Group gap="sm">
            <Button ref={confirm} type="submit" color={action === 'trip' ? 'red' : 'blue'} loading={act.isPending} disabled={!ready} onKeyDown={(event) => event.repeat && event.preventDefault()} data-confirm>Yes: {action} {of}</Button>
            <Button variant="default" onClick={() => setSure(false)}>No</Button>
          </Group>
        ) : <Button type="submit" color={action === 'trip' ? 'red' : 'blue'} disabled={!ready} data-do>{action === 'reset' ? 'Reset…' : 'Trip…'}</Button>}
      </form>
    </Paper>
  );
}

/** Which of the circuits: those that are shut are offered; to trip, any value may be named. */
function Which({ breaker, action, value, give }: { breaker: BreakerShown; action: Action; value: string; give: (value: string) => void }) {
  const shut = breaker.circuits.filter((circuit) => circuit.state !== 'closed').map((circuit) => circuit.value);
  if (action === 'reset') return <NativeSelect label="which" data={[{ value: ALL, label: 'all that are open' }, ...shut.map((one) => ({ value: one, label: circuitWords(breaker.scope, one) }))]} value={value} onChange={(event) => give(event.currentTarget.value)} />;
  return (
    <>
      <TextInput label={`which ${breaker.scope.replace('_', ' ')}`} required list="circuits" value={value} onChange={(event) => give(event.currentTarget.value)} maxLength={300} autoComplete="off" spellCheck={false} />
      <datalist id="circuits">{breaker.circuits.map((circuit) => <option key={circuit.value} value={circuit.value} />)}</datalist>
    </>
  );
}

function send(name: string, { action, value, reason, relearn }: Doing): Promise<unknown> {
  const path = { name };
  if (action === 'reset') return ask(api.POST('/v1/breakers/{name}/reset', { params: { path }, body: { value: value === ALL ? null : value, relearn, reason } }));
  return ask(api.POST('/v1/breakers/{name}/trip', { params: { path }, body: { value, seconds: null, reason } }));
}
