import type { CriticalPart } from '@/api/schema';
import { duration } from '@/ui/format/duration';
import { money } from '@/ui/format/money';

import { type Axis, axisWords, type View } from '../model/axis';
import { type Bins, binsOf, stretches } from '../model/bins';
import type { Row } from '../model/fold';
import { stateThen, thenOf } from '../model/tape';
import { below, kindOf, RUN, STATE, type TraceModel } from '../model/trace';
import type { Colors } from './colors';

/** Everything that one drawing of the rows needs. Pixels are of the page, not of the device. */
export interface Scene {
  readonly model: TraceModel;
  readonly axis: Axis;
  readonly view: View;
  readonly rows: readonly Row[];
  readonly rowHeight: number;
  readonly width: number;
  readonly at: number | null;
  /** Where on the axis that is; its end when `at` is null. */
  readonly until: number;
  readonly critical: ReadonlyMap<number, readonly CriticalPart[]>;
  readonly colors: Colors;
}

const PAD = 6;
const GHOST = 0.22;
/** Narrower bars are outlined above and below only. */
const NARROW = 6;

/** Draws the bars of the rows from `first` up to but not with `last`, at the top of the canvas. */
export function drawRows(ctx: CanvasRenderingContext2D, scene: Scene, first: number, last: number): void {
  const { rowHeight, width } = scene;
  ctx.clearRect(0, 0, width, (last - first) * rowHeight);
  drawBreaks(ctx, scene, (last - first) * rowHeight);
  for (let r = first; r < last; r++) {
    const row = scene.rows[r];
    if (!row) break;
    const top = (r - first) * rowHeight + PAD;
    const height = rowHeight - 2 * PAD;
    ctx.globalAlpha = 1;
    if (row.fold) drawMany(ctx, scene, row.fold.members, top, height, undefined, row.fold.kind === 'stretch');
    else if (row.span === RUN) drawRun(ctx, scene, top, height);
    else if (row.span !== null) drawSpan(ctx, scene, row.span, top, height);
  }
  ctx.globalAlpha = 1;
}

function scaleOf(scene: Scene): (value: number) => number {
  const scale = scene.width / (scene.view.to - scene.view.from);
  return (value) => (value - scene.view.from) * scale;
}

function stateColor(colors: Colors, state: number, own: string): string {
  if (state === STATE.failed) return colors.bad;
  if (state === STATE.doubt) return colors.flag;
  if (state === STATE.denied) return colors.deny;
  return state === STATE.held ? colors.hold : own;
}

/** The cuts of the axis: a dashed line from top to bottom; how long each was is said above. */
function drawBreaks(ctx: CanvasRenderingContext2D, scene: Scene, height: number): void {
  const x = scaleOf(scene);
  ctx.strokeStyle = scene.colors.quiet;
  ctx.setLineDash([3, 3]);
  for (const cut of scene.axis.breaks) {
    const at = Math.round(x(cut.at)) + 0.5;
    if (at < 0 || at > scene.width) continue;
    ctx.beginPath();
    ctx.moveTo(at, 0);
    ctx.lineTo(at, height);
    ctx.stroke();
  }
  ctx.setLineDash([]);
}

/** The run: what its calls account for, hatched where none was going on. */
function drawRun(ctx: CanvasRenderingContext2D, scene: Scene, top: number, height: number): void {
  drawMany(ctx, scene, below(scene.model, RUN), top, height, { from: 0, to: scene.until });
}

/** Many spans in one row. With `between` the time in which there was none is hatched there. */
function drawMany(ctx: CanvasRenderingContext2D, scene: Scene, members: Int32Array, top: number, height: number, between?: View, mixed = between !== undefined): void {
  const { model, axis, view, width, at, colors } = scene;
  const pixels = Math.max(1, Math.floor(width));
  const bins = binsOf(members, (i) => stateThen(model, i, at), axis, view, pixels, at === null ? undefined : (i) => thenOf(model, i, at) !== 'not yet');
  if (between) hatchGaps(ctx, scene, bins, between, top, height);
  const other = colors.kinds[''] ?? colors.ink;
  const own = mixed ? other : (colors.kinds[kindOf(model, members[0] ?? 0)] ?? other);
  for (const { from, to, rank } of stretches(bins)) {
    if (rank === 0) continue;
    const state = rank - 1;
    ctx.globalAlpha = state === STATE.ok || state === STATE.open ? 0.6 : 1;
    ctx.fillStyle = stateColor(colors, state, own);
    ctx.fillRect(from, state >= STATE.denied ? top - 2 : top, to - from, state >= STATE.denied ? height + 4 : height);
  }
  ctx.globalAlpha = 1;
}

