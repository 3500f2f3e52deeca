// SPDX-License-Identifier: MIT
/* Is the free memory usable, and who keeps it? Pages, holes, orders, and the sites that pin. */
import { useEffect, useMemo, useRef } from 'preact/hooks';
import type { Values } from '../container';
import type { Doc, Frag as FragSection } from '../doc';
import { accent, cividisCss, inkOn, lines as palette, muted } from '../colour';
import { bytes, clock, count, duration, exactBytes, percent, times, visible } from '../format';
import { t, tOr } from '../i18n';
import { model } from '../model';
import { Bars } from '../parts/Bars';
import { FONT, indexAt, prepareCanvas, useWidth } from '../parts/hooks';
import { Section, TableTwin, useColumns, Waiting } from '../parts/Section';
import { ticks, timeSteps } from '../parts/ticks';
import { hover, TimeChart } from '../parts/TimeChart';
import { hideTip, showTip } from '../parts/Tip';
import { selectSite, site, span, theme, time, view } from '../store';

const COLUMNS = [
	'frag.time_ns',
	'frag.live_bytes',
	'frag.pinned_free_bytes',
	'frag.largest_hole',
	'frag.hole_bytes',
	'frag.pages',
	'frag.uf_index',
	'frag.page_occupancy',
	'frag.footprint_bytes',
] as const;

const BINS = 11;
const PAGE = 4096;
const HOLE_BARS = 9;

export function Frag({ doc }: { doc: Doc }) {
	const frag = doc.frag;
	const loaded = useColumns(doc, COLUMNS);
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const now = theme.value;
	const series = values && values[0]!.length > 1 ? values : null;

	const chart = useMemo(() => {
		if (!series) return null;
		const colour = palette[now];
		const footprint = Float64Array.from(series[5]!, (pages) => pages * PAGE);
		/* -1: not sampled yet */
		const resident = Array.from(series[8]!, (value) => (value < 0 ? null : value));
		return {
			xs: series[0]!,
			lines: [
				...(resident.some((value) => value !== null)
					? [{ label: t('frag.resident'), values: resident, colour: colour[5]!, stepped: true, dash: [8, 3] }]
					: []),
				{ label: t('frag.footprint'), values: footprint, colour: colour[1]!, width: 2 },
				{ label: t('frag.live'), values: series[1]!, colour: colour[0]!, width: 2 },
				{ label: t('frag.hole'), values: series[4]!, colour: colour[2]!, dash: [6, 4] },
				{ label: t('frag.pinned'), values: series[2]!, colour: colour[3]!, width: 2 },
				{ label: t('frag.largest'), values: series[3]!, colour: colour[4]!, dash: [2, 3] },
			],
		};
	}, [series, now, t('frag.live')]);

	if (!frag)
		return (
			<Section id="frag" question={t('frag.q')}>
				<p class="empty">{t(doc.summary?.estimated ? 'sampled.none' : 'frag.none')}</p>
			</Section>
		);

	const K = values?.[0]?.length ?? 0;
	const at = hover.value ?? time.value ?? frag.at_ns;
	const k = K > 0 ? indexAt(values![0]!, at) : -1;
	const moment = k >= 0 ? values![0]![k]! : frag.at_ns;
	const pages =
		k >= 0 && values![7]!.length >= (k + 1) * BINS
			? values![7]!.subarray(k * BINS, (k + 1) * BINS)
			: frag.metrics.page_occupancy_hist;

	model('frag', () => ({ moments: K, at: moment, pages: Array.from(pages) }));

	return (
		<Section
			id="frag"
			question={t('frag.q')}
			answer={frag.verdict ? visible(frag.verdict.text) : undefined}
			how={t('frag.how')}
			tools={
				frag.residency && (
					<span class="chip">{tOr('frag.residency', frag.residency)}</span>
				)
			}
		>
			<Metrics frag={frag} />
			{!values && <Waiting state={loaded} />}
			{chart && (
				<>
					<h3>{t('frag.series')}</h3>
					<TimeChart
						xs={chart.xs}
						lines={chart.lines}
						height={220}
						label={t('frag.aria.series')}
						describedBy="frag-table"
					/>
				</>
			)}
			<div class="trio">
				<PagesChart pages={pages} moment={moment} />
				<HolesChart frag={frag} />
				{series && <OrderMap times={series[0]!} uf={series[6]!} k={k} />}
			</div>
			{frag.sites.length > 0 && <Pinning frag={frag} />}
			{series && (
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
							...Array.from({ length: BINS }, (_, o) => `${t('frag.uf.index')} ${o}`),
						],
						rows: () =>
							Array.from(series[0]!, (x, i) => [
								x,
								series[5]![i]! * PAGE,
								series[1]![i]!,
								series[4]![i]!,
								series[2]![i]!,
								series[3]![i]!,
								...Array.from({ length: BINS }, (_, o) => series[6]![i * BINS + o] ?? null),
							]),
						show: (cell, i) =>
							cell === null
								? '–'
								: i === 0
									? clock(Number(cell), span.value)
									: i > 5
										? Number(cell).toFixed(3)
										: bytes(Number(cell)),
					}}
				/>
			)}
		</Section>
	);
}

