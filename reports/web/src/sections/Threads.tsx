// SPDX-License-Identifier: MIT
/* Which thread grows, and who frees whose memory? */
import { useMemo } from 'preact/hooks';
import type { Values } from '../container';
import type { Doc, Thread } from '../doc';
import { alpha, cividisCss, inkOn, lines as palette, other as otherColour } from '../colour';
import { bytes, clock, count, exactBytes, percent, rate, visible } from '../format';
import { t } from '../i18n';
import { model } from '../model';
import { Section, TableTwin, useColumns, Waiting } from '../parts/Section';
import { TimeChart, type Band, type Line } from '../parts/TimeChart';
import { query, selectThread, span, theme, thread } from '../store';

const STEPS = 128;
const SHOWN = 8;

const title = (th: Thread) =>
	th.folded
		? th.name === null
			? t('threads.other', th.threads ?? 0)
			: `${visible(th.name)} × ${th.threads ?? 0}`
		: visible(th.name) || `tid ${th.tid}`;

/* Names repeat in a pool of workers: a number tells them apart. */
export function threadTitles(threads: Thread[]): Map<number, string> {
	const times = new Map<string, number>();
	for (const th of threads) times.set(title(th), (times.get(title(th)) ?? 0) + 1);
	return new Map(
		threads.map((th) => [th.id, times.get(title(th))! > 1 ? `${title(th)} #${th.tid}` : title(th)]),
	);
}

interface Group {
	id: number | null; // null: the rest
	label: string;
	values: Float64Array;
}

function groups(threads: Thread[], series: Values, titles: Map<number, string>, chosen: number | null) {
	const peak = (i: number) => {
		let max = 0;
		for (let k = 0; k < STEPS; k++) max = Math.max(max, series[i * STEPS + k] ?? 0);
		return max;
	};
	const order = threads
		.map((th, i) => ({ th, i, weight: th.id === chosen ? Infinity : peak(i) }))
		.sort((a, b) => b.weight - a.weight);
	const rest = new Float64Array(STEPS);
	const out: Group[] = [];
	for (const { th, i } of order.slice(0, SHOWN))
		out.push({
			id: th.id,
			label: titles.get(th.id)!,
			values: Float64Array.from(series.subarray(i * STEPS, (i + 1) * STEPS)),
		});
	for (const { i } of order.slice(SHOWN))
		for (let k = 0; k < STEPS; k++) rest[k]! += series[i * STEPS + k]!;
	if (order.length > SHOWN)
		out.push({ id: null, label: t('threads.other', order.length - SHOWN), values: rest });
	return out;
}

