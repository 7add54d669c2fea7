import { Alert, Button, Group, Stack, Text } from '@mantine/core';
import { useEffect } from 'react';

import { useAnnounce } from '@/app/announce';
import { CopyLine } from '@/ui/CopyLine';
import { ErrorBox } from '@/ui/ErrorBox';

import type { Asking } from './model/asking';

interface AskedProps {
  readonly asking: Exclude<Asking, { kind: 'idle' }>;
  readonly again: () => void;
  readonly reset: () => void;
  readonly command: string;
}

/** A stop between the press and the server's answer. Nothing here says that it has happened. */
export function Asked({ asking, again, reset, command }: AskedProps) {
  const { assertive } = useAnnounce();
  const unsure = asking.kind === 'unsure' || (asking.kind === 'asking' && asking.tries > 1);
  useEffect(() => {
    if (unsure) assertive('Not confirmed. It may have happened. It is asked for again.');
  }, [unsure, assertive]);
  if (asking.kind === 'refused') {
    return (
      <Stack gap="sm">
        <ErrorBox error={asking.problem} />
        {asking.wasUnsure ? <Text size="sm">An earlier try got no answer and may have done it: look at what is in force above.</Text> : null}
        <Group><Button variant="default" onClick={reset}>Back</Button></Group>
      </Stack>
    );
  }
  if (!unsure) return <Text role="status">requested; waiting for the seal…</Text>;
  return (
    <Alert color="red" variant="outline" title="Not confirmed; it may have happened." role="alert" data-unsure>
      <Stack gap="xs">
        <Text size="sm">The server has not answered. It is asked again by the same key, so that it happens once however often it is asked. Leave this page and nothing is asked any more. From a terminal:</Text>
        {command ? <CopyLine text={command} /> : null}
        <Group><Button variant="default" onClick={again} disabled={asking.kind === 'asking'}>Ask now</Button></Group>
      </Stack>
    </Alert>
  );
}
