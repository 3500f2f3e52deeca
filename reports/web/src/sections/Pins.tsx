// SPDX-License-Identifier: MIT
/* Who keeps nearly empty pages? Sites by what they pin, sets that pin together, and pages as examples. */
import { useMemo, useState } from 'preact/hooks';
import type { Doc, Frag, FragSite, PageExample } from '../doc';
import { address, bytes, count, duration, exactBytes, percent, times, visible } from '../format';
import { t } from '../i18n';
import { model } from '../model';
import { BlockStrip, BlockTable } from '../parts/Blocks';
import { Section, TableTwin, Term, useColumns } from '../parts/Section';
import { addresses, query, selectSite, site } from '../store';
import { Stack } from './Leaks';
import { NoLayout } from './Frag';
import { Spark } from '../parts/Spark';

const PAGE = 4096;
const ROWS = 12;

export function Pins({ doc }: { doc: Doc }) {
	const loaded = useColumns(doc, ['frag.pin_time_ns', 'frag.pin_shapley']);
	const [open, setOpen] = useState<number | null>(null);
	const [all, setAll] = useState(false);
	const frag = doc.frag;
	const values = loaded && 'values' in loaded ? loaded.values : null;
	const words = query.value.toLowerCase().trim();

	if (!frag) return <NoLayout doc={doc} id="pins" question={t('pins.q')} />;
	const matching = frag.sites.filter((s) => words === '' || s.name.toLowerCase().includes(words));
	const sites = matching.length > 0 ? matching : frag.sites;
	const top = frag.sites[0];
	const pinned = frag.metrics.pinned_free_bytes;
	const steps = values?.[0]?.length ?? 0;
	model('pins', () => ({ sites: frag.sites.length, examples: frag.examples?.length ?? 0, open }));

	return (
		<Section
			id="pins"
			question={t('pins.q')}
			answer={
				top && top.shapley > 0
					? t('pins.a', visible(top.name), bytes(top.shapley), percent(top.shapley / Math.max(1, pinned), 0), bytes(pinned), bytes(top.live_bytes))
					: t('pins.a.none')
			}
			how={t('pins.how')}
			bare={frag.sites.length === 0}
		>
			{frag.sites.length > 0 && (
				<>
					<div class="scroll" tabIndex={0} role="group" aria-label={t('pins.q')}>
						<table class="plain pins">
							<thead>
								<tr>
									<th scope="col">{t('col.site')}</th>
									<th scope="col" class="num"><Term name="shapley" label={t('frag.sites.shapley')} /></th>
									<th scope="col" class="num"><Term name="sole" label={t('frag.sites.sole')} /></th>
									<th scope="col" class="num wide-only"><Term name="any" label={t('frag.sites.any')} /></th>
									<th scope="col" class="num wide-only">{t('col.live')}</th>
									<th scope="col" class="num"><Term name="density" label={t('frag.sites.density')} /></th>
									<th scope="col" class="num wide-only">{t('frag.sites.age')}</th>
									<th scope="col" class="wide-only">{t('pins.trend')}</th>
								</tr>
							</thead>
							<tbody>
								{sites.slice(0, all ? 100 : ROWS).map((s) => (
									<PinRow
										key={s.site}
										s={s}
										open={open === s.site}
										onToggle={() => setOpen(open === s.site ? null : s.site)}
										series={
											values && steps > 1
												? values[1]!.subarray(frag.sites.indexOf(s) * steps, (frag.sites.indexOf(s) + 1) * steps)
												: null
										}
									/>
								))}
							</tbody>
						</table>
					</div>
					{sites.length > ROWS && (
						<p class="after">
							<button type="button" aria-pressed={all} onClick={() => setAll(!all)}>
								{t(all ? 'pins.fewer' : 'pins.more', count(sites.length))}
							</button>
						</p>
					)}
					<Examples frag={frag} />
					<Together frag={frag} />
					<TableTwin
						id="pins-table"
						twin={{
							caption: t('pins.q'),
							head: ['site', t('col.site'), t('frag.sites.shapley'), t('frag.sites.sole'), t('frag.sites.any'), t('col.live'), t('frag.sites.density'), t('frag.sites.age')],
							rows: () =>
								frag.sites.map((s) => [s.site, s.name, s.shapley, s.sole, s.any, s.live_bytes ?? null, s.density, s.age_ns]),
							show: (cell, i) =>
								cell === null ? '–' : i === 1 ? visible(String(cell)) : i === 0 ? String(cell) : i === 6 ? times(Number(cell)) : i === 7 ? duration(Number(cell)) : bytes(Number(cell)),
						}}
					/>
				</>
			)}
		</Section>
	);
}

