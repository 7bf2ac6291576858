// Where tiles lie. Pure: a box and a count in, rectangles out.

export interface Box {
  width: number;
  height: number;
}

export interface Rect extends Box {
  x: number;
  y: number;
}

export const GAP = 10;
const ASPECT = 16 / 9;
const NARROWEST = 150; // CSS pixels; with more tiles than fit so there are pages
export const MOST_TILES = 50;

/** The widest 16:9 tile with which `count` tiles fit into the box, and how many are in a row. */
function fit(count: number, box: Box, gap: number): { columns: number; width: number } {
  let best = { columns: 1, width: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const byWidth = (box.width - gap * (columns - 1)) / columns;
    const byHeight = ((box.height - gap * (rows - 1)) / rows) * ASPECT;
    const width = Math.min(byWidth, byHeight);
    if (width > best.width) best = { columns, width };
  }
  return best;
}

/** Rectangles of `count` tiles of one size, as large as they can be, the last row in the middle. */
export function gridOf(count: number, box: Box, gap = GAP): Rect[] {
  if (count === 0 || box.width <= 0 || box.height <= 0) return [];
  if (count === 1 && box.height > box.width) return [{ x: 0, y: 0, ...box }]; // a phone upright: all of it
  const { columns, width: exact } = fit(count, box, gap);
  const width = Math.floor(exact);
  const height = Math.floor(exact / ASPECT);
  const rows = Math.ceil(count / columns);
  const top = (box.height - rows * height - (rows - 1) * gap) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = row === rows - 1 ? count - columns * (rows - 1) : columns;
    const left = (box.width - inRow * width - (inRow - 1) * gap) / 2;
    return {
      x: Math.round(left + (index % columns) * (width + gap)),
      y: Math.round(top + row * (height + gap)),
      width,
      height,
    };
  });
}

/** How many tiles a page of the grid has at most. */
export function tilesPerPage(box: Box, gap = GAP): number {
  const columns = Math.max(1, Math.floor((box.width + gap) / (NARROWEST + gap)));
  const rows = Math.max(1, Math.floor((box.height + gap) / (NARROWEST / ASPECT + gap)));
  return Math.min(MOST_TILES, columns * rows);
}

export interface Spotlight {
  stage: Rect;
  strip: Rect[];
}

const STRIP = 0.2; // of the box's longer side
const STRIP_MOST = 240;
const STRIP_LEAST = 110;

/** One large rectangle and a strip of `count` small ones at the right, or below where the box is upright. */
export function spotlightOf(count: number, box: Box, gap = GAP): Spotlight {
  if (count === 0) return { stage: { x: 0, y: 0, ...box }, strip: [] };
  const upright = box.height > box.width;
  if (upright) {
    const width = Math.floor(Math.min(STRIP_MOST, (box.width - 2 * gap) / 3)); // three beside each other on a phone
    const height = Math.round(width / ASPECT);
    const shown = Math.min(count, Math.max(1, Math.floor((box.width + gap) / (width + gap))));
    const left = (box.width - shown * width - (shown - 1) * gap) / 2;
    const y = box.height - height;
    const strip = Array.from({ length: shown }, (_, index) => ({ x: Math.round(left + index * (width + gap)), y, width, height }));
    return { stage: { x: 0, y: 0, width: box.width, height: y - gap }, strip };
  }
  const width = Math.round(Math.min(STRIP_MOST, Math.max(STRIP_LEAST, box.width * STRIP)));
  const height = Math.round(width / ASPECT);
  const shown = Math.min(count, Math.max(1, Math.floor((box.height + gap) / (height + gap))));
  const top = (box.height - shown * height - (shown - 1) * gap) / 2;
  const x = box.width - width;
  const strip = Array.from({ length: shown }, (_, index) => ({ x, y: Math.round(top + index * (height + gap)), width, height }));
  return { stage: { x: 0, y: 0, width: x - gap, height: box.height }, strip };
}
