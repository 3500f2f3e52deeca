// SPDX-License-Identifier: MIT
/* Which single allocations were largest, and when? A part of the timeline. */
import type { Doc } from '../doc';
import { bytes, clock, exactBytes, visible } from '../format';
import { t } from '../i18n';
import { model } from '../model';
import { Rows } from '../parts/Rows';
import { selectSite, site, span, time } from '../store';

const FIRST = 5;

export function Largest({ doc }: { doc: Doc }) {
	const rows = doc.largest?.allocations ?? [];
	const since = doc.largest?.since_ns ?? null;
	if (rows.length === 0) return null;
	model('largest', () => ({ rows: rows.length, first: rows[0]!.size, time: time.value }));
	return (
		<Rows
			label={t('largest')}
			rows={rows}
			first={FIRST}
			name={(row) => visible(row.name)}
			columns={[
				{ head: t('largest.size'), num: true, cell: (row) => <span title={exactBytes(row.size)}>{bytes(row.size)}</span> },
				{ head: t('largest.was'), num: true, cell: (row) => (row.old_size === null ? '–' : bytes(row.old_size)) },
				{
					head: t('frag.time'),
					num: true,
					cell: (row) => (
						<button
							type="button"
							class="since"
							aria-pressed={time.value === row.time_ns}
							onClick={() => (time.value = time.value === row.time_ns ? null : row.time_ns)}
						>
							{clock(row.time_ns, span.value)}
						</button>
					),
				},
				{ head: t('errors.call'), cell: (row) => <code>{visible(row.call)}</code> },
				{ head: t('selected.thread'), num: true, cell: (row) => row.thread },
				{
					head: t('col.site'),
					cell: (row) => (
						<button type="button" class="site-name" aria-pressed={site.value === row.site} onClick={() => selectSite(row.site)}>
							{visible(row.name)}
						</button>
					),
				},
			]}
			rest={since !== null && <p class="muted">{t('largest.since', clock(since, span.value))}</p>}
		/>
	);
}
