import { Button, Group, Text } from '@mantine/core';

import { When } from '@/ui/When';

/** The server looked at as many runs as one question may: what came of it so far, and going on by hand. */
export function Further({ looked, busy, go }: { looked: number | null; busy: boolean; go: () => void }) {
  return (
    <Group justify="center" gap="sm" p="xs">
      {looked === null ? null : <Text size="sm" c="var(--quiet)">Looked through the runs submitted since <When at={looked} plain />; older ones not yet.</Text>}
      <Button size="compact-sm" variant="default" loading={busy} onClick={go}>Look further back</Button>
    </Group>
  );
}
