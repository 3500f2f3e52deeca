// SPDX-License-Identifier: MIT
/* Temporaries, caches, or ageing? Freed blocks by lifetime and size, and how old is what is left. */
import { useMemo, useState } from 'preact/hooks';
import type { Doc, Lifetimes as Lives } from '../doc';
import { lines as palette } from '../colour';
import { bytes, count, duration, percent, visible } from '../format';
import { t } from '../i18n';
import { model } from '../model';
import { Bars } from '../parts/Bars';
import { HeatMap, logShare, Ramp } from '../parts/HeatMap';
import { largest } from '../parts/hooks';
import { Section, TableTwin, useColumns, Waiting } from '../parts/Section';
import { nameOf } from '../names';
import { selectSite, site, theme } from '../store';
import { Dot } from './Pages';

const BINS = 48; // 2^i ns
const SHORT = 20; // 2^20 ns: a millisecond

const lasts = (bin: number) => duration(2 ** bin);

/* The bin that holds the median of a histogram; -1 when it is empty. */
export function medianBin(blocks: number[]): number {
	const total = blocks.reduce((a, b) => a + b, 0);
	let seen = 0;
	for (let i = 0; i < blocks.length; i++) {
		seen += blocks[i]!;
		if (seen > 0 && seen * 2 >= total) return i;
	}
	return -1;
}

export function Lifetimes({ doc }: { doc: Doc }) {
	const loaded = useColumns(doc, ['lifetimes.blocks', 'lifetimes.bytes']);
	const [byBytes, setByBytes] = useState(true);
	const [picked, setPicked] = useState<readonly [number, number] | null>(null);
	const lives = doc.lifetimes;
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const now = theme.value;
	const table = values?.[byBytes ? 1 : 0] ?? null;
	const sizes = lives?.size_bins ?? 0;

	/* the part of the map that has anything */
	const frame = useMemo(() => {
		if (!table || !lives || table.length < sizes * BINS) return null;
		let [left, right, low, high] = [BINS, -1, sizes, -1];
		for (let size = 0; size < sizes; size++)
			for (let bin = 0; bin < BINS; bin++)
				if (table[size * BINS + bin]! > 0) {
					left = Math.min(left, bin);
					right = Math.max(right, bin);
					low = Math.min(low, size);
					high = Math.max(high, size);
				}
		return right < 0 ? null : { left, n: right - left + 1, low, rows: high - low + 1, max: largest(table) };
	}, [table, lives]);
	const share = useMemo(
		() => (column: number, row: number) =>
			frame && table ? logShare(table[(frame.low + row) * BINS + frame.left + column]!, frame.max) : -1,
		[frame, table],
	);
	const across = useMemo(
		() => (frame ? { n: frame.n, label: (column: number) => lasts(frame.left + column) } : null),
		[frame],
	);

	if (!lives) return null;
	const freed = lives.freed.map((bin) => bin.blocks);
	const total = freed.reduce((a, b) => a + b, 0);
	const middle = medianBin(freed);
	const brief = freed.slice(0, SHORT).reduce((a, b) => a + b, 0);
	const oldest = lives.live.reduce((found, bin, i) => (bin.blocks > 0 ? i : found), -1);
	const show = (value: number) => (byBytes ? bytes(value) : count(value));
	model('lifetimes', () => ({ freed: total, median: middle, brief, picked }));

	return (
		<Section
			id="lifetimes"
			question={t('lifetimes.q')}
			answer={
				total === 0
					? t('lifetimes.a.none')
					: t('lifetimes.a', lasts(middle), lasts(middle + 1), percent(brief / total, 0)) +
						(oldest < 0 ? '' : ` ${t('lifetimes.a.live', lasts(oldest))}`)
			}
			how={t('lifetimes.how')}
			bare={total === 0 && oldest < 0}
			tools={
				total > 0 && (
					<span class="switch" role="group" aria-label={t('frag.metric')}>
						<button type="button" aria-pressed={byBytes} onClick={() => setByBytes(true)}>
							{t('lifetimes.bytes')}
						</button>
						<button type="button" aria-pressed={!byBytes} onClick={() => setByBytes(false)}>
							{t('col.blocks')}
						</button>
					</span>
				)
			}
		>
			{!values ? (
				<Waiting state={loaded} />
			) : (
				(total > 0 || oldest >= 0) && (
					<div class="pair">
						<figure>
							<figcaption><h3>{t('lifetimes.map')}</h3></figcaption>
							{across && frame && table ? (
								<>
									<HeatMap
										id="lifetimes-map"
										across={across}
										rows={frame.rows}
										rowLabel={(row) => bytes(2 ** (frame.low + row), 0)}
										share={share}
										height={Math.max(190, Math.min(320, frame.rows * 16 + 24))}
										label={t('lifetimes.aria', count(total), lasts(Math.max(0, middle)))}
										describedBy="lifetimes-table"
										picked={picked && [picked[0] - frame.left, picked[1] - frame.low]}
										onPick={(column, row) => setPicked([frame.left + column, frame.low + row])}
										tip={(column, row) => {
											const bin = frame.left + column;
											const size = frame.low + row;
											return [
												show(table[size * BINS + bin]!),
												`${bytes(2 ** size)} – ${bytes(2 ** (size + 1))}`,
												t('lifetimes.tip', lasts(bin), lasts(bin + 1)),
											];
										}}
									/>
									<Ramp steps={['1', '', '', '', show(frame.max)]}>{t('lifetimes.legend')}</Ramp>
								</>
							) : (
								<p class="empty">{t('lifetimes.a.none')}</p>
							)}
						</figure>
						<figure>
							<figcaption><h3>{t('lifetimes.hist')}</h3></figcaption>
							<AgeBars lives={lives} byBytes={byBytes} />
							<p class="keys muted">
								<span><Dot colour={palette[now][0]!} /> {t('lifetimes.key.freed')}</span>
								<span><Dot colour={palette[now][1]!} /> {t('lifetimes.key.live')}</span>
							</p>
						</figure>
					</div>
				)
			)}
			{lives.sites.length > 0 && <LifeSites doc={doc} lives={lives} picked={picked} onAll={() => setPicked(null)} />}
			{(total > 0 || oldest >= 0) && (
				<TableTwin
					id="lifetimes-table"
					twin={{
						caption: t('lifetimes.hist'),
						head: [t('lifetimes.from'), t('lifetimes.freed.blocks'), t('lifetimes.freed.bytes'), t('lifetimes.live.blocks'), t('lifetimes.live.bytes')],
						rows: () =>
							lives.freed.map((bin, i) => [2 ** i, bin.blocks, bin.bytes, lives.live[i]!.blocks, lives.live[i]!.bytes]),
						show: (cell, i) =>
							i === 0 ? duration(Number(cell)) : i % 2 === 1 ? count(Number(cell)) : bytes(Number(cell)),
					}}
				/>
			)}
		</Section>
	);
}

