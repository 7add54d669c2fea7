import { Button, Menu } from '@mantine/core';

import { csvAddress, exportAddress } from './queries';
import type { CostsSearch } from './search';

/** What is shown, or all sums by hour behind it, as files. */
export function Downloads({ search }: { search: CostsSearch }) {
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target><Button variant="default" size="compact-sm">Download ▾</Button></Menu.Target>
      <Menu.Dropdown>
        <Menu.Item component="a" href={csvAddress(search)} download>This table, CSV</Menu.Item>
        <Menu.Item component="a" href={exportAddress(search, 'csv')} download>By hour, CSV</Menu.Item>
        <Menu.Item component="a" href={exportAddress(search, 'focus')} download>By hour, FOCUS (FinOps)</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
