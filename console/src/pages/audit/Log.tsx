import { Alert, Button, Group, Paper, Stack, Text, TextInput, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { type FormEvent, useState } from 'react';

import { useMe } from '@/app/session';
import { CopyLine } from '@/ui/CopyLine';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { count, plural } from '@/ui/format/count';
import { Id } from '@/ui/Id';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import styles from './audit.module.css';
import { type Finding, type Held, sizeOf } from './model/check';
import { keepHeld } from './model/held';
import { checkedQuery, type Result } from './queries';
import { auditSearch } from './search';

/** The log of the tenant, and of one run the proof that it is in it: both checked in this browser. */
export function Log() {
  const me = useMe();
  const { run = '' } = useSearch({ from: '/inside/audit' });
  // Hashes are there only where nobody in between could change this page itself.
  const canHash = globalThis.crypto.subtle !== undefined;
  const { data, error, refetch, isFetching } = useQuery({ ...checkedQuery(me.tenant, run), enabled: canHash });
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="proof" data-log={data ? stateOf(data) : undefined}>
      <Group gap="sm" mb="xs">
        <Title order={2} id="proof">{run ? 'The proof of a run' : 'The log'}</Title>
        <Button ml="auto" size="compact-sm" variant="default" loading={isFetching} disabled={!canHash} onClick={() => void refetch()}>Check again</Button>
      </Group>
      <Stack gap="sm">
        <Which key={run} run={run} />
        {canHash ? null : <Text role="alert">Nothing can be checked here: browsers give pages the means for it over https only, or on the machine itself. Use <code>penstock audit</code> or verify.py.</Text>}
        {error && !isFetching ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
        {!data && !error && canHash ? <Loading rows={4} /> : null}
        {data && !error ? <Came result={data} tenant={me.tenant} again={() => void refetch()} /> : null}
      </Stack>
    </Paper>
  );
}

const stateOf = ({ checked }: Result): string => (checked === null ? 'empty' : checked.findings.some((one) => one.state === 'wrong') ? 'wrong' : 'intact');

function Which({ run }: { run: string }) {
  const navigate = useNavigate();
  const { actor, action } = useSearch({ from: '/inside/audit' });
  const [text, setText] = useState(run);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    void navigate({ to: '/audit', search: auditSearch({ run: text.trim(), actor, action }) });
  };
  return (
    <form onSubmit={submit} className={styles.which}>
      <TextInput label="run (its whole id)" value={text} onChange={(event) => setText(event.currentTarget.value)} maxLength={60} autoComplete="off" spellCheck={false} className={styles.run} />
      <Button type="submit" variant="default" data-prove>Check its proof here</Button>
      {run ? <Text size="sm"><Link to="/runs/$id" params={{ id: run }}>To run <Id id={run} still /></Link></Text> : null}
    </form>
  );
}

const SHAPE: Record<Finding['state'], string> = { fits: '●', wrong: '×', unknown: '○' };
const STATE: Record<Finding['state'], string> = { fits: 'fits', wrong: 'DOES NOT FIT', unknown: 'not known' };

function Came({ result: { log, checked, before, kept }, tenant, again }: { result: Result; tenant: string; again: () => void }) {
  if (checked === null) return <Empty words={`Nothing has been sealed yet.${log.problem ? ` ${log.problem}` : ''}`} command="penstock audit keygen audit-key.pem" />;
  const wrong = checked.findings.find((one) => one.state === 'wrong');
  return (
    <>
      {wrong ? (
        <Alert color="red" variant="outline" role="alert" title={`This does not fit: ${NAMES[wrong.name]}`} data-wrong={wrong.name}>
          <Text size="sm"><Drawn text={wrong.words} /> Nothing after it was looked at. Keep what this browser holds and compare it with checkpoints that others hold.</Text>
        </Alert>
      ) : <Text role="status"><strong>Proof checked here: intact to {count(checked.size)}.</strong></Text>}
      <ol className={styles.findings}>
        {checked.findings.map((one) => (
          <li key={one.name} data-finding={one.name} data-state={one.state}>
            <span aria-hidden="true" className={styles.shape}>{SHAPE[one.state]}</span> <strong>{NAMES[one.name]}: {STATE[one.state]}.</strong> <Drawn text={one.words} />
          </li>
        ))}
      </ol>
      {before ? <Text size="sm" c="var(--quiet)">Held against what this browser last saw, <When at={before.at} />.</Text> : null}
      {!wrong && !kept ? <Text size="sm" c="var(--flag)">This browser keeps nothing of it: next time there is nothing to compare with.</Text> : null}
      {log.newest ? <Text size="sm" c="var(--quiet)">Newest checkpoint <When at={log.newest.at} />, signed by {plural(log.newest.witnesses, 'witness', 'witnesses')}. Whoever can change this page can change what it says: <code>verify.py</code>, from elsewhere, checks exports without it.</Text> : null}
      {log.problem ? <Text size="sm" c="var(--flag)" role="alert">Sealing does not go on: <Drawn text={log.problem} />. What is newer is not in the log yet.</Text> : null}
      {wrong && before ? <Forget held={before} tenant={tenant} again={again} /> : null}
    </>
  );
}

const NAMES: Record<Finding['name'], string> = {
  key: 'the log’s keys', signature: 'the checkpoint’s signature', growth: 'that the log has only grown', leaf: 'what the leaf says', inclusion: 'that the leaf is in the log', event: 'the event that it covers',
};

/** A log that was begun anew is to be told from one that was forged by who knows: never by itself. */
function Forget({ held, tenant, again }: { held: Held; tenant: string; again: () => void }) {
  const [sure, setSure] = useState(false);
  return (
    <details>
      <summary>What this browser holds: {count(sizeOf(held))} leaves</summary>
      <Stack gap="xs" mt="xs">
        <pre className={styles.note}>{held.note}</pre>
        <CopyLine text={`penstock audit prove --checkpoint FILE --tenant ${tenant}`} />
        <Text size="sm">If you know that the log was begun anew, as with another database, this browser can forget the old one.</Text>
        <Group>
          {sure ? <Button color="red" size="compact-sm" onClick={() => { keepHeld(tenant, null); again(); }}>Yes: forget it</Button> : <Button variant="default" size="compact-sm" onClick={() => setSure(true)}>Forget it…</Button>}
        </Group>
      </Stack>
    </details>
  );
}