/* Freed blocks by lifetime, and live ones by age, side by side: both on one axis of time. */
function AgeBars({ lives, byBytes }: { lives: Lives; byBytes: boolean }) {
	const now = theme.value;
	const read = (bin: { blocks: number; bytes: number }) => (byBytes ? bin.bytes : bin.blocks);
	const used = lives.freed.map((bin, i) => bin.blocks > 0 || lives.live[i]!.blocks > 0);
	const first = Math.max(0, used.indexOf(true));
	const last = Math.max(first, used.lastIndexOf(true));
	const bins = Array.from({ length: last - first + 1 }, (_, i) => first + i);
	return (
		<Bars
			label={t('lifetimes.hist')}
			format={(value) => (byBytes ? bytes(value) : count(value))}
			height={214}
			bars={bins.flatMap((i) =>
				(['freed', 'live'] as const).map((kind) => ({
					label: kind === 'freed' ? lasts(i) : '',
					value: read(lives[kind][i]!),
					tip: [
						t(`lifetimes.key.${kind}`),
						t('lifetimes.tip', lasts(i), lasts(i + 1)),
						`${count(lives[kind][i]!.blocks)}, ${bytes(lives[kind][i]!.bytes)}`,
					],
					colour: palette[now][kind === 'freed' ? 0 : 1]!,
				})),
			)}
		/>
	);
}

const ROWS = 10;

/* A site's bin is only known as that of its median: the list is of those whose median is there. */
function LifeSites(props: { doc: Doc; lives: Lives; picked: readonly [number, number] | null; onAll: () => void }) {
	const { doc, lives, picked } = props;
	const from = picked === null ? null : picked[0] === 0 ? 0 : 2 ** picked[0];
	const rows = lives.sites.filter((s) => from === null || s.median_ns?.[0] === from);
	const range = (q: (number | null)[] | null) =>
		q === null ? '–' : `${duration(q[0])} – ${q[1] == null ? '∞' : duration(q[1])}`;
	return (
		<>
			<div class="sub-head">
				<h3>{picked ? t('lifetimes.sites.bin', lasts(picked[0]), lasts(picked[0] + 1)) : t('lifetimes.sites')}</h3>
				{picked && (
					<button type="button" onClick={props.onAll}>
						{t('lifetimes.sites.all')}
					</button>
				)}
			</div>
			{rows.length === 0 ? (
				<p class="empty">{t('lifetimes.sites.none')}</p>
			) : (
				<div class="scroll" tabIndex={0} role="group" aria-label={t('lifetimes.sites')}>
					<table class="plain">
						<thead>
							<tr>
								<th scope="col">{t('col.site')}</th>
								<th scope="col" class="num">{t('lifetimes.freed.blocks')}</th>
								<th scope="col" class="num">{t('lifetimes.median')}</th>
								<th scope="col" class="num wide-only">{t('lifetimes.p90')}</th>
							</tr>
						</thead>
						<tbody>
							{rows.slice(0, ROWS).map((s) => (
								<tr class={site.value === s.site ? 'chosen' : undefined}>
									<th scope="row">
										<button type="button" class="site-name" aria-pressed={site.value === s.site} onClick={() => selectSite(s.site)}>
											{visible(nameOf(doc, s.site))}
										</button>
									</th>
									<td class="num">{count(s.freed)}</td>
									<td class="num">{range(s.median_ns)}</td>
									<td class="num wide-only">{range(s.p90_ns)}</td>
								</tr>
							))}
						</tbody>
					</table>
				</div>
			)}
		</>
	);
}
