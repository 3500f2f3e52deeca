// SPDX-License-Identifier: MIT
/* Which call sites keep growing, or never free? A sortable, searchable table with stacks and trends. */
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from '@tanstack/virtual-core';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Values } from '../container';
import { baseName, frameText, stackText, type Doc, type Frame, type Leak } from '../doc';
import { bytes, clock, count, exactBytes, percent, rate, visible } from '../format';
import { t, tOr, type Key } from '../i18n';
import { en } from '../strings';
import { model } from '../model';
import { copyText, Section, TableTwin, useColumns, type Cell } from '../parts/Section';
import { Spark } from '../parts/Spark';
import { query, selectSite, site, span } from '../store';

const STEPS = 64;
const SUSPECT = new Set(['growing', 'suspect', 'unsure']);

type SortKey = 'score' | 'name' | 'verdict' | 'bytes' | 'blocks' | 'rate' | 'first' | 'freed' | 'threads';

interface Row {
	leak: Leak;
	index: number; // of its series
	haystack: string;
}

/* The line of the function that titles the site, or else where that function lies. */
export function place(leak: Leak): string {
	const frame = leak.stack.find((f) => f.function === leak.name) ?? leak.stack[0];
	if (!frame) return '';
	if (frame.file) return `${baseName(frame.file)}${frame.line ? `:${frame.line}` : ''}`;
	const offset = frame.offset === null ? '' : `+0x${frame.offset.toString(16)}`;
	return `${baseName(frame.module)}${offset}`;
}

const freedShare = (leak: Leak) =>
	leak.allocations && leak.frees !== null ? leak.frees / leak.allocations : null;

const threadCount = (leak: Leak) => leak.threads;

const sorters: Record<SortKey, (leak: Leak) => number | string> = {
	score: (l) => l.score ?? -1,
	name: (l) => l.name,
	verdict: (l) => l.verdict,
	bytes: (l) => l.bytes,
	blocks: (l) => l.blocks,
	rate: (l) => l.rate_bytes_per_s ?? -Infinity,
	first: (l) => -(l.first_ns ?? Infinity),
	freed: (l) => freedShare(l) ?? -1,
	threads: (l) => threadCount(l) ?? -1,
};

const columns: { key: SortKey; label: Key; num: boolean; narrow: boolean }[] = [
	{ key: 'score', label: 'col.score', num: true, narrow: true },
	{ key: 'name', label: 'col.site', num: false, narrow: true },
	{ key: 'verdict', label: 'col.verdict', num: false, narrow: true },
	{ key: 'bytes', label: 'col.live', num: true, narrow: true },
	{ key: 'blocks', label: 'col.blocks', num: true, narrow: false },
	{ key: 'rate', label: 'col.rate', num: true, narrow: false },
	{ key: 'first', label: 'col.first', num: true, narrow: false },
	{ key: 'freed', label: 'col.freed', num: true, narrow: false },
	{ key: 'threads', label: 'col.threads', num: true, narrow: false },
];

function compare(a: number | string, b: number | string): number {
	return typeof a === 'string' ? a.localeCompare(String(b)) : a - Number(b);
}

