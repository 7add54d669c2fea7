import { Button, Checkbox, NativeSelect, Paper, Text, TextInput, Title } from '@mantine/core';
import { useMutation, useQueries, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import type { ReleaseLine, ReleaseRollback, ReleaseRolledBack, ReleaseRoute } from '@/api/schema';
import { useAnnounce } from '@/app/announce';
import { useCan } from '@/app/session';
import { useFresh } from '@/pages/controls/Preview';
import { previewQuery } from '@/pages/controls/queries';
import { ErrorBox } from '@/ui/ErrorBox';
import { count, plural } from '@/ui/format/count';
import { clock, day } from '@/ui/format/time';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';

import { ToRelease } from './Links';
import { goBackTo, OFFERED, plan, short, stateWords } from './model/states';
import styles from './releases.module.css';
import { Unsaid } from './Unsaid';

type Runs = ReleaseRollback['runs'];
const RUNS: readonly { readonly value: Runs; readonly label: string }[] = [
  { value: 'go-on', label: 'go on with it' },
  { value: 'pause', label: 'are paused' },
  { value: 'kill', label: 'are killed' },
];
const NO_RUNS = { running: 0, queued: 0, parked: 0, open: 0 };

interface Reach {
  readonly at: number | null;
  readonly sum: typeof NO_RUNS;
  readonly error: unknown;
  readonly again: () => void;
}

/** What runs under way of releases there are, read anew every few seconds. */
function useReach(bad: readonly string[], runs: Runs, enabled: boolean): Reach {
  const found = useQueries({ queries: bad.map((name) => previewQuery({ scope: { kind: 'release', name }, action: runs === 'kill' ? 'kill' : 'pause' }, enabled)) });
  const all = found.map((one) => one.data).filter((one) => one !== undefined);
  return {
    at: all.length === bad.length && all.length > 0 ? Math.min(...all.map((one) => one.as_of)) : null,
    sum: all.reduce((sum, one) => ({ running: sum.running + one.running, queued: sum.queued + one.queued, parked: sum.parked + one.parked, open: sum.open + one.open_total }), NO_RUNS),
    error: found.find((one) => one.error)?.error,
    again: () => found.forEach((one) => void one.refetch()),
  };
}

/** Takes a release back: what that would reach first, then a reason, then the agent's name to arm it. */
export function Rollback({ route, releases }: { route: ReleaseRoute; releases: readonly ReleaseLine[] }) {
  const can = useCan();
  const [to, setTo] = useState('');
  const [runs, setRuns] = useState<Runs>('go-on');
  const [sessions, setSessions] = useState(false);
  const [reason, setReason] = useState('');
  const [typed, setTyped] = useState('');
  const { assertive } = useAnnounce();
  const client = useQueryClient();
  const { bad, then } = plan(route, to);
  const sees = can('controls:stop');
  const reach = useReach(bad, runs, sees);
  const fresh = useFresh(reach.at ?? 0) || !sees;
  const act = useMutation({
    mutationFn: (body: ReleaseRollback) => ask(api.POST('/v1/releases/rollback', { body })),
    onSuccess: (done) => {
      assertive(`${done.agent} is rolled back`);
      setReason('');
      setTo('');
    },
    onSettled: () => {
      setTyped('');
      return client.invalidateQueries({ queryKey: keys.releases });
    },
  });
  const armed = bad.length > 0 && reason.trim() !== '' && typed === route.agent && fresh && !act.isPending;
  const press = (event: FormEvent): void => {
    event.preventDefault();
    if (armed) act.mutate({ agent: route.agent, to: to === '' ? null : to, runs, sessions, reason: reason.trim() });
  };
  const used = route.live !== '' || route.canary !== '';
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="rollback">
      <Title order={2} id="rollback" mb="xs">Roll back</Title>
      {act.data && !act.isPending ? <Done done={act.data} /> : null}
      {act.error ? <Unsaid error={act.error} /> : null}
      {used ? (
        <form onSubmit={press} data-rollback>
          <div className={styles.form}>
            <NativeSelect
              label="new runs go back to"
              data={[
                { value: '', label: route.canary === '' ? 'what was live before' : route.live === '' ? 'the code as it is offered' : `what is live, ${short(route.live)}` },
                ...(route.canary !== '' && route.live === '' ? [] : [{ value: OFFERED, label: 'the code as it is offered' }]),
                ...goBackTo(releases, route.agent).map((one) => ({ value: one.id, label: `${short(one.id)}, ${stateWords(one.state)} ${day(one.at)}` })),
              ]}
              value={to}
              onChange={(event) => setTo(event.currentTarget.value)}
            />
            <NativeSelect label="runs under way" data={[...RUNS]} value={runs} onChange={(event) => setRuns(event.currentTarget.value as Runs)} />
            <Checkbox label="take back what sessions remember of it" checked={sessions} onChange={(event) => setSessions(event.currentTarget.checked)} />
          </div>
          <div className={styles.reach} data-reach data-stale={fresh ? undefined : true} aria-live="polite">
            <Text>
              New runs no longer get {bad.map((id, i) => <span key={id}>{i > 0 ? ' and ' : ''}<ToRelease id={id} /></span>)}; from a second after it they get <strong>{then}</strong>.
            </Text>
            {sees ? <Reached reach={reach} runs={runs} fresh={fresh} /> : <Text size="sm">How many runs are under way is seen with the right controls:stop.</Text>}
            {sessions ? <Text size="sm">What agents remember of a session goes back to before the release first wrote to it; what other releases wrote upon that goes too.{runs === 'go-on' ? ' Runs under way may write again: pause or kill them.' : ''}</Text> : null}
            <Text size="sm" c="var(--quiet)">What it did in the world stays done.</Text>
          </div>
          <div className={styles.form}>
            <TextInput label="reason" description="goes on the record" required maxLength={2000} value={reason} onChange={(event) => setReason(event.currentTarget.value)} className={styles.reason} autoComplete="off" />
            <TextInput label={<>type <code><Drawn text={route.agent} /></code> to arm</>} value={typed} onChange={(event) => setTyped(event.currentTarget.value)} autoComplete="off" spellCheck={false} />
            <Button type="submit" color="red" loading={act.isPending} disabled={!armed} onKeyDown={(event) => event.repeat && event.preventDefault()} data-do>Roll back</Button>
          </div>
        </form>
      ) : <Text c="var(--quiet)">No release of it is live or a canary: there is nothing to roll back.</Text>}
    </Paper>
  );
}

