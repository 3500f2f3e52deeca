// SPDX-License-Identifier: MIT
/* The page about a machine's memory: what is free, in what pieces, and who went without. */
import { useMemo, useState } from 'preact/hooks';
import { lines as palette } from '../colour';
import type { Doc, Machine, Zone } from '../doc';
import { bytes, clock, count, duration, exactBytes, percent, visible } from '../format';
import { t, tOr } from '../i18n';
import { model } from '../model';
import { Bars } from '../parts/Bars';
import { HeatMap, logShare, Ramp } from '../parts/HeatMap';
import { indexAt, largest, useHover } from '../parts/hooks';
import { Section, TableTwin, Term, useColumns, Waiting } from '../parts/Section';
import { TimeChart, type Line } from '../parts/TimeChart';
import { span, theme, time } from '../store';
import { adviceTitle } from './Advice';
import { Card, SeverityMark } from './Verdict';

const ORDERS = 11;
const PAGE = 4096;
const HUGE = 9; // 2 MiB

const sizeOf = (order: number) => bytes(PAGE * 2 ** order, 0);
const zoneName = (zone: Zone) => `${zone.node} ${visible(zone.name)}`;

/* Zones with memory, each with its place among all of them. */
function zonesOf(node: Machine): { zone: Zone; index: number }[] {
	return node.zones.map((zone, index) => ({ zone, index })).filter(({ zone }) => zone.managed_pages > 0);
}

/* The zone that a machine is mostly made of. */
function largestZone(node: Machine): { zone: Zone; index: number } | undefined {
	return [...zonesOf(node)].sort((a, b) => b.zone.managed_pages - a.zone.managed_pages)[0];
}

const sum = <T,>(items: readonly T[], read: (item: T) => number) => items.reduce((all, item) => all + read(item), 0);

/* ---- the first screen ------------------------------------------------------------------------ */

export function MachineVerdict({ doc }: { doc: Doc }) {
	const node = doc.node!;
	const zones = zonesOf(node).map(({ zone }) => zone);
	const main = largestZone(node)?.zone;
	const managed = sum(zones, (zone) => zone.managed_pages) * PAGE;
	const free = sum(zones, (zone) => zone.last?.free_pages ?? 0) * PAGE;
	const looked = zones.filter((zone) => zone.frames !== null);
	const mixed = sum(looked, (zone) => zone.frames!.mixed_pageblocks);
	const worth = node.advice.filter((advice) => advice.worth_it);
	const severity = worth.length > 0 ? 'medium' : 'ok';
	const unserved = node.counters.thp_fault_fallback ?? null;
	model('machine', () => ({ severity, managed, free, mixed, worth: worth.map((advice) => advice.id) }));

	return (
		<section id="verdict" aria-labelledby="verdict-h" class="verdict-strip">
			<div class={`verdict-head severity-edge-${severity}`}>
				<SeverityMark severity={severity} />
				<h2 id="verdict-h">
					{worth.length > 0 ? t('machine.worth', worth.map(adviceTitle).join(', ')) : t('machine.ok')}
				</h2>
			</div>
			<div class="cards">
				<Card
					label={t('machine.card.managed')}
					value={bytes(managed)}
					sub={t('machine.card.managed.sub', zones.length)}
					title={exactBytes(managed)}
					href="#zones"
				/>
				<Card
					label={t('machine.card.free')}
					value={bytes(free)}
					sub={t('machine.card.free.sub', percent(managed > 0 ? free / managed : null, 0))}
					title={exactBytes(free)}
					href="#zones"
				/>
				<Card
					label={t('machine.card.unusable')}
					value={percent(main?.last?.uf_index[HUGE])}
					sub={main && t('machine.card.unusable.sub', visible(main.name))}
					href="#zones"
				/>
				<Card
					label={t('machine.card.mixed')}
					value={looked.length > 0 ? count(mixed) : '–'}
					sub={
						looked.length > 0
							? t(
									'machine.card.mixed.sub', count(sum(looked, (zone) => zone.frames!.used_pageblocks)),
									count(sum(looked, (zone) => zone.frames!.pinned_by_few)),
								)
							: t('machine.card.mixed.none')
					}
					href="#blocks"
				/>
				<Card
					label={t('machine.card.slabs')}
					value={node.slabs ? bytes(node.slabs.waste_bytes) : '–'}
					sub={node.slabs ? t('machine.card.slabs.sub', bytes(node.slabs.bytes)) : t('machine.card.slabs.none')}
					href="#slabs"
				/>
				<Card
					label={t('machine.card.unserved')}
					value={count(unserved)}
					sub={t('machine.card.unserved.sub', count(node.counters.thp_fault_alloc ?? null))}
					tone={(unserved ?? 0) > 0 ? 'medium' : undefined}
					href="#demand"
				/>
			</div>
		</section>
	);
}

