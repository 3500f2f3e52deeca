// SPDX-License-Identifier: MIT
/*
 * The heap closely: a square a page at a chosen moment, two moments side by side, and what lies in a run of pages
 *
 * The second and the third level below the map of address x time. Pages that are chosen are a range of addresses,
 * which the whole page shares.
 */
import { useMemo, useRef, useState } from 'preact/hooks';
import type { Values } from '../container';
import type { Doc, Pages } from '../doc';
import { alpha, changeRgb, cividis, hole, lines as palette, muted, other } from '../colour';
import { address, bytes, clock, count, duration, percent, visible } from '../format';
import { t, tOr } from '../i18n';
import { model } from '../model';
import { nameOf } from '../names';
import { BlockStrip, BlockTable, SiteButton, type Block } from '../parts/Blocks';
import { useWidth } from '../parts/hooks';
import { TableTwin, useColumns, Waiting } from '../parts/Section';
import { Squares } from '../parts/Squares';
import { addresses, colourBy, pageShare, site, span, theme, thread, time } from '../store';
import {
	addressOf, commonRegions, difference, listRange, nearest, onto, placeRegions, squaresOf, type Moment, type Squares as Cells,
} from './cells';
import { occupancyName } from './Pages';

const COLUMNS = [
	'pages.live', 'pages.site', 'pages.age', 'pages.thread',
	'pages.block_address', 'pages.block_size', 'pages.block_born_ns', 'pages.block_site', 'pages.block_thread',
] as const;
export const COLOURS = ['occupancy', 'site', 'age', 'thread'] as const;

const MAX_HEIGHT = 420;
const ROWS = 12; // of sites in a range
const BLOCKS = 16;
const STRIP_BYTES = 1 << 18; // longer stretches have blocks too small to see
const BESIDE = 700; // width from which two moments stand side by side
const APART = 20;

