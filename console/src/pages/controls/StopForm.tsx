import { Button, Group, NativeSelect, Paper, Stack, TextInput, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useParams, useSearch } from '@tanstack/react-router';
import { type FormEvent, useEffect, useRef, useState } from 'react';

import { agentsQuery } from '@/api/queries';
import type { AgentShown, ControlPreview } from '@/api/schema';
import { useCan, useMe } from '@/app/session';
import { ErrorBox } from '@/ui/ErrorBox';
import { Loading } from '@/ui/Loading';

import { Asked } from './Asked';
import styles from './controls.module.css';
import { type Action, actionsOf, armWord, fromSearch, KINDS, type Kind, named, needsReason, scopeWords } from './model/scope';
import { Preview, useFresh } from './Preview';
import { previewQuery } from './queries';
import { useAsking } from './useAsking';

const DOES: Record<Action, string> = { kill: 'Kill', pause: 'Pause', resume: 'Resume', cancel: 'Cancel' };

/** Choose what to stop, see what that would reach, say why, arm it. The address holds what is chosen. */
export function StopForm() {
  const search = useSearch({ from: '/inside/controls/{-$id}' });
  const { id } = useParams({ from: '/inside/controls/{-$id}' });
  const can = useCan();
  const navigate = useNavigate();
  const { kind, name, action } = fromSearch(search);
  const shown = useRef<HTMLElement>(null);
  const set = (next: { kind?: Kind; name?: string; action?: Action }): void => {
    const to = { kind, name, action, ...next };
    void navigate({ to: '/controls/{-$id}', params: { id }, search: { scope: to.kind, name: named(to.kind) ? to.name : '', action: to.action }, replace: true });
  };
  const asksToResume = search.action === 'resume';
  useEffect(() => {
    if (asksToResume) shown.current?.focus();
  }, [asksToResume, search.name, search.scope]);
  const kinds = KINDS.filter((one) => one !== 'everything' || can('everything:stop'));
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="stop-title" id="stop" ref={shown} tabIndex={-1} className={styles.form}>
      <Title order={2} id="stop-title" mb="xs">{DOES[action]} {name || !named(kind) ? scopeWords({ kind, name }) : '…'}</Title>
      <Group gap="sm" align="end" mb="sm">
        <NativeSelect label="do" data={actionsOf(kind).map((one) => ({ value: one, label: DOES[one].toLowerCase() }))} value={action} onChange={(event) => set({ action: event.currentTarget.value as Action })} />
        <NativeSelect label="to" data={kinds.map((one) => ({ value: one, label: one === 'tenant' ? 'this tenant' : one }))} value={kind} onChange={(event) => set({ kind: event.currentTarget.value as Kind, name: '' })} />
        {named(kind) ? <Name kind={kind} name={name} set={(next) => set({ name: next })} /> : null}
      </Group>
      <Doing key={`${kind} ${name} ${action}`} kind={kind} name={name} action={action} />
    </Paper>
  );
}

/** The name of what is stopped; of agents and tools those that are offered are proposed. It counts when it is left or Enter is pressed. */
function Name({ kind, name, set }: { kind: Kind; name: string; set: (name: string) => void }) {
  const me = useMe();
  const offered = kind === 'agent' || kind === 'tool';
  const agents = useQuery({ ...agentsQuery, enabled: offered });
  const proposed = kind === 'environment' ? [me.environment] : offered ? namesOf(agents.data?.items ?? [], kind) : [];
  const [text, setText] = useState(name);
  const [of, setOf] = useState(`${kind} ${name}`);
  if (of !== `${kind} ${name}`) {
    setOf(`${kind} ${name}`);
    setText(name);
  }
  const give = (): void => {
    if (text.trim() !== name) set(text.trim());
  };
  return (
    <>
      <TextInput
        label={kind === 'run' ? 'run (its whole id)' : `name of the ${kind}`}
        value={text}
        list={proposed.length > 0 ? 'names' : undefined}
        onChange={(event) => setText(event.currentTarget.value)}
        onBlur={give}
        onKeyDown={(event) => event.key === 'Enter' && give()}
        maxLength={200}
        className={styles.name}
        autoComplete="off"
        spellCheck={false}
      />
      {proposed.length > 0 ? <datalist id="names">{proposed.map((one) => <option key={one} value={one} />)}</datalist> : null}
    </>
  );
}

