// SPDX-License-Identifier: MIT
/* What changed since the other recording? Both timelines, and the sites that differ. */
import { useMemo, useState } from 'preact/hooks';
import type { Values } from '../container';
import { stackText, type Diff as Comparison, type Doc } from '../doc';
import { alpha, lines as palette, other } from '../colour';
import { baseName } from '../doc';
import { bytes, count, duration, exactBytes, rate, signed, visible } from '../format';
import { t, tOr } from '../i18n';
import { model } from '../model';
import { indexAt } from '../parts/hooks';
import { copyText, Section, TableTwin, useColumns, Waiting } from '../parts/Section';
import { TimeChart, type Line } from '../parts/TimeChart';
import { metric, query, theme } from '../store';
import { Stack } from './Leaks';
import { resample } from './Timeline';

const COLUMNS = [
	'timeline.time_ns', 'timeline.live_bytes', 'timeline.allocations',
	'diff.a_time_ns', 'diff.a_live_bytes', 'diff.a_allocations',
] as const;

type Scale = 'as' | 'time' | 'events';
type Row = Comparison['sites'][number];

const delta = (row: Row, scale: Scale): number | null =>
	scale === 'as' ? row.delta_live_bytes : scale === 'time' ? row.delta_live_bytes_by_time : row.delta_live_bytes_by_events;

/* What A had when it had made as many allocations as B at each of its moments. */
export function byEvents(allocations: ArrayLike<number>, a: { allocations: Values; live: Values }): (number | null)[] {
	const last = a.allocations[a.allocations.length - 1] ?? 0;
	return Array.from(allocations, (n) => (a.live.length === 0 || n > last ? null : a.live[indexAt(a.allocations, n)]!));
}

export function Diff({ doc }: { doc: Doc }) {
	const loaded = useColumns(doc, COLUMNS);
	const [scale, setScale] = useState<Scale>('as');
	const [open, setOpen] = useState<number | null>(null);
	const [status, setStatus] = useState<string>('all');
	const diff = doc.diff;
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const now = theme.value;
	const words = query.value.toLowerCase().trim();

	const lines = useMemo<Line[] | null>(() => {
		if (!values || values[0]!.length === 0) return null;
		const [time, live, allocations, aTime, aLive, aAllocations] = values as Values[];
		const older =
			scale === 'events'
				? byEvents(allocations!, { allocations: aAllocations!, live: aLive! })
				: resample(time!, aTime!, aLive!).map((value, i) => (time![i]! > (aTime![aTime!.length - 1] ?? 0) ? null : value));
		return [
			{ label: t('diff.b'), values: live!, colour: palette[now][1]!, width: 2 },
			{ label: t('diff.a.line'), values: older, colour: palette[now][0]!, width: 2, dash: [7, 4], fill: alpha(palette[now][0]!, 0.08) },
		];
	}, [values, now, scale, t('diff.b')]);

	if (!diff) return null;
	const rows = diff.sites
		.filter((row) => status === 'all' || row.status === status)
		.filter((row) => words === '' || row.name.toLowerCase().includes(words))
		.map((row) => ({ row, change: delta(row, scale) }))
		.sort((x, y) => Math.abs(y.change ?? 0) - Math.abs(x.change ?? 0));
	const largest = Math.max(1, ...rows.map(({ change }) => Math.abs(change ?? 0)));
	const change = diff.b.live_bytes - diff.a.live_bytes;
	const top = rows[0];
	const scales: Scale[] = ['as', ...(diff.scale?.time == null ? [] : ['time' as const]), ...(diff.scale?.events == null ? [] : ['events' as const])];
	model('diff', () => ({ rows: rows.length, scale, change, first: top?.row.name, firstChange: top?.change }));

	return (
		<Section
			id="diff"
			question={t('diff.q')}
			answer={
				t('diff.a', signed(change), bytes(diff.a.live_bytes), bytes(diff.b.live_bytes), diff.new, diff.gone, diff.changed) +
				(top && top.change ? ` ${t('diff.a.top', visible(top.row.name), signed(top.change))}` : '')
			}
			how={t('diff.how')}
			tools={
				<>
					<span class="switch" role="group" aria-label={t('diff.scale')}>
						{scales.map((s) => (
							<button type="button" aria-pressed={scale === s} onClick={() => setScale(s)}>
								{t(`diff.scale.${s}`)}
							</button>
						))}
					</span>
					<button type="button" onClick={() => (metric.value = 'diff')}>{t('diff.flame')}</button>
				</>
			}
		>
			{!diff.same_program && <p class="banner banner-medium">{t('diff.other', visible(diff.a.program), visible(diff.b.program))}</p>}
			{diff.rebuilt_modules > 0 && (
				<p class="muted">
					{t('diff.rebuilt', diff.rebuilt_modules, (diff.rebuilt ?? []).slice(0, 4).map((m) => visible(baseName(m.module))).join(', '))}
				</p>
			)}
			<Runs diff={diff} />
			{lines ? (
				<>
					<h3>{t(scale === 'events' ? 'diff.series.events' : 'diff.series')}</h3>
					<TimeChart xs={values![0]!} lines={lines} height={200} label={t('diff.aria')} describedBy="diff-table" />
				</>
			) : (
				!values && <Waiting state={loaded} />
			)}
			<div class="sub-head">
				<h3>{t('diff.sites')}</h3>
				<span class="switch" role="group" aria-label={t('diff.status')}>
					{['all', 'new', 'gone', 'changed', 'same'].map((s) => (
						<button type="button" aria-pressed={status === s} onClick={() => setStatus(s)}>
							{tOr('diff.status', s)}
						</button>
					))}
				</span>
			</div>
			{rows.length === 0 ? (
				<p class="empty">{t('diff.none')}</p>
			) : (
				<div class="scroll" tabIndex={0} role="group" aria-label={t('diff.sites')}>
					<table class="plain diff">
						<thead>
							<tr>
								<th scope="col">{t('col.site')}</th>
								<th scope="col">{t('diff.status')}</th>
								<th scope="col" class="num">{t('diff.delta')}</th>
								<th scope="col" class="wide-only"><span class="offscreen">{t('diff.delta')}</span></th>
								<th scope="col" class="num wide-only">A</th>
								<th scope="col" class="num wide-only">B</th>
								<th scope="col" class="num wide-only">{t('diff.rate')}</th>
							</tr>
						</thead>
						<tbody>
							{rows.slice(0, 40).map(({ row, change: by }, i) => (
								<>
									<tr>
										<th scope="row">
											<span class="pin-name">
												<button type="button" class="expand" aria-expanded={open === i} aria-label={t('expand', visible(row.name))} onClick={() => setOpen(open === i ? null : i)}>
													<svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
														<path d={open === i ? 'M0 2h10L5 9z' : 'M2 0v10l7-5z'} />
													</svg>
												</button>
												<code class="site-code">{visible(row.name)}</code>
											</span>
										</th>
										<td><span class={`badge badge-${row.status === 'new' ? 'suspect' : 'quiet'}`}>{tOr('diff.status', row.status)}</span></td>
										<td class="num" title={exactBytes(by)}>{by === null ? '–' : signed(by)}</td>
										<td class="wide-only"><Swing value={(by ?? 0) / largest} /></td>
										<td class="num wide-only">{row.a ? bytes(row.a.live_bytes) : '–'}</td>
										<td class="num wide-only">{row.b ? bytes(row.b.live_bytes) : '–'}</td>
										<td class="num wide-only">{rate(row.delta_rate_bytes_per_s)}</td>
									</tr>
									{open === i && (
										<tr class="stack-row">
											<td colSpan={7}>
												<div class="stack-box">
													<Stack stack={row.stack} />
													<button type="button" onClick={() => void copyText(stackText(row.stack))}>{t('stack.copy')}</button>
												</div>
											</td>
										</tr>
									)}
								</>
							))}
						</tbody>
					</table>
				</div>
			)}
			{diff.other.sites > 0 && <p class="muted after">{t('diff.more', count(diff.other.sites), signed(diff.other.delta_live_bytes))}</p>}
			<TableTwin
				id="diff-table"
				twin={{
					caption: t('diff.sites'),
					head: [t('col.site'), t('diff.status'), `A ${t('col.live')}`, `B ${t('col.live')}`, t('diff.scale.as'), t('diff.scale.time'), t('diff.scale.events')],
					rows: () =>
						diff.sites.map((row) => [
							row.name, row.status, row.a?.live_bytes ?? null, row.b?.live_bytes ?? null,
							row.delta_live_bytes, row.delta_live_bytes_by_time ?? null, row.delta_live_bytes_by_events ?? null,
						]),
					show: (cell, i) => (cell === null ? '–' : i === 0 ? visible(String(cell)) : i === 1 ? tOr('diff.status', String(cell)) : i < 4 ? bytes(Number(cell)) : signed(Number(cell))),
				}}
			/>
		</Section>
	);
}