function Metrics({ frag }: { frag: FragSection }) {
	const m = frag.metrics;
	const items: [string, string, string | undefined][] = [
		['footprint_bytes', bytes(m.footprint_bytes), exactBytes(m.footprint_bytes)],
		['overhead_ratio', times(m.overhead_ratio), undefined],
		['internal_pct', percent(m.internal_pct === null ? null : m.internal_pct / 100), undefined],
		['hole_bytes', bytes(m.hole_bytes), undefined],
		['pinned_free_bytes', bytes(m.pinned_free_bytes), undefined],
		['largest_hole', bytes(m.largest_hole), undefined],
		['empty_bytes', bytes(m.empty_bytes), undefined],
		['trimmable_bytes', bytes(m.trimmable_bytes), undefined],
		['huge_util', percent(m.huge_util === null ? null : m.huge_util / 100, 0), undefined],
	];
	return (
		<dl class="metrics">
			{items.filter(([, value]) => value !== '–').map(([key, value, title]) => (
				<div>
					<dt>{tOr('frag.m', key)}</dt>
					<dd title={title}>{value}</dd>
				</div>
			))}
		</dl>
	);
}

/* ---- how full, how large, which orders ----------------------------------------------------------- */

function PagesChart({ pages, moment }: { pages: ArrayLike<number>; moment: number }) {
	const now = theme.value;
	const total = Array.from(pages).reduce((a, b) => a + b, 0);
	const sparse = (pages[0] ?? 0) + (pages[1] ?? 0);
	const name = (i: number) =>
		i === 0 ? t('frag.pages.empty') : i === 10 ? '90–100 %' : `${(i - 1) * 10}–${i * 10} %`;
	const label = t('frag.aria.pages', clock(moment, span.value));
	return (
		<figure>
			<figcaption>
				<h3>{t('frag.pages')}</h3>
				<p>{t('frag.pages.sub', count(sparse), count(total), bytes(sparse * PAGE))}</p>
			</figcaption>
			<Bars
				label={label}
				format={count}
				bars={Array.from(pages, (value, i) => ({
					label: i === 0 ? t('frag.pages.empty') : `${(i - 1) * 10}`,
					value,
					tip: [`${t('frag.page.bin')}: ${name(i)}`, `${count(value)} (${percent(value / Math.max(1, total))})`, bytes(value * PAGE)],
					colour: i <= 1 ? palette[now][1]! : palette[now][0]!,
				}))}
			/>
			<TableTwin
				twin={{
					caption: label,
					head: [t('frag.page.bin'), t('frag.page.count')],
					rows: () => Array.from(pages, (value, i) => [name(i), value]),
				}}
			/>
		</figure>
	);
}

