// SPDX-License-Identifier: MIT
/* Is it getting worse, and which kind is it? The heap's sizes and its indices over time. */
import { useMemo, useState } from 'preact/hooks';
import type { Doc, Frag as FragSection, FragMetrics } from '../doc';
import { findingText } from '../finding';
import { lines as palette } from '../colour';
import { bytes, clock, exactBytes, percent, times, visible } from '../format';
import { t, tOr } from '../i18n';
import { model } from '../model';
import { indexAt, useHover } from '../parts/hooks';
import { Section, TableTwin, Term, useColumns, Waiting } from '../parts/Section';
import { TimeChart } from '../parts/TimeChart';
import { span, theme, time } from '../store';

const COLUMNS = [
	'frag.time_ns',
	'frag.live_bytes',
	'frag.pinned_free_bytes',
	'frag.largest_hole',
	'frag.hole_bytes',
	'frag.pages',
	'frag.footprint_bytes',
	'frag.internal_pct',
	'frag.overhead_ratio',
	'frag.hole_usefulness',
	'frag.uf_index',
	'frag.trimmable_bytes',
] as const;

const ORDERS = 11;
const PAGE = 4096;

/* A section about the layout, of a recording that has none. */
export function NoLayout(props: { doc: Doc; id: string; question: string; half?: boolean }) {
	return (
		<Section id={props.id} question={props.question} half={props.half ?? false} bare>
			<p class="empty">{t(props.doc.summary?.estimated ? 'sampled.none' : 'frag.none')}</p>
		</Section>
	);
}

export function Frag({ doc }: { doc: Doc }) {
	const frag = doc.frag;
	const loaded = useColumns(doc, COLUMNS);
	const [order, setOrder] = useState(4);
	const pointer = useHover('frag');
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const now = theme.value;
	const series = values && values[0]!.length > 1 ? values : null;

	const chart = useMemo(() => {
		if (!series) return null;
		const colour = palette[now];
		const footprint = Float64Array.from(series[5]!, (pages) => pages * PAGE);
		/* -1: not sampled yet */
		const resident = Array.from(series[6]!, (value) => (value < 0 ? null : value));
		return [
			...(resident.some((value) => value !== null)
				? [{ label: t('frag.resident'), values: resident, colour: colour[5]!, stepped: true, dash: [8, 3] }]
				: []),
			{ label: t('frag.footprint'), values: footprint, colour: colour[1]!, width: 2 },
			{ label: t('frag.live'), values: series[1]!, colour: colour[0]!, width: 2 },
			{ label: t('frag.hole'), values: series[4]!, colour: colour[2]!, dash: [6, 4] },
			{ label: t('frag.pinned'), values: series[2]!, colour: colour[3]!, width: 2 },
			{ label: t('frag.largest'), values: series[3]!, colour: colour[4]!, dash: [2, 3] },
			/* of glibc only */
			...(series[11]!.length
				? [{ label: t('frag.m.trimmable_bytes'), values: series[11]!, colour: colour[6]!, dash: [4, 2] }]
				: []),
		];
	}, [series, now, t('frag.live')]);

	const shares = useMemo(() => {
		if (!series) return null;
		const colour = palette[now];
		const n = series[0]!.length;
		const column = (read: (k: number) => number | undefined) =>
			Array.from({ length: n }, (_, k) => {
				const value = read(k);
				return value === undefined || !Number.isFinite(value) ? null : value;
			});
		return [
			{
				label: `${t('frag.uf.index')} ${bytes(PAGE * 2 ** order, 0)}`,
				values: column((k) => series[10]![k * ORDERS + order]),
				colour: colour[1]!,
				width: 2,
			},
			{ label: t('frag.m.internal_pct'), values: column((k) => series[7]![k]! / 100), colour: colour[2]!, dash: [6, 4] },
			{
				label: t('frag.waste'),
				/* of the pages that hold anything, what is free */
				values: column((k) => (series[5]![k]! > 0 ? series[2]![k]! / (series[5]![k]! * PAGE) : 0)),
				colour: colour[3]!,
				width: 2,
			},
			...(series[9]!.length >= 2 * n
				? [{
						label: t('frag.useless'),
						values: column((k) => 1 - series[9]![2 * k]! / 100),
						colour: colour[4]!,
						dash: [2, 3],
					}]
				: []),
		];
	}, [series, now, order, t('frag.live')]);

	if (!frag) return <NoLayout doc={doc} id="frag" question={t('frag.q')} />;

	const K = values?.[0]?.length ?? 0;
	const k = K > 0 ? indexAt(values![0]!, pointer ?? time.value ?? frag.at_ns) : -1;
	const moment = k >= 0 ? values![0]![k]! : frag.at_ns;
	model('frag', () => ({ moments: K, at: moment, order, uf: shares?.[0]!.values[Math.max(0, k)] ?? null }));

	return (
		<Section
			id="frag"
			question={t('frag.q')}
			answer={verdictText(doc, frag)}
			how={t('frag.how')}
			tools={frag.residency && <span class="chip">{tOr('frag.residency', frag.residency)}</span>}
		>
			<Metrics metrics={frag.metrics} />
			{!values && <Waiting state={loaded} />}
			{chart && series && (
				<>
					<h3>{t('frag.series')}</h3>
					<TimeChart
						xs={series[0]!}
						lines={chart}
						height={200}
						label={t('frag.aria.series')}
						describedBy="frag-table"
					/>
				</>
			)}
			{shares && series && (
				<>
					<div class="sub-head">
						<h3>{t('frag.indices')}</h3>
						<label class="order-pick">
							{t('frag.order.pick')}{' '}
							<select value={order} onChange={(event) => setOrder(Number(event.currentTarget.value))}>
								{Array.from({ length: ORDERS }, (_, o) => (
									<option value={o}>{bytes(PAGE * 2 ** o, 0)}</option>
								))}
							</select>
						</label>
						<Term name="uf" />
						<Term name="internal" />
						<Term name="waste" />
						<Term name="usefulness" />
					</div>
					<TimeChart
						xs={series[0]!}
						lines={shares}
						height={200}
						top={1}
						format={(value) => percent(value, 0)}
						steps={[0.1, 0.2, 0.25, 0.5, 1]}
						label={t('frag.aria.indices')}
						describedBy="frag-table"
					/>
				</>
			)}
			{series && shares && (
				<TableTwin
					id="frag-table"
					twin={{
						caption: t('frag.series'),
						head: [
							t('frag.time'),
							t('frag.footprint'),
							t('frag.live'),
							t('frag.hole'),
							t('frag.pinned'),
							t('frag.largest'),
							...shares.map((line) => line.label),
						],
						rows: () =>
							Array.from(series[0]!, (x, i) => [
								x,
								series[5]![i]! * PAGE,
								series[1]![i]!,
								series[4]![i]!,
								series[2]![i]!,
								series[3]![i]!,
								...shares.map((line) => line.values[i] ?? null),
							]),
						show: (cell, i) =>
							cell === null
								? '–'
								: i === 0
									? clock(Number(cell), span.value)
									: i > 5
										? percent(Number(cell))
										: bytes(Number(cell)),
					}}
				/>
			)}
		</Section>
	);
}

