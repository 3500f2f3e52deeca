// SPDX-License-Identifier: MIT
/*
 * The heap closely: a square a page at a chosen moment, and the blocks of a chosen page
 *
 * The second and the third level below the map of address x time. Squares run by address, row by row;
 * regions follow one another. A page that is chosen is a range of addresses, which the whole page shares.
 */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Values } from '../container';
import type { Doc, Pages } from '../doc';
import { accent, alpha, cividis, hole, lines as palette, muted, other, text } from '../colour';
import { address, bytes, clock, count, duration, percent, visible } from '../format';
import { t, tOr } from '../i18n';
import { model } from '../model';
import { nameOf } from '../names';
import { announce } from '../parts/announce';
import { FONT, prepareCanvas, useWidth } from '../parts/hooks';
import { TableTwin, useColumns, Waiting } from '../parts/Section';
import { hideTip, showTip } from '../parts/Tip';
import { addresses, colourBy, pageShare, selectSite, site, span, theme, thread, time } from '../store';
import { occupancyName } from './Pages';
import { BlockStrip } from './Pins';

const COLUMNS = [
	'pages.live', 'pages.site', 'pages.age', 'pages.thread',
	'pages.block_address', 'pages.block_size', 'pages.block_born_ns', 'pages.block_site', 'pages.block_thread',
] as const;
export const COLOURS = ['occupancy', 'site', 'age', 'thread'] as const;

type Moment = Pages['moments'][number];

const GAP = 14; // above each region: its address
const MAX_HEIGHT = 420;

export interface Place {
	region: Moment['regions'][number];
	top: number;
	rows: number;
}

/* Squares of one size for all regions, as large as the height allows. */
export function placeRegions(regions: Moment['regions'], width: number, height: number) {
	for (let size = 16; size > 1; size--) {
		const across = Math.max(1, Math.floor(width / size));
		let top = 0;
		const places: Place[] = regions.map((region) => {
			const rows = Math.ceil(region.n_cells / across);
			const place = { region, top: top + GAP, rows };
			top += GAP + rows * size + 4;
			return place;
		});
		if (top <= height || size === 2) return { size, across, places, height: top };
	}
	return { size: 2, across: 1, places: [], height: 0 };
}

/* The bin of the occupancy histogram that a share of 0..255 belongs to. */
export const binOf = (share: number) => (share === 0 ? 0 : Math.min(10, Math.floor((share / 255) * 10) + 1));

export function nearest(moments: readonly { time_ns: number }[], at: number): number {
	let best = 0;
	moments.forEach((moment, i) => {
		if (Math.abs(moment.time_ns - at) < Math.abs(moments[best]!.time_ns - at)) best = i;
	});
	return best;
}

/* 2^44 ns are five hours: older blocks all have the same colour. */
const ageShare = (log: number) => Math.max(0, Math.min(1, (log - 20) / 24));

