// SPDX-License-Identifier: MIT
/*
 * Where in the address space are the holes? A canvas of address x time
 *
 * The cells are painted once into an image of one pixel a cell; a change of the range only draws that
 * image at another scale, without smoothing, so that a cell stays a cell.
 */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Values } from '../container';
import type { Doc, HeapMap as MapSection } from '../doc';
import { accent, alpha, cividis, grid, hole, muted, parseHex, text } from '../colour';
import { address, bytes, clock, duration, percent, visible } from '../format';
import { t } from '../i18n';
import { model } from '../model';
import { FONT, indexAt, prepareCanvas, useInSight, useWidth } from '../parts/hooks';
import { Section, TableTwin, useColumns, Waiting } from '../parts/Section';
import { ticks, timeSteps } from '../parts/ticks';
import { hideTip, showTip } from '../parts/Tip';
import { announce } from '../parts/announce';
import { PageMap } from './PageMap';
import { NoLayout } from './Frag';
import { addresses, hover, range, setRange, span, theme, time, view, zoomAt } from '../store';

const LEFT = 112;
const RIGHT = 26;
const BOTTOM = 24;
const GAP = 12;

export interface BandBox {
	region: MapSection['regions'][number];
	top: number;
	height: number;
}

/* Regions one below the other, each as tall as its share of the rows. */
export function layoutBands(map: MapSection, height: number): BandBox[] {
	const regions = map.regions.filter((region) => region.n_rows > 0);
	const gaps = GAP * Math.max(0, regions.length - 1);
	const rows = Math.max(1, regions.reduce((sum, region) => sum + region.n_rows, 0));
	const unit = Math.max(0, height - gaps) / rows;
	let top = 0;
	return regions.map((region) => {
		const box = { region, top, height: region.n_rows * unit };
		top += box.height + GAP;
		return box;
	});
}

/* One pixel a cell, columns to the right, rows downwards. */
export function paintCells(
	cells: ArrayLike<number>,
	rows: number,
	columns: number,
	empty: readonly [number, number, number],
	out: Uint8ClampedArray,
): void {
	for (let c = 0; c < columns; c++)
		for (let r = 0; r < rows; r++) {
			const value = cells[c * rows + r]!;
			const [red, green, blue] = value === 0 ? empty : cividis[value]!;
			const at = (r * columns + c) * 4;
			out[at] = red;
			out[at + 1] = green;
			out[at + 2] = blue;
			out[at + 3] = 255;
		}
}

/* Columns cover the time from the end of the one before to their own. */
const columnStart = (map: MapSection, column: number) => (column === 0 ? 0 : map.time_ns[column - 1]!);

export function shares(cells: ArrayLike<number>, rows: number, column: number) {
	let live = 0;
	let sparse = 0;
	for (let r = 0; r < rows; r++) {
		const value = cells[column * rows + r]!;
		if (value > 0) live++;
		if (value > 0 && value <= 25) sparse++;
	}
	return { live: live / Math.max(1, rows), sparse: sparse / Math.max(1, live) };
}

