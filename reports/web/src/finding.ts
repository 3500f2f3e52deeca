// SPDX-License-Identifier: MIT
/* Findings in words: by code and values where the page has a sentence for them, else as they came. */
import type { Params } from './doc';
import { bytes, clock, count, rate, visible } from './format';
import { t, tOr } from './i18n';
import { span } from './store';

interface Worded {
	code: string;
	text: string;
	params?: Params;
}

const number = (value: string | number | null | undefined) => (typeof value === 'number' ? value : null);

export function findingText({ code, text, params }: Worded): string {
	const p = params ?? {};
	if ((code === 'growing' || code === 'suspect') && typeof p.name === 'string') {
		const each = number(p.bytes_per_operation);
		const operation =
			each === null ? '' : t('finding.operation', bytes(each), visible(String(p.operation)));
		return t(
			code === 'growing' ? 'finding.growing' : 'finding.suspect',
			visible(p.name), rate(number(p.rate_bytes_per_s)), rate(number(p.rate_low)), rate(number(p.rate_high)),
			operation,
			// It grew all the same, and was judged before the clean-up.
			p.blocks ? t('finding.live', bytes(number(p.bytes) ?? 0), count(number(p.blocks) ?? 0)) : t('finding.freed'),
			tOr('class', String(p.class)),
		);
	}
	const size = number(p.bytes);
	if (code === 'never_freed' && size !== null)
		return t('finding.never_freed', bytes(size), count(number(p.sites) ?? 0));
	if (code === 'plateau' && 'resolvable_bytes_per_s' in p) {
		const least = number(p.resolvable_bytes_per_s);
		return `${t(p.suspects ? 'finding.none.other' : 'finding.none')}${least === null ? '' : t('finding.none.resolvable', rate(least))}`;
	}
	if (code === 'suppressed' && size !== null)
		return t('finding.suppressed', bytes(size), count(number(p.sites) ?? 0), count(number(p.used) ?? 0), count(number(p.suppressions) ?? 0));
	const pinned = number(p.pinned_free_bytes);
	const live = number(p.live_bytes);
	if (code === 'pinned' && pinned !== null && live !== null && typeof p.site === 'string')
		return t('finding.pinned', bytes(pinned), bytes(live), visible(p.site));
	if (code === 'past_peak' && live !== null)
		return t('finding.past_peak', bytes(number(p.footprint_bytes)), bytes(live), bytes(number(p.peak_bytes)));
	const empty = number(p.empty_bytes);
	if (code === 'retained' && empty !== null) {
		const trim = number(p.trimmable_bytes);
		return t('finding.retained', bytes(empty)) + (!trim ? '' : t('finding.retained.trim', bytes(trim)));
	}
	const life = number(p.life_ns);
	if (code === 'unsure' && life !== null) return t('finding.short', clock(life, life));
	const limit = number(p.limit_bytes);
	if (code === 'limit' && limit !== null)
		return t('finding.limit', bytes(limit), clock(number(p.not_before_ns) ?? 0, span.value));
	return visible(text);
}
