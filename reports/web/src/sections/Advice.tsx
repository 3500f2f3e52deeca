// SPDX-License-Identifier: MIT
/* What an operator can do about a machine's memory, what it would bring, and how far the models hold there. */
import type { Advice as Remedy, Doc, Effect } from '../doc';
import { bytes, count, percent, visible } from '../format';
import { t, tOr } from '../i18n';
import { model } from '../model';
import { Section, TableTwin } from '../parts/Section';

export const adviceTitle = (advice: Remedy): string => tOr('advice', advice.id);

/* A measured one says only what came of it. */
const effectTexts = (effect: Effect) => [
	t('advice.effect', effect.won_huge_blocks, count(effect.huge_blocks_before), count(effect.huge_blocks_after)),
	...(effect.moved_bytes > 0 ? [t('advice.moved', bytes(effect.moved_bytes))] : []),
	...(effect.freed_bytes > 0 ? [t('advice.freed', bytes(effect.freed_bytes))] : []),
];

/* A setting as the kernel has it, in KiB or in percent. */
const settingText = (advice: Remedy, value: number) =>
	advice.id === 'min_free_kbytes' ? bytes(value * 1024) : String(value);

function details(advice: Remedy): string {
	const parts: string[] = [];
	const effect = advice.measured ?? advice.model;
	if (effect) parts.push(...effectTexts(effect));
	else if (advice.model === null) parts.push(t('advice.unknown'));
	if (advice.model_with_compaction) parts.push(t('advice.both', advice.model_with_compaction.won_huge_blocks));
	if (typeof advice.setting === 'number') parts.push(t('advice.setting', settingText(advice, advice.setting)));
	if (advice.recommended !== undefined) parts.push(t('advice.recommended', settingText(advice, advice.recommended)));
	if (advice.score !== undefined)
		parts.push(
			advice.starts_above == null ? t('advice.score.off', advice.score) : t('advice.score', advice.score, advice.starts_above),
		);
	return parts.join(' ');
}

export function Advice({ doc }: { doc: Doc }) {
	const { advice } = doc.node!;
	const worth = advice.filter((one) => one.worth_it).length;
	const gain = (one: Remedy) => (one.measured ?? one.model)?.won_huge_blocks ?? null;
	model('advice', () => advice.map((one) => ({ id: one.id, worth: one.worth_it, gain: gain(one) })));
	return (
		<Section id="advice" question={t('advice.q')} answer={t('advice.a', worth, advice.length)} how={t('advice.how')}>
			<ul class="remedies">
				{advice.map((one) => (
					<li>
						<div class="remedy-saves">
							<strong>{gain(one) === null ? '–' : t('advice.gain') + ` ${gain(one)! > 0 ? '+' : ''}${gain(one)}`}</strong>
							<span class="muted">
								{one.measured ? t('advice.measured') : one.model ? t('advice.model') : t(one.worth_it ? 'advice.worth' : 'advice.not')}
							</span>
						</div>
						<div>
							<strong>{adviceTitle(one)}</strong>
							<p class="muted">{details(one)}</p>
							{one.command && <pre class="command" tabIndex={0}>{visible(one.command)}</pre>}
						</div>
					</li>
				))}
			</ul>
			<TableTwin
				id="advice-table"
				twin={{
					caption: t('advice.q'),
					head: [t('advice.remedy'), t('advice.worth'), t('advice.gain')],
					rows: () => advice.map((one) => [adviceTitle(one), one.worth_it ? 1 : 0, gain(one)]),
				}}
			/>
		</Section>
	);
}

export function Models({ doc }: { doc: Doc }) {
	const { held } = doc.node!;
	const cuts = held.cuts.filter((cut) => cut.equals_buddyinfo !== null);
	const equal = cuts.filter((cut) => cut.equals_buddyinfo).length;
	const zones = held.replay?.zones.filter((zone) => zone.events > 0) ?? [];
	model('models', () => ({ cuts: cuts.length, equal, zones: zones.length }));
	return (
		<Section
			id="models"
			question={t('models.q')}
			answer={t('models.a', count(held.index_lines_equal), count(held.index_lines), equal, cuts.length)}
			how={t('models.how')}
		>
			{held.replay_note && <p class="muted">{t('models.replay.none', visible(held.replay_note))}</p>}
			{zones.length > 0 && (
				<div class="scroll" tabIndex={0} role="group" aria-label={t('models.nav')}>
					<table class="plain">
						<thead>
							<tr>
								<th scope="col">{t('models.zone')}</th>
								<th scope="col" class="num">{t('models.events')}</th>
								<th scope="col" class="num">{t('models.impossible')}</th>
								<th scope="col" class="num">{t('models.different')}</th>
								<th scope="col" class="num">{t('models.w1')}</th>
								<th scope="col" class="num">{t('models.unusable')}</th>
							</tr>
						</thead>
						<tbody>
							{zones.map((zone) => (
								<tr>
									<th scope="row">{`${zone.node} ${visible(zone.zone)}`}</th>
									<td class="num">{count(zone.events)}</td>
									<td class="num">{zone.impossible_per_million.toFixed(1)}</td>
									<td class="num">{percent(zone.different_share, 4)}</td>
									<td class="num">{zone.policy.worst_w1.toFixed(4)}</td>
									<td class="num">{zone.policy.worst_unusable9_difference.toFixed(4)}</td>
								</tr>
							))}
						</tbody>
					</table>
				</div>
			)}
			{held.compaction?.map(
				(zone) =>
					zone.model_won !== null && (
						<p>{t('models.compaction', visible(zone.zone), String(zone.won), String(zone.model_won))}</p>
					),
			)}
			<TableTwin
				id="models-table"
				twin={{
					caption: t('models.q'),
					head: [t('models.zone'), t('models.events'), t('models.impossible'), t('models.different'), t('models.w1'), t('models.unusable')],
					rows: () =>
						zones.map((zone) => [
							`${zone.node} ${zone.zone}`, zone.events, zone.impossible_per_million, zone.different_pages,
							zone.policy.worst_w1, zone.policy.worst_unusable9_difference,
						]),
					show: (cell, i) => (cell === null ? '–' : i === 0 ? visible(String(cell)) : i === 1 ? count(Number(cell)) : String(cell)),
				}}
			/>
		</Section>
	);
}