interface RowProps {
	s: FragSite;
	open: boolean;
	onToggle: () => void;
	series: ArrayLike<number> | null;
}

function PinRow({ s, open, onToggle, series }: RowProps) {
	const name = visible(s.name);
	return (
		<>
			<tr class={site.value === s.site ? 'chosen' : undefined} data-site={s.site}>
				<th scope="row">
					<span class="pin-name">
						<button type="button" class="expand" aria-expanded={open} aria-label={t('expand', name)} onClick={onToggle}>
							<svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
								<path d={open ? 'M0 2h10L5 9z' : 'M2 0v10l7-5z'} />
							</svg>
						</button>
						<button type="button" class="site-name" aria-pressed={site.value === s.site} onClick={() => selectSite(s.site)}>
							{name}
						</button>
					</span>
				</th>
				<td class="num" title={exactBytes(s.shapley)}>{bytes(s.shapley)}</td>
				<td class="num" title={exactBytes(s.sole)}>{bytes(s.sole)}</td>
				<td class="num wide-only">{bytes(s.any)}</td>
				<td class="num wide-only">{bytes(s.live_bytes)}</td>
				<td class="num">{times(s.density)}</td>
				<td class="num wide-only">{duration(s.age_ns)}</td>
				<td class="wide-only">{series && <Spark values={series} />}</td>
			</tr>
			{open && (
				<tr class="stack-row">
					<td colSpan={8}>
						<div class="stack-box">
							<Stack stack={s.stack} />
						</div>
					</td>
				</tr>
			)}
		</>
	);
}

/* ---- pages ------------------------------------------------------------------------------------- */

function Examples({ frag }: { frag: Frag }) {
	const [index, setIndex] = useState(0);
	const list = frag.examples ?? [];
	const chosen = site.value;
	const order = useMemo(
		() =>
			list
				.map((page, i) => ({ page, i }))
				.sort((x, y) => Number(holds(y.page, chosen)) - Number(holds(x.page, chosen)) || x.page.live_bytes - y.page.live_bytes),
		[list, chosen],
	);
	const page = order[Math.min(index, order.length - 1)]?.page;
	if (!page) return null;
	const youngest = Math.min(...page.blocks.map((block) => block.age_ns));
	return (
		<>
			<div class="sub-head">
				<h3>{t('pins.page')}</h3>
				<span class="stepper">
					<button type="button" class="icon" aria-label={t('pins.page.back')} disabled={index <= 0} onClick={() => setIndex(index - 1)}>‹</button>
					<span>{t('pins.page.of', Math.min(index, order.length - 1) + 1, order.length)}</span>
					<button type="button" class="icon" aria-label={t('pins.page.next')} disabled={index >= order.length - 1} onClick={() => setIndex(index + 1)}>›</button>
				</span>
				<button type="button" onClick={() => (addresses.value = [page.address, page.address + PAGE])}>
					{t('pins.page.map')}
				</button>
			</div>
			<p class="muted">
				{t('pins.page.a', address(page.address), bytes(page.live_bytes), percent(page.live_bytes / PAGE), count(page.n_blocks), count(page.sites), duration(youngest))}
			</p>
			<BlockStrip start={page.address} bytes={PAGE} blocks={page.blocks} />
			<BlockTable blocks={page.blocks} most={12} />
		</>
	);
}

const holds = (page: PageExample, id: number | null) => id !== null && page.blocks.some((block) => block.site === id);

/* ---- sets and pairs ------------------------------------------------------------------------------ */

function Together({ frag }: { frag: Frag }) {
	const sets = (frag.sets ?? []).filter((set) => set.free_bytes > 0);
	const pairs = (frag.pairs ?? []).filter((pair) => pair.shared_bytes > 0).slice(0, 5);
	if (sets.length === 0 && pairs.length === 0) return null;
	return (
		<div class="pair">
			{sets.length > 0 && (
				<div>
					<h3>{t('pins.sets')}</h3>
					<ul class="plain-list">
						{sets.map((set) => (
							<li>
								<strong class="num">{bytes(set.free_bytes)}</strong>
								<span>
									{t('pins.set', set.names.map(visible).join(', '), count(set.pages), bytes(set.live_bytes))}
								</span>
							</li>
						))}
					</ul>
				</div>
			)}
			{pairs.length > 0 && (
				<div>
					<h3>{t('pins.pairs')}</h3>
					<ul class="plain-list">
						{pairs.map((pair) => (
							<li>
								<strong class="num">{bytes(pair.shared_bytes)}</strong>
								<span>{t('pins.pair', visible(pair.a_name), visible(pair.b_name), count(pair.pages))}</span>
							</li>
						))}
					</ul>
				</div>
			)}
		</div>
	);
}