export function Threads({ doc }: { doc: Doc }) {
	const loaded = useColumns(doc, ['threads.series']);
	const threads = doc.threads?.threads ?? [];
	const titles = useMemo(() => threadTitles(threads), [threads]);
	const series = loaded && 'values' in loaded ? loaded.values[0]! : null;
	const now = theme.value;
	const chosen = thread.value;
	const otherLabel = t('threads.other', 0);

	const drawn = useMemo(() => {
		if (!series || series.length === 0) return null;
		const xs = Float64Array.from({ length: STEPS }, (_, k) => ((k + 1) / STEPS) * span.value);
		const list = groups(threads, series, titles, chosen);
		const sum = new Float64Array(STEPS);
		const lines: Line[] = [];
		const bands: Band[] = [];
		/* drawn from the top of the stack downwards, so that each fill ends at the next line */
		const stacked = list.map((group) => {
			for (let k = 0; k < STEPS; k++) sum[k]! += group.values[k]!;
			return Float64Array.from(sum);
		});
		for (let i = list.length - 1; i >= 0; i--) {
			const group = list[i]!;
			const colour = group.id === null ? otherColour[now] : palette[now][i % palette[now].length]!;
			const faded = chosen !== null && group.id !== chosen;
			const fill = alpha(colour, faded ? 0.1 : now === 'dark' ? 0.5 : 0.42);
			lines.push({
				label: group.label,
				values: stacked[i]!,
				own: group.values,
				colour: faded ? alpha(colour, 0.35) : colour,
				width: 1.25,
				fill: i === 0 ? fill : undefined,
			});
			if (i > 0) bands.push({ upper: lines.length - 1, lower: lines.length, fill });
		}
		return { xs, lines, bands };
	}, [series, now, chosen, titles, otherLabel]);

	if (!doc.threads) return null;
	const live = threads.reduce((total, th) => total + th.live_bytes, 0);
	const most = [...threads].sort((a, b) => b.live_bytes - a.live_bytes)[0];
	const matrix = doc.threads.free_matrix;
	const cross = matrix ? crossBytes(matrix.bytes) : 0;
	const answer = most
		? threads.length === 1
			? t('threads.one')
			: `${t('threads.a', titles.get(most.id)!, bytes(most.live_bytes), bytes(live))} ${t('threads.a.cross', bytes(cross))}`
		: undefined;
	model('threads', () => ({ threads: threads.length, selected: thread.value, cross }));

	return (
		<Section
			id="threads"
			question={t('threads.q')}
			answer={answer}
			how={threads.length > 0 ? t('threads.how') : undefined}
			bare={threads.length === 0}
		>
			{threads.length === 0 ? (
				<p class="empty">{t('threads.none')}</p>
			) : (
				<>
					<div class={matrix && threads.length > 1 ? 'split' : undefined}>
						<div>
							<h3>{t('threads.by')}</h3>
							{drawn ? (
								<TimeChart
									xs={drawn.xs}
									lines={drawn.lines}
									bands={drawn.bands}
									height={260}
									label={t('threads.aria', threads.length)}
									describedBy="threads-table"
								/>
							) : (
								<Waiting state={loaded} />
							)}
						</div>
						{matrix && threads.length > 1 && (
							<div>
								<h3>{t('threads.matrix')}</h3>
								<FreeMatrix ids={matrix.ids} values={matrix.bytes} titles={titles} />
							</div>
						)}
					</div>
					<ThreadTable threads={threads} titles={titles} />
					<TableTwin
						id="threads-table"
						twin={{
							caption: t('threads.by'),
							head: [t('frag.time'), ...(drawn?.lines.map((line) => line.label) ?? [])],
							rows: () =>
								drawn
									? Array.from(drawn.xs, (x, k) => [x, ...drawn.lines.map((line) => line.own![k]!)])
									: [],
							show: (cell, column) =>
								column === 0 ? clock(Number(cell), span.value) : bytes(Number(cell)),
						}}
					/>
				</>
			)}
		</Section>
	);
}

function crossBytes(values: number[][]): number {
	let sum = 0;
	values.forEach((row, i) => row.forEach((value, j) => (sum += i === j ? 0 : value)));
	return sum;
}

const MATRIX = 10;

interface MatrixProps {
	ids: (number | null)[];
	values: number[][];
	titles: Map<number, string>;
}