function Reached({ reach, runs, fresh }: { reach: Reach; runs: Runs; fresh: boolean }) {
  if (reach.at === null) return reach.error ? <ErrorBox error={reach.error} retry={reach.again} /> : <Loading rows={1} />;
  const { running, queued, parked, open } = reach.sum;
  return (
    <>
      <Text>
        <strong>{count(running)}</strong> running, <strong>{count(queued)}</strong> queued, <strong>{count(parked)}</strong> parked {RUNS.find((one) => one.value === runs)?.label}; {plural(open, 'call')} under way. <span className={styles.quiet}>As of {clock(reach.at)}</span>
      </Text>
      {fresh ? null : <Text size="sm" c="var(--bad)" role="alert">That is too old to act on{reach.error ? ': the server does not answer' : ''}. It is being asked for again.</Text>}
    </>
  );
}

/** What the rollback did, as the server says it. */
function Done({ done }: { done: ReleaseRolledBack }) {
  return (
    <div data-done role="status">
      <Text fw={600}>Rolled back: new runs get {done.live === '' ? 'the code as it is offered' : <ToRelease id={done.live} />}, no more {done.bad.map(short).join(' and ')}.</Text>
      <Text size="sm">
        {done.sealed === null ? 'Runs under way go on with it.' : done.sealed ? `Its runs are stopped: nothing new of them starts. ${plural(done.open_intents, 'call')} of them were under way.` : 'Its runs are NOT known to be stopped: look at Controls.'}{' '}
        {done.documents > 0 ? `${plural(done.documents, 'document')} of sessions went back, ${plural(done.versions, 'version')}, ${count(done.others)} of them by others.` : ''}
      </Text>
      {done.failed.length > 0 ? (
        <details>
          <summary>{plural(done.failed.length, 'document')} could not be taken back</summary>
          <ul>{done.failed.map((one, i) => <li key={i}><Drawn text={`${one.kind} ${one.name}: ${one.why}`} /></li>)}</ul>
        </details>
      ) : null}
    </div>
  );
}
