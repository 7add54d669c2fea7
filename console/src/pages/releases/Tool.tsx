import { Button, Group, Text, TextInput } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { api, ask } from '@/api/client';
import type { ReleaseTool } from '@/api/schema';
import { Drawn } from '@/ui/Theirs';

import { isDigest, isTool } from './model/tool';
import styles from './releases.module.css';
import { Unsaid } from './Unsaid';

/** A tool of a server is another than the one that was approved: its calls are refused until somebody accepts it. */
export function Tool() {
  const [tool, setTool] = useState('');
  const [digest, setDigest] = useState('');
  const [reason, setReason] = useState('');
  const [sure, setSure] = useState(false);
  const accept = useMutation({
    mutationFn: (body: ReleaseTool) => ask(api.POST('/v1/releases/tools', { body })),
    onSuccess: () => setDigest(''),
    onSettled: () => setSure(false),
  });
  const ready = isTool(tool.trim()) && isDigest(digest.trim()) && reason.trim() !== '';
  const press = (event: FormEvent): void => {
    event.preventDefault();
    if (!ready || accept.isPending) return;
    if (sure) accept.mutate({ tool: tool.trim(), digest: digest.trim(), reason: reason.trim() });
    else setSure(true);
  };
  const set = (give: (text: string) => void) => (event: { readonly currentTarget: HTMLInputElement }) => {
    give(event.currentTarget.value);
    setSure(false);
  };
  return (
    <details data-tool>
      <summary>A tool of a server has changed since it was approved</summary>
      <Text size="sm" my="xs">Calls of it are refused, and the refusal names the digest of what the server offers now. Look at that definition; accepted, calls go ahead in all releases that were approved with another.</Text>
      <form onSubmit={press} className={styles.form}>
        <TextInput label="tool" description="SERVER/TOOL" value={tool} onChange={set(setTool)} maxLength={256} autoComplete="off" spellCheck={false} />
        <TextInput label="digest" description="as the refusal says it" value={digest} error={digest.trim() !== '' && !isDigest(digest.trim()) ? 'sha256: and 64 hex digits' : null} onChange={set(setDigest)} maxLength={80} autoComplete="off" spellCheck={false} className={styles.reason} />
        <TextInput label="reason" description="goes on the record" required value={reason} onChange={set(setReason)} maxLength={2000} className={styles.reason} autoComplete="off" />
        {sure ? (
          <Group gap="sm">
            <Button type="submit" loading={accept.isPending} onKeyDown={(event) => event.repeat && event.preventDefault()} data-confirm>Yes: accept it as it is now</Button>
            <Button variant="default" onClick={() => setSure(false)}>No</Button>
          </Group>
        ) : <Button type="submit" disabled={!ready} data-do>Accept…</Button>}
      </form>
      {accept.data && !accept.isPending ? <Text role="status" mt="xs" data-done>Accepted: <Drawn text={accept.data.tool} /> as {accept.data.digest.slice(0, 19)}…</Text> : null}
      {accept.error ? <Unsaid error={accept.error} /> : null}
    </details>
  );
}
