// SPDX-License-Identifier: MIT
/* Did the program free what it must not? Each bad call, with the calls that made and freed the block. */
import { useState } from 'preact/hooks';
import { stackText, type Doc, type ErrorCall, type HeapError } from '../doc';
import { address, bytes, clock, count, visible } from '../format';
import { t, tOr } from '../i18n';
import { model } from '../model';
import { copyText, Section, TableTwin } from '../parts/Section';
import { query, span, thread } from '../store';
import { Stack } from './Leaks';

const ROWS = 30;

export function Errors({ doc }: { doc: Doc }) {
	const [open, setOpen] = useState(0);
	const section = doc.errors;
	if (!section) return null;
	const { errors } = section;
	const words = query.value.toLowerCase().trim();
	const matching = errors.filter(
		(error) =>
			(thread.value === null || error.thread === thread.value) &&
			(words === '' || error.stack.some((frame) => (frame.function ?? '').toLowerCase().includes(words))),
	);
	const rows = matching.length > 0 ? matching : errors;
	const kinds = new Map<string, number>();
	for (const error of errors) kinds.set(error.kind, (kinds.get(error.kind) ?? 0) + (error.count ?? 1));
	const sum = [...kinds.values()].reduce((a, b) => a + b, 0);
	model('errors', () => ({ rows: errors.length, calls: sum }));

	return (
		<Section
			id="errors"
			question={t('errors.q')}
			answer={
				errors.length === 0
					? t(section.all_frees_seen ? 'errors.a.none' : 'errors.a.unseen')
					: t(
							'errors.a', count(sum), errors.length + (section.more ?? 0),
							[...kinds].map(([kind, n]) => `${tOr('errors.kind', kind)} ${count(n)}`).join(', '),
						)
			}
			how={errors.length > 0 ? t('errors.how') : undefined}
			bare={errors.length === 0}
		>
			{section.limits && <p class="muted">{visible(section.limits)}</p>}
			{errors.length > 0 && (
				<ul class="bad-frees">
					{rows.slice(0, ROWS).map((error, i) => (
						<li>
							<button type="button" class="bad-head" aria-expanded={open === i} onClick={() => setOpen(open === i ? -1 : i)}>
								<span class="badge badge-growing">{tOr('errors.kind', error.kind)}</span>
								<code>{visible(error.stack[0]?.function ?? '??')}</code>
								<span class="muted">
									{[
										error.address === null ? '' : address(error.address),
										clock(error.time_ns, span.value),
										error.call ? visible(error.call) : '',
										(error.count ?? 1) > 1 ? t('errors.times', count(error.count)) : '',
									].filter((part) => part !== '').join(' · ')}
								</span>
							</button>
							{open === i && <Calls error={error} />}
						</li>
					))}
				</ul>
			)}
			{(section.more ?? 0) > 0 && <p class="muted after">{t('errors.more', count(section.more))}</p>}
			{(section.suppressed ?? 0) > 0 && <p class="muted after">{t('errors.suppressed', count(section.suppressed))}</p>}
			{errors.length > 0 && (
				<TableTwin
					id="errors-table"
					twin={{
						caption: t('errors.nav'),
						head: [t('errors.kind'), t('errors.address'), t('errors.time'), t('errors.call'), t('col.count'), t('stack')],
						rows: () =>
							errors.map((e) => [
								e.kind, e.address === null ? null : address(e.address), e.time_ns, e.call ?? null, e.count ?? 1,
								e.stack.map((frame) => frame.function ?? '??').join(' < '),
							]),
						show: (cell, i) =>
							cell === null ? '–' : i === 0 ? tOr('errors.kind', String(cell)) : i === 2 ? clock(Number(cell), span.value) : visible(String(cell)),
					}}
				/>
			)}
		</Section>
	);
}

/* Of an invalid free the region and what it is called; of a wrong size both sizes. */
function whatLiesThere({ kind, region, mapping, offset, given_bytes, block_bytes }: HeapError): string {
	if (kind === 'bad_size' && typeof given_bytes === 'number')
		return t('errors.sizes', bytes(given_bytes), bytes(block_bytes));
	if (!region) return '';
	const name = mapping ? visible(mapping) : region === 'stack' && offset ? t('errors.stack.of', offset) : '';
	return [t('errors.region', tOr('errors.region', region)), name].filter((part) => part !== '').join(' · ');
}

function Calls({ error }: { error: HeapError }) {
	const parts: [string, ErrorCall | null][] = [
		[t('errors.here'), error],
		[t('errors.allocated'), error.allocated],
		[t('errors.freed'), error.freed],
	];
	return (
		<div class="stack-box calls">
			{parts.map(([title, call]) =>
				call ? (
					<div>
						<h3>{title}{call !== error && <span class="muted"> {clock(call.time_ns, span.value)}</span>}</h3>
						{error.offset !== null && call === error && error.kind === 'interior_free' && (
							<p class="muted">{t('errors.offset', count(error.offset))}</p>
						)}
						{call === error && whatLiesThere(error) && <p class="muted">{whatLiesThere(error)}</p>}
						<Stack stack={call.stack} />
						<button type="button" onClick={() => void copyText(stackText(call.stack))}>{t('stack.copy')}</button>
					</div>
				) : null,
			)}
		</div>
	);
}
