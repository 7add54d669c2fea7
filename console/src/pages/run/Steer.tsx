import { Button, Group, Modal, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import type { RunShown } from '@/api/schema';
import { useCan } from '@/app/session';
import { ErrorBox } from '@/ui/ErrorBox';

const ACTS = {
  pause: { word: 'Pause', ask: 'Nothing new starts until it is resumed. Calls under way go on.' },
  resume: { word: 'Resume', ask: 'It goes on where it was paused.' },
  cancel: { word: 'Cancel', ask: 'It ends as cancelled. What was done stays done.' },
  retry: { word: 'Run again', ask: 'A new run of the same agent with the same input is made. What it does is done again.' },
  release: { word: 'Release', ask: 'It leaves quarantine and is tried again.' },
} as const;
type Act = keyof typeof ACTS;

/** What can be done to a run as it stands. */
export function actsOf(run: Pick<RunShown, 'status' | 'stop' | 'shown'>): Act[] {
  if (run.status === 'ended') return ['retry'];
  if (run.status === 'quarantined') return ['release', 'cancel'];
  if (run.stop === 'pause' || run.shown === 'paused') return ['resume', 'cancel'];
  return run.stop ? [] : ['pause', 'cancel'];
}

/** The buttons that steer one run; each is confirmed, and nothing is shown before the server has said so. */
export function Steer({ run }: { run: RunShown }) {
  const can = useCan();
  const [act, setAct] = useState<Act | null>(null);
  return (
    <Group gap="xs">
      {can('runs:steer') ? actsOf(run).filter((one) => one !== 'retry' || can('runs:submit')).map((one) => (
        <Button key={one} size="compact-sm" variant="default" onClick={() => setAct(one)}>{ACTS[one].word}</Button>
      )) : null}
      {can('controls:stop') && run.status !== 'ended' ? (
        <Button size="compact-sm" color="red" variant="outline" renderRoot={(props) => <Link to="/controls/{-$id}" params={{ id: undefined }} search={{ scope: 'run', name: run.id, action: 'kill' }} {...props} />}>
          Kill…
        </Button>
      ) : null}
      {act ? <Confirm run={run} act={act} close={() => setAct(null)} /> : null}
    </Group>
  );
}

function Confirm({ run, act, close }: { run: RunShown; act: Act; close: () => void }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [reason, setReason] = useState('');
  // One asking is one run, however often it is sent.
  const [key] = useState(() => crypto.getRandomValues(new Uint32Array(4)).join('-'));
  const done = useMutation({
    mutationFn: async () => {
      const path = { run: run.id };
      if (act !== 'retry') return void (await ask(api.POST(`/v1/runs/{run}/${act}`, { params: { path }, body: { reason } })));
      const made = await ask(api.POST('/v1/runs/{run}/retry', { params: { path, header: { 'Idempotency-Key': key } } }));
      void navigate({ to: '/runs/$id', params: { id: made.id } });
    },
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: keys.run(run.id) });
      close();
    },
  });
  return (
    <Modal opened onClose={close} title={`${ACTS[act].word} this run of ${run.agent}?`}>
      <p>{ACTS[act].ask}</p>
      {act === 'retry' ? null : <TextInput data-autofocus label="Reason, for the record" value={reason} maxLength={2000} onChange={(event) => setReason(event.currentTarget.value)} mb="sm" />}
      {done.error ? <ErrorBox error={done.error} /> : null}
      <Group justify="flex-end" mt="sm">
        <Button variant="default" onClick={close}>Leave it</Button>
        <Button loading={done.isPending} onClick={() => done.mutate()}>{ACTS[act].word}</Button>
      </Group>
    </Modal>
  );
}
