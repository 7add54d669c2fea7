import { Table } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import type { ControlShown } from '@/api/schema';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { scopeWords } from './model/scope';

/** What is told of every stop: what, when, who, why. Its name leads to how far it has come. */
export function Cells({ control }: { control: ControlShown }) {
  return (
    <>
      <Table.Td><Link to="/controls/{-$id}" params={{ id: control.id }}>{control.action} <Drawn text={scopeWords(control.scope)} /></Link></Table.Td>
      <Table.Td><When at={control.at} /></Table.Td>
      <Table.Td>{control.actor}</Table.Td>
      <Table.Td><Drawn text={control.reason} /></Table.Td>
    </>
  );
}