const namesOf = (agents: readonly AgentShown[], kind: Kind): string[] => (kind === 'agent' ? agents.map((agent) => agent.name) : [...new Set(agents.flatMap((agent) => agent.tools))].sort());

function Doing({ kind, name, action }: { kind: Kind; name: string; action: Action }) {
  const ready = !named(kind) || name !== '';
  const { asking, ask, again, reset } = useAsking();
  const isAsking = asking.kind === 'asking' || asking.kind === 'unsure' || asking.kind === 'done';
  const preview = useQuery(previewQuery({ scope: { kind, name }, action }, ready && !isAsking));
  if (!ready) return null;
  if (asking.kind !== 'idle') return <Asked asking={asking} again={again} reset={reset} command={preview.data?.command ?? ''} />;
  if (preview.error && !preview.data) return <ErrorBox error={preview.error} retry={() => void preview.refetch()} />;
  if (!preview.data) return <Loading rows={3} />;
  return (
    <Stack gap="sm">
      <Preview preview={preview.data} kind={kind} action={action} error={preview.error} />
      <Arm kind={kind} name={name} action={action} preview={preview.data} ask={(reason, armed) => ask({ scope: { kind, name }, action, reason, armed })} />
    </Stack>
  );
}

interface ArmProps {
  readonly kind: Kind;
  readonly name: string;
  readonly action: Action;
  readonly preview: ControlPreview;
  readonly ask: (reason: string, armed: string) => void;
}

/** Why, and what arms the button: the name typed again, or for one run a second press. */
function Arm({ kind, name, action, preview, ask }: ArmProps) {
  const me = useMe();
  const fresh = useFresh(preview.as_of);
  const [reason, setReason] = useState('');
  const [typed, setTyped] = useState('');
  const [sure, setSure] = useState(false);
  const confirm = useRef<HTMLButtonElement>(null);
  const word = armWord({ kind, name }, me);
  const armed = fresh && (!needsReason(action) || reason.trim() !== '') && (word === null || typed === word);
  useEffect(() => {
    if (sure) confirm.current?.focus();
  }, [sure]);
  const press = (event: FormEvent): void => {
    event.preventDefault();
    if (!armed) return;
    if (word === null && !sure) setSure(true);
    else ask(reason.trim(), typed);
  };
  const does = `${DOES[action]} ${scopeWords({ kind, name })}`;
  return (
    <form onSubmit={press} className={styles.arm}>
      {action === 'resume' ? null : <TextInput label="reason" description="goes on the record" required maxLength={2000} value={reason} onChange={(event) => setReason(event.currentTarget.value)} className={styles.reason} />}
      {word === null ? null : (
        <TextInput label={<>type <code>{word}</code> to arm</>} value={typed} onChange={(event) => setTyped(event.currentTarget.value)} autoComplete="off" spellCheck={false} />
      )}
      {sure && word === null ? (
        <Group gap="sm">
          <Button ref={confirm} type="submit" color={action === 'resume' ? 'blue' : 'red'} disabled={!armed} onKeyDown={(event) => event.repeat && event.preventDefault()} data-confirm>Yes: {does}</Button>
          <Button variant="default" onClick={() => setSure(false)}>No</Button>
        </Group>
      ) : <Button type="submit" color={action === 'resume' ? 'blue' : 'red'} disabled={!armed} data-do>{DOES[action]}{word === null ? '…' : ''}</Button>}
    </form>
  );
}
