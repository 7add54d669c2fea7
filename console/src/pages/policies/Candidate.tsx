import { Button, FileButton, Group, NativeSelect, Paper, Text, Textarea, TextInput, Title } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { type FormEvent, useRef, useState } from 'react';

import type { PolicyProblem, PolicyText } from '@/api/schema';
import { ErrorBox } from '@/ui/ErrorBox';
import { bytes, count } from '@/ui/format/count';
import { Loading } from '@/ui/Loading';

import { added, bodyOf, type Draft, FIRST, wrongWith } from './model/draft';
import { offsetOf } from './model/words';
import { Looked } from './Looked';
import styles from './policies.module.css';
import { check } from './queries';

const DAYS = [
  { value: '7', label: 'calls of the last 7 days' },
  { value: '1', label: 'calls of the last day' },
  { value: '30', label: 'calls of the last 30 days' },
  { value: '0', label: 'no calls' },
];

/** A text that is not in force: pasted or loaded, and looked at. Nothing of it is kept. */
export function Candidate({ inForce }: { inForce: string | null }) {
  const [files, setFiles] = useState<readonly Draft[]>([FIRST]);
  const [days, setDays] = useState('7');
  const [lost, setLost] = useState('');
  const areas = useRef(new Map<string, HTMLTextAreaElement>());
  const look = useMutation({ mutationFn: (body: PolicyText) => check(body) });
  const body = bodyOf(files, Number(days));
  const wrong = wrongWith(files);
  const press = (event: FormEvent): void => {
    event.preventDefault();
    if (wrong === '' && !look.isPending) look.mutate(body);
  };
  const load = async (given: readonly File[]): Promise<void> => {
    try {
      const read = await Promise.all(given.map(async (file) => ({ name: file.name, text: await file.text() })));
      setFiles((now) => added(now, read));
      setLost('');
    } catch {
      setLost('A file could not be read: it may have been moved, or changed meanwhile.');
    }
  };
  const goTo = (problem: PolicyProblem): void => {
    const area = areas.current.get(problem.file);
    if (!area) return;
    const at = offsetOf(area.value, problem.line, problem.column);
    area.focus();
    area.setSelectionRange(at, at);
  };
  const change = (at: number, part: Partial<Draft>): void => setFiles(files.map((file, i) => (i === at ? { ...file, ...part } : file)));
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="candidate">
      <Title order={2} id="candidate" mb="xs">Look at another text</Title>
      <Text size="sm" mb="xs">Its mistakes, its tests, what it changes of the policy in force, and what it would have changed of calls that were made. Nothing of it comes into force. It counts as the whole policy: give all its files; those named *.test.yaml are tests.</Text>
      <form onSubmit={press} data-candidate>
        {files.map((file, i) => (
          <div key={i}>
            <Group gap="sm" align="end">
              <TextInput label="file" size="xs" value={file.name} onChange={(event) => change(i, { name: event.currentTarget.value })} maxLength={200} autoComplete="off" spellCheck={false} />
              <Text size="xs" c="var(--quiet)">{bytes(new Blob([file.text]).size)}</Text>
              {files.length > 1 ? <Button size="compact-xs" variant="default" onClick={() => setFiles(files.filter((_, at) => at !== i))} aria-label={`take ${file.name} out`}>Take out</Button> : null}
            </Group>
            <Textarea
              ref={(area) => {
                if (area) areas.current.set(file.name, area);
                return () => void areas.current.delete(file.name);
              }}
              className={styles.text}
              aria-label={`text of ${file.name}`}
              rows={files.length > 1 ? 8 : 12}
              mt={4}
              mb="sm"
              value={file.text}
              onChange={(event) => change(i, { text: event.currentTarget.value })}
              autoComplete="off"
              spellCheck={false}
            />
          </div>
        ))}
        <Group gap="sm" align="end">
          <FileButton onChange={(given) => void load(given)} accept=".yaml,.yml" multiple>{(props) => <Button variant="default" {...props}>Load files…</Button>}</FileButton>
          <NativeSelect label="tried on" data={DAYS} value={days} onChange={(event) => setDays(event.currentTarget.value)} />
          <Button type="submit" loading={look.isPending} disabled={wrong !== ''} data-check>Look at it</Button>
        </Group>
        {wrong !== '' && files.some((file) => file.text !== '') ? <Text size="sm" c="var(--bad)" mt="xs">{wrong}</Text> : null}
        {lost ? <Text size="sm" c="var(--bad)" role="alert" mt="xs">{lost}</Text> : null}
      </form>
      {look.isPending ? <><Text size="sm" mt="sm" role="status">Being looked at: up to half a minute, where much can be proved.</Text><Loading rows={3} /></> : null}
      {look.error ? <ErrorBox error={look.error} /> : null}
      {look.data && !look.isPending ? (
        <Looked
          checked={look.data}
          inForce={inForce}
          asked={look.variables}
          changed={JSON.stringify(look.variables.files) !== JSON.stringify(body.files)}
          goTo={goTo}
        />
      ) : null}
      {look.data ? null : <Text size="xs" c="var(--quiet)" mt="xs">At most {count(200)} of the newest runs are read.</Text>}
    </Paper>
  );
}
