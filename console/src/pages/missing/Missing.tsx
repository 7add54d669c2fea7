import { Anchor, Stack, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';

/** No such page. What belongs to another tenant looks the same. */
export function Missing() {
  return (
    <Stack align="center" gap="sm" p="xl">
      <Title order={1}>There is nothing at this address</Title>
      <Text c="var(--quiet)">It may never have been, or not be of your tenant.</Text>
      <Anchor renderRoot={(props) => <Link to="/" {...props} />}>To the overview</Anchor>
    </Stack>
  );
}
