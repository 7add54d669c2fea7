import { Stack, Text, Title } from '@mantine/core';

import { useMe } from '@/app/session';

/** The caller may not see this page: which right it takes, and who has what. */
export function NoRight({ needs }: { needs: string }) {
  const me = useMe();
  return (
    <Stack gap="xs" p="xl">
      <Title order={1}>You have no right to this page</Title>
      <Text>
        It needs <code>{needs}</code>. You are {me.name} with {me.roles.join(', ') || 'no role'}. An admin of {me.tenant} can give you a role that has it.
      </Text>
    </Stack>
  );
}