export function PageMap({ doc }: { doc: Doc }) {
	const section = doc.pages;
	const loaded = useColumns(doc, COLUMNS);
	const box = useRef<HTMLDivElement>(null);
	const [earlier, setEarlier] = useState<number | null>(null); // the moment to compare with
	const [changes, setChanges] = useState(true); // colour the later moment by what changed
	const width = useWidth(box);
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const moments = section?.moments.filter((m) => m.n_cells > 0) ?? [];
	const index = nearest(moments, time.value ?? doc.frag?.at_ns ?? span.value);
	const moment = moments[index];
	const before = earlier !== null && earlier !== index ? moments[earlier] : undefined;
	const colour = (COLOURS as readonly string[]).includes(colourBy.value) ? colourBy.value : 'occupancy';
	const chosen = site.value;
	const worker = thread.value;
	const bin = pageShare.value;
	const range = addresses.value;

	const own = useMemo(() => (values && moment ? squaresOf(moment, values) : null), [values, moment]);
	const two = useMemo(() => {
		if (!values || !own || !before) return null;
		const then = squaresOf(before, values);
		const common = commonRegions(then, own);
		const pair = { then: onto(then, common), now: onto(own, common) };
		return { ...pair, change: difference(pair.then, pair.now) };
	}, [values, own, before]);
	const shown = two?.now ?? own;
	const beside = two !== null && width >= BESIDE;
	const each = beside ? Math.floor((width - APART) / 2) : width;
	const layout = useMemo(
		() => (shown && each > 0 ? placeRegions(shown.regions, each, MAX_HEIGHT) : null),
		[shown, each],
	);
	const rankOf = useMemo(() => {
		const found = section?.sites.findIndex((s) => s.site === chosen) ?? -1;
		return found < 0 ? null : found + 1;
	}, [section, chosen]);

	if (!section || moments.length === 0) return section ? <p class="empty">{t('pagemap.none')}</p> : null;
	if (!values || !own || !shown || !moment) return <Waiting state={loaded} />;

	const describe = (squares: Cells) => (at: number) => {
		const live = squares.live[at]!;
		const start = addressOf(squares, at) ?? 0;
		const rank = squares.site[at]!;
		return [
			live === 0 ? t('map.empty') : t('map.tip.occ', percent(live / 255, 0)),
			`${address(start)} – ${address(start + squares.cell_bytes)}`,
			...(live === 0
				? []
				: [
						t('pagemap.tip.site', siteName(section, rank)),
						t('pagemap.tip.age', duration(2 ** squares.age[at]!), squares.thread[at] === 255 ? '…' : String(squares.thread[at])),
					]),
			...(two ? [t('pagemap.tip.both', percent(two.then.live[at]! / 255, 0), percent(two.now.live[at]! / 255, 0))] : []),
		];
	};
	const goTo = (i: number) => (time.value = moments[Math.max(0, Math.min(moments.length - 1, i))]!.time_ns);
	const blocks = range ? blocksIn(doc, values, moment, range) : [];
	const picked = range ? listRange(shown, range) : null;
	let live = 0;
	for (let at = 0; at < own.live.length; at++) live += own.live[at]! / 255;
	model('pagemap', () => ({
		moment: index, moments: moments.length, cells: moment.n_cells, colour, picked: picked?.squares ?? 0,
		blocks: blocks.length, live: live * moment.cell_bytes, size: layout?.size, across: layout?.across,
		places: layout?.places.map(({ top, region }) => ({ top, n: region.n_cells })),
		list: picked, change: two?.change ?? null, width: each,
	}));
	const squares = { colour, rank: rankOf, worker, width: each };

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
				{moments.length > 1 && (
					<label class="order-pick">
						{t('pagemap.with')}{' '}
						<select
							class="pagemap-with"
							value={before ? earlier! : -1}
							onChange={(event) => {
								const i = Number(event.currentTarget.value);
								setEarlier(i < 0 ? null : i);
							}}
						>
							<option value={-1}>{t('pagemap.with.none')}</option>
							{moments.map((one, i) => i !== index && <option value={i}>{clock(one.time_ns, span.value)}</option>)}
						</select>
					</label>
				)}
				{two && (
					<button type="button" aria-pressed={changes} onClick={() => setChanges(!changes)}>
						{t('pagemap.changes')}
					</button>
				)}
			</div>
			<Key colour={colour} section={section} />
			{two && changes && <Key colour="change" section={section} />}
			{bin !== null && (
				<p class="muted">
					{t('pagemap.bin', occupancyName(bin))}{' '}
					<button type="button" onClick={() => (pageShare.value = null)}>{t('clear')}</button>
				</p>
			)}
			{two && before && (
				<p role="status" class="pagemap-change">
					{t(
						'pagemap.change', clock(before.time_ns, span.value), clock(moment.time_ns, span.value), bytes(two.change.more),
						bytes(two.change.less), count(two.change.filled), count(two.change.emptied),
					)}
				</p>
			)}
			<div ref={box} class={`pagemap-box ${beside ? 'beside' : ''}`}>
				{layout && two && before && (
					<figure>
						<figcaption>{clock(before.time_ns, span.value)}</figcaption>
						<Squares
							{...squares}
							id="pagemap-before"
							squares={two.then}
							layout={layout}
							label={t('pagemap.aria', count(two.then.n_cells), bytes(two.then.cell_bytes, 0), clock(before.time_ns, span.value), bytes(liveOf(two.then)))}
							describe={describe(two.then)}
						/>
					</figure>
				)}
				{layout && (
					<figure>
						{two && <figcaption>{clock(moment.time_ns, span.value)}</figcaption>}
						<Squares
							{...squares}
							id="pagemap-canvas"
							squares={shown}
							against={two && changes ? two.then : undefined}
							layout={layout}
							label={t('pagemap.aria', count(moment.n_cells), bytes(moment.cell_bytes, 0), clock(moment.time_ns, span.value), bytes(live * moment.cell_bytes))}
							describedBy="pagemap-table"
							describe={describe(shown)}
						/>
					</figure>
				)}
			</div>
			{moment.regions_left_out > 0 && <p class="muted after">{t('pagemap.left', moment.regions_left_out)}</p>}
			{range && picked && (
				<div class="blocks" aria-live="polite">
					<div class="sub-head">
						<h3>{t('blocks.q', address(range[0]), address(range[1]))}</h3>
						<button type="button" onClick={() => (addresses.value = null)}>{t('clear')}</button>
					</div>
					{picked.squares > 1 && (
						<>
							<p>{t('range.a', count(picked.squares), bytes(shown.cell_bytes, 0), count(picked.empty), count(picked.sparse), bytes(picked.live))}</p>
							{picked.sites.length > 0 && <RangeSites section={section} sites={picked.sites} />}
						</>
					)}
					{blocks.length > 0 ? (
						<>
							{range[1] - range[0] <= STRIP_BYTES && <BlockStrip start={range[0]} bytes={range[1] - range[0]} blocks={blocks} />}
							<BlockTable blocks={blocks} most={BLOCKS} />
							{blocks.length > BLOCKS && <p class="muted">{t('range.blocks', count(BLOCKS), count(blocks.length))}</p>}
						</>
					) : (
						<p class="empty">{t(picked.empty < picked.squares ? 'blocks.none' : 'blocks.empty', count(moment.blocks_left_out))}</p>
					)}
				</div>
			)}
			<TableTwin
				id="pagemap-table"
				twin={{
					caption: t('pagemap.q', bytes(shown.cell_bytes, 0)),
					head: [t('col.start'), t('map.share'), t('col.site'), t('frag.sites.age'), t('selected.thread'), ...(two && before ? [clock(before.time_ns, span.value)] : [])],
					rows: () =>
						Array.from(shown.live, (value, at) => [
							addressOf(shown, at), value / 255, value ? siteName(section, shown.site[at]!) : null, value ? 2 ** shown.age[at]! : null,
							value ? shown.thread[at]! : null, ...(two ? [two.then.live[at]! / 255] : []),
						]),
					show: (cell, i) =>
						cell === null ? '–' : i === 0 ? address(Number(cell)) : i === 1 || i === 5 ? percent(Number(cell), 0) : i === 3 ? duration(Number(cell)) : String(cell),
				}}
			/>
		</div>
	);
}