export function HeapMap({ doc }: { doc: Doc }) {
	const map = doc.map;
	const loaded = useColumns(doc, ['map.occupancy']);
	const box = useRef<HTMLDivElement>(null);
	const canvas = useRef<HTMLCanvasElement>(null);
	const width = useWidth(box);
	const inSight = useInSight(box);
	const drawn = useRef(false);
	const drag = useRef<readonly [number, number] | null>(null);
	const [dragged, setDragged] = useState<readonly [number, number, number, number] | null>(null); // what is being dragged
	const now = theme.value;
	const cells: Values | null = loaded && 'values' in loaded ? loaded.values[0]! : null;
	const usable =
		map !== undefined && map.rows > 0 && map.columns > 0 && map.time_ns.length === map.columns;
	const height = Math.max(260, Math.min(520, (map?.rows ?? 0) * 2 + BOTTOM));

	const image = useMemo(() => {
		if (!map || !usable || !cells || cells.length < map.rows * map.columns) return null;
		const picture = document.createElement('canvas');
		picture.width = map.columns;
		picture.height = map.rows;
		const context = picture.getContext('2d')!;
		const data = context.createImageData(map.columns, map.rows);
		paintCells(cells, map.rows, map.columns, parseHex(hole[now]), data.data);
		context.putImageData(data, 0, 0);
		return picture;
	}, [map, cells, now]);

	const bands = map ? layoutBands(map, height - BOTTOM) : [];
	const [a, b] = view.value;
	const plotWidth = Math.max(1, width - LEFT - RIGHT);
	const toX = (ns: number) => LEFT + ((ns - a) / Math.max(1, b - a)) * plotWidth;
	const toTime = (x: number) => a + ((x - LEFT) / plotWidth) * (b - a);
	const mark = time.value;
	const pointer = inSight ? hover.value : null;
	const chosen = addresses.value;

	useEffect(() => {
		if (!canvas.current || !map || !image || width < LEFT + 40 || (!inSight && drawn.current)) return;
		drawn.current = true;
		const c = prepareCanvas(canvas.current, width, height);
		if (!c) return;
		draw(c, { map, image, bands, a, b, width, height, plotWidth, toX, mark, pointer, chosen });
		if (!dragged) return;
		c.fillStyle = alpha(accent[now], 0.16);
		c.strokeStyle = accent[now];
		const [x0, y0, x1, y1] = dragged;
		c.fillRect(x0, y0, x1 - x0, y1 - y0);
		c.strokeRect(x0, y0, x1 - x0, y1 - y0);
	}, [image, width, height, a, b, mark, pointer, now, chosen, inSight, dragged]);

	if (!map || !usable)
		return <NoLayout doc={doc} id="map" question={t('map.q')} />;
	const at = mark ?? span.value;
	const column = Math.min(map.columns - 1, indexAt(map.time_ns, at));
	const answer = cells
		? (() => {
				const s = shares(cells, map.rows, column);
				return t('map.a', percent(s.live, 0), clock(map.time_ns[column]!, span.value), percent(s.sparse, 0));
			})()
		: undefined;
	const total = map.regions.reduce((sum, region) => sum + region.n_rows * map.bin_bytes, 0);
	if (cells)
		model('map', () => ({
			rows: map.rows,
			columns: map.columns,
			empty: Array.from(cells).filter((value) => value === 0).length / cells.length,
			regions: map.regions.map(({ start, end }) => ({ start, end })),
			plot: { left: LEFT, right: RIGHT, bottom: BOTTOM, height },
		}));

	const cellAt = (x: number, y: number) => {
		const band = bands.find((candidate) => y >= candidate.top && y < candidate.top + candidate.height);
		if (!band || x < LEFT || x > LEFT + plotWidth) return null;
		const ns = toTime(x);
		let col = indexAt(map.time_ns, ns);
		if (map.time_ns[col]! < ns) col = Math.min(map.columns - 1, col + 1);
		const inner = Math.min(
			band.region.n_rows - 1,
			Math.floor(((y - band.top) / band.height) * band.region.n_rows),
		);
		return { col, row: band.region.first_row + inner, start: band.region.start + inner * map.bin_bytes, ns };
	};

	/* The cells of the row at a height; between two regions, the next one up or down. */
	const rowAt = (y: number, towards: 1 | -1) => {
		const ordered = towards > 0 ? bands : [...bands].reverse();
		const band = ordered.find(({ top, height: tall }) => (towards > 0 ? y < top + tall : y >= top));
		if (!band) return null;
		const { region } = band;
		const inner = Math.max(0, Math.min(region.n_rows - 1, Math.floor(((y - band.top) / band.height) * region.n_rows)));
		const start = region.start + inner * map.bin_bytes;
		return { start, end: start + map.bin_bytes };
	};

	const place = (event: MouseEvent) => {
		const rect = canvas.current!.getBoundingClientRect();
		return [event.clientX - rect.left, event.clientY - rect.top] as const;
	};
	const onMove = (event: MouseEvent) => {
		const [x, y] = place(event);
		const cell = cellAt(x, y);
		if (drag.current && event.buttons === 1) setDragged(rectangle(drag.current, [x, y]));
		hover.value = x >= LEFT ? Math.max(0, Math.min(span.value, toTime(x))) : null;
		if (!cell || !cells) return hideTip();
		const value = cells[cell.col * map.rows + cell.row]!;
		return showTip(event, [
			value === 0 ? t('map.empty') : t('map.tip.occ', percent(value / 255, 0)),
			`${address(cell.start)} – ${address(cell.start + map.bin_bytes)}`,
			`${clock(columnStart(map, cell.col), span.value)} – ${clock(map.time_ns[cell.col]!, span.value)}`,
		]);
	};
	const onUp = (event: MouseEvent) => {
		const [x, y] = place(event);
		const from = drag.current;
		drag.current = null;
		setDragged(null);
		if (from === null) return;
		const [x0, y0, x1, y1] = rectangle(from, [x, y]);
		const tall = y1 - y0 > 8; // less is a hand that is not quite still
		const [low, high] = [rowAt(y0, 1), rowAt(y1, -1)];
		if (tall && low && high && high.end > low.start) addresses.value = [low.start, high.end];
		if (x1 - x0 > 4) setRange(toTime(x0), toTime(x1));
		else if (tall) return;
		else if (x >= LEFT) {
			const cell = cellAt(...place(event));
			time.value = Math.round(Math.max(0, Math.min(span.value, toTime(x))));
			addresses.value = cell ? [cell.start, cell.start + map.bin_bytes] : null;
		}
	};
	const onKeyDown = (event: KeyboardEvent) => {
		if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
		event.preventDefault();
		event.stopPropagation();
		const step = (event.key === 'ArrowRight' ? 1 : -1) * (event.shiftKey ? 10 : 1);
		const next = Math.max(0, Math.min(map.columns - 1, column + step));
		time.value = map.time_ns[next]!;
		if (cells) {
			const s = shares(cells, map.rows, next);
			announce(t('map.a', percent(s.live, 0), clock(map.time_ns[next]!, span.value), percent(s.sparse, 0)));
		}
	};

	return (
		<Section
			id="map"
			question={t('map.q')}
			answer={answer}
			how={t('map.how', bytes(map.bin_bytes))}
			tools={<Scale cell={t('map.cell', bytes(map.bin_bytes), duration(span.value / map.columns))} />}
		>
			{!image && <Waiting state={loaded} />}
			<div ref={box} class="map-box">
				<canvas
					ref={canvas}
					class="map"
					role="img"
					tabIndex={0}
					aria-label={t('map.aria', bytes(total), map.regions.length, duration(span.value))}
					aria-describedby="map-table"
					onMouseMove={onMove}
					onMouseLeave={() => {
						hover.value = null;
						drag.current = null;
						setDragged(null);
						hideTip();
					}}
					onMouseDown={(event) => (drag.current = place(event))}
					onMouseUp={onUp}
					onDblClick={() => (range.value = null)}
					onWheel={(event) => {
						if (!event.ctrlKey && !event.metaKey) return;
						event.preventDefault();
						zoomAt(toTime(place(event)[0]), event.deltaY < 0 ? 0.8 : 1.25);
					}}
					onKeyDown={onKeyDown}
				/>
			</div>
			<PageMap doc={doc} />
			<TableTwin
				id="map-table"
				twin={{
					caption: t('map.nav'),
					head: [t('col.region'), t('col.start'), t('col.end'), t('col.size'), t('col.occupancy.end')],
					rows: () =>
						map.regions.map((region) => [
							visible(region.kind),
							address(region.start),
							address(region.end),
							region.end - region.start,
							cells ? regionLive(cells, map, region) : null,
						]),
					show: (cell, i) =>
						i === 3 ? bytes(Number(cell)) : i === 4 ? percent(cell as number | null) : String(cell),
				}}
			/>
		</Section>
	);
}