export function Leaks({ doc }: { doc: Doc }) {
	const loaded = useColumns(doc, ['leaks.series']);
	const [sort, setSort] = useState<{ key: SortKey; down: boolean }>({ key: 'score', down: true });
	const [suspects, setSuspects] = useState(false);
	const [common, setCommon] = useState(false);
	const [open, setOpen] = useState<ReadonlySet<number>>(new Set());
	const leaks = doc.leaks;

	const all = useMemo<Row[]>(
		() =>
			(leaks?.leaks ?? []).map((leak, index) => ({
				leak,
				index,
				haystack: [leak.name, leak.verdict, leak.class, ...leak.stack.map(frameText)]
					.join('\n')
					.toLowerCase(),
			})),
		[leaks],
	);
	const words = query.value.toLowerCase().trim();
	const rows = useMemo(() => {
		const value = sorters[sort.key];
		return all
			.filter((row) => !suspects || SUSPECT.has(row.leak.verdict))
			.filter((row) => words === '' || row.haystack.includes(words))
			.sort(
				(a, b) =>
					compare(value(a.leak), value(b.leak)) * (sort.down ? -1 : 1) ||
					b.leak.bytes - a.leak.bytes,
			);
	}, [all, sort, suspects, words]);

	if (!leaks) return null;
	const series = loaded && 'values' in loaded ? loaded.values[0]! : null;
	const growing = leaks.leaks.filter((leak) => leak.verdict === 'growing');
	const sum = (list: Leak[]) => list.reduce((total, leak) => total + leak.bytes, 0);
	const answer =
		leaks.leaks.length === 0
			? t('leaks.a.empty')
			: growing.length > 0
				? t('leaks.a', growing.length, leaks.leaks.length, bytes(sum(growing)))
				: t(
						'leaks.a.none',
						count(leaks.leaks.length + (leaks.other?.sites ?? 0)),
						bytes(sum(leaks.leaks) + (leaks.other?.bytes ?? 0)),
					);

	model('leaks', () => ({ order: rows.map((row) => row.leak.site), rows: rows.length, first: rows[0]?.leak.site, selected: site.value }));

	const csvHead = [
		'site', 'name', 'verdict', 'class', 'score', 'bytes', 'blocks', 'rate_bytes_per_s', 'first_ns',
		'last_ns', 'allocated_bytes', 'allocations', 'frees', 'stack',
	];
	const csvRows = (): Cell[][] =>
		rows.map(({ leak: l }) => [
			l.site, l.name, l.verdict, l.class, l.score, l.bytes, l.blocks, l.rate_bytes_per_s, l.first_ns,
			l.last_ns, l.allocated_bytes, l.allocations, l.frees, l.stack.map(frameText).join(' < '),
		]);

	const toggle = (id: number) => {
		const next = new Set(open);
		if (!next.delete(id)) next.add(id);
		setOpen(next);
	};

	return (
		<Section
			id="leaks"
			question={t('leaks.q')}
			answer={answer}
			how={leaks.leaks.length > 0 ? t('leaks.how') : undefined}
			bare={leaks.leaks.length === 0}
			tools={
				leaks.leaks.length > 0 && (
					<>
						<span class="switch" role="group" aria-label={t('col.verdict')}>
							<button type="button" aria-pressed={!suspects} onClick={() => setSuspects(false)}>
								{t('leaks.filter.all')}
							</button>
							<button type="button" aria-pressed={suspects} onClick={() => setSuspects(true)}>
								{t('leaks.filter.suspects')}
							</button>
						</span>
						<button type="button" aria-pressed={common} onClick={() => setCommon(!common)}>
							{t('leaks.normalised')}
						</button>
					</>
				)
			}
		>
			{leaks.leaks.length > 0 && (
				<LeakTable
					rows={rows}
					sort={sort}
					onSort={(key) =>
						setSort({ key, down: sort.key === key ? !sort.down : key !== 'name' && key !== 'verdict' })
					}
					series={series}
					common={common}
					open={open}
					onToggle={toggle}
				/>
			)}
			{leaks.leaks.length > 0 && rows.length === 0 && <p class="empty">{t('leaks.none.match')}</p>}
			{leaks.leaks.length > 0 && (
				<TableTwin
					id="leaks-table"
					twin={{
						caption: t('leaks.q'),
						head: csvHead,
						rows: csvRows,
						show: (cell) => (cell === null ? '–' : typeof cell === 'string' ? visible(cell) : String(cell)),
					}}
				/>
			)}
			{leaks.other && leaks.other.sites > 0 && (
				<p class="muted after">{t('leaks.other', count(leaks.other.sites), bytes(leaks.other.bytes))}</p>
			)}
		</Section>
	);
}

interface TableProps {
	rows: Row[];
	sort: { key: SortKey; down: boolean };
	onSort: (key: SortKey) => void;
	series: Values | null;
	common: boolean;
	open: ReadonlySet<number>;
	onToggle: (site: number) => void;
}

