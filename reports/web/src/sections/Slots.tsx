// SPDX-License-Identifier: MIT
/* How much lies in half-empty slabs? Of allocators that cut their memory into slots of one size. */
import type { Doc } from '../doc';
import { lines as palette } from '../colour';
import { bytes, count, exactBytes, percent, visible } from '../format';
import { t } from '../i18n';
import { model } from '../model';
import { Bars } from '../parts/Bars';
import { Section, TableTwin } from '../parts/Section';
import { query, selectSite, site, theme } from '../store';

const ROWS = 12;

export function Slots({ doc }: { doc: Doc }) {
	const slabs = doc.frag?.slabs;
	if (!slabs) return null;
	const now = theme.value;
	const words = query.value.toLowerCase().trim();
	const matching = slabs.sites.filter((one) => words === '' || one.name.toLowerCase().includes(words));
	const sites = (matching.length > 0 ? matching : slabs.sites).slice(0, ROWS);
	const classes = slabs.classes.filter((one) => one.free_bytes > 0);
	model('slots', () => ({ free: slabs.free_bytes, classes: classes.length, first: slabs.sites[0]?.name }));
	return (
		<Section
			id="slots"
			question={t('slots.q')}
			answer={t(
				'slots.a', bytes(slabs.free_bytes), percent(slabs.bytes > 0 ? slabs.free_bytes / slabs.bytes : null, 0),
				count(slabs.slabs), visible(doc.frag!.allocator), bytes(slabs.compact_gain_bytes), bytes(slabs.mesh_gain_bytes),
			)}
			how={t('slots.how')}
		>
			<Bars
				label={t('slots.aria')}
				format={bytes}
				bars={classes.map((one) => ({
					label: bytes(one.size),
					value: one.free_bytes,
					colour: palette[now][0]!,
					tip: [
						t('slots.tip', bytes(one.size), bytes(one.free_bytes)),
						t('slots.tip.slabs', count(one.slabs), count(one.full_slabs), percent(one.slots > 0 ? one.blocks / one.slots : null, 0)),
					],
				}))}
			/>
			{sites.length > 0 && (
				<div class="scroll" tabIndex={0} role="group" aria-label={t('slots.sites')}>
					<table class="plain">
						<thead>
							<tr>
								<th scope="col">{t('col.site')}</th>
								<th scope="col" class="num">{t('frag.sites.shapley')}</th>
								<th scope="col" class="num">{t('frag.sites.sole')}</th>
								<th scope="col" class="num">{t('slots.sole')}</th>
							</tr>
						</thead>
						<tbody>
							{sites.map((one) => (
								<tr class={site.value === one.site ? 'chosen' : undefined}>
									<th scope="row">
										<button type="button" class="site-name" onClick={() => selectSite(one.site)}>{visible(one.name)}</button>
									</th>
									<td class="num" title={exactBytes(one.shapley)}>{bytes(one.shapley)}</td>
									<td class="num" title={exactBytes(one.sole)}>{bytes(one.sole)}</td>
									<td class="num">{count(one.slabs_sole)}</td>
								</tr>
							))}
						</tbody>
					</table>
				</div>
			)}
			<TableTwin
				id="slots-table"
				twin={{
					caption: t('slots.q'),
					head: [t('slots.size'), t('slots.slabs'), t('slots.used'), t('slots.free'), t('slots.gain')],
					rows: () => slabs.classes.map((one) => [one.size, one.slabs, one.slots > 0 ? one.blocks / one.slots : null, one.free_bytes, one.compact_gain_bytes]),
					show: (cell, i) => (i === 1 ? count(Number(cell)) : i === 2 ? percent(cell as number | null) : bytes(Number(cell))),
				}}
			/>
		</Section>
	);
}