function HolesChart({ frag }: { frag: FragSection }) {
	const now = theme.value;
	const bins = frag.metrics.hole_size_hist;
	const used = bins.map((bin, i) => (bin.blocks > 0 ? i : -1)).filter((i) => i >= 0);
	/* one size of hole is still a histogram: leave room around it */
	const room = Math.max(0, Math.ceil((HOLE_BARS - ((used[used.length - 1] ?? 0) - (used[0] ?? 0) + 1)) / 2));
	const first = Math.max(0, (used[0] ?? 0) - room);
	const last = used.length > 0 ? Math.min(bins.length - 1, used[used.length - 1]! + room) : -1;
	const shown = bins.slice(first, last + 1);
	return (
		<figure>
			<figcaption>
				<h3>{t('frag.holes')}</h3>
				<p>
					{t('frag.holes.sub', count(frag.metrics.holes), bytes(frag.metrics.largest_hole))}
				</p>
			</figcaption>
			<Bars
				label={t('frag.aria.holes')}
				format={(v) => bytes(v)}
				bars={shown.map((bin, i) => ({
					label: bytes(2 ** (first + i)).replace(' ', '\u202f'),
					value: bin.bytes,
					tip: [
						`${bytes(2 ** (first + i))} – ${bytes(2 ** (first + i + 1))}`,
						`${t('frag.holes.bytes')}: ${bytes(bin.bytes)}`,
						`${t('frag.holes.blocks')}: ${count(bin.blocks)}`,
					],
					colour: palette[now][2]!,
				}))}
			/>
			<TableTwin
				twin={{
					caption: t('frag.holes'),
					head: [t('frag.hole.size'), t('frag.holes.blocks'), t('frag.holes.bytes')],
					rows: () => shown.map((bin, i) => [2 ** (first + i), bin.blocks, bin.bytes]),
					show: (cell, i) => (i === 1 ? count(Number(cell)) : bytes(Number(cell))),
				}}
			/>
		</figure>
	);
}

/* ---- order x time ---------------------------------------------------------------------------- */

const LEFT = 56;
const BOTTOM = 24;

