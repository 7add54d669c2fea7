"""What `benchmarks.console` runs inside the page: times are the browser's own, from the moment of navigation."""

NOTE_DRAWING = """
(() => {
  let found;
  window.__drawn = new Promise((resolve) => { found = resolve; });
  const painted = () => requestAnimationFrame(() => requestAnimationFrame(() => found(performance.now())));
  for (const name of ['fillRect', 'fill', 'stroke']) {
    const own = CanvasRenderingContext2D.prototype[name];
    CanvasRenderingContext2D.prototype[name] = function (...given) {
      if (found && this.canvas.closest('[role="rowgroup"]')) {
        painted();
        CanvasRenderingContext2D.prototype[name] = own;
      }
      return own.apply(this, given);
    };
  }
})();
"""
"""Before the page's own scripts: notes when the waterfall's bars were first drawn and the browser has painted them."""

DRAWN = "window.__drawn"

FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"

LARGEST_PAINT = """
new Promise((resolve) => {
  new PerformanceObserver((list) => resolve(list.getEntries().at(-1).startTime))
    .observe({ type: 'largest-contentful-paint', buffered: true });
})
"""

TRACE_REQUEST = """
(() => {
  const [entry] = performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/trace'));
  return { ms: entry.responseEnd - entry.startTime, bytes: entry.encodedBodySize };
})()
"""

UNFOLD = """
(async () => {
  const frames = async (count) => {
    for (let i = 0; i < count; i += 1) await new Promise((resolve) => requestAnimationFrame(resolve));
  };
  const grid = document.querySelector('[role="treegrid"]');
  grid.scrollTop = 0;
  for (let round = 0; round < 3; round += 1) {
    await frames(3);
    const folded = [...grid.querySelectorAll('[role="row"][aria-expanded="false"]')];
    for (const row of folded) row.querySelector('button').click();
  }
  await frames(3);
  return Number(grid.getAttribute('aria-rowcount'));
})()
"""
"""Opens what is folded among the rows in view, three levels deep; how many rows there are then."""

SCROLL = """
async ([pixels, seconds]) => {
  const grid = document.querySelector('[role="treegrid"]');
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const times = [];
  let last = await frame();
  let by = pixels;
  for (const end = last + seconds * 1000; last < end; ) {
    const before = grid.scrollTop;
    grid.scrollTop += by;
    if (grid.scrollTop === before) by = -by;
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  return times;
}
"""
"""So many pixels a frame, to the end and back; milliseconds from frame to frame."""

NOTE_KEYS = """
(() => {
  window.__keys = [];
  window.__keysObserver = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (entry.name === 'keydown') window.__keys.push(entry.duration);
  });
  window.__keysObserver.observe({ type: 'event', durationThreshold: 16 });
})()
"""

KEYS = """
new Promise((resolve) => setTimeout(() => resolve(window.__keys), 500))
"""
"""From key to paint in milliseconds, of those that took 16 or more."""
