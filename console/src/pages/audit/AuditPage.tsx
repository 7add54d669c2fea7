import { Stack, Title } from '@mantine/core';

import { useCan } from '@/app/session';
import { NoRight } from '@/pages/missing/NoRight';

import { Actions } from './Actions';
import { Log } from './Log';

/** Who did it, provably? */
export function AuditPage() {
  const can = useCan();
  if (!can('audit:read')) return <NoRight needs="audit:read" />;
  return (
    <Stack gap="lg">
      <Title order={1}>Audit</Title>
      <Log />
      <Actions />
    </Stack>
  );
}