function FreeMatrix({ ids, values, titles }: MatrixProps) {
	const weight = ids.map(
		(_, i) => values[i]!.reduce((a, b) => a + b, 0) + values.reduce((a, row) => a + row[i]!, 0),
	);
	const order = ids.map((_, i) => i).sort((a, b) => weight[b]! - weight[a]!);
	const shown = order.length > MATRIX ? order.slice(0, MATRIX - 1) : order;
	const rest = order.slice(shown.length);
	const sets = [...shown.map((i) => [i]), ...(rest.length > 0 ? [rest] : [])];
	const cell = (a: number[], b: number[]) =>
		a.reduce((sum, i) => sum + b.reduce((inner, j) => inner + values[i]![j]!, 0), 0);
	const cells = sets.map((a) => sets.map((b) => cell(a, b)));
	const max = Math.max(1, ...cells.flat());
	const label = (set: number[]) =>
		set.length > 1 || ids[set[0]!] === null
			? set.length > 1 ? t('threads.other', set.length) : t('threads.others')
			: titles.get(ids[set[0]!]!) ?? String(ids[set[0]!]);
	/* log: a thread's own frees would hide everything else */
	const shade = (value: number) => (value <= 0 ? -1 : Math.max(0, 1 - Math.log2(max / value) / 24));

	return (
		<div class="scroll" tabIndex={0} role="group" aria-label={t('threads.matrix')}>
			<table class="matrix">
				<caption class="offscreen">{t('threads.matrix')}</caption>
				<thead>
					<tr>
						<td class="corner">{t('threads.matrix.corner')}</td>
						{sets.map((set) => (
							<th scope="col" title={label(set)}>
								<span>{label(set)}</span>
							</th>
						))}
					</tr>
				</thead>
				<tbody>
					{sets.map((set, i) => (
						<tr>
							<th scope="row" title={label(set)}>
								{label(set)}
							</th>
							{cells[i]!.map((value, j) => {
								const s = shade(value);
								return (
									<td
										class={i === j ? 'diagonal' : undefined}
										title={`${label(set)} → ${label(sets[j]!)}: ${exactBytes(value) ?? ''}`}
										style={s < 0 ? undefined : { backgroundColor: cividisCss(s), color: inkOn(s) }}
									>
										{value > 0 ? bytes(value, 0).replace('iB', '') : '·'}
									</td>
								);
							})}
						</tr>
					))}
				</tbody>
			</table>
		</div>
	);
}

const THREAD_ROWS = 12;

function ThreadTable({ threads, titles }: { threads: Thread[]; titles: Map<number, string> }) {
	const words = query.value.toLowerCase().trim();
	const sorted = [...threads].sort((a, b) => b.live_bytes - a.live_bytes);
	const matching = words
		? sorted.filter((th) =>
				`${title(th)} ${th.start_function ?? ''} ${th.tid}`.toLowerCase().includes(words),
			)
		: sorted;
	/* a word that is about sites must not empty the threads */
	const rows = (matching.length > 0 ? matching : sorted).slice(0, THREAD_ROWS);
	return (
		<div class="scroll" tabIndex={0} role="group" aria-label={t('threads.nav')}>
			<table class="plain threads">
				<thead>
					<tr>
						<th scope="col">{t('selected.thread')}</th>
						<th scope="col">{t('threads.start')}</th>
						<th scope="col" class="num">
							{t('col.live')}
						</th>
						<th scope="col" class="num">
							{t('col.rate')}
						</th>
						<th scope="col" class="num">
							{t('col.allocated')}
						</th>
						<th scope="col" class="num">
							{t('col.count')}
						</th>
						<th scope="col" class="num">
							{t('threads.byothers')}
						</th>
						<th scope="col" class="num">
							{t('threads.ended')}
						</th>
					</tr>
				</thead>
				<tbody>
					{rows.map((th) => (
						<tr class={thread.value === th.id ? 'chosen' : undefined}>
							<th scope="row">
								<button
									type="button"
									class="site-name"
									aria-pressed={thread.value === th.id}
									onClick={() => selectThread(th.id)}
								>
									{titles.get(th.id)}
								</button>
							</th>
							<td>
								<code>{visible(th.start_function) || '–'}</code>
							</td>
							<td class="num" title={exactBytes(th.live_bytes)}>
								{bytes(th.live_bytes)}
							</td>
							<td class="num">{rate(th.rate_bytes_per_s)}</td>
							<td class="num">{bytes(th.allocated_bytes)}</td>
							<td class="num">{count(th.allocations)}</td>
							<td class="num">
								{th.allocated_bytes > 0
									? percent(th.freed_by_others_bytes / th.allocated_bytes)
									: '–'}
							</td>
							<td class="num">{th.end_ns === null ? '–' : clock(th.end_ns, span.value)}</td>
						</tr>
					))}
				</tbody>
			</table>
			{sorted.length > rows.length && (
				<p class="muted after">{t('table.rows', rows.length, sorted.length)}</p>
			)}
		</div>
	);
}
