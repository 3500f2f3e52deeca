// SPDX-License-Identifier: MIT
/* What would give memory back: remedies, what is left of the peak, and the mmap threshold. */
import type { Doc, Frag, Remedy } from '../doc';
import { bytes, clock, count, exactBytes, visible } from '../format';
import { t, type Key } from '../i18n';
import { model } from '../model';
import { Section, TableTwin } from '../parts/Section';
import { span } from '../store';
import { en } from '../strings';
import { NoLayout } from './Frag';
import { Stack } from './Leaks';

const PAGE = 4096;

/* A title and a sentence; a remedy that the page does not know comes in the analyzer's words. */
function words(remedy: Remedy): { title: string; text: string } {
	const { code, set, value } = remedy;
	const key = `remedy.${code}`;
	if (!(key in en) || (code === 'pool' && !set)) return { title: visible(remedy.text), text: '' };
	const names = set ? set.names.map(visible).join(', ') : '';
	const about = code === 'pool' ? names : code === 'arena_max' ? String(value ?? '') : bytes(value);
	return {
		title: t(key as Key, about),
		text: t(`${key}.text` as Key, set ? count(set.pages) : '', set ? bytes(set.live_bytes) : ''),
	};
}

export const remedyTitle = (remedy: Remedy): string => words(remedy).title;

export function Remedies({ doc }: { doc: Doc }) {
	const frag = doc.frag;
	if (!frag)
		return (
			<NoLayout doc={doc} id="remedies" question={t('remedies.q')} />
		);
	const remedies = [...(frag.remedies ?? [])].sort((a, b) => b.saves_bytes - a.saves_bytes);
	const first = remedies[0];
	model('remedies', () => remedies.map(({ code, saves_bytes }) => ({ code, saves_bytes })));
	return (
		<Section
			id="remedies"
			question={t('remedies.q')}
			answer={first ? t('remedies.a', bytes(first.saves_bytes), words(first).title) : t('remedies.a.none')}
			how={t('remedies.how')}
			bare={!first}
		>
			{first && (
				<ul class="remedies">
					{remedies.map((remedy) => (
						<li>
							<div class="remedy-saves">
								<strong title={exactBytes(remedy.saves_bytes)}>{bytes(remedy.saves_bytes)}</strong>
								<span class="muted">{t(remedy.exact ? 'remedies.exact' : 'remedies.estimate')}</span>
							</div>
							<div>
								<strong>{words(remedy).title}</strong>
								<p class="muted">{words(remedy).text}</p>
							</div>
						</li>
					))}
				</ul>
			)}
			{first && (
				<TableTwin
					id="remedies-table"
					twin={{
						caption: t('remedies.q'),
						head: [t('remedies.remedy'), t('remedies.saves'), t('remedies.kind')],
						rows: () =>
							remedies.map((remedy) => [
								words(remedy).title,
								remedy.saves_bytes,
								t(remedy.exact ? 'remedies.exact' : 'remedies.estimate'),
							]),
						show: (cell, i) => (cell === null ? '–' : i === 1 ? bytes(Number(cell)) : String(cell)),
					}}
				/>
			)}
			<Peak peak={frag.peak ?? null} />
			<Threshold event={frag.mmap_threshold ?? null} />
		</Section>
	);
}

function Peak({ peak }: { peak: Frag['peak'] }) {
	const at = (ns: number) => clock(ns, span.value);
	return (
		<>
			<h3>{t('remedies.peak')}</h3>
			<p class="remedy-peak">
				{peak
					? t(
							'remedies.peak.a', bytes(peak.bytes), at(peak.time_ns), at(peak.from_ns), at(peak.to_ns),
							count(peak.survivors), bytes(peak.survivor_bytes), count(peak.survivor_pages),
							bytes(peak.survivor_pages * PAGE),
						)
					: t('remedies.peak.none')}
			</p>
		</>
	);
}

function Threshold({ event }: { event: Frag['mmap_threshold'] }) {
	return (
		<>
			<h3>{t('remedies.mmap')}</h3>
			<p class="remedy-mmap">
				{event
					? t(
							'remedies.mmap.a', bytes(event.bytes),
							event.times_raised === 1
								? t('remedies.mmap.once')
								: t('remedies.mmap.times', count(event.times_raised)),
							clock(event.time_ns, span.value), bytes(event.block_bytes), visible(event.name ?? '??'),
							event.thread === null ? '' : t('remedies.mmap.thread', event.thread),
						)
					: t('remedies.mmap.none')}
			</p>
			{event && (
				<details class="how">
					<summary>{t('remedies.mmap.stack')}</summary>
					<Stack stack={event.stack} />
				</details>
			)}
		</>
	);
}
