// SPDX-License-Identifier: MIT
/* How did live bytes and RSS move, and where is the gap between them? */
import { useComputed } from '@preact/signals';
import { useMemo, useState } from 'preact/hooks';
import type { Values } from '../container';
import type { Doc, Summary } from '../doc';
import { alpha, lines as palette } from '../colour';
import { bytes, clock, duration, percent, visible } from '../format';
import { t, tOr } from '../i18n';
import { model } from '../model';
import { largest } from '../parts/hooks';
import { Section, TableTwin, useColumns, Waiting } from '../parts/Section';
import { TimeChart, type Line, type Tick } from '../parts/TimeChart';
import { site, span, theme, thread, view } from '../store';
import { Largest } from './Largest';

const COLUMNS = [
	'timeline.time_ns',
	'timeline.live_bytes',
	'timeline.usable_bytes',
	'timeline.low_bytes',
	'timeline.peak_bytes',
	'rss.time_ns',
	'rss.bytes',
	'leaks.series',
	'threads.series',
	'frag.time_ns',
	'frag.footprint_bytes',
	'frag.pages',
	'pss.time_ns',
	'pss.bytes',
] as const;
/* For a range of less than an eighth of the run. */
const FINE = ['timeline.fine_ns', 'timeline.fine_live', 'timeline.fine_low', 'timeline.fine_high'] as const;
const CLOSE = 1 / 8;

/* The value of a series at each moment of `xs`: linear between its points, nothing outside them. */
export function resample(
	xs: ArrayLike<number>,
	times: ArrayLike<number>,
	values: ArrayLike<number>,
): (number | null)[] {
	const out: (number | null)[] = new Array(xs.length);
	let j = 0;
	for (let i = 0; i < xs.length; i++) {
		const x = xs[i]!;
		while (j + 1 < times.length && times[j + 1]! <= x) j++;
		if (times.length === 0 || x < times[0]!) out[i] = null;
		else if (j + 1 >= times.length) out[i] = values[times.length - 1]!;
		else {
			const share = (x - times[j]!) / Math.max(1, times[j + 1]! - times[j]!);
			out[i] = values[j]! + (values[j + 1]! - values[j]!) * share;
		}
	}
	return out;
}

/*
 * Every moment of the timeline and of the samples once, and the exact peak as a point of its own; with `fine` the
 * steps that are finer than the timeline's, so that a range keeps its own peaks, too.
 */
export function prepare(summary: Summary, columns: Values[], fine?: Values[] | null) {
	const [coarse, coarseLive, usable, coarseLow, coarsePeak, rssTime, rss] = columns as [
		Values,
		Values,
		Values,
		Values,
		Values,
		Values,
		Values,
	];
	const closely = fine && fine[0]!.length > 0;
	const [ticks, live, low, peak] = closely ? (fine as [Values, Values, Values, Values]) : [coarse, coarseLive, coarseLow, coarsePeak];
	const { peak_ns, peak_bytes } = summary.totals;
	const moments = [...new Set([...ticks, ...(closely ? coarse : []), ...rssTime, ...(ticks.length > 0 ? [peak_ns] : [])])].sort(
		(a, b) => a - b,
	);
	const xs = Float64Array.from(moments);
	const liveAt = resample(xs, ticks, live);
	const peakAt = resample(xs, ticks, peak.length > 0 ? peak : live);
	const at = xs.indexOf(peak_ns);
	if (at >= 0) {
		liveAt[at] = peak_bytes;
		peakAt[at] = peak_bytes;
	}
	return {
		xs,
		live: liveAt,
		usable: usable.length > 0 ? resample(xs, coarse, usable) : null,
		low: resample(xs, ticks, low.length > 0 ? low : live),
		peak: peakAt,
		rss: rss.length > 0 ? resample(xs, rssTime, rss) : null,
	};
}

/* A row of a table of series on equal steps of the run, at the moments of the chart. */
export function rowSeries(
	xs: ArrayLike<number>,
	table: Values,
	row: number,
	steps: number,
	total: number,
): (number | null)[] {
	const times = Float64Array.from({ length: steps }, (_, k) => ((k + 1) / steps) * total);
	return resample(xs, times, table.subarray(row * steps, (row + 1) * steps));
}

