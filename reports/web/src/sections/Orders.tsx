// SPDX-License-Identifier: MIT
/* Which sizes run out? Free blocks of each order over time, and what of the free memory they can't use. */
import { useMemo } from 'preact/hooks';
import type { Doc } from '../doc';
import { bytes, clock, count, percent } from '../format';
import { t } from '../i18n';
import { model } from '../model';
import { HeatMap, logShare, Ramp } from '../parts/HeatMap';
import { indexAt, largest, useHover } from '../parts/hooks';
import { Section, TableTwin, Term, useColumns, Waiting } from '../parts/Section';
import { span, time } from '../store';
import { NoLayout } from './Frag';

const ORDERS = 11;
const PAGE = 4096;
const HUGE = 9; // 2 MiB
const COLUMNS = ['buddy.time_ns', 'buddy.free_blocks', 'frag.time_ns', 'frag.uf_index'] as const;

const sizeOf = (order: number) => bytes(PAGE * 2 ** order, 0);

/* The largest order of which there is a block; -1 for none. */
function highest(blocks: ArrayLike<number>): number {
	let order = -1;
	for (let o = 0; o < ORDERS; o++) if ((blocks[o] ?? 0) > 0) order = o;
	return order;
}

export function Orders({ doc }: { doc: Doc }) {
	const loaded = useColumns(doc, COLUMNS);
	const { frag, buddy } = doc;
	const pointer = useHover('orders');
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const free = values && values[0]!.length > 1 ? { times: values[0]!, blocks: values[1]! } : null;
	const unusable = values && values[2]!.length > 1 ? { times: values[2]!, index: values[3]! } : null;
	const max = useMemo(() => (free ? largest(free.blocks) : 0), [values]);
	const freeShare = useMemo(
		() => (column: number, row: number) => logShare(free?.blocks[column * ORDERS + row] ?? 0, max),
		[values, max],
	);
	const ufShare = useMemo(
		() => (column: number, row: number) => unusable?.index[column * ORDERS + row] ?? 0,
		[values],
	);
	const across = useMemo(() => (free ? { times: free.times } : null), [values]);
	const acrossUf = useMemo(() => (unusable ? { times: unusable.times } : null), [values]);

	if (!frag && !buddy) return <NoLayout doc={doc} id="orders" question={t('orders.q')} />;
	const at = pointer ?? time.value;
	const k = free && at !== null ? indexAt(free.times, at) : -1;
	const moment = k >= 0 ? free!.times[k]! : (buddy?.at_ns ?? frag!.at_ns);
	const now = k >= 0 ? free!.blocks.subarray(k * ORDERS, (k + 1) * ORDERS) : (buddy?.zone.free_blocks ?? []);
	const u = unusable && at !== null ? indexAt(unusable.times, at) : -1;
	const huge = u >= 0 ? unusable!.index[u * ORDERS + HUGE]! : (frag?.metrics.uf_index[HUGE] ?? 0);
	const top = highest(now);
	model('orders', () => ({ at: moment, free: Array.from(now), huge, max, moments: free?.times.length ?? 0 }));

	return (
		<Section
			id="orders"
			question={t('orders.q')}
			answer={
				top < 0
					? t('orders.a.none', clock(moment, span.value))
					: t('orders.a', clock(moment, span.value), sizeOf(top), percent(huge, 0), sizeOf(HUGE))
			}
			how={t('orders.how')}
			tools={<span class="chip">{t('orders.model')}</span>}
		>
			{!values && <Waiting state={loaded} />}
			<div class="pair">
				<figure>
					<figcaption>
						<h3>{t('orders.free')}</h3>
						<Term name="order" />
					</figcaption>
					{across && free ? (
						<>
							<HeatMap
								id="orders-free"
								across={across}
								rows={ORDERS}
								rowLabel={sizeOf}
								share={freeShare}
								height={214}
								label={t('orders.aria.free', sizeOf(Math.max(0, top)))}
								describedBy="orders-table"
								tip={(column, row) => [
									t('orders.tip', count(free.blocks[column * ORDERS + row]!), sizeOf(row)),
									`${t('frag.order')} ${row}`,
									clock(free.times[column]!, span.value),
								]}
							/>
							<Ramp steps={['1', '', '', '', count(max)]}>{t('orders.legend')}</Ramp>
						</>
					) : (
						values && <p class="empty">{t('orders.none')}</p>
					)}
				</figure>
				<figure>
					<figcaption>
						<h3>{t('frag.uf')}</h3>
						<Term name="uf" />
					</figcaption>
					{acrossUf && unusable && (
						<>
							<HeatMap
								id="orders-uf"
								across={acrossUf}
								rows={ORDERS}
								rowLabel={sizeOf}
								share={ufShare}
								height={214}
								label={t('frag.aria.uf')}
								describedBy="orders-table"
								tip={(column, row) => [
									`${t('frag.uf.index')}: ${unusable.index[column * ORDERS + row]!.toFixed(3)}`,
									`${t('frag.order')} ${row} · ${sizeOf(row)}`,
									clock(unusable.times[column]!, span.value),
								]}
							/>
							<Ramp steps={['0', '0.25', '0.5', '0.75', '1']}>{t('frag.uf.legend')}</Ramp>
						</>
					)}
				</figure>
			</div>
			{values && (
				<TableTwin
					id="orders-table"
					twin={{
						caption: t('orders.q'),
						head: [
							t('frag.time'),
							...Array.from({ length: ORDERS }, (_, o) => `${t('orders.free')} ${sizeOf(o)}`),
							...Array.from({ length: ORDERS }, (_, o) => `${t('frag.uf.index')} ${sizeOf(o)}`),
						],
						rows: () =>
							Array.from((free ?? unusable)?.times ?? [], (x, i) => {
								const j = unusable ? indexAt(unusable.times, x) : -1;
								return [
									x,
									...Array.from({ length: ORDERS }, (_, o) => free?.blocks[i * ORDERS + o] ?? null),
									...Array.from({ length: ORDERS }, (_, o) => (j < 0 ? null : unusable!.index[j * ORDERS + o]!)),
								];
							}),
						show: (cell, i) =>
							cell === null
								? '–'
								: i === 0
									? clock(Number(cell), span.value)
									: i <= ORDERS
										? count(Number(cell))
										: Number(cell).toFixed(3),
					}}
				/>
			)}
		</Section>
	);
}