export function PageMap({ doc }: { doc: Doc }) {
	const section = doc.pages;
	const loaded = useColumns(doc, COLUMNS);
	const box = useRef<HTMLDivElement>(null);
	const canvas = useRef<HTMLCanvasElement>(null);
	const [cursor, setCursor] = useState<number | null>(null);
	const width = useWidth(box);
	const now = theme.value;
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const moments = section?.moments.filter((m) => m.n_cells > 0) ?? [];
	const index = nearest(moments, time.value ?? doc.frag?.at_ns ?? span.value);
	const moment = moments[index];
	const colour = (COLOURS as readonly string[]).includes(colourBy.value) ? colourBy.value : 'occupancy';
	const chosen = site.value;
	const worker = thread.value;
	const bin = pageShare.value;
	const range = addresses.value;

	const cells = useMemo(() => {
		if (!values || !moment) return null;
		const cut = (column: Values) => column.subarray(moment.first_cell, moment.first_cell + moment.n_cells);
		return { live: cut(values[0]!), site: cut(values[1]!), age: cut(values[2]!), thread: cut(values[3]!) };
	}, [values, moment]);
	const layout = useMemo(
		() => (moment && width > 0 ? placeRegions(moment.regions, width, MAX_HEIGHT) : null),
		[moment, width],
	);
	const rankOf = useMemo(() => {
		const found = section?.sites.findIndex((s) => s.site === chosen) ?? -1;
		return found < 0 ? null : found + 1;
	}, [section, chosen]);

	useEffect(() => {
		if (!canvas.current || !cells || !layout || !moment) return;
		const c = prepareCanvas(canvas.current, width, layout.height);
		if (!c) return;
		const { size, across } = layout;
		const inset = size > 5 ? 1 : 0;
		c.clearRect(0, 0, width, layout.height);
		c.font = FONT;
		c.textBaseline = 'bottom';
		for (const { region, top } of layout.places) {
			c.fillStyle = muted[now];
			c.fillText(address(region.start), 0, top - 1);
			for (let i = 0; i < region.n_cells; i++) {
				const at = region.first_cell + i;
				const live = cells.live[at]!;
				const x = (i % across) * size;
				const y = top + Math.floor(i / across) * size;
				const faded =
					(rankOf !== null && cells.site[at] !== rankOf) ||
					(worker !== null && cells.thread[at] !== worker) ||
					(bin !== null && binOf(live) !== bin);
				c.fillStyle = live === 0 ? hole[now] : cellColour(colour, cells, at, now);
				c.globalAlpha = faded && live > 0 ? 0.18 : 1;
				c.fillRect(x, y, size - inset, size - inset);
				c.globalAlpha = 1;
			}
		}
		const frame = (at: number | null, style: string) => {
			const spot = at === null ? null : spotOf(layout, at);
			if (!spot) return;
			c.strokeStyle = style;
			c.lineWidth = 2;
			c.strokeRect(spot.x - 1, spot.y - 1, size + 1, size + 1);
		};
		if (range)
			for (const at of cellsIn(moment, range).slice(0, 4096)) frame(at, accent[now]);
		frame(cursor, text[now]);
	}, [cells, layout, now, colour, rankOf, worker, bin, range, cursor]);

	if (!section || moments.length === 0) return section ? <p class="empty">{t('pagemap.none')}</p> : null;
	if (!values || !cells || !moment) return <Waiting state={loaded} />;

	const start = (at: number) => addressOf(moment, at) ?? 0;
	const describe = (at: number) => {
		const live = cells.live[at]!;
		return [
			live === 0 ? t('map.empty') : t('map.tip.occ', percent(live / 255, 0)),
			`${address(start(at))} – ${address(start(at) + moment.cell_bytes)}`,
			...(live === 0
				? []
				: [
						t('pagemap.tip.site', siteName(section, cells.site[at]!)),
						t('pagemap.tip.age', duration(2 ** cells.age[at]!), cells.thread[at] === 255 ? '…' : String(cells.thread[at])),
					]),
		];
	};
	const under = (event: MouseEvent): number | null => {
		if (!layout) return null;
		const rect = canvas.current!.getBoundingClientRect();
		return cellUnder(layout, event.clientX - rect.left, event.clientY - rect.top);
	};
	const pick = (at: number) => (addresses.value = [start(at), start(at) + moment.cell_bytes]);
	const goTo = (i: number) => (time.value = moments[Math.max(0, Math.min(moments.length - 1, i))]!.time_ns);
	const onKeyDown = (event: KeyboardEvent) => {
		const moves: Record<string, number> = {
			ArrowLeft: -1, ArrowRight: 1, ArrowUp: -(layout?.across ?? 1), ArrowDown: layout?.across ?? 1,
		};
		const move = moves[event.key];
		if (move !== undefined) {
			const next = Math.max(0, Math.min(moment.n_cells - 1, (cursor ?? 0) + move));
			setCursor(next);
			announce(describe(next).join(', '));
		} else if (event.key === 'Enter' && cursor !== null) pick(cursor);
		else return;
		event.preventDefault();
		event.stopPropagation();
	};
	const blocks = range ? blocksIn(doc, values, moment, range) : [];
	const picked = range ? cellsIn(moment, range) : [];
	let live = 0;
	for (let at = 0; at < cells.live.length; at++) live += cells.live[at]! / 255;
	model('pagemap', () => ({
		moment: index, moments: moments.length, cells: moment.n_cells, colour, picked: picked.length,
		blocks: blocks.length, live: live * moment.cell_bytes, size: layout?.size, across: layout?.across,
		places: layout?.places.map(({ top, region }) => ({ top, n: region.n_cells })),
	}));

	return (
		<div class="pagemap">
			<div class="sub-head">
				<h3>{t('pagemap.q', bytes(moment.cell_bytes, 0))}</h3>
				<span class="stepper">
					<button type="button" class="icon" aria-label={t('pagemap.back')} disabled={index === 0} onClick={() => goTo(index - 1)}>‹</button>
					<input
						type="range"
						min="0"
						max={moments.length - 1}
						value={index}
						aria-label={t('pagemap.moment')}
						aria-valuetext={clock(moment.time_ns, span.value)}
						onInput={(event) => goTo(Number(event.currentTarget.value))}
					/>
					<button type="button" class="icon" aria-label={t('pagemap.next')} disabled={index === moments.length - 1} onClick={() => goTo(index + 1)}>›</button>
					<span class="num">
						{t('pagemap.at', clock(moment.time_ns, span.value), index + 1, moments.length)}
						{moment.teardown && ` ${t('pagemap.teardown')}`}
					</span>
				</span>
				<span class="switch" role="group" aria-label={t('pagemap.colour')}>
					{COLOURS.map((name) => (
						<button type="button" aria-pressed={name === colour} onClick={() => (colourBy.value = name)}>
							{tOr('pagemap.colour', name)}
						</button>
					))}
				</span>
			</div>
			<Key colour={colour} section={section} />
			{bin !== null && (
				<p class="muted">
					{t('pagemap.bin', occupancyName(bin))}{' '}
					<button type="button" onClick={() => (pageShare.value = null)}>{t('clear')}</button>
				</p>
			)}
			<div ref={box} class="pagemap-box">
				<canvas
					ref={canvas}
					class="orders"
					id="pagemap-canvas"
					role="img"
					tabIndex={0}
					aria-label={t('pagemap.aria', count(moment.n_cells), bytes(moment.cell_bytes, 0), clock(moment.time_ns, span.value), bytes(live * moment.cell_bytes))}
					aria-describedby="pagemap-table"
					onMouseMove={(event) => {
						const at = under(event);
						if (at === null) hideTip();
						else showTip(event, describe(at));
					}}
					onMouseLeave={hideTip}
					onClick={(event) => {
						const at = under(event);
						if (at !== null) pick(at);
					}}
					onKeyDown={onKeyDown}
					onBlur={() => setCursor(null)}
				/>
			</div>
			{moment.regions_left_out > 0 && <p class="muted after">{t('pagemap.left', moment.regions_left_out)}</p>}
			{range && (
				<div class="blocks" aria-live="polite">
					<div class="sub-head">
						<h3>{t('blocks.q', address(range[0]), address(range[1]))}</h3>
						<button type="button" onClick={() => (addresses.value = null)}>{t('clear')}</button>
					</div>
					{blocks.length > 0 ? (
						<>
							<BlockStrip start={range[0]} bytes={range[1] - range[0]} blocks={blocks} />
							<BlockTable blocks={blocks} />
						</>
					) : (
						<p class="empty">
							{t(picked.some((at) => cells.live[at]! > 0) ? 'blocks.none' : 'blocks.empty', count(moment.blocks_left_out))}
						</p>
					)}
				</div>
			)}
			<TableTwin
				id="pagemap-table"
				twin={{
					caption: t('pagemap.q', bytes(moment.cell_bytes, 0)),
					head: [t('col.start'), t('map.share'), t('col.site'), t('frag.sites.age'), t('selected.thread')],
					rows: () =>
						Array.from(cells.live, (value, at) => [start(at), value / 255, value ? siteName(section, cells.site[at]!) : null, value ? 2 ** cells.age[at]! : null, value ? cells.thread[at]! : null]),
					show: (cell, i) =>
						cell === null ? '–' : i === 0 ? address(Number(cell)) : i === 1 ? percent(Number(cell), 0) : i === 3 ? duration(Number(cell)) : String(cell),
				}}
			/>
		</div>
	);
}