export function Timeline({ doc }: { doc: Doc }) {
	const loaded = useColumns(doc, COLUMNS);
	const [log, setLog] = useState(false);
	const [wall, setWall] = useState(false);
	const summary = doc.summary;
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const close = useComputed(() => view.value[1] - view.value[0] < span.value * CLOSE).value;
	const finely = useColumns(doc, close && doc.data.has(FINE[0]) ? FINE : []);
	const fine = close && finely && 'values' in finely && finely.values.length === FINE.length ? finely.values : null;
	const series = useMemo(() => (values && summary ? prepare(summary, values, fine) : null), [values, fine]);
	const now = theme.value;
	const siteId = site.value;
	const threadId = thread.value;

	const drawn = useMemo(() => {
		if (!series || !values || !summary) return null;
		const colour = palette[now];
		const list: Line[] = [
			{ label: 'high', values: series.peak, colour: alpha(colour[0]!, 0.5), width: 0.75, quiet: true },
			{ label: 'low', values: series.low, colour: alpha(colour[0]!, 0.5), width: 0.75, quiet: true },
			{ label: t('timeline.live'), values: series.live, colour: colour[0]!, width: 2 },
		];
		const bands = [{ upper: 0, lower: 1, fill: alpha(colour[0]!, 0.22) }];
		if (series.usable)
			list.push({
				label: t('timeline.usable'),
				values: series.usable,
				colour: colour[2]!,
				width: 1.25,
				dash: [6, 4],
			});
		if (series.rss) {
			list.push({ label: t('timeline.rss'), values: series.rss, colour: colour[1]!, width: 2 });
			bands.push({ upper: list.length - 1, lower: 2, fill: alpha(colour[1]!, 0.13) });
		}
		if (values[12]!.length > 1)
			list.push({
				label: t('timeline.pss'),
				values: resample(series.xs, values[12]!, values[13]!),
				colour: colour[6]!,
				width: 1.25,
				dash: [8, 3],
			});
		if (values[9]!.length > 1 && values[10]!.some((value) => value >= 0))
			list.push({
				label: t('timeline.footprint'),
				values: resample(series.xs, values[9]!, values[10]!).map((v) => (v === null || v < 0 ? null : v)),
				colour: colour[4]!,
				width: 1.5,
				dash: [2, 3],
				stepped: true,
			});
		const leak = doc.leaks?.leaks.findIndex((l) => l.site === siteId) ?? -1;
		if (leak >= 0 && values[7]!.length > 0)
			list.push({
				label: doc.leaks!.leaks[leak]!.name,
				values: rowSeries(series.xs, values[7]!, leak, 64, summary.duration_ns),
				colour: colour[3]!,
				width: 2.25,
				fill: alpha(colour[3]!, 0.18),
			});
		const worker = doc.threads?.threads.findIndex((l) => l.id === threadId) ?? -1;
		if (worker >= 0 && values[8]!.length > 0)
			list.push({
				label: doc.threads!.threads[worker]!.name ?? String(threadId),
				values: rowSeries(series.xs, values[8]!, worker, 128, summary.duration_ns),
				colour: colour[5]!,
				width: 2.25,
				dash: [2, 3],
			});
		return { list, bands };
	}, [series, now, siteId, threadId, t('timeline.live')]);

	if (!summary) return null;
	const { totals, rss, duration_ns } = summary;
	const empty = loaded !== null && 'values' in loaded && loaded.values[0]!.length === 0;
	const answer = empty
		? undefined
		: t('timeline.a', bytes(totals.peak_bytes), clock(totals.peak_ns, duration_ns), bytes(totals.live_bytes)) +
			' ' +
			(rss
				? t(
						'timeline.a.rss',
						bytes(rss.last),
						rss.last > totals.live_bytes
							? `${bytes(rss.last - totals.live_bytes)} (${percent(1 - totals.live_bytes / rss.last, 0)})`
							: '0 B',
					)
				: t('timeline.norss'));

	const ticks = threadTicks(doc);
	const lowest = series ? minOf(series.low) : 0;
	const highest = Math.max(totals.peak_bytes, series ? largest(series.peak) : 0);
	if (series)
		model('timeline', () => ({
			max: highest,
			min: lowest,
			points: series.xs.length,
			span: duration_ns,
			marks: events(doc).map((mark) => mark.label),
			lines: drawn?.list.filter((line) => !line.quiet).map((line) => line.label),
			fine: fine !== null,
			threads: ticks.length,
		}));

	return (
		<Section
			id="timeline"
			question={t('timeline.q')}
			answer={answer}
			how={empty ? undefined : t('timeline.how')}
			bare={empty}
			tools={
				!empty && (
					<>
						{summary.recording.started_realtime_ns !== null && (
							<button type="button" aria-pressed={wall} onClick={() => setWall(!wall)}>
								{t('timeline.wall')}
							</button>
						)}
						<button type="button" aria-pressed={log} onClick={() => setLog(!log)}>
							{t('timeline.log')}
						</button>
					</>
				)
			}
		>
			{empty ? (
				<p class="empty">{t('timeline.none')}</p>
			) : !series || !drawn ? (
				<Waiting state={loaded} />
			) : (
				<>
					<TimeChart
						xs={series.xs}
						lines={drawn.list}
						bands={drawn.bands}
						markers={[
							...events(doc),
							{
								at: totals.peak_ns,
								value: totals.peak_bytes,
								label: `${t('timeline.peak')} ${bytes(totals.peak_bytes)}`,
							},
						]}
						ticks={ticks}
						height={280}
						log={log}
						epoch={wall ? summary.recording.started_realtime_ns : null}
						label={t(
							'timeline.aria',
							duration(duration_ns),
							bytes(lowest),
							bytes(highest),
							bytes(totals.live_bytes),
						)}
						describedBy="timeline-table"
					/>
					{ticks.length > 0 && (
						<p class="keys muted">
							{t('timeline.threads', ticks.filter((tick) => tick.begins).length, ticks.filter((tick) => !tick.begins).length)}
						</p>
					)}
					<Largest doc={doc} />
					<TableTwin
						id="timeline-table"
						twin={{
							caption: t('timeline.q'),
							head: [
								t('frag.time'),
								t('timeline.live'),
								t('timeline.peak'),
								...(series.rss ? [t('timeline.rss')] : []),
							],
							rows: () =>
								Array.from(series.xs, (x, i) => [
									x,
									series.live[i]!,
									series.peak[i]!,
									...(series.rss ? [series.rss[i]!] : []),
								]),
							show: (cell, column) =>
								column === 0
									? clock(Number(cell), duration_ns)
									: cell === null
										? '–'
										: bytes(Number(cell)),
						}}
					/>
				</>
			)}
		</Section>
	);
}

