import { Button, Checkbox, Group, Paper, Text, Textarea, TextInput, Title } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { type FormEvent, useMemo, useState } from 'react';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import { wordDiff } from '@/pages/run/model/diff';
import { ErrorBox } from '@/ui/ErrorBox';
import { pieces } from '@/ui/format/unseen';
import { Drawn } from '@/ui/Theirs';

import { Found } from './Diff';
import { around, type Base, type Draft, draftFrom, type Faults, LIMITS, OFFERED, readDraft, settingText } from './model/draft';
import { short } from './model/states';
import { previewQuery } from './queries';
import styles from './releases.module.css';
import { Unsaid } from './Unsaid';

const ASK_MS = 400;

interface FormProps {
  readonly agent: string;
  readonly from: string;
  readonly base: Base;
}

/** What the release is to have, and in words what that is otherwise. It is kept when the server says so. */
export function DraftForm({ agent, from, base }: FormProps) {
  const navigate = useNavigate();
  const client = useQueryClient();
  const [draft, setDraft] = useState<Draft>(() => draftFrom(base));
  const [reason, setReason] = useState('');
  const { changes, faults } = readDraft(draft, base);
  const text = changes === null ? '' : JSON.stringify({ agent, reason: '', ...changes });
  const [asked] = useDebouncedValue(text, ASK_MS);
  const seen = useQuery({ ...previewQuery(asked, from === OFFERED ? '' : from), enabled: asked !== '', placeholderData: keepPreviousData });
  const make = useMutation({
    mutationFn: () => ask(api.POST('/v1/releases', { body: { agent, reason: reason.trim(), ...(changes ?? { prompts: {}, models: [], settings: {}, policy: {}, version: '' }) } })),
    onSuccess: (made) => {
      void client.invalidateQueries({ queryKey: keys.releases });
      void navigate({ to: '/releases', search: { release: made.id } });
    },
  });
  const fresh = text !== '' && asked === text && seen.data !== undefined && !seen.isPlaceholderData && !seen.error;
  const change = (part: Partial<Draft>): void => setDraft({ ...draft, ...part });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (fresh && !make.isPending) make.mutate();
  };
  return (
    <form onSubmit={submit} className={styles.draft} noValidate data-draft-form>
      <Prompts base={base} draft={draft} faults={faults} change={change} />
      {base.models.length > 0 ? <Textarea label="models" description="one a line, the first choice first" maw={420} autosize={false} rows={Math.min(6, Math.max(2, base.models.length + 1))} value={draft.models} error={faults['models']} onChange={(event) => change({ models: event.currentTarget.value })} spellCheck={false} /> : null}
      <Settings base={base} draft={draft} faults={faults} change={change} />
      <Limits draft={draft} faults={faults} change={change} />
      <Textarea label="filters" description={base.filters === null ? 'as JSON; empty: those of the code, {} none at all' : 'as JSON; {} none at all, empty: those of the code'} rows={base.filters === null ? 2 : 8} value={draft.filters} error={faults['filters']} onChange={(event) => change({ filters: event.currentTarget.value })} spellCheck={false} classNames={{ input: styles.mono ?? '' }} />
      {Object.keys(base.policy).length > 0 ? <Checkbox label={`keep the policy of its own (${Object.keys(base.policy).sort().join(', ')})`} checked={draft.keepsPolicy} onChange={(event) => change({ keepsPolicy: event.currentTarget.checked })} /> : null}
      <TextInput label="version of the code" description="in your words, such as a commit" maw={420} value={draft.version} onChange={(event) => change({ version: event.currentTarget.value })} maxLength={200} autoComplete="off" spellCheck={false} />
      <Paper withBorder p="sm" component="section" aria-labelledby="otherwise" data-otherwise={fresh || undefined}>
        <Title order={2} id="otherwise" mb="xs">What it would have otherwise</Title>
        {Object.keys(faults).length > 0 ? <Text size="sm" c="var(--bad)" role="alert">{Object.keys(faults).length === 1 ? 'Something above cannot be read.' : 'Some of it cannot be read.'}</Text> : null}
        {seen.error && asked !== '' ? <ErrorBox error={seen.error} retry={() => void seen.refetch()} /> : null}
        {seen.data && asked !== '' && !seen.error ? <div className={styles.reach} data-stale={fresh ? undefined : true} aria-live="polite">{seen.data.differences.length === 0 ? <Text size="sm">Nothing differs from {from === OFFERED ? 'the code as it is offered' : short(from)}.</Text> : <Found old={seen.data.old} differences={seen.data.differences} />}</div> : null}
      </Paper>
      <div className={styles.form}>
        <TextInput label="reason" description="goes on the record" value={reason} onChange={(event) => setReason(event.currentTarget.value)} maxLength={2000} className={styles.reason} autoComplete="off" />
        <Button type="submit" loading={make.isPending} disabled={!fresh} onKeyDown={(event) => event.repeat && event.preventDefault()} data-make>Keep it as a draft</Button>
      </div>
      <Text size="sm" c="var(--quiet)">You are its author: it is signed, put up for review, and approved by somebody else before it gets any run.</Text>
      {make.error ? <Unsaid error={make.error} /> : null}
    </form>
  );
}