const siteName = (section: Pages, rank: number) =>
	rank === 0 ? '–' : rank === 255 ? t('pagemap.other') : visible(section.sites[rank - 1]?.name ?? '?');

function addressOf(moment: Moment, at: number): number | null {
	for (const region of moment.regions)
		if (at >= region.first_cell && at < region.first_cell + region.n_cells)
			return region.start + (at - region.first_cell) * moment.cell_bytes;
	return null;
}

function cellsIn(moment: Moment, [from, to]: readonly [number, number]): number[] {
	const found: number[] = [];
	for (const region of moment.regions) {
		const first = Math.max(0, Math.floor((from - region.start) / moment.cell_bytes));
		const last = Math.min(region.n_cells, Math.ceil((to - region.start) / moment.cell_bytes));
		for (let i = first; i < last; i++) found.push(region.first_cell + i);
	}
	return found;
}

type Layout = ReturnType<typeof placeRegions>;

function spotOf(layout: Layout, at: number) {
	for (const { region, top } of layout.places) {
		const i = at - region.first_cell;
		if (i >= 0 && i < region.n_cells)
			return { x: (i % layout.across) * layout.size, y: top + Math.floor(i / layout.across) * layout.size };
	}
	return null;
}

function cellUnder(layout: Layout, x: number, y: number): number | null {
	const column = Math.floor(x / layout.size);
	if (column < 0 || column >= layout.across) return null;
	for (const { region, top, rows } of layout.places) {
		if (y < top || y >= top + rows * layout.size) continue;
		const i = Math.floor((y - top) / layout.size) * layout.across + column;
		return i < region.n_cells ? region.first_cell + i : null;
	}
	return null;
}