/* ---- free lists ------------------------------------------------------------------------------ */

const COLUMNS = ['node.time_ns', 'node.free_blocks', 'node.unusable9'] as const;

export function Zones({ doc }: { doc: Doc }) {
	const node = doc.node!;
	const loaded = useColumns(doc, COLUMNS);
	const [picked, setPicked] = useState<number | null>(null);
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const zones = zonesOf(node);
	const main = largestZone(node);
	const { zone, index } = zones.find((one) => one.index === picked) ?? main ?? { zone: undefined, index: 0 };
	const now = theme.value;
	const n = node.zones.length;
	const shown = values && values[0]!.length > 1 ? { times: values[0]!, blocks: values[1]!, unusable: values[2]! } : null;
	const at = (column: number, order: number) => shown?.blocks[(column * n + index) * ORDERS + order] ?? 0;
	const max = useMemo(
		() => (shown ? largest(Array.from({ length: shown.times.length * ORDERS }, (_, i) => at(Math.floor(i / ORDERS), i % ORDERS))) : 0),
		[values, index],
	);
	const share = useMemo(() => (column: number, order: number) => logShare(at(column, order), max), [values, index, max]);
	const across = useMemo(() => (shown ? { times: shown.times } : null), [values]);
	const lines = useMemo<Line[]>(
		() =>
			shown
				? zones.map(({ zone: one, index: i }, k) => ({
						label: zoneName(one),
						values: Array.from(shown.times, (_, m) => shown.unusable[m * n + i]!),
						colour: palette[now][k % palette[now].length]!,
						width: 2,
					}))
				: [],
		[values, now],
	);
	const moment = useHover('zones') ?? time.value;
	const k = shown && moment !== null ? indexAt(shown.times, moment) : -1;
	const unusable = k >= 0 ? shown!.unusable[k * n + index]! : (zone?.last?.uf_index[HUGE] ?? null);
	model('zones', () => ({ zone: zone?.name, max, moments: shown?.times.length ?? 0, unusable }));

	return (
		<Section
			id="zones"
			question={t('zones.q')}
			answer={
				zone?.last
					? t(
							'zones.a', visible(zone.name), bytes(zone.last.free_pages * PAGE), percent(zone.last.uf_index[HUGE], 0),
							percent(zone.first?.uf_index[HUGE], 0),
						)
					: t('zones.a.none')
			}
			how={t('zones.how')}
			tools={
				zones.length > 1 && (
					<span class="switch" role="group" aria-label={t('zones.pick')}>
						{zones.map((one) => (
							<button type="button" aria-pressed={one.index === index} onClick={() => setPicked(one.index)}>
								{zoneName(one.zone)}
							</button>
						))}
					</span>
				)
			}
		>
			{!values && <Waiting state={loaded} />}
			{across && shown && (
				<div class="pair">
					<figure>
						<figcaption>
							<h3>{t('orders.free')}</h3>
							<Term name="order" />
						</figcaption>
						<HeatMap
							id="zones-free"
							across={across}
							rows={ORDERS}
							rowLabel={sizeOf}
							share={share}
							height={214}
							label={t('zones.q')}
							describedBy="zones-table"
							tip={(column, order) => [
								t('orders.tip', count(at(column, order)), sizeOf(order)),
								`${t('frag.order')} ${order}`,
								clock(shown.times[column]!, span.value),
							]}
						/>
						<Ramp steps={['1', '', '', '', count(max)]}>{t('orders.legend')}</Ramp>
					</figure>
					<figure>
						<figcaption>
							<h3>{t('zones.unusable')}</h3>
							<Term name="uf" />
						</figcaption>
						<TimeChart
							xs={shown.times}
							lines={lines}
							height={230}
							top={1}
							steps={[0.1, 0.2, 0.25, 0.5, 1]}
							format={(value) => percent(value, 0)}
							label={t('zones.aria.unusable')}
							describedBy="zones-table"
						/>
					</figure>
				</div>
			)}
			<h3>{t('zones.table')}</h3>
			<div class="scroll" tabIndex={0} role="group" aria-label={t('zones.table')}>
				<table class="plain">
					<thead>
						<tr>
							<th scope="col">{t('zones.zone')}</th>
							<th scope="col" class="num">{t('zones.managed')}</th>
							<th scope="col" class="num">{t('zones.free')}</th>
							<th scope="col" class="num">{t('zones.huge')}</th>
							<th scope="col" class="num">{t('zones.unusable')}</th>
							<th scope="col" class="num">{t('zones.low')}</th>
						</tr>
					</thead>
					<tbody>
						{zones.map(({ zone: one }) => (
							<tr>
								<th scope="row">{zoneName(one)}</th>
								<td class="num">{bytes(one.managed_pages * PAGE)}</td>
								<td class="num">{one.last ? bytes(one.last.free_pages * PAGE) : '–'}</td>
								<td class="num">{count(one.last?.huge_blocks ?? null)}</td>
								<td class="num">{percent(one.last?.uf_index[HUGE])}</td>
								<td class="num">{one.watermarks.low === null ? '–' : bytes(one.watermarks.low * PAGE)}</td>
							</tr>
						))}
					</tbody>
				</table>
			</div>
			{shown && zone && (
				<TableTwin
					id="zones-table"
					twin={{
						caption: `${t('zones.q')} ${zoneName(zone)}`,
						head: [
							t('frag.time'),
							...Array.from({ length: ORDERS }, (_, order) => `${t('orders.free')} ${sizeOf(order)}`),
							t('zones.unusable'),
						],
						rows: () =>
							Array.from(shown.times, (ns, m) => [
								ns, ...Array.from({ length: ORDERS }, (_, order) => at(m, order)), shown.unusable[m * n + index]!,
							]),
						show: (cell, i) =>
							i === 0 ? clock(Number(cell), span.value) : i > ORDERS ? percent(Number(cell)) : count(Number(cell)),
					}}
				/>
			)}
		</Section>
	);
}