function LeakTable({ rows, sort, onSort, series, common, open, onToggle }: TableProps) {
	const scroller = useRef<HTMLDivElement>(null);
	const [, redraw] = useState(0);
	const virtual = useRef<Virtualizer<HTMLDivElement, HTMLElement> | null>(null);
	const options = {
		count: rows.length,
		getScrollElement: () => scroller.current,
		estimateSize: () => 47,
		overscan: 6,
		getItemKey: (index: number) => rows[index]?.leak.site ?? index,
		scrollToFn: elementScroll,
		observeElementRect,
		observeElementOffset,
		initialRect: { width: 1000, height: 620 },
		onChange: () => redraw((n) => n + 1),
	};
	virtual.current ??= new Virtualizer<HTMLDivElement, HTMLElement>(options);
	virtual.current.setOptions(options);
	useEffect(() => virtual.current!._didMount(), []);
	useLayoutEffect(() => virtual.current!._willUpdate());

	const chosen = site.value;
	useEffect(() => {
		const index = rows.findIndex((row) => row.leak.site === chosen);
		if (index >= 0) virtual.current!.scrollToIndex(index, { align: 'auto' });
	}, [chosen]);

	const items = virtual.current.getVirtualItems();
	const before = items[0]?.start ?? 0;
	const after = virtual.current.getTotalSize() - (items[items.length - 1]?.end ?? 0);
	const largest = Math.max(1, ...rows.map((row) => row.leak.bytes));

	return (
		<div class="leak-scroll" ref={scroller} tabIndex={0} role="group" aria-label={t('leaks.q')}>
			<table class="leaks">
				<thead>
					<tr>
						{columns.map((c) => (
							<th
								scope="col"
								class={`${c.num ? 'num' : ''} ${c.narrow ? '' : 'wide-only'} col-${c.key}`}
								aria-sort={
									sort.key === c.key ? (sort.down ? 'descending' : 'ascending') : undefined
								}
							>
								<button type="button" onClick={() => onSort(c.key)}>
									{sort.key === c.key && (
										<span class="arrow" aria-hidden="true">
											{sort.down ? '▾' : '▴'}
										</span>
									)}
									{t(c.label)}
								</button>
							</th>
						))}
						<th scope="col" class="col-trend">
							{t('col.trend')}
						</th>
					</tr>
				</thead>
				{before > 0 && <Spacer height={before} />}
				{items.map((item) => {
					const row = rows[item.index]!;
					return (
						<tbody
							key={row.leak.site}
							data-index={item.index}
							data-site={row.leak.site}
							ref={(node) => virtual.current!.measureElement(node)}
							class={chosen === row.leak.site ? 'chosen' : undefined}
						>
							<LeakRow
								row={row}
								series={series}
								largest={largest}
								common={common}
								open={open.has(row.leak.site)}
								onToggle={() => onToggle(row.leak.site)}
							/>
							{open.has(row.leak.site) && <StackRow leak={row.leak} />}
						</tbody>
					);
				})}
				{after > 0 && <Spacer height={after} />}
			</table>
		</div>
	);
}

function Spacer({ height }: { height: number }) {
	return (
		<tbody aria-hidden="true">
			<tr style={{ height: `${height}px` }} />
		</tbody>
	);
}

interface RowProps {
	row: Row;
	series: Values | null;
	largest: number;
	common: boolean;
	open: boolean;
	onToggle: () => void;
}

function LeakRow({ row, series, largest, common, open, onToggle }: RowProps) {
	const { leak } = row;
	const name = visible(leak.name);
	const share = freedShare(leak);
	const onRow = (event: MouseEvent) => {
		if ((event.target as Element).closest('button')) return;
		selectSite(leak.site);
	};
	return (
		<tr class="leak-row" onClick={onRow}>
			<td class="num col-score">
				<span class={`score score-${(leak.score ?? 0) >= 60 ? 'high' : (leak.score ?? 0) >= 30 ? 'medium' : 'low'}`}>
					{leak.score === null ? '–' : Math.round(leak.score)}
				</span>
			</td>
			<th scope="row" class="col-name">
				<button
					type="button"
					class="expand"
					aria-expanded={open}
					aria-label={t('expand', name)}
					onClick={onToggle}
				>
					<svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
						<path d={open ? 'M0 2h10L5 9z' : 'M2 0v10l7-5z'} />
					</svg>
				</button>
				<span class="site-text">
					<button
						type="button"
						class="site-name"
						aria-pressed={site.value === leak.site}
						title={name}
						onClick={() => selectSite(leak.site)}
					>
						{name}
					</button>
					<span class="site-place">{visible(place(leak))}</span>
				</span>
			</th>
			<td class="col-verdict">
				<span class={`badge badge-${SUSPECT.has(leak.verdict) ? leak.verdict : 'quiet'}`} title={[reasonText(leak.reason), tOr('class', leak.class)].filter(Boolean).join(' – ')}>
					{tOr('verdict', leak.verdict)}
				</span>
			</td>
			<td class="num col-bytes" title={exactBytes(leak.bytes)}>
				{bytes(leak.bytes)}
				{leak.bytes_relative_error != null && (
					<span class="muted"> ±{percent(leak.bytes_relative_error, 0)}</span>
				)}
				<svg class="bar" height="3" width="100%" aria-hidden="true">
					<rect
						x={`${100 - (100 * leak.bytes) / largest}%`}
						width={`${(100 * leak.bytes) / largest}%`}
						height="3"
					/>
				</svg>
			</td>
			<td class="num wide-only">{count(leak.blocks)}</td>
			<td
				class="num wide-only"
				title={
					leak.rate_low !== null && leak.rate_high !== null
						? t('col.rate.interval', rate(leak.rate_low), rate(leak.rate_high))
						: undefined
				}
			>
				{rate(leak.rate_bytes_per_s)}
			</td>
			<td
				class="num wide-only"
				title={
					leak.first_ns !== null && leak.last_ns !== null
						? `${t('col.first.at', clock(leak.first_ns, span.value))}, ${t('col.last.at', clock(leak.last_ns, span.value))}`
						: undefined
				}
			>
				{leak.first_ns === null ? '–' : clock(leak.first_ns, span.value)}
			</td>
			<td class="num wide-only">{percent(share, 0)}</td>
			<td class="num wide-only">{threadCount(leak) ?? '–'}</td>
			<td class="col-trend">{series && series.length > 0 && (
				<Spark values={series.subarray(row.index * STEPS, (row.index + 1) * STEPS)} top={common ? largest : 0} />
			)}</td>
		</tr>
	);
}

