import { Stack, Text } from '@mantine/core';
import type { ReactNode } from 'react';

import { CopyLine } from './CopyLine';

/** Nothing to show: in words, with the command that makes one, or what to do (`children`). */
export function Empty({ words, command, children }: { words: string; command?: string; children?: ReactNode }) {
  return (
    <Stack align="center" gap="sm" p="xl">
      <Text c="var(--quiet)">{words}</Text>
      {command ? <CopyLine text={command} /> : null}
      {children}
    </Stack>
  );
}
