import type { BudgetPoint } from '@/api/schema';

import type { Axis, View } from '../model/axis';
import { ceilingOf, type Resource, type Step, stepsOf } from '../model/budget';
import type { Colors } from './colors';

const LEVELS = [70, 90, 100] as const;

/** What a drawing of the budget needs. After event `until` it is only hinted at. */
export interface BudgetScene {
  readonly points: readonly BudgetPoint[];
  readonly resource: Resource;
  readonly axis: Axis;
  readonly view: View;
  readonly width: number;
  readonly height: number;
  readonly until: number;
  readonly colors: Colors;
}

/** Draws what was used as an area, what was reserved above it as an outline, and the thresholds. */
export function drawBudget(ctx: CanvasRenderingContext2D, scene: BudgetScene): void {
  const { points, resource, axis, view, width, height, until, colors } = scene;
  ctx.clearRect(0, 0, width, height);
  const all = stepsOf(points, resource, axis, view, width, height);
  const last = points.findLastIndex((point) => point.seq <= until);
  const now = last === points.length - 1 ? all : stepsOf(points.slice(0, last + 1), resource, axis, view, width, height, ceilingOf(points, resource));
  const end = Math.min(width, ((axis.total - view.from) / (view.to - view.from)) * width);
  const x = now.length < all.length ? (all[now.length]?.x ?? end) : end;
  if (all.length > 0) {
    ctx.fillStyle = colors.allow;
    ctx.globalAlpha = 0.25;
    outline(ctx, all, 'used', end, height);
    ctx.fill();
    ctx.globalAlpha = 1;
    outline(ctx, now, 'used', x, height);
    ctx.fill();
    ctx.strokeStyle = colors.ink;
    ctx.setLineDash([2, 2]);
    outline(ctx, now, 'top', x, height);
    ctx.stroke();
    ctx.setLineDash([]);
  }
  if (resource.limit > 0) drawLevels(ctx, scene);
}

function outline(ctx: CanvasRenderingContext2D, steps: readonly Step[], which: 'used' | 'top', end: number, height: number): void {
  ctx.beginPath();
  ctx.moveTo(steps[0]?.x ?? 0, height);
  steps.forEach((step, i) => {
    ctx.lineTo(step.x, height - (steps[i - 1]?.[which] ?? 0));
    ctx.lineTo(step.x, height - step[which]);
  });
  ctx.lineTo(end, height - (steps.at(-1)?.[which] ?? 0));
  ctx.lineTo(end, height);
}

function drawLevels(ctx: CanvasRenderingContext2D, { points, resource, width, height, colors }: BudgetScene): void {
  const ceiling = ceilingOf(points, resource);
  ctx.font = colors.font;
  ctx.textAlign = 'right';
  ctx.textBaseline = 'middle';
  for (const level of LEVELS) {
    const y = Math.round(height - ((resource.limit * level) / 100 / ceiling) * height) + 0.5;
    ctx.strokeStyle = level === 100 ? colors.bad : colors.line;
    ctx.beginPath();
    ctx.moveTo(0, y);
    ctx.lineTo(width, y);
    ctx.stroke();
    // The lines are close to each other: the words stand side by side, each on its line.
    const words = `${level} %`;
    const right = width - 4 - LEVELS.indexOf(level) * 40;
    const room = ctx.measureText(words).width + 4;
    ctx.fillStyle = colors.surface;
    ctx.fillRect(right - room + 2, Math.max(0, y - 6), room, 12);
    ctx.fillStyle = level === 100 ? colors.bad : colors.quiet;
    ctx.fillText(words, right, Math.max(6, y + 0.5));
  }
}