/* ---- pageblocks ------------------------------------------------------------------------------ */

const KINDS = ['free', 'movable', 'cache', 'slab', 'other'] as const;

export function Blocks({ doc }: { doc: Doc }) {
	const zones = zonesOf(doc.node!).map(({ zone }) => zone);
	const looked = zones.filter((zone) => zone.frames !== null);
	const now = theme.value;
	const kinds = KINDS.map((kind) => ({ kind, pages: sum(looked, (zone) => zone.frames![kind]) }));
	const all = sum(kinds, ({ pages }) => pages);
	const types = zones.flatMap((zone) => zone.pageblocks.map((type) => ({ zone, ...type }))).filter(({ first, last }) => first + last > 0);
	model('blocks', () => ({ kinds: Object.fromEntries(kinds.map(({ kind, pages }) => [kind, pages])), types: types.length }));

	return (
		<Section
			id="blocks"
			question={t('blocks.q.machine')}
			answer={
				looked.length > 0
					? t(
							'blocks.a', count(sum(looked, (zone) => zone.frames!.mixed_pageblocks)),
							count(sum(looked, (zone) => zone.frames!.used_pageblocks)), count(sum(looked, (zone) => zone.frames!.pinned_by_few)),
						)
					: t('blocks.a.none')
			}
			how={t('blocks.how')}
			bare={looked.length === 0 && types.length === 0}
		>
			{looked.length > 0 && (
				<>
					<h3>{t('blocks.frames')}</h3>
					<Bars
						label={t('blocks.aria')}
						format={(pages) => bytes(pages * PAGE)}
						bars={kinds.map(({ kind, pages }, i) => ({
							label: t(`blocks.kind.${kind}`),
							value: pages,
							colour: palette[now][i % palette[now].length]!,
							tip: [t(`blocks.kind.${kind}`), bytes(pages * PAGE), percent(all > 0 ? pages / all : null)],
						}))}
					/>
				</>
			)}
			{types.length > 0 && (
				<>
					<h3>{t('blocks.types')}</h3>
					<div class="scroll" tabIndex={0} role="group" aria-label={t('blocks.types')}>
						<table class="plain">
							<thead>
								<tr>
									<th scope="col">{t('zones.zone')}</th>
									<th scope="col">{t('blocks.type')}</th>
									<th scope="col" class="num">{t('blocks.first')}</th>
									<th scope="col" class="num">{t('blocks.last')}</th>
								</tr>
							</thead>
							<tbody>
								{types.map(({ zone, type, first, last }) => (
									<tr>
										<th scope="row">{zoneName(zone)}</th>
										<td>{visible(type)}</td>
										<td class="num">{count(first)}</td>
										<td class="num">{count(last)}</td>
									</tr>
								))}
							</tbody>
						</table>
					</div>
				</>
			)}
			{looked.length > 0 && (
				<TableTwin
					id="blocks-table"
					twin={{
						caption: t('blocks.frames'),
						head: [t('zones.zone'), ...KINDS.map((kind) => t(`blocks.kind.${kind}`))],
						rows: () => looked.map((zone) => [zoneName(zone), ...KINDS.map((kind) => zone.frames![kind])]),
						show: (cell, i) => (i === 0 ? String(cell) : bytes(Number(cell) * PAGE)),
					}}
				/>
			)}
		</Section>
	);
}