function hatchGaps(ctx: CanvasRenderingContext2D, scene: Scene, bins: Bins, between: View, top: number, height: number): void {
  const x = scaleOf(scene);
  const low = Math.max(0, x(between.from));
  const high = Math.min(scene.width, x(between.to));
  const gaps = stretches(bins).filter(({ from, to, rank }) => rank === 0 && to > low && from < high && to - from > 3);
  hatch(ctx, gaps.map(({ from, to }) => ({ from: Math.max(from, low), to: Math.min(to, high) })), top, height, scene.colors.quiet);
}

/** Hatches stretches of a row, all with one clip: a clip each would take most of a frame. */
function hatch(ctx: CanvasRenderingContext2D, parts: readonly { from: number; to: number }[], top: number, height: number, color: string): void {
  const [first] = parts;
  const last = parts.at(-1);
  if (!first || !last) return;
  const [from, to] = [first.from, last.to];
  ctx.save();
  ctx.beginPath();
  for (const part of parts) ctx.rect(part.from, top, part.to - part.from, height);
  ctx.clip();
  ctx.strokeStyle = color;
  ctx.globalAlpha *= 0.55;
  ctx.lineWidth = 1;
  ctx.beginPath();
  // Anchored to the canvas, so that the pattern of neighbours meets.
  for (let x = Math.floor((from - height) / 6) * 6; x < to; x += 6) {
    ctx.moveTo(x, top + height);
    ctx.lineTo(x + height, top);
  }
  ctx.stroke();
  ctx.restore();
}

function drawSpan(ctx: CanvasRenderingContext2D, scene: Scene, span: number, top: number, height: number): void {
  const { model, axis, colors, at, width } = scene;
  const x = scaleOf(scene);
  const from = x(axis.begin[span] ?? 0);
  const to = Math.max(from + 2, x(axis.end[span] ?? 0));
  if (to < 0 || from > width) {
    drawAway(ctx, scene, to < 0, top, height);
    return;
  }
  const left = Math.max(-2, from);
  const right = Math.min(width + 2, to);
  const then = thenOf(model, span, at);
  const state = stateThen(model, span, at);
  ctx.globalAlpha = then === 'not yet' ? GHOST : 1;
  const own = colors.kinds[kindOf(model, span)] ?? colors.kinds[''] ?? colors.ink;
  const color = stateColor(colors, state, own);
  const children = below(model, span);
  if (children.length > 0) {
    drawMany(ctx, scene, children, top + 3, height - 6, { from: axis.begin[span] ?? 0, to: axis.end[span] ?? 0 });
    ctx.globalAlpha = then === 'not yet' ? GHOST : 1;
    ctx.strokeStyle = color;
    ctx.lineWidth = 1;
    ctx.strokeRect(left + 0.5, top + 0.5, Math.max(1, right - left - 1), height - 1);
  } else {
    drawLeaf(ctx, scene, span, { left, right, top, height, color, state });
  }
  drawCritical(ctx, scene, span, top, height);
  drawLabel(ctx, scene, span, from, to, top, height, then === 'not yet');
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly height: number;
  readonly color: string;
  readonly state: number;
}

function drawLeaf(ctx: CanvasRenderingContext2D, scene: Scene, span: number, box: Box): void {
  const { colors, axis } = scene;
  const kind = kindOf(scene.model, span);
  const waits = kind === 'timer' || kind === 'wait' || box.state === STATE.held;
  ctx.fillStyle = box.color;
  ctx.strokeStyle = box.color;
  ctx.lineWidth = 1;
  if (waits) {
    hatch(ctx, [{ from: box.left, to: box.right }], box.top, box.height, box.color);
    ctx.strokeRect(box.left + 0.5, box.top + 0.5, Math.max(1, box.right - box.left - 1), box.height - 1);
  } else {
    ctx.fillRect(box.left, box.top, box.right - box.left, box.height);
  }
  if (axis.mode !== 'money') {
    // What a call waited for a person is no work: cut out of its bar and hatched.
    const x = scaleOf(scene);
    for (const part of scene.critical.get(span) ?? []) {
      if (part.part !== 'approval' && part.part !== 'wait') continue;
      const from = Math.max(box.left, x(axis.place(part.start)));
      const to = Math.min(box.right, x(axis.place(part.start + part.duration)));
      if (to - from < 1) continue;
      ctx.clearRect(from, box.top, to - from, box.height);
      hatch(ctx, [{ from, to }], box.top, box.height, colors.hold);
      ctx.strokeStyle = colors.hold;
      ctx.strokeRect(from + 0.5, box.top + 0.5, Math.max(1, to - from - 1), box.height - 1);
    }
  }
  if (box.state === STATE.open) {
    ctx.fillStyle = colors.surface;
    for (let y = box.top; y < box.top + box.height; y += 4) ctx.fillRect(box.right - 3, y, 3, 2);
  }
  if (box.state === STATE.failed || box.state === STATE.doubt) {
    ctx.fillStyle = colors.bad;
    ctx.fillRect(box.left, box.top - 2, 2, box.height + 4);
  }
}

