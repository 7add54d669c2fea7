import '@xyflow/react/dist/base.css';

import { graphlib, layout } from '@dagrejs/dagre';
import { Button, useComputedColorScheme } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { Controls, Handle, type Node, type NodeProps, Position, ReactFlow } from '@xyflow/react';
import { useMemo, useState } from 'react';

import type { RunShown } from '@/api/schema';
import { plural } from '@/ui/format/count';
import { money } from '@/ui/format/money';
import { Outcome } from '@/ui/Outcome';
import { Drawn } from '@/ui/Theirs';

import { type Agent, familyOf } from './model/family';
import type { TraceModel } from './model/trace';
import styles from './run.module.css';

const WIDTH = 190;
const HEIGHT = 54;

type AgentNode = Node<{ readonly agent: Agent }, 'agent'>;
const TYPES = { agent: AgentBox };

/** The agents of a team: who delegated to whom, what became of it, and what failed first. */
export default function AgentTree({ model, run }: { model: TraceModel; run: RunShown }) {
  const [all, setAll] = useState(false);
  const scheme = useComputedColorScheme('light');
  const family = useMemo(() => familyOf(model.children, { run: model.run, agent: model.agent, shown: run.shown, nano: run.nano }, all), [model, run.shown, run.nano, all]);
  const graph = useMemo(() => laidOut(family.agents), [family]);
  return (
    <section aria-labelledby="team" className={styles.team}>
      <h2 id="team">Team: {plural(model.children.length + 1, 'run')}{family.hidden > 0 ? `, ${plural(family.hidden, 'of them', 'of them')} folded` : ''}</h2>
      {family.hidden > 0 || all ? <Button size="compact-xs" variant="default" onClick={() => setAll(!all)}>{all ? 'Fold like ones' : 'Show all'}</Button> : null}
      <div className={styles.flow} aria-hidden="true">
        <ReactFlow
          nodes={graph.nodes}
          edges={graph.edges}
          nodeTypes={TYPES}
          colorMode={scheme}
          fitView
          minZoom={0.05}
          nodesDraggable={false}
          nodesConnectable={false}
          nodesFocusable={false}
          edgesFocusable={false}
          elementsSelectable={false}
          onlyRenderVisibleElements
          proOptions={{ hideAttribution: true }}
          disableKeyboardA11y
        >
          <Controls showInteractive={false} />
        </ReactFlow>
      </div>
      <details>
        <summary>The same in words</summary>
        <ul className={styles.plain}>
          {family.agents.map((agent) => (
            <li key={agent.id} style={{ paddingInlineStart: agent.depth * 16 }}>
              {agent.count > 1 ? <><Drawn text={agent.agent} /> × {agent.count}</> : <Link to="/runs/$id" params={{ id: agent.id }}><Drawn text={agent.agent} /></Link>}{' '}
              <Outcome shown={agent.shown} /> {money(agent.nano)}{agent.firstFailed ? ' · failed first' : ''}
            </li>
          ))}
        </ul>
      </details>
    </section>
  );
}

function AgentBox({ data }: NodeProps<AgentNode>) {
  const { agent } = data;
  return (
    <div className={styles.agent} data-first={agent.firstFailed || undefined} style={{ width: WIDTH, height: HEIGHT }}>
      <Handle type="target" position={Position.Left} isConnectable={false} />
      <div className={styles.cut}>
        {agent.count > 1 ? <><Drawn text={agent.agent} /> <strong>× {agent.count}</strong></> : <Link to="/runs/$id" params={{ id: agent.id }} tabIndex={-1}><Drawn text={agent.agent} /></Link>}
      </div>
      <div className={styles.agentFacts}><Outcome shown={agent.shown} /> <span>{money(agent.nano)}</span></div>
      {agent.firstFailed ? <span className={styles.firstCause}>failed first</span> : null}
      <Handle type="source" position={Position.Right} isConnectable={false} />
    </div>
  );
}

function laidOut(agents: readonly Agent[]): { nodes: AgentNode[]; edges: { id: string; source: string; target: string }[] } {
  const graph = new graphlib.Graph();
  graph.setGraph({ rankdir: 'LR', nodesep: 14, ranksep: 48 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const agent of agents) graph.setNode(agent.id, { width: WIDTH, height: HEIGHT });
  const edges = agents.filter((agent) => agent.parent !== null).map((agent) => ({ id: `e${agent.id}`, source: agent.parent ?? '', target: agent.id }));
  for (const edge of edges) graph.setEdge(edge.source, edge.target);
  layout(graph);
  const nodes = agents.map((agent): AgentNode => {
    const at = graph.node(agent.id) as { x: number; y: number };
    return { id: agent.id, type: 'agent', position: { x: at.x - WIDTH / 2, y: at.y - HEIGHT / 2 }, data: { agent } };
  });
  return { nodes, edges };
}