/* A bar to the left for less, to the right for more. */
function Swing({ value }: { value: number }) {
	const now = theme.value;
	const wide = Math.min(50, Math.abs(value) * 50);
	return (
		<svg class="swing" width="120" height="14" aria-hidden="true">
			<line x1="60" x2="60" y1="0" y2="14" stroke={other[now]} />
			<rect
				x={`${value < 0 ? 50 - wide : 50}%`}
				width={`${wide}%`}
				y="2"
				height="10"
				fill={palette[now][value < 0 ? 0 : 1]!}
			/>
		</svg>
	);
}

function Runs({ diff }: { diff: Comparison }) {
	const rows: [string, (run: Comparison['a']) => string][] = [
		[t('quality.program'), (run) => visible(run.program)],
		[t('quality.duration'), (run) => duration(run.duration_ns)],
		[t('card.live'), (run) => bytes(run.live_bytes)],
		[t('card.peak'), (run) => bytes(run.peak_bytes)],
		[t('diff.rss'), (run) => bytes(run.rss_max)],
		[t('metric.count'), (run) => count(run.allocations)],
		[t('metric.allocated'), (run) => bytes(run.allocated_bytes)],
		[t('card.growth'), (run) => (run.verdict === null ? '–' : `${tOr('verdict', run.verdict)} ${run.rate_bytes_per_s === null ? '' : rate(run.rate_bytes_per_s)}`)],
	];
	return (
		<div class="scroll" tabIndex={0} role="group" aria-label={t('diff.runs')}>
			<table class="plain runs">
				<caption class="offscreen">{t('diff.runs')}</caption>
				<thead>
					<tr>
						<td />
						<th scope="col" class="num">A <span class="muted">{visible(baseName(diff.a.path))}</span></th>
						<th scope="col" class="num">B <span class="muted">{visible(baseName(diff.b.path))}</span></th>
					</tr>
				</thead>
				<tbody>
					{rows.map(([name, read]) => (
						<tr>
							<th scope="row">{name}</th>
							<td class="num">{read(diff.a)}</td>
							<td class="num">{read(diff.b)}</td>
						</tr>
					))}
				</tbody>
			</table>
		</div>
	);
}
