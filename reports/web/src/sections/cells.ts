// SPDX-License-Identifier: MIT
/*
 * Squares of the page map: where they lie on the screen and in memory, and two moments on common squares
 *
 * Squares run by address, row by row; regions follow one another.
 */
import type { Values } from '../container';
import type { Pages } from '../doc';

export type Moment = Pages['moments'][number];

export interface Region {
	start: number;
	first_cell: number;
	n_cells: number;
}

/* The squares of a moment, or of a moment as seen on other squares. */
export interface Squares {
	cell_bytes: number;
	n_cells: number;
	regions: Region[];
	live: Uint8Array; // 0 nothing live, 1..255 share
	site: Uint8Array; // rank
	age: Uint8Array; // log2 of ns
	thread: Uint8Array;
}

const GAP = 14; // above each region: its address

export interface Place {
	region: Region;
	top: number;
	rows: number;
}

export interface Layout {
	size: number;
	across: number;
	places: Place[];
	height: number;
}

/* Squares of one size for all regions, as large as the height allows. */
export function placeRegions(regions: readonly Region[], width: number, height: number): Layout {
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

export function squaresOf(moment: Moment, [live, site, age, thread]: readonly Values[]): Squares {
	const cut = (column: Values) =>
		column.subarray(moment.first_cell, moment.first_cell + moment.n_cells) as Uint8Array;
	return {
		cell_bytes: moment.cell_bytes,
		n_cells: moment.n_cells,
		regions: moment.regions,
		live: cut(live!),
		site: cut(site!),
		age: cut(age!),
		thread: cut(thread!),
	};
}

/* ---- where ----------------------------------------------------------------------------------- */

export function addressOf(squares: Squares, at: number): number | null {
	for (const region of squares.regions)
		if (at >= region.first_cell && at < region.first_cell + region.n_cells)
			return region.start + (at - region.first_cell) * squares.cell_bytes;
	return null;
}

/* The squares that reach into a range of addresses, by runs: [first, end). */
export function runsIn(squares: Squares, [from, to]: readonly [number, number]): [number, number][] {
	const found: [number, number][] = [];
	for (const region of squares.regions) {
		const first = Math.max(0, Math.floor((from - region.start) / squares.cell_bytes));
		const last = Math.min(region.n_cells, Math.ceil((to - region.start) / squares.cell_bytes));
		if (first < last) found.push([region.first_cell + first, region.first_cell + last]);
	}
	return found;
}

export function spotOf(layout: Layout, at: number) {
	for (const { region, top } of layout.places) {
		const i = at - region.first_cell;
		if (i >= 0 && i < region.n_cells)
			return { x: (i % layout.across) * layout.size, y: top + Math.floor(i / layout.across) * layout.size };
	}
	return null;
}

/* The square under a point; with `clamp` the nearest one of the region that the point is in or below. */
export function cellUnder(layout: Layout, x: number, y: number, clamp = false): number | null {
	let column = Math.floor(x / layout.size);
	if (clamp) column = Math.max(0, Math.min(layout.across - 1, column));
	if (column < 0 || column >= layout.across) return null;
	let place = clamp ? layout.places[0] : undefined;
	for (const one of layout.places) if (y >= one.top) place = one;
	if (!place) return null;
	let row = Math.floor((y - place.top) / layout.size);
	if (clamp) row = Math.max(0, Math.min(place.rows - 1, row));
	const i = row * layout.across + column;
	if (i < place.region.n_cells) return row < place.rows ? place.region.first_cell + i : null;
	return clamp ? place.region.first_cell + place.region.n_cells - 1 : null;
}

/* ---- two moments ----------------------------------------------------------------------------- */

/* The stretches of memory that either of two moments has, on squares of the larger of their sizes. */
export function commonRegions(a: Squares, b: Squares): { cell_bytes: number; n_cells: number; regions: Region[] } {
	const cell_bytes = Math.max(a.cell_bytes, b.cell_bytes);
	const down = (address: number) => address - (address % cell_bytes);
	const up = (address: number) => down(address + cell_bytes - 1);
	const spans = [a, b]
		.flatMap((one) => one.regions.map((r) => [down(r.start), up(r.start + r.n_cells * one.cell_bytes)] as [number, number]))
		.sort((x, y) => x[0] - y[0]);
	const joined: [number, number][] = [];
	for (const [from, to] of spans) {
		const last = joined.at(-1);
		if (last && from <= last[1]) last[1] = Math.max(last[1], to);
		else joined.push([from, to]);
	}
	let n_cells = 0;
	const regions = joined.map(([from, to]) => {
		const region = { start: from, first_cell: n_cells, n_cells: (to - from) / cell_bytes };
		n_cells += region.n_cells;
		return region;
	});
	return { cell_bytes, n_cells, regions };
}

/* A moment on other, not smaller squares: shares are means, the rest is of the fullest square in each. */
export function onto(squares: Squares, common: ReturnType<typeof commonRegions>): Squares {
	const out: Squares = {
		...common,
		live: new Uint8Array(common.n_cells),
		site: new Uint8Array(common.n_cells),
		age: new Uint8Array(common.n_cells),
		thread: new Uint8Array(common.n_cells),
	};
	const sums = new Float64Array(common.n_cells);
	const fullest = new Uint8Array(common.n_cells);
	const share = squares.cell_bytes / common.cell_bytes;
	for (const region of squares.regions) {
		const home = common.regions.find((r) => region.start >= r.start && region.start < r.start + r.n_cells * common.cell_bytes);
		if (!home) continue;
		for (let i = 0; i < region.n_cells; i++) {
			const from = region.first_cell + i;
			const to = home.first_cell + Math.floor((region.start + i * squares.cell_bytes - home.start) / common.cell_bytes);
			const live = squares.live[from]!;
			sums[to]! += live * share;
			if (live <= fullest[to]!) continue;
			fullest[to] = live;
			out.site[to] = squares.site[from]!;
			out.age[to] = squares.age[from]!;
			out.thread[to] = squares.thread[from]!;
		}
	}
	/* what holds anything stays visible */
	for (let at = 0; at < sums.length; at++) out.live[at] = sums[at]! > 0 ? Math.max(1, Math.round(sums[at]!)) : 0;
	return out;
}

/* From one moment to the other, on common squares. */
export function difference(a: Squares, b: Squares) {
	const found = { more: 0, less: 0, filled: 0, emptied: 0 };
	for (let at = 0; at < a.live.length; at++) {
		const change = b.live[at]! - a.live[at]!;
		if (change > 0) found.more += (change / 255) * a.cell_bytes;
		else found.less -= (change / 255) * a.cell_bytes;
		if (!a.live[at] && b.live[at]) found.filled++;
		if (a.live[at] && !b.live[at]) found.emptied++;
	}
	return found;
}

/* ---- what is in a range ------------------------------------------------------------------------ */

export interface InRange {
	squares: number;
	empty: number;
	sparse: number; // less than a tenth full
	live: number; // bytes
	sites: { rank: number; squares: number; live: number }[]; // by squares that they hold most of, most bytes first
}

export function listRange(squares: Squares, range: readonly [number, number]): InRange {
	const found: InRange = { squares: 0, empty: 0, sparse: 0, live: 0, sites: [] };
	const byRank = new Map<number, { rank: number; squares: number; live: number }>();
	for (const [first, end] of runsIn(squares, range))
		for (let at = first; at < end; at++) {
			const live = squares.live[at]!;
			const bytes = (live / 255) * squares.cell_bytes;
			found.squares++;
			found.live += bytes;
			if (live === 0) {
				found.empty++;
				continue;
			}
			if (live <= 25) found.sparse++;
			const rank = squares.site[at]!;
			const one = byRank.get(rank) ?? { rank, squares: 0, live: 0 };
			one.squares++;
			one.live += bytes;
			byRank.set(rank, one);
		}
	found.sites = [...byRank.values()].sort((x, y) => y.live - x.live || x.rank - y.rank);
	return found;
}