/* Starts and ends of the listed threads; of those that were folded into one row the document has none. */
export function threadTicks(doc: Doc): Tick[] {
	const threads = doc.threads?.threads ?? [];
	if (threads.length < 2) return []; // its life is the program's
	return threads.flatMap((one) => [
		...(one.start_ns === null || one.folded ? [] : [{ at: one.start_ns, begins: true }]),
		...(one.end_ns === null || one.folded ? [] : [{ at: one.end_ns, begins: false }]),
	]);
}

/* Where a limit of the overhead began to have blocks left out, and where that ended. */
function governed(doc: Doc): { at: number; label: string }[] {
	const steps = doc.quality?.governor?.steps ?? [];
	return steps
		.filter((step, i) => i > 0 && !step.sample_bytes !== !steps[i - 1].sample_bytes)
		.slice(0, 8)
		.map((step) => ({ at: step.time_ns, label: t(step.sample_bytes ? 'timeline.left_out' : 'timeline.all_again') }));
}

/* What the findings point to, other than the peak: where a loss began, a bad free; and phases that were marked. */
function events(doc: Doc): { at: number; value: number; label: string }[] {
	return [
		...(doc.summary?.marks ?? []).slice(0, 24).map((mark) => ({ at: mark.time_ns, label: visible(mark.label) })),
		...(doc.errors?.errors.slice(0, 3).map((error) => ({ at: error.time_ns, label: tOr('errors.kind', error.kind) })) ?? []),
		...(doc.quality?.losses.slice(0, 3).map((loss) => ({ at: loss.first_ns, label: t('quality.lost') })) ?? []),
		...governed(doc),
	].map((mark) => ({ ...mark, value: 0 }));
}

function minOf(values: ArrayLike<number | null>): number {
	let min = Infinity;
	for (let i = 0; i < values.length; i++) if (values[i] !== null) min = Math.min(min, values[i]!);
	return min === Infinity ? 0 : min;
}
