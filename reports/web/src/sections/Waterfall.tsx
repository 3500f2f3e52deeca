// SPDX-License-Identifier: MIT
/* Where is the resident memory? The terms of the resident size at the last sample, and over time. */
import { useMemo } from 'preact/hooks';
import { alpha, lines as palette, other as grey } from '../colour';
import { WATERFALL_TERMS, type Doc, type Waterfall as Terms, type WaterfallTerm } from '../doc';
import { bytes, clock, count, exactBytes, percent } from '../format';
import { t } from '../i18n';
import { model } from '../model';
import { Section, TableTwin, useColumns, Waiting, type Cell } from '../parts/Section';
import { TimeChart, type Band, type Line } from '../parts/TimeChart';
import { span, theme } from '../store';

const COLUMNS = ['time_ns', 'rss', ...WATERFALL_TERMS].map((name) => `waterfall.${name}`);

type Group = 'outside' | 'live' | 'free' | 'rest';

const GROUP: Record<WaterfallTerm, Group> = {
	file: 'outside', stack: 'outside', other: 'outside', tracer: 'outside',
	live_req: 'live', round: 'live', meta: 'live', live_nr: 'live',
	pin_free: 'free', empty_res: 'free',
	residual: 'rest',
};

/* Live bytes on pages that are not resident are part of the terms before: they are taken off. */
const signed = (term: WaterfallTerm, value: number) => (term === 'live_nr' ? -value : value);

function sumOf(terms: Terms, group: Group): number {
	return WATERFALL_TERMS.filter((term) => GROUP[term] === group).reduce(
		(sum, term) => sum + signed(term, terms[term]), 0);
}

export function Waterfall({ doc }: { doc: Doc }) {
	const loaded = useColumns(doc, COLUMNS);
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const now = theme.value;
	const W = values?.[0]?.length ?? 0;

	const chart = useMemo(() => {
		if (!values || W < 2) return null;
		const column = (name: WaterfallTerm) => values[2 + WATERFALL_TERMS.indexOf(name)]!;
		const add = (...names: WaterfallTerm[]) =>
			Float64Array.from({ length: W }, (_, i) => names.reduce((s, n) => s + signed(n, column(n)[i] ?? 0), 0));
		const colour = palette[now];
		const layers: [string, Float64Array, string][] = [
			[t('rss.t.file'), add('file'), grey[now]],
			[t('rss.t.other'), add('stack', 'other'), colour[5]!],
			[t('rss.t.tracer'), add('tracer'), colour[4]!],
			[t('rss.live'), add('live_req', 'round', 'meta', 'live_nr'), colour[0]!],
			[t('rss.t.pin_free'), add('pin_free'), colour[3]!],
			[t('rss.t.empty_res'), add('empty_res'), colour[2]!],
		];
		const sum = new Float64Array(W);
		const stacked = layers.map(([, own]) => {
			for (let i = 0; i < W; i++) sum[i]! += own[i]!;
			return Float64Array.from(sum);
		});
		const lines: Line[] = [
			{ label: t('rss.t.rss'), values: values[1]!, colour: colour[1]!, width: 2, dash: [6, 4] },
		];
		const bands: Band[] = [];
		/* from the top of the stack downwards, so that each fill ends at the next line */
		for (let k = layers.length - 1; k >= 0; k--) {
			const [label, own, ink] = layers[k]!;
			const fill = alpha(ink, now === 'dark' ? 0.5 : 0.42);
			lines.push({ label, values: stacked[k]!, own, colour: ink, width: 1.25, fill: k === 0 ? fill : undefined });
			if (k > 0) bands.push({ upper: lines.length - 1, lower: lines.length, fill });
		}
		return { xs: values[0]!, lines, bands };
	}, [values, now, t('rss.q')]);

	const terms = doc.frag?.waterfall;
	model('rss', () => ({ terms: terms ?? null, samples: W, largest: chart ? Math.max(...chart.lines[1]!.values as Float64Array) : 0 }));
	if (!doc.frag || !terms)
		return (
			<Section id="rss" question={t('rss.q')} bare>
				<p class="empty">{t(doc.frag ? 'rss.none' : doc.summary?.estimated ? 'sampled.none' : 'frag.none')}</p>
			</Section>
		);
	const closing = doc.frag.closing;
	const share = (value: number) => percent(value / Math.max(1, terms.rss));

	return (
		<Section
			id="rss"
			question={t('rss.q')}
			answer={`${t(
				'rss.a', bytes(terms.rss), clock(terms.time_ns, span.value), bytes(sumOf(terms, 'live')),
				bytes(sumOf(terms, 'free')), bytes(sumOf(terms, 'outside')),
			)} ${t('rss.a.residual', bytes(terms.residual), share(Math.abs(terms.residual)))}`}
			how={t('rss.how')}
		>
			<h3>{t('rss.last', clock(terms.time_ns, span.value))}</h3>
			<Fall terms={terms} share={share} />
			{terms.swap > 0 && <p class="muted">{t('rss.swap', bytes(terms.swap))}</p>}
			{closing && (
				<p class="muted">
					{t('rss.closing', percent(closing.within_pct / 100), count(closing.samples), bytes(closing.p95_bytes), bytes(closing.max_bytes))}
				</p>
			)}
			<h3>{t('rss.series')}</h3>
			{!values ? (
				<Waiting state={loaded} />
			) : chart ? (
				<TimeChart
					xs={chart.xs}
					lines={chart.lines}
					bands={chart.bands}
					height={240}
					label={t('rss.aria', W, bytes(terms.rss))}
					describedBy="rss-table"
				/>
			) : (
				<p class="muted">{t('rss.series.one')}</p>
			)}
			{values && (
				<TableTwin
					id="rss-table"
					twin={{
						caption: t('rss.q'),
						head: [t('frag.time'), t('rss.t.rss'), ...WATERFALL_TERMS.map((term) => t(`rss.t.${term}`))],
						rows: () => Array.from({ length: W }, (_, i): Cell[] => values.map((column) => column[i] ?? null)),
						show: (cell, i) =>
							cell === null ? '–' : i === 0 ? clock(Number(cell), span.value) : bytes(Number(cell)),
					}}
				/>
			)}
		</Section>
	);
}

