import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import { useCan } from '@/app/session';

/** To the page that says what a stop would reach. Nothing is stopped from here. */
export function KillButton() {
  const can = useCan();
  if (!can('controls:stop')) return null;
  return (
    <Button color="red" variant="outline" renderRoot={(props) => <Link to="/controls/{-$id}" params={{ id: undefined }} search={{ action: 'kill' }} {...props} />}>
      Kill…
    </Button>
  );
}