const rectangle = ([x0, y0]: readonly [number, number], [x1, y1]: readonly [number, number]) =>
	[Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)] as const;

function regionLive(cells: ArrayLike<number>, map: MapSection, region: MapSection['regions'][number]): number {
	let sum = 0;
	for (let r = 0; r < region.n_rows; r++)
		sum += cells[(map.columns - 1) * map.rows + region.first_row + r]!;
	return sum / 255 / Math.max(1, region.n_rows);
}

interface Picture {
	map: MapSection;
	image: HTMLCanvasElement;
	bands: BandBox[];
	a: number;
	b: number;
	width: number;
	height: number;
	plotWidth: number;
	toX: (ns: number) => number;
	mark: number | null;
	pointer: number | null;
	chosen: readonly [number, number] | null;
}

function draw(c: CanvasRenderingContext2D, p: Picture): void {
	const now = theme.peek();
	const { map, bands, plotWidth } = p;

	c.clearRect(0, 0, p.width, p.height);
	c.imageSmoothingEnabled = false;
	/* equal steps of time: the image's own x is proportional to time */
	const first = (p.a / span.peek()) * map.columns;
	const count = ((p.b - p.a) / span.peek()) * map.columns;
	for (const band of bands) {
		c.drawImage(
			p.image,
			first,
			band.region.first_row,
			count,
			band.region.n_rows,
			LEFT,
			band.top,
			plotWidth,
			band.height,
		);
		c.strokeStyle = grid[now];
		c.strokeRect(LEFT + 0.5, band.top + 0.5, plotWidth - 1, Math.max(1, band.height - 1));
	}

	c.font = FONT;
	c.textAlign = 'right';
	c.textBaseline = 'top';
	bands.forEach((band, i) => {
		if (band.height > 14) {
			c.fillStyle = text[now];
			c.fillText(visible(band.region.kind).slice(0, 16), LEFT - 8, band.top + 1);
		}
		if (band.height > 30) {
			c.fillStyle = muted[now];
			c.fillText(`0x${band.region.start.toString(16)}`, LEFT - 8, band.top + 15);
		}
		if (band.height > 46) {
			c.fillStyle = muted[now];
			c.fillText(bytes(band.region.n_rows * map.bin_bytes), LEFT - 8, band.top + 29);
		}
		if (i > 0) zigzag(c, LEFT, band.top - GAP / 2, plotWidth, muted[now]);
	});

	c.textBaseline = 'top';
	c.textAlign = 'center';
	c.fillStyle = muted[now];
	const base = p.height - BOTTOM;
	for (const at of ticks(p.a, p.b, plotWidth / 84, timeSteps)) {
		const x = p.toX(at);
		c.fillRect(Math.round(x), base, 1, 4);
		c.fillText(clock(at, Math.max(1, p.b - p.a)), x, base + 7);
	}

	if (p.chosen)
		for (const band of bands) {
			const unit = band.height / band.region.n_rows;
			const from = (p.chosen[0] - band.region.start) / map.bin_bytes;
			const to = (p.chosen[1] - band.region.start) / map.bin_bytes;
			if (to <= 0 || from >= band.region.n_rows) continue;
			c.strokeStyle = accent[now];
			c.lineWidth = 1.5;
			c.strokeRect(LEFT - 1, band.top + Math.max(0, from) * unit - 1, plotWidth + 2, Math.max(3, (to - from) * unit + 2));
			c.lineWidth = 1;
		}
	line(c, p, p.mark, accent[now], [4, 3]);
	line(c, p, p.pointer, muted[now], []);
}