/* Each bar begins where the one above it ended. */
function Fall({ terms, share }: { terms: Terms; share: (value: number) => string }) {
	const colour = palette[theme.value];
	const ink: Record<Group, string> = {
		outside: grey[theme.value], live: colour[0]!, free: colour[3]!, rest: colour[1]!,
	};
	let at = 0;
	const rows = WATERFALL_TERMS.map((term) => {
		const value = signed(term, terms[term]);
		const from = Math.min(at, at + value);
		at += value;
		return { key: term as string, label: t(`rss.t.${term}`), value, from, colour: ink[GROUP[term]], tops: at };
	});
	rows.push({ key: 'rss', label: t('rss.t.rss'), value: terms.rss, from: 0, colour: colour[5]!, tops: terms.rss });
	const full = Math.max(1, ...rows.map((row) => row.from + Math.abs(row.value)));
	const least = Math.min(0, ...rows.map((row) => row.from));
	const x = (value: number) => ((value - least) / (full - least)) * 1000;
	return (
		<table class="fall">
			<caption class="offscreen">{t('rss.q')}</caption>
			<thead class="offscreen">
				<tr>
					<th scope="col">{t('rss.term')}</th>
					<td />
					<th scope="col">{t('col.size')}</th>
					<th scope="col">{t('rss.share')}</th>
				</tr>
			</thead>
			<tbody>
				{rows.map((row) => (
					<tr data-term={row.key}>
						<th scope="row">{row.label}</th>
						<td class="fall-bar" aria-hidden="true">
							<svg viewBox="0 0 1000 16" preserveAspectRatio="none">
								<rect
									x={x(row.from)}
									width={row.value === 0 ? 0 : Math.max(2, x(row.from + Math.abs(row.value)) - x(row.from))}
									height="16"
									fill={row.colour}
								/>
							</svg>
						</td>
						<td class="num" title={exactBytes(row.value)}>
							{bytes(row.value)}
						</td>
						<td class="num muted">{share(row.value)}</td>
					</tr>
				))}
			</tbody>
		</table>
	);
}
