// SPDX-License-Identifier: MIT
/* How full are the pages, and do the holes fit what is asked for? Both at the moment of the cursor. */
import { useState } from 'preact/hooks';
import type { Values } from '../container';
import type { Doc } from '../doc';
import { lines as palette } from '../colour';
import { bytes, clock, count, percent } from '../format';
import { t } from '../i18n';
import { model } from '../model';
import { Bars } from '../parts/Bars';
import { indexAt, useHover } from '../parts/hooks';
import { Section, TableTwin, Term, useColumns } from '../parts/Section';
import { pageShare, span, theme, time } from '../store';
import { NoLayout } from './Frag';

const BINS = 11;
const PAGE = 4096;
const BARS = 9;

/* The row of a table of K moments at the cursor; what the section says where there is none. */
function useMoment(doc: Doc, id: string, times: Values | undefined, table: Values | undefined, width: number) {
	const pointer = useHover(id);
	const at = pointer ?? time.value ?? doc.frag?.at_ns ?? 0;
	const given = time.value === null && pointer === null;
	if (given || !times || !table || times.length === 0 || table.length < times.length * width)
		return { row: null, moment: doc.frag?.at_ns ?? 0 };
	const k = indexAt(times, at);
	return { row: table.subarray(k * width, (k + 1) * width), moment: times[k]! };
}

export const occupancyName = (bin: number) =>
	bin === 0 ? t('frag.pages.empty') : `${(bin - 1) * 10}–${bin * 10} %`;

const fillName = (bin: number) => (bin === 0 ? t('frag.pages.empty') : `${(bin - 1) * 5}–${bin * 5} %`);

/* Bytes that would come back if the pages up to each bin were empty. */
export function returnable(pages: ArrayLike<number>): number[] {
	let sum = 0;
	return Array.from(pages, (n) => (sum += n) * PAGE);
}

export function Pages({ doc }: { doc: Doc }) {
	const loaded = useColumns(doc, ['frag.time_ns', 'frag.page_occupancy_hist']);
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const { row, moment } = useMoment(doc, 'pages', values?.[0], values?.[1], BINS);
	const frag = doc.frag;
	const now = theme.value;

	if (!frag || frag.metrics.pages === 0) return <NoLayout doc={doc} id="pages" question={t('pages.q')} half />;
	/* At the moment that the section describes: twice as fine, and by residency. */
	const fill = row ? undefined : frag.metrics.page_fill;
	const pages = row ?? frag.metrics.page_occupancy_hist;
	/* what is not resident costs nothing */
	const there = fill ? fill.resident : Array.from(pages);
	const all = there.reduce((a, b) => a + b, 0);
	const sparse = there.slice(0, fill ? 3 : 2).reduce((a, b) => a + b, 0);
	const back = returnable(fill ? fill.resident : pages);
	const absent = fill ? fill.absent.slice(1).reduce((a, b) => a + b, 0) : 0;
	const bins = fill
		? fill.resident.map((value, i) => ({ value, more: fill.absent[i]!, name: fillName(i), decile: Math.ceil(i / 2), label: i === 0 ? t('frag.pages.empty') : `${(i - 1) * 5}` }))
		: Array.from(pages, (value, i) => ({ value, more: 0, name: occupancyName(i), decile: i, label: i === 0 ? t('frag.pages.empty') : `${(i - 1) * 10}` }));
	const chosen = pageShare.value;
	model('pages', () => ({ pages: Array.from(pages), at: moment, returnable: back, chosen, bins: bins.map(({ value, more }) => [value, more]) }));

	return (
		<Section
			id="pages"
			half
			question={t('pages.q')}
			answer={t('pages.a', count(sparse), count(all), bytes(sparse * PAGE), clock(moment, span.value)) + (absent > 0 ? t('pages.a.absent', count(absent)) : '')}
			how={t('pages.how')}
		>
			<Bars
				label={t('frag.aria.pages', clock(moment, span.value))}
				format={count}
				line={back.map((value) => value / Math.max(1, back.at(-1)!))}
				picked={(i) => chosen === bins[i]!.decile}
				onPick={(i) => (pageShare.value = chosen === bins[i]!.decile ? null : bins[i]!.decile)}
				bars={bins.map(({ value, more, name, decile, label }, i) => ({
					label,
					value,
					more,
					tip: [
						`${t('frag.page.bin')}: ${name}`,
						`${count(value + more)} (${percent((value + more) / Math.max(1, all))}), ${bytes((value + more) * PAGE)}`,
						...(more > 0 ? [t('pages.tip.absent', count(more))] : []),
						t('pages.back', name, bytes(back[i]!)),
					],
					colour: decile <= 1 ? palette[now][1]! : palette[now][0]!,
				}))}
			/>
			<p class="keys muted">
				<span><Dot colour={palette[now][0]!} /> {t('pages.key')}</span>
				{fill && fill.absent.some((n) => n > 0) && <span><Dot colour={palette[now][0]!} hollow /> {t('pages.key.absent')}</span>}
				<span><Dot colour={palette[now][5]!} line /> {t('pages.key.back')}</span>
				<Term name="pinned" />
			</p>
			<TableTwin
				id="pages-table"
				twin={{
					caption: t('frag.aria.pages', clock(moment, span.value)),
					head: [t('frag.page.bin'), t('frag.page.count'), ...(fill ? [t('pages.key.absent')] : []), t('pages.key.back')],
					rows: () => bins.map(({ name, value, more }, i) => [name, value + more, ...(fill ? [more] : []), back[i]!]),
					show: (cell, i) => (i === 0 ? String(cell) : i === 1 || (fill && i === 2) ? count(Number(cell)) : bytes(Number(cell))),
				}}
			/>
		</Section>
	);
}