/* The verdict in the language of the page, where the summary has it with its values. */
function verdictText(doc: Doc, frag: FragSection): string | undefined {
	const finding = doc.summary?.findings.find((f) => f.section === 'frag' && f.code === frag.verdict?.code);
	return finding ? findingText(finding) : frag.verdict ? visible(frag.verdict.text) : undefined;
}

function Metrics({ metrics: m }: { metrics: FragMetrics }) {
	const part = (pct: number | null, digits?: number) => percent(pct === null ? null : pct / 100, digits);
	const items: [string, string, string | undefined][] = [
		['footprint_bytes', bytes(m.footprint_bytes), exactBytes(m.footprint_bytes)],
		['overhead_ratio', times(m.overhead_ratio), undefined],
		['internal_pct', part(m.internal_pct), undefined],
		['hole_bytes', bytes(m.hole_bytes), exactBytes(m.hole_bytes)],
		['pinned_free_bytes', bytes(m.pinned_free_bytes), exactBytes(m.pinned_free_bytes)],
		['largest_hole', bytes(m.largest_hole), exactBytes(m.largest_hole)],
		['empty_bytes', bytes(m.empty_bytes), exactBytes(m.empty_bytes)],
		['trimmable_bytes', bytes(m.trimmable_bytes), exactBytes(m.trimmable_bytes)],
		['huge_util', part(m.huge_util, 0), undefined],
	];
	return (
		<dl class="metrics">
			{items.filter(([, value]) => value !== '–').map(([key, value, title]) => (
				<div>
					<dt>
						<Term name={key} label={tOr('frag.m', key)} />
					</dt>
					<dd title={title}>{value}</dd>
				</div>
			))}
		</dl>
	);
}
