// SPDX-License-Identifier: MIT
/* What did the program map, and what do its own pools hold? Memory that is no block of the allocator's. */
import type { Doc } from '../doc';
import { address, bytes, clock, count, exactBytes, visible } from '../format';
import { t, tOr } from '../i18n';
import { model } from '../model';
import { Rows } from '../parts/Rows';
import { Section, TableTwin } from '../parts/Section';
import { span } from '../store';

const others = (n: number, size: number) => n > 0 && <p class="muted">{t('memory.others', count(n), bytes(size))}</p>;

export function Memory({ doc }: { doc: Doc }) {
	const pools = doc.pools?.pools ?? [];
	const calls = doc.mapped?.sites ?? [];
	const maps = doc.mappings?.mappings ?? [];
	if (pools.length === 0 && calls.length === 0 && maps.length === 0)
		return (
			<Section id="memory" question={t('memory.q')} bare>
				<p class="empty">{t('memory.none')}</p>
			</Section>
		);
	const held = pools.reduce((sum, pool) => sum + pool.live_bytes, 0);
	const objects = pools.reduce((sum, pool) => sum + pool.live_objects, 0);
	model('memory', () => ({ pools: pools.length, calls: calls.length, maps: maps.length, held, live: doc.mapped?.live_bytes }));
	const moment = (ns: number) => clock(ns, span.value);
	const callName = (one: (typeof calls)[number]) => [one.call, one.advice ?? (one.kind && tOr('memory.kind', one.kind))].filter(Boolean).join(' ');
	const poolName = (one: (typeof pools)[number]) => visible(one.name ?? address(one.address));
	const mapName = (one: (typeof maps)[number]) => visible(one.path ?? (one.kind ? tOr('memory.kind', one.kind) : '–'));
	return (
		<Section
			id="memory"
			question={t('memory.q')}
			answer={
				t('memory.a', bytes(doc.mappings?.bytes ?? 0), bytes(doc.mappings?.rss ?? 0), bytes(doc.mapped?.live_bytes ?? 0)) +
				(pools.length > 0 ? t('memory.a.pools', bytes(held), count(objects)) : '')
			}
			how={t('memory.how')}
		>
			{pools.length > 0 && (
				<Rows
					label={t('memory.pools')}
					rows={pools}
					name={poolName}
					columns={[
						{ head: t('col.name'), cell: (pool) => <code>{poolName(pool)}</code> },
						{ head: t('memory.objects'), num: true, cell: (pool) => count(pool.live_objects) },
						{ head: t('col.live'), num: true, cell: (pool) => <span title={exactBytes(pool.live_bytes)}>{bytes(pool.live_bytes)}</span> },
						{ head: t('memory.peak'), num: true, cell: (pool) => bytes(pool.peak_bytes) },
						{ head: t('memory.holds'), num: true, cell: (pool) => bytes(pool.memory_bytes) },
						{
							head: t('memory.made'), num: true,
							cell: (pool) => `${moment(pool.created_ns)}${pool.destroyed_ns === null ? '' : ` ${t('memory.gone', moment(pool.destroyed_ns))}`}`,
						},
					]}
				/>
			)}
			{calls.length > 0 && (
				<Rows
					label={t('memory.calls')}
					rows={calls}
					name={(one) => visible(one.name ?? one.call)}
					columns={[
						{ head: t('col.site'), cell: (one) => <code>{visible(one.name ?? '–')}</code> },
						{ head: t('memory.call'), cell: callName },
						{ head: t('memory.n'), num: true, cell: (one) => count(one.calls) },
						{ head: t('col.live'), num: true, cell: (one) => <span title={exactBytes(one.live_bytes)}>{bytes(one.live_bytes)}</span> },
						{ head: t('memory.ranges'), num: true, cell: (one) => count(one.live_ranges) },
						{ head: t('memory.peak'), num: true, cell: (one) => bytes(one.peak_bytes) },
					]}
					rest={others(doc.mapped!.other.sites, doc.mapped!.other.live_bytes)}
				/>
			)}
			{maps.length > 0 && (
				<Rows
					label={t('memory.maps', doc.mappings!.sampled_ns === null ? '–' : moment(doc.mappings!.sampled_ns))}
					name={mapName}
					rows={maps as ((typeof maps)[number] & { stack?: null })[]}
					columns={[
						{ head: t('memory.path'), cell: (one) => <span class="path">{mapName(one)}</span> },
						{ head: t('col.start'), cell: (one) => <code>{address(one.start)}</code> },
						{ head: t('col.size'), num: true, cell: (one) => bytes(one.end - one.start) },
						{ head: t('memory.rss'), num: true, cell: (one) => bytes(one.rss) },
						{ head: t('memory.perms'), cell: (one) => <code>{one.perms ?? '–'}</code> },
						{ head: t('memory.since'), num: true, cell: (one) => moment(one.since_ns) },
					]}
					rest={others(doc.mappings!.other.mappings, doc.mappings!.other.bytes)}
				/>
			)}
			<TableTwin
				id="memory-table"
				twin={{
					caption: t('memory.q'),
					head: [t('col.name'), t('memory.path'), t('col.size'), t('memory.peak'), t('memory.rss')],
					rows: () => [
						...pools.map((one) => [poolName(one), t('memory.pools'), one.live_bytes, one.peak_bytes, null]),
						...calls.map((one) => [visible(one.name ?? '–'), callName(one), one.live_bytes, one.peak_bytes, null]),
						...maps.map((one) => [address(one.start), mapName(one), one.end - one.start, null, one.rss]),
					],
					show: (cell, i) => (cell === null ? '–' : i < 2 ? String(cell) : bytes(Number(cell))),
				}}
			/>
		</Section>
	);
}