function OrderMap({ times, uf, k }: { times: Values; uf: Values; k: number }) {
	const box = useRef<HTMLDivElement>(null);
	const canvas = useRef<HTMLCanvasElement>(null);
	const width = useWidth(box);
	const height = 190;
	const now = theme.value;
	const [a, b] = view.value;
	const mark = time.value;
	const pointer = hover.value;
	const rowHeight = (height - BOTTOM) / BINS;
	const size = (order: number) => bytes(PAGE * 2 ** order, 0);
	const order = 9;
	const plot = Math.max(1, width - LEFT - 8);

	useEffect(() => {
		const c = canvas.current && width > LEFT + 20 && prepareCanvas(canvas.current, width, height);
		if (!c) return;
		const x = (ns: number) => LEFT + ((ns - a) / Math.max(1, b - a)) * plot;
		c.clearRect(0, 0, width, height);
		c.save();
		c.beginPath();
		c.rect(LEFT, 0, plot, height - BOTTOM);
		c.clip();
		for (let i = 0; i < times.length; i++) {
			/* whole pixels: a seam would read as a value */
			const from = Math.floor(x(i === 0 ? 0 : times[i - 1]!));
			const to = Math.ceil(x(times[i]!));
			if (to < LEFT || from > width) continue;
			for (let o = 0; o < BINS; o++) {
				c.fillStyle = cividisCss(uf[i * BINS + o] ?? 0);
				const top = Math.floor((BINS - 1 - o) * rowHeight);
				c.fillRect(from, top, to - from, Math.ceil((BINS - o) * rowHeight) - top);
			}
		}
		c.restore();
		c.font = FONT;
		c.fillStyle = muted[now];
		c.textAlign = 'right';
		c.textBaseline = 'middle';
		for (let o = 0; o < BINS; o += 2) c.fillText(size(o), LEFT - 6, (BINS - 0.5 - o) * rowHeight);
		c.textAlign = 'center';
		c.textBaseline = 'top';
		for (const tick of ticks(a, b, plot / 84, timeSteps)) {
			if (x(tick) > width - 20) continue;
			c.fillRect(Math.round(x(tick)), height - BOTTOM, 1, 4);
			c.fillText(clock(tick, Math.max(1, b - a)), x(tick), height - BOTTOM + 7);
		}
		for (const [at, colour] of [
			[mark, accent[now]],
			[pointer, '#ffffff'],
		] as const) {
			if (at === null || at < a || at > b) continue;
			c.fillStyle = colour;
			c.fillRect(Math.round(x(at)), 0, 1, height - BOTTOM);
		}
	}, [times, uf, width, a, b, now, mark, pointer]);

	const onMove = (event: MouseEvent) => {
		const rect = canvas.current!.getBoundingClientRect();
		const ns = a + ((event.clientX - rect.left - LEFT) / plot) * (b - a);
		const o = BINS - 1 - Math.floor((event.clientY - rect.top) / rowHeight);
		if (o < 0 || o >= BINS || ns < a || ns > b) return hideTip();
		hover.value = ns;
		const i = indexAt(times, ns);
		return showTip(event, [
			`${t('frag.uf.index')}: ${(uf[i * BINS + o] ?? 0).toFixed(3)}`,
			`${t('frag.order')} ${o} · ${size(o)}`,
			clock(times[i]!, span.value),
		]);
	};

	return (
		<figure>
			<figcaption>
				<h3>{t('frag.uf')}</h3>
				<p>{k >= 0 && t('frag.uf.sub', percent(uf[k * BINS + order] ?? 0, 0), size(order))}</p>
			</figcaption>
			<div ref={box}>
				<canvas
					ref={canvas}
					class="orders"
					role="img"
					aria-label={t('frag.aria.uf')}
					aria-describedby="frag-table"
					onMouseMove={onMove}
					onMouseLeave={() => {
						hover.value = null;
						hideTip();
					}}
					onClick={() => (time.value = hover.value === null ? null : Math.round(hover.value))}
				/>
			</div>
			<p class="ramp muted">
				{[0, 0.25, 0.5, 0.75, 1].map((share) => (
					<span class="ramp-step" style={{ backgroundColor: cividisCss(share), color: inkOn(share) }}>
						{share}
					</span>
				))}
				<span>{t('frag.uf.legend')}</span>
			</p>
		</figure>
	);
}

function Pinning({ frag }: { frag: FragSection }) {
	return (
		<>
			<h3>{t('frag.sites')}</h3>
			<div class="scroll" tabIndex={0} role="group" aria-label={t('frag.sites')}>
				<table class="plain">
					<thead>
						<tr>
							<th scope="col">{t('col.site')}</th>
							<th scope="col" class="num">
								{t('frag.sites.sole')}
							</th>
							<th scope="col" class="num">
								{t('frag.sites.shapley')}
							</th>
							<th scope="col" class="num">
								{t('frag.sites.any')}
							</th>
							<th scope="col" class="num">
								{t('frag.sites.density')}
							</th>
							<th scope="col" class="num">
								{t('frag.sites.age')}
							</th>
						</tr>
					</thead>
					<tbody>
						{frag.sites.slice(0, 15).map((s) => (
							<tr class={site.value === s.site ? 'chosen' : undefined}>
								<th scope="row">
									<button
										type="button"
										class="site-name"
										aria-pressed={site.value === s.site}
										onClick={() => selectSite(s.site)}
									>
										{visible(s.name)}
									</button>
								</th>
								<td class="num" title={exactBytes(s.sole)}>
									{bytes(s.sole)}
								</td>
								<td class="num">{bytes(s.shapley)}</td>
								<td class="num">{bytes(s.any)}</td>
								<td class="num">{times(s.density)}</td>
								<td class="num">{duration(s.age_ns)}</td>
							</tr>
						))}
					</tbody>
				</table>
			</div>
		</>
	);
}