/** The critical path is an outline, no hue: hues are taken by kinds and verdicts. */
function drawCritical(ctx: CanvasRenderingContext2D, scene: Scene, span: number, top: number, height: number): void {
  const parts = scene.critical.get(span);
  if (!parts || scene.axis.mode === 'money') return;
  const x = scaleOf(scene);
  ctx.strokeStyle = scene.colors.ink;
  ctx.lineWidth = 1.5;
  for (const part of parts) {
    const from = Math.max(-4, x(scene.axis.place(part.start)));
    const to = Math.min(scene.width + 4, x(scene.axis.place(part.start + part.duration)));
    if (to < 0 || from > scene.width) continue;
    if (to - from >= NARROW) {
      ctx.strokeRect(from, top - 1.5, to - from, height + 3);
      continue;
    }
    // All around, the outline of a narrow bar would be all that is seen of it.
    ctx.beginPath();
    for (const y of [top - 1.5, top + height + 1.5]) {
      ctx.moveTo(from - 1, y);
      ctx.lineTo(Math.max(to, from + 2) + 1, y);
    }
    ctx.stroke();
  }
}

/** A mark at the edge for a span that lies outside the view. */
function drawAway(ctx: CanvasRenderingContext2D, scene: Scene, before: boolean, top: number, height: number): void {
  const middle = top + height / 2;
  const edge = before ? 1 : scene.width - 1;
  const inward = before ? 6 : -6;
  ctx.fillStyle = scene.colors.line;
  ctx.beginPath();
  ctx.moveTo(edge, middle);
  ctx.lineTo(edge + inward, middle - 4);
  ctx.lineTo(edge + inward, middle + 4);
  ctx.fill();
}

function drawLabel(ctx: CanvasRenderingContext2D, scene: Scene, span: number, from: number, to: number, top: number, height: number, ghost: boolean): void {
  const { model, axis, colors, width } = scene;
  const took = model.duration[span] ?? 0;
  const text = axis.mode === 'money' ? money(model.nano[span] ?? 0) : took < 0 ? 'goes on' : duration(took);
  ctx.font = colors.font;
  ctx.textBaseline = 'middle';
  ctx.fillStyle = colors.quiet;
  ctx.globalAlpha = ghost ? 0.5 : 1;
  const room = ctx.measureText(text).width + 8;
  const middle = top + height / 2 + 0.5;
  if (to + room < width) {
    ctx.textAlign = 'left';
    ctx.fillText(text, to + 5, middle);
  } else if (from > room) {
    ctx.textAlign = 'right';
    ctx.fillText(text, from - 5, middle);
  }
}

/** Draws the axis: its places in words, and above each cut how long it was. */
export function drawScale(ctx: CanvasRenderingContext2D, scene: Omit<Scene, 'rows' | 'rowHeight' | 'critical' | 'until'>, places: readonly number[], height: number): void {
  const { axis, view, width, colors } = scene;
  const scale = width / (view.to - view.from);
  ctx.clearRect(0, 0, width, height);
  ctx.font = colors.font;
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'left';
  ctx.strokeStyle = colors.line;
  ctx.fillStyle = colors.quiet;
  ctx.lineWidth = 1;
  const taken: number[] = [];
  for (const cut of axis.breaks) {
    const x = Math.round((cut.at - view.from) * scale);
    if (x < 0 || x > width) continue;
    const words = `${cut.part} ${duration(cut.us)}`;
    const left = Math.min(x + 3, width - ctx.measureText(words).width - 2);
    if (taken.some((other) => Math.abs(other - left) < 90)) continue;
    taken.push(left);
    ctx.fillStyle = colors.hold;
    ctx.fillText(`⁄⁄ ${words}`, left, height / 2);
  }
  ctx.fillStyle = colors.quiet;
  for (const place of places) {
    const x = Math.round((place - view.from) * scale) + 0.5;
    ctx.beginPath();
    ctx.moveTo(x, height - 5);
    ctx.lineTo(x, height);
    ctx.stroke();
    const words = axisWords(axis, place);
    if (x + ctx.measureText(words).width + 4 < width && !taken.some((left) => Math.abs(left - x) < 90)) ctx.fillText(words, x + 3, height / 2);
  }
}