export function Dot({ colour, line, hollow }: { colour: string; line?: boolean; hollow?: boolean }) {
	return (
		<svg width="14" height="10" aria-hidden="true">
			{line ? (
				<line x1="0" x2="14" y1="5" y2="5" stroke={colour} stroke-width="2" />
			) : (
				<rect class={hollow ? 'bar-more' : undefined} width="10" height="10" rx="2" fill={hollow ? undefined : colour} stroke={hollow ? colour : undefined} />
			)}
		</svg>
	);
}

/* ---- holes against requests ------------------------------------------------------------------- */

/* Bins to show: those in use of either, and some room around. */
export function window(a: ArrayLike<number>, b: ArrayLike<number>): [number, number] {
	const used = (i: number) => (a[i] ?? 0) > 0 || (b[i] ?? 0) > 0;
	const length = Math.max(a.length, b.length);
	let first = 0;
	let last = length - 1;
	while (first < length && !used(first)) first++;
	while (last >= first && !used(last)) last--;
	if (last < first) return [0, 0];
	const room = Math.max(0, Math.ceil((BARS - (last - first + 1)) / 2));
	return [Math.max(0, first - room), Math.min(length - 1, last + room)];
}

/* The share of requests that the holes could hold one by one: of their bytes, in holes large enough. */
function fitting(holes: number[], requests: number[]): number | null {
	const total = holes.reduce((a, b) => a + b, 0);
	const asked = requests.reduce((a, b) => a + b, 0);
	if (total === 0 || asked === 0) return null;
	let seen = 0;
	for (let size = 0; size < requests.length; size++) {
		seen += requests[size]!;
		if (seen >= asked / 2) {
			const large = holes.slice(size).reduce((a, b) => a + b, 0);
			return large / total;
		}
	}
	return null;
}

export function Holes({ doc }: { doc: Doc }) {
	const loaded = useColumns(doc, ['frag.time_ns', 'frag.hole_size_hist']);
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const { row, moment } = useMoment(doc, 'holes', values?.[0], values?.[1], 48);
	const [counts, setCounts] = useState(false);
	const frag = doc.frag;
	const now = theme.value;

	if (!frag) return <NoLayout doc={doc} id="holes" question={t('holes.q')} half />;
	const bins = frag.metrics.hole_size_hist;
	const inBytes = row ? Array.from(row) : bins.map((bin) => bin.bytes);
	const holes = counts && !row ? bins.map((bin) => bin.blocks) : inBytes;
	const requests = (doc.usage?.sizes ?? []).map((bin) => bin.requested_bytes);
	const [first, last] = window(holes, requests);
	const most = Math.max(1, ...requests);
	const useful = frag.metrics.hole_usefulness;
	const fit = fitting(inBytes, requests);
	const sum = inBytes.reduce((a, b) => a + b, 0);
	const index = Array.from({ length: last - first + 1 }, (_, i) => first + i);
	model('holes', () => ({ bytes: sum, at: moment, first, last, fit, usefulness: useful?.p50 ?? null }));

	return (
		<Section
			id="holes"
			half
			question={t('holes.q')}
			answer={
				sum === 0
					? t('holes.a.none')
					: t('holes.a', bytes(sum), bytes(frag.metrics.largest_hole)) +
						(useful?.p50 == null ? '' : ` ${t('holes.a.useful', percent(useful.p50 / 100, 0))}`)
			}
			how={t('holes.how')}
			tools={
				<span class="switch" role="group" aria-label={t('frag.metric')}>
					<button type="button" aria-pressed={!counts} onClick={() => setCounts(false)}>
						{t('frag.holes.bytes')}
					</button>
					<button type="button" aria-pressed={counts} onClick={() => setCounts(true)}>
						{t('frag.holes.blocks')}
					</button>
				</span>
			}
		>
			<Bars
				label={t('frag.aria.holes')}
				format={counts && !row ? count : (v) => bytes(v)}
				line={requests.length > 0 ? index.map((i) => (requests[i] ?? 0) / most) : undefined}
				bars={index.map((i) => ({
					label: bytes(2 ** i, 0).replace(' ', '\u202f').replace('iB', ''),
					value: holes[i] ?? 0,
					tip: [
						`${bytes(2 ** i)} – ${bytes(2 ** (i + 1))}`,
						`${t('frag.holes.bytes')}: ${bytes(inBytes[i] ?? 0)}`,
						...(row ? [] : [`${t('frag.holes.blocks')}: ${count(bins[i]?.blocks ?? 0)}`]),
						`${t('holes.requests')}: ${bytes(requests[i] ?? 0)}`,
					],
					colour: palette[now][2]!,
				}))}
			/>
			<p class="keys muted">
				<span><Dot colour={palette[now][2]!} /> {t('holes.key')}</span>
				{requests.length > 0 && (
					<span><Dot colour={palette[now][5]!} line /> {t('holes.requests')}</span>
				)}
				<Term name="usefulness" />
			</p>
			<TableTwin
				id="holes-table"
				twin={{
					caption: t('holes.q'),
					head: [t('frag.hole.size'), t('frag.holes.blocks'), t('frag.holes.bytes'), t('holes.requests')],
					rows: () =>
						index.map((i) => [2 ** i, row ? null : (bins[i]?.blocks ?? 0), inBytes[i] ?? 0, requests[i] ?? 0]),
					show: (cell, i) => (cell === null ? '–' : i === 1 ? count(Number(cell)) : bytes(Number(cell))),
				}}
			/>
		</Section>
	);
}