interface PartProps {
  readonly draft: Draft;
  readonly faults: Faults;
  readonly change: (part: Partial<Draft>) => void;
}

function Prompts({ base, draft, faults, change }: PartProps & { base: Base }) {
  const names = Object.keys(base.prompts);
  if (names.length === 0) return <Text size="sm">This agent is a function, or of another framework: its prompts and models are in its code. Its budget, filters and policy can be released.</Text>;
  return names.map((name) => (
    <div key={name}>
      <Textarea label={`prompt ${name}`} rows={8} value={draft.prompts[name] ?? ''} error={faults[`prompt ${name}`]} onChange={(event) => change({ prompts: { ...draft.prompts, [name]: event.currentTarget.value } })} classNames={{ input: styles.mono ?? '' }} data-prompt={name} />
      <Unseen text={draft.prompts[name] ?? ''} />
      <PromptDiff before={base.prompts[name] ?? ''} after={draft.prompts[name] ?? ''} />
    </div>
  ));
}

/** A field cannot draw what one would not see: it is said beside it. */
function Unseen({ text }: { text: string }) {
  const found = [...new Set(pieces(text).filter((piece) => piece.unseen).map((piece) => piece.text))];
  if (found.length === 0) return null;
  return <Text size="sm" c="var(--deny)" role="alert" data-unseen>It has characters that one would not see: {found.slice(0, 10).join(', ')}{found.length > 10 ? ' and others' : ''}.</Text>;
}

/** What has been written otherwise, word by word, as one types. */
function PromptDiff({ before, after }: { before: string; after: string }) {
  const parts = useMemo(() => (before === after ? [] : wordDiff(before, after)), [before, after]);
  if (parts.length === 0) return null;
  return (
    <pre className={styles.typed} data-typed>
      {parts.map((part, i) => (part.side === 'both' ? <Drawn key={i} text={around(part.text, i > 0, i < parts.length - 1)} /> : part.side === 'left' ? <del key={i}><Drawn text={part.text} /></del> : <ins key={i}><Drawn text={part.text} /></ins>))}
    </pre>
  );
}

function Settings({ base, draft, faults, change }: PartProps & { base: Base }) {
  const names = Object.keys(base.settings).toSorted((a, b) => Number(typeof base.settings[a] === 'boolean') - Number(typeof base.settings[b] === 'boolean'));
  if (names.length === 0) return null;
  const set = (name: string, text: string): void => change({ settings: { ...draft.settings, [name]: text } });
  return (
    <fieldset className={styles.fields}>
      <legend>settings</legend>
      {names.map((name) => {
        const was = base.settings[name];
        if (typeof was === 'boolean') return <Checkbox key={name} label={name} checked={draft.settings[name] === 'true'} onChange={(event) => set(name, String(event.currentTarget.checked))} />;
        const shared = { label: name, description: `was ${settingText(was).replace(/\s+/g, ' ').slice(0, 60)}`, value: draft.settings[name] ?? '', error: faults[`setting ${name}`], spellCheck: false, autoComplete: 'off' } as const;
        if (typeof was === 'object' && was !== null) return <Textarea key={name} {...shared} rows={3} onChange={(event) => set(name, event.currentTarget.value)} classNames={{ input: styles.mono ?? '' }} />;
        return <TextInput key={name} {...shared} onChange={(event) => set(name, event.currentTarget.value)} />;
      })}
    </fieldset>
  );
}

function Limits({ draft, faults, change }: PartProps) {
  return (
    <fieldset className={styles.fields}>
      <legend>budget of one run</legend>
      <Group gap={0} w="100%"><Text size="sm" c="var(--quiet)">Empty: no limit of that kind; of tries again, the setting, and -1 none.</Text></Group>
      {LIMITS.map(({ name, label }) => <TextInput key={name} label={label} inputMode="decimal" value={draft.budget[name]} error={faults[`budget ${name}`]} onChange={(event) => change({ budget: { ...draft.budget, [name]: event.currentTarget.value } })} maxLength={20} autoComplete="off" className={styles.limit} data-limit={name} />)}
    </fieldset>
  );
}