const siteName = (section: Pages, rank: number) =>
	rank === 0 ? '–' : rank === 255 ? t('pagemap.other') : visible(section.sites[rank - 1]?.name ?? '?');

function liveOf(squares: Cells): number {
	let sum = 0;
	for (const value of squares.live) sum += value;
	return (sum / 255) * squares.cell_bytes;
}

/* Listed blocks that reach into the range. */
export function blocksIn(doc: Doc, values: Values[], moment: Moment, [from, to]: readonly [number, number]): Block[] {
	const found: Block[] = [];
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

/* Whose squares they are: each counts for the site that holds most of it. */
function RangeSites({ section, sites }: { section: Pages; sites: { rank: number; squares: number; live: number }[] }) {
	return (
		<div class="scroll" tabIndex={0} role="group" aria-label={t('range.sites')}>
			<table class="plain range-sites">
				<thead>
					<tr>
						<th scope="col">{t('range.sites')}</th>
						<th scope="col" class="num">{t('range.squares')}</th>
						<th scope="col" class="num">{t('col.live')}</th>
					</tr>
				</thead>
				<tbody>
					{sites.slice(0, ROWS).map(({ rank, squares, live }) => {
						const known = section.sites[rank - 1];
						return (
							<tr class={known && site.value === known.site ? 'chosen' : undefined}>
								<td>{known ? <SiteButton id={known.site} name={known.name} /> : siteName(section, rank)}</td>
								<td class="num">{count(squares)}</td>
								<td class="num">{bytes(live)}</td>
							</tr>
						);
					})}
				</tbody>
			</table>
		</div>
	);
}

function Key({ colour, section }: { colour: string; section: Pages }) {
	const now = theme.value;
	if (colour === 'change')
		return (
			<p class="keys muted">
				{([-1, -0.5, 0, 0.5, 1] as const).map((share) => (
					<span>
						<svg width="12" height="10" aria-hidden="true"><rect width="10" height="10" rx="2" fill={`rgb(${changeRgb(share, now).join(' ')})`} /></svg>{' '}
						{share === 0 ? t('pagemap.key.same') : `${share > 0 ? '+' : '−'}${percent(Math.abs(share), 0)}`}
					</span>
				))}
			</p>
		);
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