/* ---- demand ---------------------------------------------------------------------------------- */

export function Demand({ doc }: { doc: Doc }) {
	const node = doc.node!;
	const { counters, events, pressure } = node;
	const known = Object.entries(counters).filter((entry): entry is [string, number] => entry[1] !== null);
	const now = theme.value;
	const us = (value: number) => duration(value * 1000);
	model('demand', () => ({ counters: known.length, fallbacks: events?.fallbacks ?? null }));

	return (
		<Section
			id="demand"
			question={t('demand.q')}
			answer={t(
				'demand.a', count(counters.thp_fault_alloc ?? null), count(counters.thp_fault_fallback ?? null),
				count(counters.compact_stall ?? null), count(counters.compact_fail ?? null),
			)}
			how={t('demand.how')}
		>
			{events && (
				<>
					<p>
						{t(
							'demand.events', count(events.allocations), count(events.frees), count(events.fallbacks),
							events.fallbacks_per_million === null ? '–' : events.fallbacks_per_million.toFixed(1), count(events.compactions),
						)}
					</p>
					{events.lost > 0 && <p class="banner banner-medium">{t('demand.lost', count(events.lost))}</p>}
					<h3>{t('demand.orders')}</h3>
					<Bars
						label={t('demand.aria.orders')}
						format={count}
						bars={events.allocations_by_order.map((n, order) => ({
							label: sizeOf(order),
							value: n,
							colour: palette[now][0]!,
							tip: [sizeOf(order), count(n)],
						}))}
					/>
				</>
			)}
			{pressure.some_us !== null && (
				<p>{t('demand.pressure', us(pressure.some_us), pressure.full_us === null ? '–' : us(pressure.full_us))}</p>
			)}
			<dl class="facts-list">
				{known
					.filter(([, by]) => by !== 0)
					.map(([name, by]) => (
						<div>
							<dt>
								<code>{visible(name)}</code>
							</dt>
							<dd>{count(by)}</dd>
						</div>
					))}
			</dl>
			<TableTwin
				id="demand-table"
				twin={{ caption: t('demand.q'), head: [t('demand.counter'), t('demand.by')], rows: () => known }}
			/>
		</Section>
	);
}