function line(c: CanvasRenderingContext2D, p: Picture, at: number | null, colour: string, dash: number[]) {
	if (at === null || at < p.a || at > p.b) return;
	const x = Math.round(p.toX(at)) + 0.5;
	c.strokeStyle = colour;
	c.setLineDash(dash);
	c.beginPath();
	c.moveTo(x, 0);
	c.lineTo(x, p.height - BOTTOM);
	c.stroke();
	c.setLineDash([]);
}

/* Addresses are left out here. */
function zigzag(c: CanvasRenderingContext2D, left: number, y: number, width: number, colour: string) {
	c.strokeStyle = colour;
	c.globalAlpha = 0.5;
	c.beginPath();
	c.moveTo(left, y);
	for (let x = 0, i = 0; x < width; x += 6, i++) c.lineTo(left + x, y + (i % 2 === 0 ? -2 : 2));
	c.stroke();
	c.globalAlpha = 1;
}

function Scale({ cell }: { cell: string }) {
	const now = theme.value;
	const box = useRef<HTMLCanvasElement>(null);
	useEffect(() => {
		const c = box.current && prepareCanvas(box.current, 128, 12);
		if (!c) return;
		for (let i = 0; i < 128; i++) {
			const [r, g, b] = cividis[i * 2]!;
			c.fillStyle = `rgb(${r} ${g} ${b})`;
			c.fillRect(i, 0, 1, 12);
		}
	}, [now]);
	return (
		<span class="scale">
			<span class="scale-hole" aria-hidden="true" />
			{t('map.empty')}
			<span class="scale-low">1 %</span>
			<canvas ref={box} aria-hidden="true" />
			100 %
			<span class="muted scale-cell">{cell}</span>
		</span>
	);
}
