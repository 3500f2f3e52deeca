// SPDX-License-Identifier: MIT
/* Where, since when, and what would help: what the document knows beside the sentence of a finding. */
import type { Values } from './container';
import type { Doc, Finding } from './doc';
import { bytes, clock, visible } from './format';
import { t } from './i18n';
import { siteOf } from './names';
import { remedyTitle } from './sections/Remedies';
import { place } from './sections/Leaks';
import { span } from './store';

export interface Evidence {
	site: number | null;
	where: string | null; // a function
	line: string; // where it stands
	since: number | null;
	help: string | null;
	jump: string; // the section that goes on
}

/* From when on a series stayed at or above half of what it ends at; null where it never mattered. */
export function sinceHalf(times: Values, values: Values): number | null {
	const last = values[values.length - 1] ?? 0;
	if (last <= 0) return null;
	let at = values.length - 1;
	while (at > 0 && values[at - 1]! >= last / 2) at--;
	return times[at] ?? null;
}

const FRAG = new Set(['pinned', 'retained', 'past_peak', 'growing_frag', 'threshold_raised', 'frag']);

export interface Pinned {
	times: Values;
	pinned: Values;
}

export function evidenceOf(doc: Doc, finding: Pick<Finding, 'code' | 'site' | 'section'>, series: Pinned | null): Evidence {
	const none: Evidence = { site: finding.site, where: null, line: '', since: null, help: null, jump: finding.section ?? 'timeline' };
	const leak = doc.leaks?.leaks.find((l) => l.site === finding.site);
	if (leak && finding.section === 'leaks')
		return {
			site: leak.site,
			where: visible(leak.name),
			line: visible(place(leak)),
			since: leak.first_ns,
			help: t(finding.code === 'suspect' ? 'ev.suspect' : 'ev.growth'),
			jump: 'leaks',
		};
	if (finding.section === 'errors') {
		const error = doc.errors?.errors[0];
		const frame = error?.stack[0];
		return {
			...none,
			where: frame ? visible(frame.function ?? '??') : null,
			line: frame?.file ? visible(`${frame.file.split('/').pop()}${frame.line ? `:${frame.line}` : ''}`) : '',
			since: error?.time_ns ?? null,
			help: t('ev.errors'),
			jump: 'errors',
		};
	}
	if (finding.section === 'frag' || FRAG.has(finding.code)) {
		const pins = finding.code === 'pinned' || finding.code === 'past_peak';
		const top = pins ? doc.frag?.sites[0] : undefined;
		const frame = top?.stack.find((f) => f.function === top.name) ?? top?.stack[0];
		const remedies = [...(doc.frag?.remedies ?? [])].sort((a, b) => b.saves_bytes - a.saves_bytes);
		const best = remedies[0];
		return {
			site: top?.site ?? null,
			where: top && top.shapley > 0 ? visible(top.name) : null,
			line: frame?.file ? visible(`${frame.file.split('/').pop()}${frame.line ? `:${frame.line}` : ''}`) : '',
			since: (pins && series ? sinceHalf(series.times, series.pinned) : null) ?? doc.frag?.peak?.time_ns ?? null,
			help: best ? t('ev.saves', remedyTitle(best), bytes(best.saves_bytes)) : null,
			jump: pins ? 'pins' : finding.code === 'retained' ? 'remedies' : 'frag',
		};
	}
	const known = siteOf(doc, finding.site);
	return known ? { ...none, where: visible(known.name) } : none;
}

export const sinceText = (ns: number) => clock(ns, span.value);