/* ---- slabs ----------------------------------------------------------------------------------- */

export function Slabs({ doc }: { doc: Doc }) {
	const slabs = doc.node!.slabs;
	const first = slabs?.caches[0];
	model('slabs', () => ({ waste: slabs?.waste_bytes ?? null, first: first?.cache }));
	return (
		<Section
			id="slabs"
			question={t('slabs.q')}
			answer={slabs && first ? t('slabs.a', bytes(slabs.bytes), bytes(slabs.waste_bytes), visible(first.cache)) : t('slabs.a.none')}
			how={slabs ? t('slabs.how') : undefined}
			bare={!slabs}
		>
			{slabs && (
				<>
					<div class="scroll" tabIndex={0} role="group" aria-label={t('slabs.nav')}>
						<table class="plain">
							<thead>
								<tr>
									<th scope="col">{t('slabs.cache')}</th>
									<th scope="col" class="num">{t('slabs.waste')}</th>
									<th scope="col" class="num">{t('slabs.held')}</th>
									<th scope="col" class="num">{t('slabs.object')}</th>
									<th scope="col" class="num">{t('slabs.objects')}</th>
								</tr>
							</thead>
							<tbody>
								{slabs.caches.map((cache) => (
									<tr>
										<th scope="row">
											<code>{visible(cache.cache)}</code>
										</th>
										<td class="num" title={exactBytes(cache.waste_bytes)}>{bytes(cache.waste_bytes)}</td>
										<td class="num" title={exactBytes(cache.bytes)}>{bytes(cache.bytes)}</td>
										<td class="num">{bytes(cache.object_bytes)}</td>
										<td class="num">
											{percent(cache.objects > 0 ? cache.active_objects / cache.objects : null, 0)}
										</td>
									</tr>
								))}
							</tbody>
						</table>
					</div>
					<TableTwin
						id="slabs-table"
						twin={{
							caption: t('slabs.q'),
							head: [t('slabs.cache'), t('slabs.waste'), t('slabs.held'), t('slabs.object'), t('slabs.objects')],
							rows: () =>
								slabs.caches.map((cache) => [
									cache.cache, cache.waste_bytes, cache.bytes, cache.object_bytes, cache.active_objects,
								]),
							show: (cell, i) => (i === 0 ? visible(String(cell)) : i === 4 ? count(Number(cell)) : bytes(Number(cell))),
						}}
					/>
				</>
			)}
		</Section>
	);
}

/* ---- sources --------------------------------------------------------------------------------- */

export function Sources({ doc }: { doc: Doc }) {
	const { sources } = doc.node!;
	const read = sources.filter((source) => source.status === 'read').length;
	return (
		<Section id="sources" question={t('sources.q')} answer={t('sources.a', read, sources.length)}>
			<dl class="facts-list">
				{sources.map((source) => (
					<div>
						<dt>
							<code>{visible(source.name)}</code>
						</dt>
						<dd title={source.detail === null ? undefined : visible(source.detail)}>{tOr('sources.status', source.status)}</dd>
					</div>
				))}
			</dl>
			<TableTwin
				id="sources-table"
				twin={{
					caption: t('sources.q'),
					head: [t('sources.source'), t('sources.status'), t('sources.detail')],
					rows: () => sources.map((source) => [source.name, source.status, source.detail]),
					show: (cell, i) => (cell === null ? '–' : i === 1 ? tOr('sources.status', String(cell)) : visible(String(cell))),
				}}
			/>
		</Section>
	);
}