export function Stack({ stack }: { stack: Frame[] }) {
	if (stack.length === 0) return <p class="muted">{t('stack.none')}</p>;
	return (
		<ol class="stack" start={0}>
			{stack.map((frame) => (
				<li>
					<code>{visible(frame.function ?? '??')}</code>
					{frame.inlined && <span class="inlined">{t('stack.inlined')}</span>}
					{frame.file && (
						<span class="frame-file">
							{visible(frame.file)}
							{frame.line ? `:${frame.line}` : ''}
						</span>
					)}
					{frame.module && (
						<span class="frame-module">
							{visible(baseName(frame.module))}
							{frame.offset !== null && frame.offset !== undefined
								? `+0x${frame.offset.toString(16)}`
								: ''}
						</span>
					)}
				</li>
			))}
		</ol>
	);
}

/* Why a site has its verdict; some codes have one number. */
export function reasonText(reason: Leak['reason']): string {
	if (!reason) return '';
	const key = `reason.${reason.code}` as Key;
	const value = Object.entries(reason).find(([name, n]) => name !== 'code' && typeof n === 'number')?.[1];
	return key in en ? t(key, value === undefined ? '–' : count(Number(value))) : visible(reason.code).replaceAll('_', ' ');
}

/* As LeakSanitizer reads it: the function that titles the site, whatever calls it. */
export function suppression(leak: Leak): string {
	return `# ${leak.name.replace(/[\r\n]/g, ' ')}\nleak:${leak.name.replace(/[\r\n]/g, '?')}\n`;
}

function StackRow({ leak }: { leak: Leak }) {
	const span_ = span.value;
	return (
		<tr class="stack-row">
			<td colSpan={columns.length + 1}>
				<div class="stack-box">
					<Stack stack={leak.stack} />
					<div class="stack-side">
						<dl>
							<dt>{t('col.allocated')}</dt>
							<dd>{bytes(leak.allocated_bytes)}</dd>
							<dt>{t('col.count')}</dt>
							<dd>{count(leak.allocations)}</dd>
							<dt>{t('col.peak')}</dt>
							<dd>{bytes(leak.peak_bytes)}</dd>
							{leak.first_ns !== null && leak.last_ns !== null && (
								<>
									<dt>{t('col.first.at', '')}</dt>
									<dd>{clock(leak.first_ns, span_)}</dd>
									<dt>{t('col.last.at', '')}</dt>
									<dd>{clock(leak.last_ns, span_)}</dd>
								</>
							)}
							<dt>{t('col.verdict')}</dt>
							<dd>{tOr('class', leak.class)}</dd>
						</dl>
						{leak.reason && (
							<p class="reason">
								<strong>{tOr('verdict', leak.verdict)}:</strong> {reasonText(leak.reason)}
							</p>
						)}
						<button type="button" onClick={() => void copyText(stackText(leak.stack))}>
							{t('stack.copy')}
						</button>
						<button
							type="button"
							title={t('leaks.suppress.how')}
							onClick={() => void copyText(suppression(leak))}
						>
							{t('leaks.suppress')}
						</button>
					</div>
				</div>
			</td>
		</tr>
	);
}