interface Cells {
	live: Values;
	site: Values;
	age: Values;
	thread: Values;
}

function cellColour(by: string, cells: Cells, at: number, now: 'light' | 'dark'): string {
	const scale = (value: number) => {
		const [r, g, b] = cividis[Math.round(value)]!;
		return `rgb(${r} ${g} ${b})`;
	};
	const ranked = (rank: number) => (rank >= 1 && rank <= 8 ? palette[now][rank - 1]! : other[now]);
	if (by === 'site') return ranked(cells.site[at]!);
	if (by === 'thread') return ranked(cells.thread[at]!);
	if (by === 'age') return scale(255 * ageShare(cells.age[at]!));
	return scale(cells.live[at]!);
}

interface BlockRow {
	address: number;
	size: number;
	site: number;
	name: string;
	age_ns: number;
	thread: number;
}

/* Listed blocks that reach into the range. */
export function blocksIn(doc: Doc, values: Values[], moment: Moment, [from, to]: readonly [number, number]): BlockRow[] {
	const found: BlockRow[] = [];
	for (let i = moment.first_block; i < moment.first_block + moment.n_blocks; i++) {
		const start = values[4]![i]!;
		const size = values[5]![i]!;
		if (start >= to || start + size <= from) continue;
		found.push({
			address: start,
			size,
			site: values[7]![i]!,
			name: nameOf(doc, values[7]![i]!),
			age_ns: Math.max(0, moment.time_ns - values[6]![i]!),
			thread: values[8]![i]!,
		});
	}
	return found;
}

function BlockTable({ blocks }: { blocks: BlockRow[] }) {
	return (
		<div class="scroll" tabIndex={0} role="group" aria-label={t('pins.page')}>
			<table class="plain">
				<thead>
					<tr>
						<th scope="col">{t('errors.address')}</th>
						<th scope="col" class="num">{t('col.size')}</th>
						<th scope="col" class="num">{t('frag.sites.age')}</th>
						<th scope="col" class="num">{t('selected.thread')}</th>
						<th scope="col">{t('col.site')}</th>
					</tr>
				</thead>
				<tbody>
					{blocks.slice(0, 16).map((block) => (
						<tr class={site.value === block.site ? 'chosen' : undefined}>
							<td><code>{address(block.address)}</code></td>
							<td class="num">{bytes(block.size)}</td>
							<td class="num">{duration(block.age_ns)}</td>
							<td class="num">{block.thread || '–'}</td>
							<td>
								<button type="button" class="site-name" aria-pressed={site.value === block.site} onClick={() => selectSite(block.site)}>
									{visible(block.name)}
								</button>
							</td>
						</tr>
					))}
				</tbody>
			</table>
		</div>
	);
}

function Key({ colour, section }: { colour: string; section: Pages }) {
	const now = theme.value;
	if (colour === 'site')
		return (
			<p class="keys muted">
				{section.sites.slice(0, 8).map((s, i) => (
					<span>
						<svg width="12" height="10" aria-hidden="true"><rect width="10" height="10" rx="2" fill={palette[now][i]!} /></svg>{' '}
						{visible(s.name)}
					</span>
				))}
				{section.sites.length > 8 && (
					<span>
						<svg width="12" height="10" aria-hidden="true"><rect width="10" height="10" rx="2" fill={other[now]} /></svg>{' '}
						{t('pagemap.other')}
					</span>
				)}
			</p>
		);
	if (colour === 'thread') return <p class="keys muted">{t('pagemap.key.thread')}</p>;
	const steps = Array.from({ length: 24 }, (_, i) => cividis[Math.round((i / 23) * 255)]!);
	return (
		<p class="keys muted">
			<span>{colour === 'age' ? t('pagemap.key.young') : '1 %'}</span>
			<svg width="144" height="10" aria-hidden="true">
				{steps.map(([r, g, b], i) => (
					<rect x={i * 6} width="6.5" height="10" fill={`rgb(${r} ${g} ${b})`} />
				))}
			</svg>
			<span>{colour === 'age' ? t('pagemap.key.old') : '100 %'}</span>
			<span>
				<svg width="14" height="10" aria-hidden="true"><rect width="12" height="10" fill={hole[now]} stroke={alpha(muted[now], 0.6)} /></svg>{' '}
				{t('map.empty')}
			</span>
		</p>
	);
}
