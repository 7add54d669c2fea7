import { Button, Group, Paper, Text, TextInput, Title } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useEffect, useRef, useState } from 'react';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import type { ReleaseLine, ReleaseShown } from '@/api/schema';
import { useAnnounce } from '@/app/announce';
import { useCan, useMe } from '@/app/session';

import { type Act, mayDecide, percentWords, readPercent, short, stateWords } from './model/states';
import styles from './releases.module.css';
import { Unsaid } from './Unsaid';

const DOES: Readonly<Record<Act, string>> = { submit: 'Put up for review', approve: 'Approve', reject: 'Reject', canary: 'Give it a share', promote: 'Give it all new runs', retire: 'Retire' };
const MEANS: Readonly<Record<Act, string>> = {
  submit: 'Somebody else may then approve it.',
  approve: 'It may then be rolled out. It gets no run by that.',
  reject: 'It cannot be rolled out then.',
  canary: 'That share of new sessions gets it; a session stays on its side. Runs under way keep what they began with.',
  promote: 'All new runs get it; what is live is retired. Runs under way keep what they began with.',
  retire: 'It is out of use; where it is live, new runs are as the code says.',
};
const RED: readonly Act[] = ['reject', 'retire'];

interface Doing {
  readonly act: Act;
  readonly percent: number;
  readonly reason: string;
}

/** What may be decided about a release, each with a second press. It is shown as done when the server says so. */
export function Decide({ release }: { release: ReleaseShown }) {
  const me = useMe();
  const can = useCan();
  const [act, setAct] = useState<Act | null>(null);
  const { assertive } = useAnnounce();
  const client = useQueryClient();
  const decide = useMutation({
    mutationFn: (doing: Doing) => send(release.id, doing),
    onSuccess: (made) => assertive(`${short(made.id)}: ${stateWords(made.state)}`),
    onSettled: () => {
      setAct(null);
      return client.invalidateQueries({ queryKey: keys.releases });
    },
  });
  const { acts, why } = mayDecide(release, { actor: me.actor, can });
  const begun = act !== null && acts.includes(act) ? act : null;
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="decide">
      <Title order={2} id="decide" mb="xs">Decide</Title>
      {decide.isSuccess && begun === null ? <Text role="status" mb="xs" data-done>It is {stateWords(decide.data.state)}{decide.data.state === 'canary' ? ` with ${percentWords(decide.data.percent)} of new runs` : ''} now.</Text> : null}
      {decide.error && begun === null ? <Unsaid error={decide.error} /> : null}
      {why.map((words) => <Text key={words} size="sm" data-why>{words}</Text>)}
      {acts.length === 0 && why.length === 0 ? <Text size="sm" c="var(--quiet)">Nothing can be decided about it here.{release.state === 'live' || release.state === 'canary' ? '' : ` It is ${stateWords(release.state)}.`}</Text> : null}
      {begun === null ? (
        <Group gap="sm" mt="xs">
          {acts.map((one) => <Button key={one} variant="default" onClick={() => setAct(one)} disabled={decide.isPending} data-act={one}>{one === 'canary' && release.state === 'canary' ? 'Change its share' : DOES[one]}…</Button>)}
        </Group>
      ) : <Sure key={begun} act={begun} release={release} busy={decide.isPending} yes={(doing) => decide.mutate(doing)} no={() => setAct(null)} />}
    </Paper>
  );
}

interface SureProps {
  readonly act: Act;
  readonly release: ReleaseShown;
  readonly busy: boolean;
  readonly yes: (doing: Doing) => void;
  readonly no: () => void;
}

function Sure({ act, release, busy, yes, no }: SureProps) {
  const [share, setShare] = useState(release.state === 'canary' ? String(release.percent) : '5');
  const [reason, setReason] = useState('');
  const first = useRef<HTMLInputElement>(null);
  const percent = readPercent(share);
  const needsReason = RED.includes(act);
  const ready = (act !== 'canary' || percent !== null) && (!needsReason || reason.trim() !== '');
  useEffect(() => first.current?.focus(), []);
  const press = (event: FormEvent): void => {
    event.preventDefault();
    if (ready && !busy) yes({ act, percent: percent ?? 0, reason: reason.trim() });
  };
  return (
    <form onSubmit={press} data-sure>
      <Text size="sm" mb="xs">{MEANS[act]}</Text>
      <div className={styles.form}>
        {act === 'canary' ? <TextInput ref={first} label="share of new runs, %" inputMode="decimal" value={share} error={percent === null ? 'from 0.01 to 99.99' : null} onChange={(event) => setShare(event.currentTarget.value)} maxLength={6} autoComplete="off" /> : null}
        <TextInput ref={act === 'canary' ? undefined : first} label="reason" description="goes on the record" required={needsReason} value={reason} onChange={(event) => setReason(event.currentTarget.value)} maxLength={2000} className={styles.reason} autoComplete="off" />
        <Button type="submit" color={needsReason ? 'red' : 'blue'} loading={busy} disabled={!ready} onKeyDown={(event) => event.repeat && event.preventDefault()} data-confirm>Yes: {act === 'canary' && percent !== null ? `${percentWords(percent)} of new runs` : DOES[act].toLowerCase()}</Button>
        <Button variant="default" onClick={no}>No</Button>
      </div>
    </form>
  );
}

function send(id: string, { act, percent, reason }: Doing): Promise<ReleaseLine> {
  const params = { path: { id } };
  if (act === 'canary') return ask(api.POST('/v1/releases/{id}/canary', { params, body: { percent, reason } }));
  return ask(api.POST(`/v1/releases/{id}/${act}`, { params, body: { reason } }));
}
